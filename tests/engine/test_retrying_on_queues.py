"""A run that is retried by hand asks its queue for a place, as one that is started does."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from perdure import FatalError, Queue, Rate, Runtime, RunTimeout
from perdure.replay.check import check_run
from perdure.strict import workflow
from perdure.testing import Crash, Simulation

broken = {"now": True}


@pytest.fixture(autouse=True)
def broken_at_first() -> None:
    broken["now"] = True


def work() -> str:
    if broken["now"]:
        raise ValueError("it is broken")
    return "done"


def fatal() -> None:
    if broken["now"]:
        raise FatalError("it is broken")


@workflow(id="fragile", queue=Queue("line", max_concurrent_runs=1))
async def fragile(input: object, step: Any) -> str:
    found = await step.run("work", work, retries=0)
    await step.sleep(10)
    return str(found)


def retry_all(simulation: Simulation, runs: list[Any]) -> None:
    for run in runs:
        run.retry()
    simulation.advance(1)


def failed(simulation: Simulation, count: int, name: str = "fragile", **options: Any) -> list[Any]:
    runs = [simulation.start(name, None, run_id=f"run-{number}", **options) for number in range(count)]
    simulation.run()
    assert {run.row().status for run in runs} == {"failed"}
    broken["now"] = False
    return runs


def test_many_that_are_retried_at_once_begin_one_after_the_other_in_their_order() -> None:
    with Simulation(fragile) as simulation:
        runs = failed(simulation, 5)
        retry_all(simulation, runs)
        assert [run.row().status for run in runs] == ["sleeping", *["queued"] * 4]
        simulation.run()
        assert [run.result() for run in runs] == ["done"] * 5
        begins = [run.row().began_at for run in runs]
        assert begins == sorted(begins)
        assert all(later - before >= 10_000_000 for before, later in itertools.pairwise(begins))


def test_one_that_is_retried_waits_behind_one_that_has_the_place() -> None:
    with Simulation(fragile) as simulation:
        (run,) = failed(simulation, 1)
        other = simulation.start("fragile", None, run_id="other")
        retry_all(simulation, [run])
        assert (other.row().status, run.row().status) == ("sleeping", "queued")
        simulation.run()
        assert other.row().finished_at <= run.row().began_at
        assert (run.row().attempt, run.row().requeued_at) == (2, None)


@pytest.mark.parametrize("commit", range(4, 14))
def test_those_that_wait_are_known_after_a_crash_at_any_commit(commit: int) -> None:
    with Simulation(fragile, faults=[Crash(commit=commit)]) as simulation:
        runs = failed(simulation, 3)
        retry_all(simulation, runs)
        simulation.run()
        assert [run.result() for run in runs] == ["done"] * 3
        begins = sorted(run.row().began_at for run in runs)
        assert all(later - before >= 10_000_000 for before, later in itertools.pairwise(begins))


def test_one_that_waits_for_its_next_attempt_can_be_cancelled_and_retried_once_more() -> None:
    with Simulation(fragile) as simulation:
        first, second = failed(simulation, 2)
        retry_all(simulation, [first, second])
        assert second.cancel()
        assert second.row().status == "cancelled"
        entries = simulation.ledger.entries(second.row().run)
        (definition,) = simulation.definitions("fragile", "1")
        assert check_run(second.row(), definition, entries).ok
        second.retry()
        assert second.row().status == "queued"
        simulation.run()
        assert (first.result(), second.result()) == ("done", "done")


def test_one_that_was_cancelled_before_it_began_waits_again_and_is_known_to_have_begun() -> None:
    with Simulation(fragile) as simulation:
        first = simulation.start("fragile", None, run_id="first")
        second = simulation.start("fragile", None, run_id="second", delay=60)
        second.cancel()
        simulation.run()
        broken["now"] = False
        second.retry()
        simulation.run()
        assert (first.row().status, second.result()) == ("failed", "done")
        assert second.row().began_at is not None


def test_no_later_start_takes_the_place_of_one_that_is_retried() -> None:
    @workflow(id="calm", queue=Queue("calm", debounce="5s", max_concurrent_runs=1))
    async def calm(input: str, step: Any) -> str:
        await step.run("work", work, retries=0)
        await step.sleep(10)
        return input

    with Simulation(calm) as simulation:
        old = simulation.start("calm", "old", run_id="old")
        simulation.run()
        broken["now"] = False
        other = simulation.start("calm", "other", run_id="other")
        simulation.advance(6)
        retry_all(simulation, [old])
        assert (other.row().status, old.row().status) == ("sleeping", "queued")
        new = simulation.start("calm", "new")
        assert new.run_id != "old"
        simulation.run()
        assert (old.result(), new.result()) == ("old", "new")


def test_a_rate_counts_the_begins_of_those_that_are_retried() -> None:
    @workflow(id="paced", queue=Queue("paced", rate=Rate(2, per="60s")))
    async def paced(input: object, step: Any) -> str:
        return str(await step.run("work", work, retries=0))

    with Simulation(paced) as simulation:
        runs = failed(simulation, 4, "paced")
        simulation.advance(120)
        retry_all(simulation, runs)
        assert sorted(run.row().status for run in runs) == ["completed", "completed", "queued", "queued"]
        simulation.crash()
        assert sorted(run.row().status for run in runs) == ["completed", "completed", "queued", "queued"]
        simulation.run()
        begins = sorted(run.row().began_at for run in runs)
        assert begins[2] - begins[0] >= 60_000_000


def test_a_workflows_own_retries_keep_the_place_of_one_that_was_retried_by_hand() -> None:
    @workflow(id="again", retries=3, queue=Queue("again", max_concurrent_runs=1))
    async def again(input: object, step: Any, ctx: Any) -> int:
        await step.run("work", fatal, retries=0)
        if ctx.attempt == 2:
            raise ValueError("now and then")
        return int(ctx.attempt)

    with Simulation(again) as simulation:
        first, second = failed(simulation, 2, "again")
        retry_all(simulation, [first, second])
        assert (first.row().status, second.row().status) == ("awaiting_retry", "queued")
        simulation.run()
        assert [first.result(), second.result()] == [3, 3]


def test_a_parent_does_not_hear_of_the_old_failure_of_a_child_that_waits_to_be_retried() -> None:
    @workflow(id="parent", version="1")
    async def parent(input: object, step: Any) -> str:
        child = await step.spawn("child", fragile, None)
        return str(await child.result())

    with Simulation(parent, fragile) as simulation:
        mother = simulation.start("parent", None)
        simulation.run()
        assert mother.row().status == "failed"
        broken["now"] = False
        blocking = simulation.start("fragile", None)
        retry_all(simulation, [mother])
        assert mother.row().status == "running"
        simulation.run()
        assert (blocking.result(), mother.result()) == ("done", "done")


async def test_a_deadline_that_the_code_no_longer_has_does_not_end_what_is_retried(tmp_path) -> None:
    @workflow(id="hasty", version="1", timeout="100ms")
    async def hasty(input: object, step: Any) -> str:
        await step.wait_for_event("go", type="go")
        return "went"

    hurried = hasty

    @workflow(id="hasty", version="1")
    async def hasty(input: object, step: Any) -> str:
        await step.wait_for_event("go", type="go")
        return "went"

    async with Runtime(tmp_path / "t.duckdb", workflows=[hurried]) as runtime:
        run = await runtime.start("hasty", None, run_id="r")
        with pytest.raises(RunTimeout):
            await run.result(timeout="20s")
    async with Runtime(tmp_path / "t.duckdb", workflows=[hasty]) as runtime:
        run = runtime.handle("r")
        await run.retry()
        await runtime.send_event("go")
        assert await run.result(timeout="20s") == "went"
        assert (await run.replay()).ok


async def test_a_bulk_retry_is_no_more_at_work_than_the_queue_lets_be_on_both_ledgers(open_runtime) -> None:
    async with open_runtime(fragile) as runtime:
        runs = [await runtime.start("fragile", None) for _ in range(20)]
        for run in runs:
            assert await run.wait(timeout="20s") == "failed"
        broken["now"] = False
        assert await runtime.retry_runs() == 20
        await runs[0].wait("sleeping", timeout="20s")
        (line,) = [each for each in await runtime.queues() if each.name == "line"]
        assert (line.running, line.queued) == (1, 19)
        assert await runtime.cancel_runs() == 20
        assert {await run.wait(timeout="20s") for run in runs} == {"cancelled"}
