"""Runtimes whose time the test moves: what fell due on the way has been handled when a move is over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from perdure import DefinitionError, MemoryLedger, PerdureError, Runtime, RunTimeout
from perdure.strict import RetryPolicy, Schedule, ScheduledInput, current_step, step, workflow
from perdure.testing import RuntimeClock, RuntimeFactory, SimulatedClock
from perdure.testing import runtimes as runtimes_module

MINUTE = RetryPolicy(max_attempts=3, backoff="fixed", base_delay="1m", jitter=0)


@step
async def mail(day: int) -> int:
    await asyncio.sleep(0)
    return day


@step(retries=MINUTE)
def flaky() -> int:
    if current_step().attempt < 3:
        raise ConnectionError("not yet")
    return current_step().attempt


@workflow(id="remind")
async def remind(input: int, step) -> list:
    times = []
    for day in range(input):
        await step.sleep(f"day {day}", "1d")
        await mail(day)
        times.append(datetime.now(UTC))
    return times


@workflow(id="patient")
async def patient(input: None, step) -> int:
    return await flaky()


@workflow(id="short-order")
async def short_order(input: str, step) -> object:
    return await step.wait_for_event("paid", type="paid", match={"id": input}, timeout="1h")


@workflow(id="daily", trigger=Schedule("0 3 * * *"))
async def daily(input: ScheduledInput, step) -> list:
    await step.sleep("1s")
    return [input["scheduled_at"], datetime.now(UTC)]


async def test_an_advance_handles_each_thing_at_its_own_time(perdure_runtime, perdure_clock) -> None:
    begin = perdure_clock.now
    async with perdure_runtime(remind) as runtime:
        run = await runtime.start(remind, 7)
        await perdure_clock.advance("7d")
        assert await run.status() == "completed"
        assert await run.result() == [begin + timedelta(days=day) for day in range(1, 8)]
    assert perdure_clock.now == begin + timedelta(days=7)


async def test_an_advance_stops_short_of_what_is_not_due(perdure_runtime, perdure_clock) -> None:
    async with perdure_runtime(remind) as runtime:
        run = await runtime.start(remind, 1)
        await perdure_clock.advance("23h59m59s")
        assert await run.status() == "sleeping"
        await perdure_clock.advance("1s")
        assert await run.status() == "completed"


def test_without_asyncio_the_same_moves_are_plain_calls(perdure_runtime, perdure_clock) -> None:
    with perdure_runtime(remind, patient) as runtime:
        run = runtime.start(remind, 7)
        other = runtime.start(patient)
        perdure_clock.advance("1m")
        assert other.status() == "awaiting_retry"
        perdure_clock.advance("1m")
        assert other.result() == 3
        perdure_clock.set(perdure_clock.now + timedelta(days=7))
        assert run.status() == "completed"


@pytest.mark.parametrize("ledger", [None, "orders.duckdb"])
async def test_what_is_opened_after_another_was_closed_is_a_restart(perdure_runtime, perdure_clock, ledger) -> None:
    async with perdure_runtime(remind, ledger=ledger) as runtime:
        run_id = (await runtime.start(remind, 2)).run_id
        await perdure_clock.advance("1d")
    await perdure_clock.advance("1d")  # nothing is open: only time passes
    async with perdure_runtime(remind, ledger=ledger) as runtime:
        await perdure_clock.settle()
        assert await runtime.handle(run_id).status() == "completed"


async def test_a_test_has_a_ledger_of_its_own(perdure_runtime) -> None:
    async with perdure_runtime(remind) as runtime:
        assert await runtime.runs() == []


async def test_run_ids_and_times_are_the_same_in_every_run_of_a_test(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        clock = RuntimeClock()
        async with RuntimeFactory(clock, tmp_path)(remind) as runtime:
            run = await runtime.start(remind, 3)
            await clock.advance("3d")
            seen.append([(entry.kind, entry.at, run.run_id) for entry in await run.history()])
    assert seen[0] == seen[1]


async def test_a_timeout_and_an_event_each_come_in_their_time(perdure_runtime, perdure_clock) -> None:
    async with perdure_runtime(short_order) as runtime:
        paid, unpaid = [await runtime.start(short_order, id) for id in ("a", "b")]
        await perdure_clock.advance("59m")
        assert await runtime.send_event("paid", {"id": "a"}) == 1
        await perdure_clock.advance("1m")
        assert (await paid.result(), await unpaid.result()) == ({"id": "a"}, None)


async def test_an_advance_stops_at_every_tick_of_a_schedule(perdure_runtime, perdure_clock) -> None:
    first = perdure_clock.now.replace(hour=3)
    async with perdure_runtime(daily) as runtime:
        await perdure_clock.advance("3d")
        ticks = [await runtime.handle(run.run_id).result() for run in reversed(await runtime.runs())]
        days = [first + timedelta(days=day) for day in range(3)]
        assert ticks == [[day, day + timedelta(seconds=1)] for day in days]


async def test_two_runtimes_share_the_time(perdure_runtime, perdure_clock) -> None:
    async with perdure_runtime(remind) as one, perdure_runtime(remind, ledger="other.duckdb") as other:
        runs = [await each.start(remind, 2) for each in (one, other)]
        await perdure_clock.advance("2d")
        assert [await run.status() for run in runs] == ["completed", "completed"]


async def test_a_clock_that_is_set_back_delays_what_was_to_come(perdure_runtime, perdure_clock) -> None:
    async with perdure_runtime(remind) as runtime:
        run = await runtime.start(remind, 1)
        await perdure_clock.set(perdure_clock.now - timedelta(days=1))
        await perdure_clock.advance("1d")
        assert await run.status() == "sleeping"
        await perdure_clock.advance("1d")
        assert await run.status() == "completed"


async def test_what_is_due_at_once_is_handled_too(perdure_runtime, perdure_clock) -> None:
    @workflow(id="at-once")
    async def at_once(input: int, step) -> int:
        for number in range(input):
            await step.sleep(f"nothing {number}", 0)
        return await mail(input)

    async with perdure_runtime(at_once) as runtime:
        run = await runtime.start(at_once, 300)
        await perdure_clock.settle()
        assert await run.status() == "completed"


async def test_a_run_whose_workflow_nobody_registered_does_not_hold_up_time(perdure_runtime, perdure_clock) -> None:
    async with perdure_runtime(remind) as runtime:
        run_id = (await runtime.start(remind, 2)).run_id
    begin = perdure_clock.now
    async with perdure_runtime(short_order, code="today") as runtime:
        run = await runtime.start(short_order, "a")
        await asyncio.wait_for(_awaited(perdure_clock.advance("2d")), 20)
        assert await run.result() is None
        assert await runtime.handle(run_id).status() == "diverged"
    assert perdure_clock.now == begin + timedelta(days=2)


async def _awaited(move: Awaitable[None]) -> None:
    await move


async def test_a_step_that_does_not_end_is_named(perdure_runtime, perdure_clock, monkeypatch) -> None:
    monkeypatch.setattr(runtimes_module, "_PATIENCE_S", 0.2)
    release = threading.Event()

    @workflow(id="stuck")
    async def stuck(input: None, step) -> None:
        await step.run("hang", lambda: release.wait(20))

    async with perdure_runtime(stuck) as runtime:
        run = await runtime.start(stuck)
        with pytest.raises(PerdureError, match=f"hang of run {run.run_id}"):
            await perdure_clock.advance("1s")
        release.set()
        await run.wait()


def test_whoever_waits_in_vain_is_told_what_the_run_waits_for(perdure_runtime) -> None:
    with perdure_runtime(remind, short_order) as runtime:
        waits = {remind: (1, "sleeping (day 0 until 2030-01-02 00:00:00Z)"),
                 short_order: ("a", "waiting_event (paid until 2030-01-01 01:00:00Z)")}  # fmt: skip
        for definition, (given, expected) in waits.items():
            run = runtime.start(definition, given)
            runtime.idle()
            with pytest.raises(RunTimeout) as raised:
                run.result(timeout="1ms")
            assert raised.value.why == f"the run goes on: it is {expected}"


async def test_idle_of_a_closed_runtime_says_so(perdure_runtime) -> None:
    runtime = perdure_runtime(remind)
    assert not runtime.is_open
    with pytest.raises(PerdureError, match="not open"):
        await runtime.idle()
    async with runtime:
        assert runtime.is_open
        await runtime.idle()


async def test_idle_waits_for_steps_at_work(perdure_runtime) -> None:
    at_work, release = threading.Event(), threading.Event()

    def work() -> None:
        at_work.set()
        release.wait(20)

    @workflow(id="slow")
    async def slow(input: None, step) -> None:
        await step.run("work", work)

    async with perdure_runtime(slow) as runtime:
        run = await runtime.start(slow)
        await asyncio.to_thread(at_work.wait, 20)
        idle = asyncio.ensure_future(runtime.idle())
        await run.status()  # a turn of the engine later
        assert not idle.done()
        release.set()
        await idle
        assert await run.status() == "completed"


# ── the clock below ──────────────────────────────────────────────────────────────────────────────


def test_a_simulated_clock_moves_only_when_told() -> None:
    clock = SimulatedClock("2030-06-01T00:00:00+02:00")
    assert clock.now == datetime(2030, 5, 31, 22, tzinfo=UTC)
    clock.advance("1h30m")
    assert clock.now_us() == int(datetime(2030, 5, 31, 23, 30, tzinfo=UTC).timestamp() * 1_000_000)
    clock.jump(timedelta(hours=-2))
    clock.jump(60)
    assert clock.now == datetime(2030, 5, 31, 21, 31, tzinfo=UTC)
    with pytest.raises(DefinitionError, match="negative"):
        clock.advance(-1)
    with pytest.raises(DefinitionError, match="no time zone"):
        clock.set(datetime(2030, 1, 1))


async def test_two_clocks_of_one_seed_give_the_runs_of_one_ledger_ids_of_their_own() -> None:
    @workflow(id="ping")
    async def ping() -> None:
        pass

    ledger = MemoryLedger()
    for _ in range(3):
        async with Runtime(ledger, workflows=[ping], clock=SimulatedClock()) as runtime:
            for _ in range(2):
                await runtime.start("ping", None)
            ids = [run.run_id for run in await runtime.runs()]
    assert len({*ids}) == 6


def test_listeners_hear_of_every_change_until_they_stop() -> None:
    clock = SimulatedClock()
    heard = []
    stop = clock.on_change(lambda: heard.append(clock.now_us()))
    clock.advance(1)
    clock.jump(-1)
    clock.set("2030-01-01T00:00:05Z")
    stop()
    clock.advance(1)
    begin = SimulatedClock().now_us()
    assert heard == [begin + 1_000_000, begin, begin + 5_000_000]


def test_ids_of_a_simulated_clock_sort_and_depend_on_its_seed_alone() -> None:
    one, same, other = SimulatedClock(seed=1), SimulatedClock(seed=1), SimulatedClock(seed=2)
    ids = [one.new_run_id() for _ in range(100)]
    assert ids == [same.new_run_id() for _ in range(100)]
    assert ids == sorted(set(ids))
    assert {len(id) for id in ids} == {26}
    assert other.new_run_id() not in ids
    one.advance("1s")
    assert one.new_run_id() > ids[-1]
