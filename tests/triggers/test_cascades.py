"""Runs that come of runs: a row that never ends is stopped, one that takes its time is not."""

from __future__ import annotations

from typing import Any

from perdure import MemoryLedger, Runtime
from perdure.engine import cascades
from perdure.strict import Event, KvChange, current_step, on_event, on_kv_change, workflow
from perdure.testing import Simulation


@on_kv_change(namespace="loop")
async def itself(change: KvChange) -> None:
    await current_step().kv.namespace("loop").put(change.key, change.value + 1)


async def send(number: int) -> None:
    await current_step().workflows.send_event("ping", number + 1)


@workflow(id="pong")
async def pong(input: int, step) -> None:
    await step.run("send", send, input)


@on_event("ping")
async def ping(number: int) -> None:
    await current_step().workflows.start(pong, number)


async def ended(runtime: Runtime) -> dict[tuple[str, str], int]:
    await runtime.idle()
    found: dict[tuple[str, str], int] = {}
    for each in await runtime.runs(limit=None):
        found[each.workflow, each.status] = found.get((each.workflow, each.status), 0) + 1
    return found


async def test_a_function_that_causes_what_it_reacts_to_ends_as_a_dead_letter(monkeypatch: Any) -> None:
    monkeypatch.setattr(cascades, "LINKS_MAX", 20)
    async with Runtime(MemoryLedger(), workflows=[itself]) as runtime:
        await runtime.kv.namespace("loop").put("key", 1)
        # The put came from outside, so its run is no link yet.
        assert await ended(runtime) == {("itself", "completed"): 21, ("itself", "failed"): 1}
        [dead] = await runtime.runs(status="failed")
        assert "number 21 of a row" in (dead.error or "")
        await runtime.handle(dead.run_id).retry()  # it is whole, and goes on
        assert await ended(runtime) == {("itself", "completed"): 42, ("itself", "failed"): 1}


async def test_a_row_through_runs_that_steps_start_is_one_too(monkeypatch: Any) -> None:
    monkeypatch.setattr(cascades, "LINKS_MAX", 20)
    async with Runtime(MemoryLedger(), workflows=[ping, pong]) as runtime:
        await runtime.send_event("ping", 1)
        found = await ended(runtime)
        assert found == {("ping", "completed"): 11, ("pong", "completed"): 11, ("ping", "failed"): 1}


@workflow(id="slow", trigger=Event("again"))
async def slow(input: int, step) -> None:
    await step.sleep("wait", "61s")
    if input < 60:
        await step.run("send", again, input)


async def again(number: int) -> None:
    await current_step().workflows.send_event("again", number + 1)


def test_a_row_that_takes_its_time_is_never_stopped(monkeypatch: Any) -> None:
    monkeypatch.setattr(cascades, "LINKS_MAX", 20)
    with Simulation(slow) as simulation:
        simulation.start(slow, 1)
        simulation.run()
        assert [run.status().status for run in simulation.runs()] == ["completed"] * 60
