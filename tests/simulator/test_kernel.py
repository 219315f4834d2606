"""The simulator itself: each fault strikes where it says, the story tells it, and time passes as it should."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import perdure.testing
from perdure import DefinitionError, StepTimeout
from perdure.storage.entries import Entry
from perdure.strict import step, workflow
from perdure.testing import (
    ClockJump,
    Crash,
    DuplicateOutcome,
    EventStorm,
    FullDisk,
    LyingSync,
    Restart,
    SimulatedError,
    Simulation,
    SlowStep,
    StepError,
    TornTail,
    random_faults,
)
from perdure.testing.choices import Plain


@step
def add(one: int, other: int) -> int:
    """A step with annotations."""
    return one + other


@workflow(id="sums", version="1")
async def sums(input: int, step: Any, ctx: Any) -> int:
    """A step, a night, a step, an event, a step."""
    total = await add(input, 1)
    await step.sleep("night", "8h")
    total = await add(total, 10)
    paid = await step.wait_for_event("paid", type="paid", timeout="1h")
    return await add(total, 100 if paid is None else paid["amount"])


@workflow(id="sums", version="1")
async def other_sums(input: int, step: Any, ctx: Any) -> int:
    """The same workflow, changed behind its first night."""
    await add(input, 1)
    await step.sleep("night", "8h")
    return int(await step.run("more", lambda: 7))


def live(*faults: Any, seed: int = 0) -> tuple[Simulation, list[Entry]]:
    """Live one run of `sums` to its end."""
    with Simulation(sums, seed=seed, choices=Plain(), faults=faults) as simulation:
        run = simulation.start("sums", 0, run_id="sum")
        assert run.result() == 111
        simulation.run()
    return simulation, run.entries()


def facts(entries: list[Entry]) -> list[tuple[str, str, str | None]]:
    """What entries say, whenever it was."""
    return [(entry.kind, entry.command, entry.body) for entry in entries]


QUIET, QUIET_ENTRIES = live()
COMMITS = QUIET.commits

COMMIT_FAULTS = [
    (Crash(2), "the process dies before this commit"),
    (Crash(2, "after"), "the process dies right after this commit"),
    (TornTail(2, 0.3), "30% of it reaches the disk"),
    (FullDisk(2, 2), "the disk is full, for 2 tries"),
    (ClockJump(2, 60), "the clock is set forward by 1m"),
    (ClockJump(2, -60), "the clock is set back by 1m"),
    (EventStorm(2, "noise", None, 7), "7 events 'noise' arrive at once"),
    (Restart(2), "the process dies"),
    (LyingSync(2), "the disk had lied about the last 1 commits"),
]


@pytest.mark.parametrize(("fault", "told"), COMMIT_FAULTS, ids=lambda value: repr(value)[:24])
def test_a_commit_fault_strikes_at_its_commit_and_is_told(fault: Any, told: str) -> None:
    simulation, entries = live(fault)
    lines = [line for line in simulation.story.lines() if told in line]
    assert lines, simulation.tell()
    assert all("commit 2" in line for line in lines)
    assert facts(entries) == facts(QUIET_ENTRIES)


@pytest.mark.parametrize("fault", [StepError(2), StepError(2, "add"), StepError(2, when="after")], ids=repr)
def test_a_step_error_strikes_the_call_that_it_names(fault: StepError) -> None:
    simulation, entries = live(fault)
    assert [entry.name for entry in entries if entry.kind == "step_retrying"] == ["add#2"]
    assert SimulatedError.__name__ in next(entry.body or "" for entry in entries if entry.kind == "step_retrying")
    done = [effect.step for effect in simulation.effects("add")]
    assert done == (["add", "add#2", "add#2", "add#3"] if fault.when == "after" else ["add", "add#2", "add#3"])


def test_a_slow_answer_comes_when_it_says() -> None:
    _, entries = live(SlowStep(1, takes="2h"))
    answered = next(entry for entry in entries if entry.kind == "step_completed")
    assert answered.at - entries[0].at == 2 * 3600 * 1_000_000


def test_a_duplicate_outcome_is_recorded_once() -> None:
    simulation, entries = live(DuplicateOutcome(1))
    assert facts(entries) == facts(QUIET_ENTRIES)
    assert "delivered twice" in simulation.tell()


@workflow(id="limited", version="1")
async def limited(input: None, step: Any, ctx: Any) -> str:
    """A step with a limit."""
    try:
        return str(await step.run("add", lambda: "done", timeout="1m", retries=0))
    except StepTimeout:
        return "late"


@pytest.mark.parametrize(("takes", "result"), [("59s", "done"), ("2m", "late")])
def test_an_answer_slower_than_the_limit_is_a_timeout_though_it_was_done(takes: str, result: str) -> None:
    with Simulation(limited, faults=[SlowStep(1, takes=takes)]) as simulation:
        assert simulation.start("limited").result() == result
        assert len(simulation.effects()) == 1


# ── crashes and disks ──


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", range(1, COMMITS + 1))
def test_a_crash_at_any_commit_changes_nothing_that_is_recorded(commit: int, when: Any) -> None:
    simulation, entries = live(Crash(commit, when))
    assert simulation.lives == 2
    assert facts(entries) == facts(QUIET_ENTRIES)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_keeps_exactly_what_was_durable(when: Any) -> None:
    seen: list[tuple[int, int]] = []

    def watch(simulation: Simulation) -> None:
        seen.append((simulation.lives, sum(row.row().length for row in simulation.runs())))

    with Simulation(sums, choices=Plain(), faults=[Crash(2, when)], always=[watch]) as simulation:
        simulation.start("sums", 0).result()
    lengths = [length for lives, length in seen if lives == 2]
    assert lengths[0] == (2 if when == "before" else 4)  # created, step; and step_completed, sleep


@pytest.mark.parametrize("share", [number / 50 for number in range(51)])
def test_a_torn_record_of_any_length_is_cut_off_unless_it_is_whole(share: float) -> None:
    simulation, entries = live(TornTail(2, share))
    assert simulation.lives == 2
    assert facts(entries) == facts(QUIET_ENTRIES)
    assert len(simulation.effects("add")) == (3 if share == 1 else 4)


@pytest.mark.parametrize("lost", [1, 2, 3, 9])
def test_a_lying_disk_takes_back_commits_and_what_is_left_is_whole(lost: int) -> None:
    with Simulation(sums, choices=Plain(), faults=[LyingSync(4, lost)]) as simulation:
        run = simulation.start("sums", 0, run_id="sum")
        simulation.run()
        assert simulation.lied
        kept = [row.run_id for row in simulation.runs()]
        assert kept == (["sum"] if lost < 4 else [])
        if kept:
            assert run.result() == 111


@pytest.mark.parametrize("commit", range(1, COMMITS + 1))
def test_a_full_disk_is_tried_again_and_loses_nothing(commit: int) -> None:
    simulation, entries = live(FullDisk(commit, 3))
    assert sum("the disk is full" in line for line in simulation.story.lines()) == 3
    assert facts(entries) == facts(QUIET_ENTRIES)
    assert len(simulation.effects("add")) == 3


@pytest.mark.parametrize("seconds", [-86_400.0, -1800.0, 1800.0, 86_400.0])
@pytest.mark.parametrize("commit", [2, 3, 4])
def test_ledger_time_never_runs_backwards_whatever_the_clock_does(commit: int, seconds: float) -> None:
    _, entries = live(ClockJump(commit, seconds))
    times = [entry.at for entry in entries]
    assert times == sorted(times)


def test_a_storm_of_the_event_that_is_waited_for_is_heard_once() -> None:
    storm = EventStorm(4, "paid", {"amount": 5}, 10)
    with Simulation(sums, choices=Plain(), faults=[storm]) as simulation:
        run = simulation.start("sums", 0)
        simulation.run()
        assert run.result() == 16
        assert [entry.kind for entry in run.entries()].count("event_received") == 1


# ── restarts with other code ──


def test_a_run_that_diverges_on_other_code_stops_and_goes_on_when_the_old_code_is_back() -> None:
    with Simulation(sums, code="today") as simulation:
        run = simulation.start("sums", 0)
        simulation.advance("8h30m")  # it waits for the event
        simulation.restart(other_sums)
        simulation.send_event("paid", {"amount": 5})
        assert run.status().status == "diverged"
        before = len(run.entries())
        simulation.run()
        assert len(run.entries()) == before
        simulation.restart(sums)
        assert run.result() == 16


def test_a_run_that_other_code_finds_open_goes_on_with_its_own() -> None:
    with Simulation(sums) as simulation:
        run = simulation.start("sums", 0)
        simulation.advance("8h30m")
        simulation.restart(other_sums)
        simulation.send_event("paid", {"amount": 5})
        assert run.result() == 16


def test_a_restart_fault_brings_the_other_code() -> None:
    with Simulation(sums, choices=Plain(), faults=[Restart(2, (other_sums,))], code="today") as simulation:
        assert simulation.start("sums", 0).result() == 7  # nothing of it had been recorded behind the night
        assert "comes back with other code" in simulation.tell()


# ── time ──


@workflow(id="nap", version="1")
async def nap(input: float, step: Any, ctx: Any) -> float:
    """Sleep, and say how long it was."""
    before = time.time()
    await asyncio.sleep(input)
    return time.time() - before


def test_time_jumps_over_whatever_nobody_waits_for() -> None:
    began = time.monotonic()
    with Simulation(nap) as simulation:
        assert simulation.start("nap", 90 * 86_400.0).result() == 90 * 86_400.0
        assert simulation.clock.now == datetime(2030, 4, 1, tzinfo=UTC)
    assert time.monotonic() - began < 60


def test_advance_lets_exactly_so_much_time_pass() -> None:
    with Simulation(nap) as simulation:
        run = simulation.start("nap", 100.0)
        simulation.advance("40s")
        assert simulation.clock.now == datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=40)
        assert run.status().status == "sleeping"
        simulation.advance("60s")
        assert run.status().status == "completed"


@pytest.mark.parametrize("backwards", [1800, 86_400])
def test_a_clock_that_is_set_back_makes_a_sleeper_sleep_longer_but_not_for_ever(backwards: int) -> None:
    with Simulation(nap) as simulation:
        run = simulation.start("nap", 3600.0)
        simulation.clock.jump(-backwards)
        assert run.result() == 3600.0


# ── schedules and fakes ──


@pytest.mark.parametrize(
    "fault",
    [
        Crash(0), Crash(True), Crash(1, "during"), TornTail(1, 1.5), LyingSync(1, 0), FullDisk(1, 0), StepError(0),
        SlowStep(1, takes="soon"), EventStorm(1, count=0), "crash",
    ],  # type: ignore[arg-type]
    ids=repr,
)  # fmt: skip
def test_a_schedule_that_could_not_strike_is_refused(fault: Any) -> None:
    with pytest.raises(DefinitionError):
        Simulation(sums, faults=[fault])


def test_the_same_seed_draws_the_same_schedule() -> None:
    assert random_faults(7, count=5, lying=True) == random_faults(7, count=5, lying=True)
    assert len({random_faults(seed) for seed in range(50)}) > 25


@pytest.mark.parametrize(
    ("fake", "problem"),
    [
        (lambda one: one, "lacks 'other'"),
        (lambda one, other, third: one, "requires 'third'"),
        (lambda other, one: one, "stands where"),
        ("text", "gives what the step can't"),
    ],
)
def test_a_fake_that_does_not_fit_its_step_is_refused(fake: Any, problem: str) -> None:
    with pytest.raises(DefinitionError, match=problem):
        Simulation(sums, steps={add: fake})


def test_a_fake_of_a_step_that_no_workflow_has_is_refused_with_the_name_that_was_meant() -> None:
    with pytest.raises(DefinitionError, match="did you mean 'add'"):
        Simulation(sums, steps={"ad": 1})


@pytest.mark.parametrize(
    ("fake", "result"), [(5, 5), (lambda one, other: one * 2 + 1, 7), (lambda *rest: 5, 5)], ids=["value", "f", "rest"]
)
def test_a_fake_stands_in_for_every_call_of_its_step(fake: Any, result: int) -> None:
    with Simulation(sums, steps={"add": fake}) as simulation:
        assert simulation.start("sums", 0).result() == result


def test_no_public_name_is_hidden_by_a_module_of_the_same_name() -> None:
    """Importing a submodule sets its name on the package, so `seeds` was a module once something had imported it."""
    modules = {path.stem for path in Path(perdure.testing.__file__).parent.glob("*.py")}
    assert {name for name in perdure.testing.__all__ if name in modules} <= {"strategies"}  # which is a module
