"""Signals: kept until they are taken, in order, whatever state the run is in; a refused one records nothing."""

from __future__ import annotations

import asyncio

import pytest
from leaping import Leaping
from pydantic import BaseModel

from perdure import InvalidInput, RunFailed, SignalRefused, UnknownRun
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.strict import DefinitionError, NotSerializable, Runtime, workflow


class Approval(BaseModel):
    by: str
    level: int = 1


def once(path: str) -> str:
    """Fail the first time."""
    from pathlib import Path

    if not Path(path).exists():
        Path(path).write_text("")
        raise RuntimeError("not yet")
    return "done"


@workflow(id="collector")
async def collector(input: int, step) -> list:
    return [await step.wait_for_signal("item") for _ in range(input)]


@workflow(id="approver")
async def approver(input: None, step) -> str:
    approval = await step.wait_for_signal("approved", schema=Approval)
    return f"{type(approval).__name__} {approval.by} {approval.level}"


@workflow(id="brief")
async def brief(input: str, step) -> object:
    return await step.wait_for_signal("never", timeout=input)


@workflow(id="stubborn", retries=3)
async def stubborn(input: str, step) -> list:
    first = await step.wait_for_signal("item")
    await step.run("once", once, input, retries=0)
    return [first, await step.wait_for_signal("item")]


async def test_signals_are_taken_in_the_order_in_which_they_were_sent(open_runtime):
    async with open_runtime(collector) as runtime:
        run = await runtime.start("collector", 5)
        for number in range(5):
            await run.signal("item", {"number": number})
        assert await run.result(timeout="20s") == [{"number": number} for number in range(5)]
        assert (await run.replay()).ok


async def test_signals_that_came_before_anybody_waited_are_kept_and_only_those_of_the_name_are_taken(open_runtime):
    @workflow(id="late")
    async def late(input: None, step) -> list:
        await step.wait_for_signal("go")
        return [await step.wait_for_signal("a"), await step.wait_for_signal("b"), await step.wait_for_signal("a")]

    async with open_runtime(late) as runtime:
        run = await runtime.start("late", None)
        for name, payload in [("b", 1), ("a", 2), ("a", 3)]:
            await run.signal(name, payload)
        assert await run.status() == "waiting_event"
        await run.signal("go")
        assert await run.result(timeout="20s") == [2, 1, 3]
        assert (await run.replay()).ok


async def test_a_parked_run_is_brought_back_by_a_signal_also_after_a_restart(open_runtime):
    async with open_runtime(collector, residents_max=0) as runtime:
        run = await runtime.start("collector", 2, run_id="r")
        await run.signal("item", "before")
    async with open_runtime(collector, residents_max=0) as runtime:
        await runtime.handle("r").signal("item", "after")
        assert await runtime.handle("r").result(timeout="20s") == ["before", "after"]
        assert (await runtime.handle("r").replay()).ok


async def test_a_queued_run_keeps_signals_until_it_begins(open_runtime):
    clock = Leaping()
    async with open_runtime(collector, clock=clock) as runtime:
        run = await runtime.start("collector", 3, delay="1h")
        for number in range(3):
            await run.signal("item", number)
        assert await run.status() == "queued"
        clock.leap("2h")
        assert await run.result(timeout="20s") == [0, 1, 2]
        assert (await run.replay()).ok


async def test_a_run_that_is_started_and_signalled_at_once_gets_the_signal(open_runtime):
    async with open_runtime(collector) as runtime:
        for delay in (None, "20ms"):
            run, _ = await asyncio.gather(
                runtime.start("collector", 1, run_id=f"run {delay}", delay=delay),
                _signal_as_soon_as_there_is_one(runtime, f"run {delay}"),
            )
            assert await run.result(timeout="20s") == ["early"]


async def _signal_as_soon_as_there_is_one(runtime: Runtime, run_id: str) -> None:
    while True:
        try:
            await runtime.handle(run_id).signal("item", "early")
            return
        except UnknownRun:
            continue


async def test_a_retried_run_takes_its_signals_again_from_the_first_and_those_that_came_in_between(
    open_runtime, tmp_path
):
    async with open_runtime(stubborn) as runtime:
        run = await runtime.start("stubborn", str(tmp_path / "mark"))
        await run.signal("item", 1)
        await run.wait("awaiting_retry", timeout="20s")
        await run.signal("item", 2)
        assert await run.result(timeout="20s") == [1, 2]
        kinds = [entry.kind for entry in await run.history()]
        assert kinds.index("retrying") < len(kinds) - 1 - kinds[::-1].index("signal_received")
        assert (await run.replay()).ok


async def test_a_wait_that_times_out_gives_none_and_shows_its_name_and_time(open_runtime):
    clock = Leaping()
    async with open_runtime(brief, clock=clock) as runtime:
        run = await runtime.start("brief", "1h")
        (waits,) = (await run.status()).waits_for
        assert (waits.kind, waits.name) == ("wait_signal", "never")
        assert waits.until is not None
        clock.leap("2h")
        assert await run.result(timeout="20s") is None
        assert (await run.replay()).ok


async def test_a_payload_that_does_not_fit_an_open_wait_is_refused_and_nothing_is_recorded(open_runtime):
    async with open_runtime(approver) as runtime:
        run = await runtime.start("approver", None)
        entries = (await run.status()).entries
        with pytest.raises(SignalRefused, match=r"does not fit Approval: by: .*\(and 1 more\)") as refused:
            await run.signal("approved", {"by": 5, "level": "high"})
        assert "level: Input should be a valid integer" in refused.value.why
        assert (await run.status()).entries == entries
        assert await run.status() == "waiting_event"
        await run.signal("approved", {"by": "ann", "level": "2"})
        assert await run.result(timeout="20s") == "Approval ann 2"
        assert (await run.replay()).ok


async def test_a_kept_payload_that_does_not_fit_is_raised_in_the_body_and_is_taken(open_runtime):
    @workflow(id="lenient")
    async def lenient(input: None, step) -> list:
        await step.wait_for_signal("go")
        try:
            await step.wait_for_signal("approved", schema=Approval)
        except InvalidInput as error:
            return [error.code, (await step.wait_for_signal("approved", schema=Approval)).by]

    async with open_runtime(lenient) as runtime:
        run = await runtime.start("lenient", None)
        await run.signal("approved", "nonsense")
        await run.signal("approved", {"by": "bob"})
        await run.signal("go")
        assert await run.result(timeout="20s") == ["RUN102", "bob"]
        assert (await run.replay()).ok


async def test_a_run_that_has_ended_refuses_signals_and_an_unknown_one_is_unknown(open_runtime):
    async with open_runtime(collector) as runtime:
        run = await runtime.start("collector", 0)
        await run.result(timeout="20s")
        entries = (await run.status()).entries
        with pytest.raises(SignalRefused, match="it is completed"):
            await run.signal("item", 1)
        assert (await run.status()).entries == entries
        with pytest.raises(UnknownRun):
            await runtime.handle("nobody").signal("item", 1)


async def test_bad_names_payloads_and_schemas_say_so_and_change_nothing(open_runtime):
    @workflow(id="wrong")
    async def wrong(input: str, step) -> None:
        if input == "schema":
            await step.wait_for_signal("x", schema=5)
        if input == "text":
            await step.wait_for_signal("x", schema="Approval")
        await step.wait_for_signal("")

    async with open_runtime(collector, wrong) as runtime:
        run = await runtime.start("collector", 1)
        for name in ("", None, 5, "\ud800"):
            with pytest.raises(DefinitionError, match="name"):
                await run.signal(name, 1)
        with pytest.raises(NotSerializable):
            await run.signal("item", object())
        assert (await run.status()).entries == 2
        failing = await runtime.start("wrong", "name")
        with pytest.raises(RunFailed, match="'' is no name"):
            await failing.result(timeout="20s")
        failing = await runtime.start("wrong", "schema")
        with pytest.raises(RunFailed, match="schema=5 can't be validated against"):
            await failing.result(timeout="20s")
        failing = await runtime.start("wrong", "text")
        with pytest.raises(RunFailed, match="schema='Approval' is a text, not a type"):
            await failing.result(timeout="20s")


async def test_waits_of_several_branches_are_answered_in_the_order_in_which_they_were_asked(open_runtime):
    @workflow(id="branches")
    async def branches(input: int, step) -> list:
        import asyncio

        return list(await asyncio.gather(*[step.wait_for_signal("turn") for _ in range(input)]))

    async with open_runtime(branches) as runtime:
        run = await runtime.start("branches", 3)
        await asyncio.gather(*[run.signal("turn", number) for number in range(3)])
        assert await run.result(timeout="20s") == [0, 1, 2]
        assert (await run.replay()).ok


async def test_a_wait_that_is_given_up_leaves_the_next_signal_to_whoever_waits_then(open_runtime):
    @workflow(id="impatient")
    async def impatient(input: None, step) -> list:
        import asyncio

        try:
            await asyncio.wait_for(step.wait_for_signal("item"), 0.02)
        except TimeoutError:
            return ["gave up", await step.wait_for_signal("item")]

    async with open_runtime(impatient) as runtime:
        run = await runtime.start("impatient", None)
        while (await run.status()).entries < 6:
            await asyncio.sleep(0.005)
        await run.signal("item", 1)
        assert await run.result(timeout="20s") == ["gave up", 1]
        assert (await run.replay()).ok


async def test_a_signal_reaches_the_newest_run_of_a_chain(open_runtime):
    @workflow(id="loop")
    async def loop(input: list, step) -> list:
        input = [*input, await step.wait_for_signal("item")]
        if len(input) < 3:
            await step.continue_as(input)
        return input

    async with open_runtime(loop) as runtime:
        run = await runtime.start("loop", [])
        for number in range(3):
            await run.signal("item", number)
        assert await run.result(timeout="20s") == [0, 1, 2]


async def test_unread_signals_go_over_to_the_run_that_goes_on(open_runtime):
    @workflow(id="drain")
    async def drain(input: list, step) -> list:
        if not input:
            await step.wait_for_signal("go")
        input = [*input, await step.wait_for_signal("item")]
        if len(input) < 3:
            await step.continue_as(input)
        return input

    async with open_runtime(drain) as runtime:
        run = await runtime.start("drain", [])
        for number in range(3):
            await run.signal("item", number)
        await run.signal("go")
        assert await run.result(timeout="20s") == [0, 1, 2]


def test_a_blocking_runtime_signals_too(tmp_path):
    with Runtime(tmp_path / "l.duckdb", workflows=[collector]) as runtime:
        run = runtime.start("collector", 1)
        run.signal("item", "blocking")
        assert run.result(timeout="20s") == ["blocking"]


async def test_a_diverged_run_keeps_signals_and_takes_them_when_it_goes_on(tmp_path):
    ledger = tmp_path / "l.duckdb"

    def made(first: str):
        @workflow(id="changing")
        async def changing(input: None, step) -> list:
            await step.sleep(first, "1ms")
            return [await step.wait_for_signal("item"), await step.wait_for_signal("item")]

        return changing

    async with Runtime(ledger, workflows=[made("nap")], code="today") as runtime:
        run = await runtime.start("changing", None, run_id="r")
        await run.wait("waiting_event", timeout="20s")
        await run.signal("item", 1)
    async with Runtime(ledger, workflows=[made("sleep")], code="today") as runtime:
        run = runtime.handle("r")
        await run.signal("item", 2)  # brings it back, and finds out that it diverged
        assert await run.status() == "diverged"
    async with Runtime(ledger, workflows=[made("nap")], code="today") as runtime:
        assert await runtime.handle("r").result(timeout="20s") == [1, 2]
    opened = DuckDBLedger(ledger)
    try:
        row = opened.run("r")
        assert row is not None
        assert row.boxes == {"signal:item": [2, 2]}
    finally:
        opened.close()
