"""What is odd about an event, a model or a function stops nobody else, and never the engine."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, field_validator

from perdure import MemoryLedger, Runtime
from perdure.errors import InvalidInput
from perdure.strict import Event, current_step, on_event, workflow


class Fragile(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def known(cls, value: int) -> int:
        return {1: 1}[value]  # a KeyError, where pydantic expects a ValueError


@workflow(id="sturdy", trigger=Event("came"))
async def sturdy(input: dict) -> int:
    return input["n"]


@workflow(id="fragile", trigger=Event("came"))
async def fragile(input: Fragile) -> int:
    return input.n


@on_event("came")
def fragile_function(payload: Fragile) -> int:
    return payload.n


async def send(n: int) -> None:
    await current_step().workflows.send_event("came", {"n": n})


@workflow(id="sends")
async def sends(input: int, step) -> str:
    await step.run("send", send, input)
    return "sent"


@workflow(id="gives")
async def gives(input: int) -> Fragile:
    return {"n": input}  # type: ignore[return-value]


async def statuses(runtime: Runtime) -> dict[str, str]:
    await runtime.idle()
    return {each.workflow: each.status for each in await runtime.runs(limit=None)}


@pytest.mark.parametrize("by_a_step", [True, False])
async def test_a_validator_that_fails_over_a_payload_stops_neither_the_engine_nor_who_else_wants_the_event(
    by_a_step: bool,
) -> None:
    async with Runtime(MemoryLedger(), workflows=[sturdy, fragile, fragile_function, sends]) as runtime:
        if by_a_step:
            assert await (await runtime.start(sends, 7)).result(timeout="20s") == "sent"
        else:
            assert len((await runtime.send_event("came", {"n": 7})).started) == 3
        found = await statuses(runtime)
        found.pop("sends", None)
        assert found == {"sturdy": "completed", "fragile": "failed", "fragile-function": "failed"}
        [dead] = await runtime.runs(workflow="fragile")
        assert "KeyError: 7" in (dead.error or "")


async def test_a_validator_that_fails_over_an_input_refuses_the_start() -> None:
    async with Runtime(MemoryLedger(), workflows=[fragile]) as runtime:
        with pytest.raises(InvalidInput, match="a validator raised KeyError: 7"):
            await runtime.start(fragile, {"n": 7})
        assert await (await runtime.start(fragile, {"n": 1})).result(timeout="20s") == 1


async def test_a_validator_that_fails_over_an_output_fails_the_run() -> None:
    async with Runtime(MemoryLedger(), workflows=[gives]) as runtime:
        run = await runtime.start(gives, 7)
        await run.wait("failed", timeout="20s")
        assert "a validator raised KeyError: 7" in ((await run.status()).error or "")
        assert (await (await runtime.start(gives, 1)).result(timeout="20s")).n == 1


async def test_ids_of_events_of_two_types_are_two_also_where_a_slash_is_in_them() -> None:
    async with Runtime(MemoryLedger(), workflows=[sturdy]) as runtime:
        sent = [("came", "a/b"), ("came/a", "b"), ("came%2Fa", "b"), ("came%252Fa", "b")]
        receipts = [await runtime.send_event(type, {"n": 1}, event_id=id) for type, id in sent]
        assert [each.is_duplicate for each in receipts] == [False] * 4
        assert (await runtime.send_event("came/a", {"n": 1}, event_id="b")).is_duplicate
