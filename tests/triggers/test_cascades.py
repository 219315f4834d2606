"""Runs that come of runs: a row or a tree that never ends is stopped, one that takes its time is not."""

from __future__ import annotations

from typing import Any

import pytest

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
    monkeypatch.setattr(cascades, "REPEATED_MAX", 20)
    async with Runtime(MemoryLedger(), workflows=[itself]) as runtime:
        await runtime.kv.namespace("loop").put("key", 1)
        # The put came from outside, so its run is no link yet.
        assert await ended(runtime) == {("itself", "completed"): 21, ("itself", "failed"): 1}
        [dead] = await runtime.runs(status="failed")
        assert "itself would be number 21 of the runs that came of an earlier run" in (dead.error or "")
        await runtime.handle(dead.run_id).retry()  # it is whole, and goes on
        assert await ended(runtime) == {("itself", "completed"): 42, ("itself", "failed"): 1}


async def test_a_row_through_runs_that_steps_start_is_one_too(monkeypatch: Any) -> None:
    monkeypatch.setattr(cascades, "REPEATED_MAX", 20)
    async with Runtime(MemoryLedger(), workflows=[ping, pong]) as runtime:
        await runtime.send_event("ping", 1)
        found = await ended(runtime)
        assert found == {("ping", "completed"): 21, ("pong", "completed"): 21, ("ping", "failed"): 1}


@workflow(id="slow", trigger=Event("again"))
async def slow(input: int, step) -> None:
    await step.sleep("wait", "2h")
    if input < 60:
        await step.run("send", again, input)


async def again(number: int) -> None:
    await current_step().workflows.send_event("again", number + 1)


def test_a_row_that_takes_its_time_is_never_stopped(monkeypatch: Any) -> None:
    monkeypatch.setattr(cascades, "REPEATED_MAX", 20)
    with Simulation(slow) as simulation:
        simulation.start(slow, 1)
        simulation.run()
        assert [run.status().status for run in simulation.runs()] == ["completed"] * 60


# ── trees, restarts, and what is in between ──────────────────────────────────────────────────────


@on_kv_change(namespace="twice")
async def twice(change: KvChange) -> None:
    place = current_step().kv.namespace("twice")
    await place.put(f"{change.key}0", 1)
    await place.put(f"{change.key}1", 1)


async def put(key: str) -> None:
    await current_step().kv.namespace("twice").put(key, 1)


@workflow(id="put-by-hand")
async def put_by_hand(input: list[str], step) -> None:
    await step.map("put", put, input)


def by_status(simulation: Simulation, workflow: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for run in simulation.runs():
        status = run.status()
        if status.workflow == workflow:
            found[status.status] = found.get(status.status, 0) + 1
    return found


@pytest.mark.parametrize("crashing", [False, True])
def test_a_tree_of_reactions_is_stopped_as_a_whole_also_over_crashes(monkeypatch: Any, crashing: bool) -> None:
    monkeypatch.setattr(cascades, "REPEATED_MAX", 50)
    with Simulation(twice, put_by_hand, seed=3) as simulation:
        simulation.start(put_by_hand, ["x"])
        for _ in range(30 if crashing else 0):
            for _ in range(9):
                simulation.turn()
            simulation.crash()
        simulation.run()
        # The first reaction, and 50 that come of it; each of those that were stopped is kept.
        assert by_status(simulation, "twice") == {"completed": 51, "failed": 52}


def test_what_a_callers_run_writes_is_no_cascade_however_much_it_is(monkeypatch: Any) -> None:
    monkeypatch.setattr(cascades, "REPEATED_MAX", 2)
    with Simulation(twice, put_by_hand) as simulation:
        simulation.start(put_by_hand, [f"x{number}" for number in range(40)])
        simulation.run()
        assert by_status(simulation, "twice") == {"completed": 40 * 3, "failed": 40 * 4}  # each is the first of its own


@workflow(id="passes-on", trigger=Event("tick-tock"))
async def passes_on(input: int, step) -> None:
    if input % 3 == 0:
        await step.invoke("child", "told", input)
    elif input % 3 == 1:
        await step.continue_as(input + 1_000_003)  # the next run of the chain tells it
    else:
        await step.run("tell", tell, input)


@workflow(id="told")
async def told(input: int, step) -> None:
    await step.run("tell", tell, input)


async def tell(number: int) -> None:
    await current_step().workflows.send_event("tick-tock", number % 1_000_000 + 1)


def test_children_and_chains_in_between_make_nothing_begin_anew(monkeypatch: Any) -> None:
    monkeypatch.setattr(cascades, "REPEATED_MAX", 30)
    with Simulation(passes_on, told) as simulation:
        simulation.send_event("tick-tock", 0)
        simulation.run()
        assert by_status(simulation, "passes-on")["failed"] == 1
        assert len(simulation.runs()) < 100


def test_a_retry_of_what_was_stopped_begins_anew(monkeypatch: Any) -> None:
    monkeypatch.setattr(cascades, "REPEATED_MAX", 20)
    with Simulation(twice, put_by_hand) as simulation:
        simulation.start(put_by_hand, ["x"])
        simulation.run()
        [*_, dead] = [run for run in simulation.runs() if run.status() == "failed"]
        done = by_status(simulation, "twice")["completed"]
        dead.retry()
        simulation.run()
        assert by_status(simulation, "twice")["completed"] == done + 1 + 20
