"""What a schedule owes after it was paused, or was not declared for a while: what was missed, and no more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from ticking import START, expected, ticks_of

from perdure import MemoryLedger, Runtime
from perdure.strict import Schedule, workflow
from perdure.testing import Simulation

HOURLY = Schedule("15 * * * *")


def made(id: str, *schedules: Schedule) -> Any:
    @workflow(id=id, trigger=list(schedules))
    async def body() -> None: ...

    return body


def hours(*spans: tuple[float, float]) -> list[Any]:
    """The ticks of `HOURLY` in spans of hours since the start."""
    return [
        tick for begin, end in spans for tick in expected(HOURLY, *(START + timedelta(hours=h) for h in (begin, end)))
    ]


def down(world: Simulation, *workflows: Any, hours: float) -> None:
    """Have nothing run for a while."""
    world.clock.jump(hours * 3600)
    world.restart(*workflows)


def pause(world: Simulation, *, paused: bool, **how: Any) -> bool:
    act = "pause" if paused else "resume"
    return world.ask(lambda engine, batch: getattr(engine.schedules, act)("a", batch, **how))


# ── removed ──────────────────────────────────────────────────────────────────────────────────────


def test_a_schedule_that_was_removed_for_a_year_owes_nothing_of_that_year() -> None:
    with Simulation(made("a", HOURLY), start_at=START) as world:
        world.advance("3h")
        world.restart(made("a"))
        world.advance("365d")
        world.restart(made("a", HOURLY))
        world.advance("2h")
        assert ticks_of(world, "a") == hours((0, 3), (365 * 24 + 3, 365 * 24 + 5))
        told = world.tell()
        assert "it was not, so its 8,760 ticks of that time start nothing" in told
        assert (
            "perdure schedules backfill LEDGER a/schedule --from 2030-01-01T03:00:00Z --to 2031-01-01T03:00:00Z" in told
        )


def test_a_deploy_that_lacks_a_schedule_for_less_than_an_hour_loses_no_tick() -> None:
    with Simulation(made("a", HOURLY), start_at=START) as world:
        world.advance("3h")
        world.restart(made("b"))
        world.advance("50m")  # 03:15 passes
        world.restart(made("a", HOURLY))
        world.advance("1h")
        assert ticks_of(world, "a") == hours((0, 5))


def test_time_in_which_nothing_ran_is_owed_before_and_after_the_time_without_the_schedule() -> None:
    with Simulation(made("a", HOURLY), start_at=START) as world:
        world.advance("1h")
        down(world, made("b"), hours=5)
        world.advance("4h")
        down(world, made("a", HOURLY), hours=5)
        world.advance("1m")
        assert ticks_of(world, "a") == hours((0, 6), (10, 15))


def test_who_opens_the_ledger_with_other_workflows_for_a_moment_takes_nothing_from_what_is_owed() -> None:
    with Simulation(made("a", HOURLY), start_at=START) as world:
        world.advance("1s")
        down(world, made("b"), hours=20)
        world.advance("5m")
        down(world, made("a", HOURLY), hours=20)
        world.advance("1m")
        assert ticks_of(world, "a") == hours((0, 40.1))


@pytest.mark.parametrize("catch_up", ["last", "none"])
def test_the_same_for_schedules_that_catch_up_with_the_last_or_none(catch_up: Any) -> None:
    schedule = Schedule("15 * * * *", catch_up=catch_up)
    with Simulation(made("a", schedule), start_at=START) as world:
        world.advance("1s")
        down(world, made("b"), hours=5.5)  # 05:15 was missed
        world.advance("10h")
        world.restart(made("a", schedule))
        world.advance("1m")
        assert ticks_of(world, "a") == (hours((4.5, 5.5)) if catch_up == "last" else [])


def test_that_it_is_lacked_is_said_once_and_not_at_every_start() -> None:
    with Simulation(made("a", HOURLY), start_at=START) as world:
        world.advance("1h")
        for _ in range(3):
            world.restart(made("b"))
            world.advance("90m")
        assert world.tell().count("declares schedule a/schedule any more") == 1


def test_what_nobody_declares_wakes_the_engine_once_an_hour_and_no_more() -> None:
    with Simulation(made("a", HOURLY), start_at=START) as world:
        world.advance("1h")
        world.restart(made("b"))
        before = world.commits
        world.advance("10d")
        assert world.commits - before == 240


# ── paused ───────────────────────────────────────────────────────────────────────────────────────


def test_what_was_missed_before_a_pause_is_caught_up_with_after_it_and_what_passed_in_it_is_not() -> None:
    with Simulation(made("a", HOURLY), start_at=START) as world:
        world.advance("1h")
        world._engine.schedules.held = True  # as while a command pauses it, and no worker has run for five hours
        world.clock.jump(5 * 3600)
        assert pause(world, paused=True)
        world.crash()
        world.advance("4h")
        assert ticks_of(world, "a") == hours((0, 1))
        assert pause(world, paused=False)
        world.advance("1h")
        assert ticks_of(world, "a") == hours((0, 6), (10, 11))


def test_what_was_missed_before_a_pause_can_be_left_out() -> None:
    with Simulation(made("a", HOURLY), start_at=START) as world:
        world.advance("1s")
        world._engine.schedules.held = True
        world.clock.jump(5 * 3600)
        pause(world, paused=True)
        pause(world, paused=False, skip_missed=True)
        world.crash()
        world.advance("1h")
        assert ticks_of(world, "a") == hours((5, 6))


def test_several_pauses_before_a_worker_runs_each_let_their_ticks_pass() -> None:
    with Simulation(made("a", HOURLY), start_at=START) as world:
        world.advance("1s")
        world._engine.schedules.held = True
        for _ in range(3):
            world.clock.jump(2 * 3600)
            pause(world, paused=True)
            world.clock.jump(2 * 3600)
            pause(world, paused=False)
        world.crash()
        world.advance("1h")
        assert ticks_of(world, "a") == hours((0, 2), (4, 6), (8, 10), (12, 13))


def test_a_pause_in_a_future_that_a_clock_showed_by_mistake_silences_nothing_later() -> None:
    with Simulation(made("a", HOURLY), start_at=START) as world:
        world.advance("1s")
        world._engine.schedules.held = True
        world.clock.jump(30 * 86_400)
        pause(world, paused=True)
        world.clock.jump(3600)
        pause(world, paused=False)
        world.clock.jump(-(30 * 86_400 + 3600))  # the clock is put right
        world.crash()
        world.advance("31d")
        assert set(hours((0, 31 * 24))) == set(ticks_of(world, "a"))


@pytest.mark.parametrize("catch_up", ["last", "none"])
def test_the_first_tick_that_comes_again_after_a_clock_was_put_back_starts_its_run(catch_up: Any) -> None:
    schedule = Schedule("15 * * * *", catch_up=catch_up)
    with Simulation(made("a", schedule), start_at=START) as world:
        world.advance("1s")
        down(world, hours=5.5)  # 04:15 and those before were skipped, by a clock that runs ahead
        world.advance("1s")
        down(world, hours=-5)
        world.advance("1h")
        assert hours((0.5, 1.5))[0] in ticks_of(world, "a")


async def test_who_declares_no_schedule_and_looks_at_them_is_not_woken_for_them() -> None:
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=[made("a", HOURLY)]) as runtime:
        assert len(await runtime.schedules()) == 1
    async with Runtime(ledger) as looks:
        assert await looks.schedules() == []
        assert await looks.ask(lambda engine, batch: engine.schedules.wake_at) is None
    async with Runtime(ledger, workflows=[made("b", HOURLY)]) as another:
        wake_at, now = await another.ask(lambda engine, batch: (engine.schedules.wake_at, batch.now))
        assert now < wake_at <= now + 3_600_000_000
