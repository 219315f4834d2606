"""What an event or a change started is found again after a crash, under whatever id, and has to end alike."""

from __future__ import annotations

import itertools

import pytest

from perdure.strict import DbChange, StepContext, current_step, on_db_change, step, workflow
from perdure.testing import LawBroken, crash_everywhere

calls = itertools.count(1)


@step
async def enter(order: str) -> None:
    await current_step().database["orders"].insert_one({"_id": order})


@workflow(id="take-order")
async def take_order(input: str, step: StepContext) -> str:
    await enter(input)
    return await step.run("say", lambda: f"taken {input}")


@on_db_change(collection="orders")
def pack(change: DbChange) -> str:
    return f"packed {change.id} in {current_step().run_id}"


@on_db_change(collection="orders")
def number(change: DbChange) -> int:
    return next(calls)


def test_reactions_end_alike_though_their_ids_differ() -> None:
    report = crash_everywhere(take_order, "o1", workflows=[pack])
    assert report.outcome == ("completed", "taken o1")
    assert report.calls > report.crashes * 3


def test_a_reaction_that_ends_otherwise_is_noticed() -> None:
    with pytest.raises(LawBroken, match="run 1 of number, started by change, database, orders, o1, insert did not end"):
        crash_everywhere(take_order, "o1", workflows=[number])
