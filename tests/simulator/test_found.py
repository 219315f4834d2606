"""What simulations of random plans found, told again as small as it can be: each was a bug once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from plans import Refused

from perdure import StepFailed, StepInterrupted
from perdure.declare.registry import Registry
from perdure.engine.starting import Start
from perdure.strict import workflow
from perdure.testing import Crash, EventStorm, FullDisk, Simulation


def fine(name: str) -> str:
    """A step that works."""
    return name


async def slow(name: str) -> str:
    """A step that takes a minute."""
    await asyncio.sleep(60)
    return name


def broken() -> None:
    """A step that never works."""
    raise Refused("broken")


@workflow(id="two-timers", version="1")
async def two_timers(input: None, step: Any, ctx: Any) -> list[int]:
    """Two timers that are due shortly one after the other, long after both were set."""

    async def nap(name: str, seconds: float) -> int:
        await step.sleep(name, seconds)
        return round(time.time() * 1000)

    return list(await asyncio.gather(nap("one", 3600), nap("two", 3601)))


def test_the_second_of_two_timers_is_as_punctual_as_the_first() -> None:
    """The window of due times held one time a run, and the second was up to its horizon late."""
    with Simulation(two_timers) as simulation:
        one, two = simulation.start("two-timers").result()
    assert two - one == 1000


@workflow(id="cut-off", version="1", retries=1)
async def cut_off(input: None, step: Any, ctx: Any) -> str:
    """An attempt that fails while an at-most-once step is at work in another branch."""

    async def once() -> str:
        try:
            return str(await step.run("once", slow, "once", delivery="at_most_once"))
        except StepInterrupted:
            return "interrupted"

    async def other() -> None:
        if ctx.attempt == 1:
            await step.run("broken", broken, retries=0)

    done, _ = await asyncio.gather(once(), other())
    return str(done)


def test_an_at_most_once_step_that_a_failing_attempt_cut_off_is_not_called_again() -> None:
    """The next attempt of the run asked for it again, and it was called twice."""
    with Simulation(cut_off) as simulation:
        assert simulation.start("cut-off").result() == "interrupted"
        assert len(simulation.effects("once")) == 1


@workflow(id="interrupted-then-retried", version="1", retries=2)
async def interrupted_then_retried(input: None, step: Any, ctx: Any) -> str:
    """A body that lets the interruption out, so that the whole run is tried again."""
    return str(await step.run("once", fine, "once", delivery="at_most_once"))


def test_an_interrupted_step_stays_interrupted_in_every_further_attempt_of_its_run() -> None:
    with Simulation(interrupted_then_retried, faults=[Crash(commit=2)]) as simulation:
        run = simulation.start("interrupted-then-retried")
        simulation.run()
        assert run.outcome()[0] == "failed"
        assert "StepInterrupted" in run.outcome()[1]
        assert len(simulation.effects("once")) == 1


@workflow(id="refused-then-retried", version="1", retries=2)
async def refused_then_retried(input: None, step: Any, ctx: Any) -> str:
    """An at-most-once step that is known to have failed may be called again by the next attempt of the run."""
    return str(await step.run("once", refuse_first, delivery="at_most_once"))


CALLS: list[str] = []


def refuse_first() -> str:
    """Fail when called for the first time."""
    CALLS.append("")
    if len(CALLS) == 1:
        raise Refused("first")
    return "done"


def test_an_at_most_once_step_that_is_known_to_have_failed_is_tried_again_with_its_run() -> None:
    CALLS.clear()
    with Simulation(refused_then_retried) as simulation:
        assert simulation.start("refused-then-retried").result() == "done"
    assert len(CALLS) == 2


@workflow(id="child", version="1")
async def child(input: None, step: Any, ctx: Any) -> None:
    """A child with nothing to do."""


@workflow(id="fails-while-spawning", version="1", retries=1)
async def fails_while_spawning(input: None, step: Any, ctx: Any) -> None:
    """One branch asks for a child, the other fails at once."""

    async def fail() -> None:
        if ctx.attempt == 1:
            raise Refused("at once")

    await asyncio.gather(step.spawn("child", child), fail())


def test_a_child_that_was_asked_for_as_the_body_failed_is_not_started_behind_its_end() -> None:
    """The ledger had `child_started` behind the end of the attempt, which no replay can explain."""
    with Simulation(fails_while_spawning, child) as simulation:
        run = simulation.start("fails-while-spawning")
        simulation.run()
        kinds = [entry.kind for entry in run.entries()]
        assert kinds[:5] == ["created", "child", "retrying", "restarted", "child"]
        assert len(simulation.runs()) == 2


@workflow(id="ends-as-it-resumes", version="1")
async def ends_as_it_resumes(input: None, step: Any, ctx: Any) -> str:
    """A body that ends as soon as it hears that its at-most-once step was interrupted."""
    once = asyncio.create_task(step.run("once", fine, "once", delivery="at_most_once"))
    other = asyncio.create_task(step.run("other", fine, "other"))
    done, _ = await asyncio.wait([once, other], return_when=asyncio.FIRST_COMPLETED)
    return "interrupted" if once in done and isinstance(once.exception(), StepInterrupted) else "both"


def test_a_run_that_ends_as_it_is_resumed_has_no_other_step_called_behind_its_end() -> None:
    """Resuming went on through what the run had waited for, though the first of it had ended the run."""
    with Simulation(ends_as_it_resumes, faults=[Crash(commit=1, when="after")]) as simulation:
        assert simulation.start("ends-as-it-resumes").result() == "interrupted"
        simulation.run()
        assert simulation.effects() == []


@workflow(id="collects", version="1")
async def collects(input: int, step: Any, ctx: Any) -> list[Any]:
    """Takes one event after the other."""
    return [await step.wait_for_event(f"event-{number}", type="news") for number in range(input)]


def test_events_that_come_in_one_batch_reach_a_body_that_waits_again_after_each() -> None:
    """Only the first did, because the ledger could not know yet of the waits that began in the batch."""
    with Simulation(collects, faults=[EventStorm(commit=2, type="news", payload={"n": 1}, count=5)]) as simulation:
        run = simulation.start("collects", 4)
        simulation.send_event("news", {"n": 0})
        assert run.outcome() == ("completed", [{"n": 0}, {"n": 1}, {"n": 1}, {"n": 1}])


def test_an_event_reaches_a_run_that_was_started_in_the_same_batch() -> None:
    with Simulation(collects) as simulation:
        definition = simulation.definition("collects", "1")

        def both(engine: Any, batch: Any) -> int:
            engine.starting.start(Start(definition, 1, run_id="new"), batch)
            return int(engine.moves.event("news", {"n": 0}, batch)) + int(engine.moves.event("news", {"n": 1}, batch))

        assert simulation.ask(both) == 1
        assert simulation.handle("new").result() == [{"n": 0}]


@workflow(id="once-slowly", version="1")
async def once_slowly(input: None, step: Any, ctx: Any) -> str:
    """An at-most-once step that takes a while."""
    return str(await step.run("once", slow, "once", delivery="at_most_once"))


def test_the_outcome_of_a_step_that_was_at_work_when_its_run_diverged_is_kept() -> None:
    """It was dropped, and the body was told that the step had been interrupted, though it was known to be done."""
    with Simulation(once_slowly, code="today") as simulation:
        run = simulation.start("once-slowly")
        simulation.advance("1s")
        engine = simulation._engine
        engine.registry = Registry([])  # nobody knows the code any more
        engine.residents.clear()
        simulation.run()
        assert run.status().status == "diverged"
        simulation.restart()
        assert run.result() == "once"
        assert len(simulation.effects("once")) == 1


@workflow(id="naps", version="1")
async def naps(input: None, step: Any, ctx: Any) -> float:
    """A body that sleeps."""
    await step.sleep("nap", "1h")
    return time.time()


def test_a_run_that_recovers_does_at_once_what_fell_due_while_it_was_diverged() -> None:
    """Its timers waited for the next look at the ledger."""
    with Simulation(naps, code="today") as simulation:
        run = simulation.start("naps")
        simulation._engine.registry = Registry([])
        simulation._engine.residents.clear()
        simulation.run()
        assert run.status().status == "diverged"
        simulation.advance("1h")
        simulation.restart()
        woken = simulation.clock.now_us()
        assert run.result() == pytest.approx(woken / 1e6, abs=0.001)


def exits() -> None:
    """A step that wants to end the process."""
    raise SystemExit(3)


@workflow(id="exits", version="1")
async def leaves(input: None, step: Any, ctx: Any) -> str:
    """A body whose step wants to end the process."""
    try:
        await step.run("exits", exits, retries=0)
    except StepFailed as error:
        return error.error_type
    return "nothing"


def test_a_step_that_wants_to_end_the_process_fails_and_the_run_goes_on() -> None:
    with Simulation(leaves) as simulation:
        assert simulation.start("exits").result() == "builtins:SystemExit"


@workflow(id="slowly", version="1")
async def slowly(input: None, step: Any, ctx: Any) -> str:
    """A step that takes a while."""
    return str(await step.run("slow", slow, "slow"))


def test_what_a_full_disk_refused_to_resume_is_resumed_when_there_is_room() -> None:
    """The batch that resumed a run was refused, and nobody resumed it again before the next start."""
    with Simulation(slowly, naps) as simulation:
        run = simulation.start("slowly")
        simulation.start("naps")
        simulation.advance("1s")
        simulation.crash()
        simulation.clock.advance("1h")  # so that the batch that resumes has something to record
        simulation.strike(FullDisk(commit=simulation.commits + 1, times=2))
        assert run.result() == "slow"
        assert "the disk is full" in simulation.tell()
