"""Time, events, and runs that are parked while they wait."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from leaping import Leaping

from perdure import RunFailed, RunTimeout
from perdure.strict import workflow


async def append(values: list, value: object) -> None:
    values.append(value)


@workflow(id="sleeper")
async def sleeper(input: str, step) -> str:
    await step.sleep("nap", input)
    return "awake"


@workflow(id="waiter")
async def waiter(input: str, step) -> object:
    return await step.wait_for_event("paid", type="payment", match={"order_id": input}, timeout="1h")


async def test_a_sleep_ends_when_it_is_due(open_runtime):
    async with open_runtime(sleeper) as runtime:
        run = await runtime.start("sleeper", "30ms")
        assert await run.result(timeout="20s") == "awake"


async def test_a_sleeping_run_says_until_when(open_runtime):
    async with open_runtime(sleeper) as runtime:
        run = await runtime.start("sleeper", "7d")
        status = await run.wait("sleeping", timeout="20s")
        assert status == "sleeping"
        (waits,) = status.waits_for
        assert waits.name == "nap"
        assert abs(waits.until - datetime.now(UTC) - timedelta(days=7)) < timedelta(minutes=1)


async def test_a_sleep_that_fell_due_while_nothing_ran_ends_at_the_next_start(open_runtime):
    async with open_runtime(sleeper) as runtime:
        await runtime.start("sleeper", "50ms", run_id="r")
    await asyncio.sleep(0.06)
    async with open_runtime(sleeper) as runtime:
        assert await runtime.handle("r").result(timeout="20s") == "awake"


async def test_an_event_wakes_the_run_that_matches_and_no_other(open_runtime):
    async with open_runtime(waiter) as runtime:
        one = await runtime.start("waiter", "o1")
        two = await runtime.start("waiter", "o2")
        await one.wait("waiting_event", timeout="20s")
        await two.wait("waiting_event", timeout="20s")
        assert await runtime.send_event("payment", {"order_id": "o3"}) == 0
        assert await runtime.send_event("refund", {"order_id": "o1"}) == 0
        assert await runtime.send_event("payment", {"order_id": "o1", "cents": 5}) == 1
        assert await one.result(timeout="20s") == {"order_id": "o1", "cents": 5}
        assert await two.status() == "waiting_event"


async def test_a_wait_that_times_out_gives_none(open_runtime):
    @workflow(id="brief")
    async def body(input: None, step):
        return await step.wait_for_event("never", type="nothing", timeout="20ms")

    async with open_runtime(body) as runtime:
        run = await runtime.start("brief", None)
        assert await run.result(timeout="20s") is None


async def test_a_run_waiting_for_an_event_survives_a_restart(open_runtime):
    async with open_runtime(waiter) as runtime:
        await runtime.start("waiter", "o1", run_id="r")
    async with open_runtime(waiter) as runtime:
        assert await runtime.handle("r").status() == "waiting_event"
        assert await runtime.send_event("payment", {"order_id": "o1"}) == 1
        assert await runtime.handle("r").result(timeout="20s") == {"order_id": "o1"}


async def test_asyncio_sleep_and_timeouts_are_durable(open_runtime):
    @workflow(id="asyncio")
    async def body(input: None, step):
        import asyncio

        await asyncio.sleep(0.01)
        try:
            async with asyncio.timeout(0.02):
                await step.sleep("long", "1h")
        except TimeoutError:
            pass
        try:
            await asyncio.wait_for(step.wait_for_event("e", type="e"), 0.02)
        except TimeoutError:
            return "both"

    async with open_runtime(body) as runtime:
        run = await runtime.start("asyncio", None)
        assert await run.result(timeout="20s") == "both"
        assert (await run.replay()).ok


async def test_a_delayed_run_is_queued_until_it_begins(open_runtime):
    clock = Leaping()
    async with open_runtime(sleeper, clock=clock) as runtime:
        run = await runtime.start("sleeper", "1ms", delay="1h")
        assert await run.status() == "queued"
        clock.leap("2h")
        assert await run.result(timeout="20s") == "awake"
        assert [entry.kind for entry in await run.history()][:2] == ["created", "began"]


async def test_a_naive_time_fails_the_run_with_the_fix(open_runtime):
    @workflow(id="naive")
    async def body(input: None, step):
        await step.sleep_until("2030-01-01T00:00:00")

    async with open_runtime(body) as runtime:
        run = await runtime.start("naive", None)
        with pytest.raises(RunFailed, match="no time zone"):
            await run.result(timeout="20s")


async def test_sleep_until_a_moment_of_the_past_goes_on_at_once(open_runtime):
    @workflow(id="past")
    async def body(input: None, step):
        await step.sleep_until("party", "2001-01-01T00:00:00Z")
        return "late"

    async with open_runtime(body) as runtime:
        run = await runtime.start("past", None)
        assert await run.result(timeout="20s") == "late"


async def test_a_run_that_passes_its_timeout_is_cancelled_and_compensates(open_runtime):
    done: list[str] = []

    @workflow(id="limited", timeout="50ms")
    async def body(input: None, step):
        try:
            await step.sleep("long", "1h")
        finally:
            await step.run("compensate", lambda: done.append("compensated"))

    async with open_runtime(body) as runtime:
        run = await runtime.start("limited", None)
        with pytest.raises(RunTimeout):
            await run.result(timeout="20s")
        assert await run.status() == "failed"


async def test_waiting_for_a_result_may_run_out_while_the_run_goes_on(open_runtime):
    async with open_runtime(sleeper) as runtime:
        run = await runtime.start("sleeper", "1h")
        with pytest.raises(RunTimeout, match="the run goes on"):
            await run.result(timeout="20ms")
        assert await run.status() == "sleeping"


async def test_parked_runs_have_no_body_in_memory(open_runtime):
    async with open_runtime(sleeper, residents_max=3) as runtime:
        runs = [await runtime.start("sleeper", "120ms") for _ in range(20)]
        in_memory = await runtime.ask(lambda engine, batch: len(engine.residents))
        assert in_memory <= 3
        assert [await run.result(timeout="20s") for run in runs] == ["awake"] * 20
