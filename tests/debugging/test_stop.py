"""A run replayed to a place stands there, branch by branch, with its author's variables and no others."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from perdure import Divergence, MemoryLedger, Runtime, step, workflow
from perdure.core.places import find_place
from perdure.replay.stop import Stack, Stop, Walk, stop_at


@step(retries=0)
async def charge(what: str) -> str:
    if what == "declined":
        raise ValueError("no money")
    return f"charged {what}"


async def nested(step: Any, number: int) -> str:
    doubled = number * 2
    return await step.run(f"nested-{number}", charge, str(doubled))


@workflow(id="shop")
async def shop(input: str, step, ctx) -> list:
    total = 0
    first = await charge(input)
    seen = {"b", "a"}
    try:
        both = await asyncio.gather(nested(step, 1), nested(step, 2))
    finally:
        total += 1
    await step.sleep("week", "7d")
    return [first, both, total, seen]


@workflow(id="fails", retries=1)
async def fails(input: str) -> str:
    kept = await charge("kept")
    lost = await charge(input)
    return kept + lost


async def history(definition: Any, value: str, status: str) -> tuple[Any, list[Any]]:
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=[definition]) as runtime:
        run = await runtime.start(definition, value, run_id="r1")
        await run.wait(status, timeout="20s")
    row = ledger.run("r1")
    assert row is not None
    return row, ledger.entries(row.run)


def stopped(recorded: tuple[Any, list[Any]], definition: Any, at: int | str) -> Stop:
    row, entries = recorded
    return stop_at(Walk(row, definition, entries, find_place(entries, at, "r1")))


def outline(stack: Stack) -> tuple[str, str, list[tuple[str, dict[str, str]]]]:
    return stack.branch, stack.waits_for, [(frame.function, frame.variables) for frame in stack.frames]


async def test_it_stands_where_a_step_was_asked_for_with_the_variables_of_that_moment():
    recorded = await history(shop, "o1", "sleeping")
    stop = stopped(recorded, shop, "charge")
    (stack,) = stop.stacks
    assert outline(stack) == ("0", "step charge", [("shop", {"input": "'o1'", "total": "0"})])
    assert (stack.position, stop.position, stop.ending) == (1, 1, "")
    frame = stack.frames[0]
    assert frame.file == __file__
    with open(__file__, encoding="utf-8") as source:
        assert "first = await charge(input)" in source.read().splitlines()[frame.line - 1]


async def test_each_branch_that_is_not_over_has_its_own_stack():
    recorded = await history(shop, "o1", "sleeping")
    stop = stopped(recorded, shop, "nested-2")
    assert [(stack.branch, stack.waits_for) for stack in stop.stacks] == [
        ("0", ""), ("0.1", "step nested-1"), ("0.2", "step nested-2"),
    ]  # fmt: skip
    assert outline(stop.stacks[0])[2] == [
        ("shop", {"input": "'o1'", "total": "0", "first": "'charged o1'", "seen": "{'b', 'a'}"})
    ]
    assert outline(stop.stacks[2])[2] == [("nested", {"number": "2", "doubled": "4"})]


async def test_an_open_run_stands_where_it_waits_now():
    row, entries = await history(shop, "o1", "sleeping")
    stop = stopped((row, entries), shop, len(entries) - 1)
    assert stop.stacks[0].waits_for == "sleep week"
    assert stop.stacks[0].frames[0].variables["total"] == "1"


async def test_a_body_that_failed_shows_where_it_raised_and_a_retried_one_each_attempt():
    recorded = await history(fails, "declined", "failed")
    entries = recorded[1]
    stop = stopped(recorded, fails, len(entries) - 1)
    assert (stop.ending, stop.error) == ("failed", "ValueError: no money")
    assert outline(stop.stacks[0])[2] == [("fails", {"input": "'declined'", "kept": "'charged kept'"})]
    retrying = next(entry.position for entry in entries if entry.kind == "retrying")
    assert stopped(recorded, fails, retrying).ending == "retrying"
    second = stopped(recorded, fails, "charge#2")
    assert second.position > retrying
    assert outline(second.stacks[0])[2] == [("fails", {"input": "'declined'", "kept": "'charged kept'"})]


async def test_a_completed_body_stands_nowhere():
    @workflow(id="quick")
    async def quick(input: str) -> str:
        return await charge(input)

    recorded = await history(quick, "x", "completed")
    stop = stopped(recorded, quick, 3)
    assert (stop.ending, stop.stacks) == ("completed", ())


async def test_a_changed_body_says_where_it_diverges():
    recorded = await history(shop, "o1", "sleeping")

    @workflow(id="shop")
    async def changed(input: str, step) -> str:
        return await step.run("other", charge, input)

    with pytest.raises(Divergence, match="other"):
        stopped(recorded, changed, "nested-1")


class Broken:
    def __init__(self) -> None:
        self.x = 1

    def __repr__(self) -> str:
        raise ValueError("no text")


async def numbers(step: Any) -> Any:
    broken = Broken()
    for number in range(3):
        yield await step.run(f"number-{number}", charge, str(number)), broken.x


@workflow(id="generating")
async def generating(input: str, step) -> str:
    found = []
    async for each, _ in numbers(step):
        found.append(each)
    with contextlib.suppress(ValueError):
        await charge("declined")
    await step.sleep("week", "7d")
    return "".join(found)


async def test_frames_of_generators_are_shown_and_a_broken_repr_hides_only_itself():
    recorded = await history(generating, "x", "sleeping")
    (stack,) = stopped(recorded, generating, "number-1").stacks
    assert [frame.function for frame in stack.frames] == ["generating", "numbers"]
    assert stack.frames[0].variables["found"] == "['charged 0']"
    assert stack.frames[1].variables["number"] == "1"
    assert stack.frames[1].variables["broken"] == "<Broken, whose repr raised ValueError>"
