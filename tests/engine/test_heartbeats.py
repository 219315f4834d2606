"""Heartbeats: they show how far a step has come, tell the next attempt, and find a dead one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    DefinitionError,
    MemoryLedger,
    NotSerializable,
    RetryPolicy,
    RunFailed,
    Runtime,
    StepTimeout,
    current_step,
)
from perdure.storage import entries as kinds
from perdure.strict import step, workflow
from perdure.testing import Simulation

FAST = RetryPolicy(max_attempts=2, base_delay="1ms", jitter=0)
release = asyncio.Event()
stopped = threading.Event()


async def beat_and_wait() -> None:
    current_step().heartbeat({"done": 3, "of": 10})
    await release.wait()


@workflow(id="shows")
async def shows(input: None, step, ctx) -> None:
    await step.run("long", beat_and_wait)


async def test_the_status_shows_the_newest_heartbeat(open_runtime: Callable[..., Any]) -> None:
    global release
    release = asyncio.Event()
    async with open_runtime(shows) as runtime:
        run = await runtime.start("shows")
        row = runtime.watch(run.run_id, lambda row: any(each.heartbeat for each in row.pending.values()))
        await asyncio.wait_for(asyncio.wrap_future(row), 10)
        (waits,) = (await run.status()).waits_for
        assert waits.heartbeat == {"done": 3, "of": 10}
        assert waits.heartbeat_at is not None
        release.set()
        await run.result(timeout="20s")
        assert (await run.replay()).ok


def beat_often(fails: bool) -> Any:
    now = current_step()
    if now.attempt == 2:
        return now.last_heartbeat
    assert now.last_heartbeat is None
    for number in range(5_000):
        now.heartbeat((number, "lossless"))
    raise ConnectionError("cut off")


@workflow(id="goes-on")
async def goes_on(input: None, step, ctx) -> Any:
    return await step.run("long", beat_often, True, retries=FAST)


async def test_of_a_burst_the_first_and_the_newest_are_recorded_and_the_next_attempt_gets_the_newest(
    open_runtime: Callable[..., Any],
) -> None:
    async with open_runtime(goes_on) as runtime:
        run = await runtime.start("goes-on")
        assert await run.result(timeout="20s") == (4_999, "lossless")
        beats = [entry.value for entry in await run.history() if entry.kind == kinds.STEP_HEARTBEAT]
        assert beats[0] == (0, "lossless")
        assert beats[-1] == (4_999, "lossless")
        assert len(beats) < 10
        assert (await run.replay()).ok


async def silent(seconds: float) -> str:
    if current_step().attempt > 1:
        return "another attempt is quick"
    await asyncio.sleep(seconds)
    return "nobody should hear this"


def silent_thread(_: float) -> str:
    if current_step().attempt > 1:
        return "another attempt is quick"
    assert stopped.wait(30)
    return "nobody should hear this"


@workflow(id="silent")
async def silent_run(input: bool, step, ctx) -> str:
    if input:
        return await step.run("long", silent, 60, retries=FAST, heartbeat_timeout="100ms")
    return await step.run("long", silent_thread, 60, retries=FAST, heartbeat_timeout="100ms")


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_silent_attempt_fails_and_is_tried_again(is_async: bool) -> None:
    stopped.clear()
    async with Runtime(MemoryLedger(), workflows=[silent_run], drain="1s") as runtime:
        run = await runtime.start("silent", is_async)
        assert await run.result(timeout="20s") == "another attempt is quick"
        stopped.set()
        retried = [entry for entry in await run.history() if entry.kind == kinds.STEP_RETRYING]
        assert "gave no heartbeat for longer than its heartbeat_timeout of 100ms" in retried[0].value


@workflow(id="dies")
async def dies(input: None, step, ctx) -> None:
    await step.run("long", silent, 60, retries=0, heartbeat_timeout="50ms")


async def test_silence_is_a_step_timeout_and_its_limit_is_recorded() -> None:
    async with Runtime(MemoryLedger(), workflows=[dies]) as runtime:
        run = await runtime.start("dies")
        with pytest.raises(RunFailed) as failed:
            await run.result(timeout="20s")
        assert isinstance(failed.value.__cause__, StepTimeout)
        (asked,) = [entry for entry in await run.history() if entry.kind == kinds.STEP]
        assert asked.detail["heartbeat_timeout_us"] == 50_000


# ── in virtual time ──


async def beats(every_s: float, times: int) -> int:
    for number in range(times):
        await asyncio.sleep(every_s)
        current_step().heartbeat(number)
    return times


async def writes(every_s: float, times: int) -> int:
    for number in range(times):
        await asyncio.sleep(every_s)
        await current_step().stream().write(number)
    return times


async def beats_nine_times(every_s: float) -> int:
    return await beats(every_s, 9)


@step(heartbeat_timeout="30s", retries=0)
async def beats_declared(every_s: float, times: int) -> int:
    return await beats(every_s, times)


@workflow(id="beating")
async def beating(input: list, step, ctx) -> Any:
    how, every_s, times = input
    if how == "declared":
        return await beats_declared(every_s, times)
    if how == "map":
        return await step.map("each", beats_nine_times, [every_s], retries=0, heartbeat_timeout="30s")
    if how == "options":
        return await beats_declared.options(heartbeat_timeout="2m")(every_s, times)
    if how == "writes":
        return await step.run("writes", writes, every_s, times, retries=0, heartbeat_timeout="30s")
    return await step.run("beats", beats, every_s, times, retries=0, heartbeat_timeout="30s")


@pytest.mark.parametrize("how", ["run", "declared", "map", "writes"])
def test_who_gives_signs_of_life_may_take_as_long_as_it_wants(how: str) -> None:
    with Simulation(beating) as world:
        assert world.start("beating", [how, 29, 9]).result() in (9, [9])
        slow = world.start("beating", [how, 31, 9])
        with pytest.raises(RunFailed, match=r"heartbeat_timeout of 30s"):
            slow.result()


def test_options_override_the_limit() -> None:
    with Simulation(beating) as world:
        assert world.start("beating", ["options", 100, 3]).result() == 3
        with pytest.raises(RunFailed, match=r"heartbeat_timeout of 2m"):
            world.start("beating", ["options", 121, 3]).result()


def test_heartbeats_are_recorded_once_a_second_and_none_that_is_newest_is_lost() -> None:
    with Simulation(beating) as world:
        run = world.start("beating", ["run", 0.1, 35])
        assert run.result() == 35
        recorded = [entry for entry in run.history() if entry.kind == kinds.STEP_HEARTBEAT]
        assert [entry.value for entry in recorded] == [0, 9, 19, 29, 34]
        assert recorded[1].at - recorded[0].at == timedelta(seconds=1)


async def unserializable() -> None:
    current_step().heartbeat(object())


@workflow(id="unserializable")
async def unserializable_run(input: None, step, ctx) -> None:
    await step.run("beat", unserializable)


async def test_details_without_an_encoding_are_refused_where_they_are_given() -> None:
    async with Runtime(MemoryLedger(), workflows=[unserializable_run]) as runtime:
        run = await runtime.start("unserializable")
        with pytest.raises(RunFailed) as failed:
            await run.result(timeout="20s")
        assert isinstance(failed.value.__cause__, NotSerializable)


def test_a_limit_of_zero_is_refused() -> None:
    with pytest.raises(DefinitionError, match="heartbeat_timeout=0"):
        step(heartbeat_timeout=0)(silent)
