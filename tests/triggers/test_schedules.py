"""One run per tick, whatever crashes and however the clock jumps; what was missed is caught up as was said."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from ticking import START, expected, ticks_of

from perdure.strict import DefinitionError, Schedule, ScheduledInput, workflow
from perdure.testing import ClockJump, Crash, FullDisk, Simulation

DAILY = Schedule("0 3 * * *", "Europe/Berlin", name="night")
HOURLY = Schedule("15 * * * *", "America/New_York")


@workflow(id="daily", trigger=DAILY)
async def daily(input: ScheduledInput) -> datetime:
    return input["scheduled_at"]


@workflow(id="hourly", trigger=HOURLY)
async def hourly() -> None: ...


def made(id: str, schedule: Schedule, version: str = "1") -> Any:
    @workflow(id=id, version=version, trigger=schedule)
    async def body() -> None: ...

    return body


def test_a_year_of_ticks_has_a_run_each_and_its_input_is_the_tick() -> None:
    with Simulation(daily, seed=1, start_at=START) as world:
        world.advance("365d")
        found = ticks_of(world, "daily")
        assert found == expected(DAILY, START, START + timedelta(days=365))
        assert len(found) == 365
        assert [run.result() for run in world.runs()] == found


@pytest.mark.parametrize("seed", range(6))
def test_a_year_of_jumps_crashes_and_restarts_has_one_run_for_each_tick(seed: int) -> None:
    """All are caught up: so the ticks of every moment that the clock has shown or passed over have a run each."""
    draw = random.Random(seed)
    with Simulation(daily, seed=seed, start_at=START) as world:
        latest = START
        while latest < START + timedelta(days=365):
            what = draw.choice(["pass", "pass", "forward", "back", "crash", "restart", "crash soon", "full"])
            if what == "forward":
                world.clock.jump(draw.choice([30, 3_600, 86_400, 9 * 86_400]))
            elif what == "back":
                world.clock.jump(-draw.choice([1, 45, 3_600, 2 * 86_400]))
            elif what == "crash":
                world.crash()
            elif what == "restart":
                world.clock.jump(draw.choice([0, 100_000, 700_000]))
                world.restart()
            elif what == "crash soon":
                world.strike(Crash(world.commits + draw.randint(1, 3), when=draw.choice(["before", "after"])))
            elif what == "full":
                world.strike(FullDisk(world.commits + draw.randint(1, 3), times=2))
            latest = max(latest, world.clock.now)
            world.advance(timedelta(seconds=draw.choice([1, 4_000, 90_000, 600_000])))
            latest = max(latest, world.clock.now)
        world.clock.jump(max(0.0, (latest - world.clock.now).total_seconds()))
        world.advance("1m")
        found = ticks_of(world, "daily")
        assert len(set(found)) == len(found)
        assert sorted(found) == expected(DAILY, START, world.clock.now)


def test_ticks_that_passed_while_nothing_ran_are_caught_up_all_by_pages() -> None:
    minutely = Schedule("* * * * *")
    with Simulation(made("often", minutely), seed=2, start_at=START) as world:
        world.advance("10s")
        world.clock.jump(24 * 3600)
        world.crash()
        commits = world.commits
        world.advance("30s")
        assert ticks_of(world, "often") == expected(minutely, START, world.clock.now)
        assert world.commits - commits > 5  # 1,440 ticks, and others are served in between


@pytest.mark.parametrize(("catch_up", "missed"), [("last", 1), ("none", 0)])
def test_of_missed_ticks_only_the_last_or_none_is_caught_up(catch_up: Any, missed: int) -> None:
    schedule = Schedule("0 * * * *", catch_up=catch_up)
    with Simulation(made("some", schedule), seed=3, start_at=START) as world:
        world.advance("90m")
        world.clock.jump(10 * 3600)  # to 11:30
        world.crash()
        world.advance("1h")
        hours = [tick.hour for tick in ticks_of(world, "some")]
        assert hours == [1, *([11] if missed else []), 12]


def test_a_tick_that_is_less_than_a_minute_late_was_not_missed() -> None:
    schedule = Schedule("*/10 * * * * *", catch_up="none")
    with Simulation(made("some", schedule), seed=3, start_at=START) as world:
        world.advance("1s")
        world.clock.jump(130)  # to 00:02:11; ticks up to 00:01:11 were missed
        world.advance("1s")
        assert ticks_of(world, "some") == expected(schedule, START + timedelta(seconds=71), world.clock.now)


def test_a_clock_that_ran_ahead_and_is_put_right_does_not_silence_a_schedule() -> None:
    with Simulation(hourly, seed=4, start_at=START) as world:
        world.advance("3h")
        world.clock.jump(30 * 86_400)
        world.advance("1h")
        world.clock.jump(-30 * 86_400)
        world.advance("5h")
        found = ticks_of(world, "hourly")
        assert len(set(found)) == len(found)
        assert set(expected(HOURLY, START, world.clock.now)) <= set(found)


def test_a_new_schedule_and_a_changed_one_begin_from_now() -> None:
    with Simulation(made("a", Schedule("0 * * * *")), seed=5, start_at=START) as world:
        world.advance("150m")
        assert [tick.hour for tick in ticks_of(world, "a")] == [1, 2]
        world.clock.jump(4 * 3600)
        world.restart(made("a", Schedule("30 * * * *")))
        world.advance("70m")
        assert [(tick.hour, tick.minute) for tick in ticks_of(world, "a")] == [(1, 0), (2, 0), (7, 30)]


def test_a_removed_schedule_stops_and_another_name_is_another_schedule() -> None:
    with Simulation(made("a", Schedule("0 * * * *", name="one")), seed=5, start_at=START) as world:
        world.advance("61m")
        world.restart(made("a", Schedule("0 * * * *", name="two")))
        world.advance("1h")
        assert [run.run_id.split(":")[1] for run in world.runs()] == ["one", "two"]


def test_two_versions_tick_once_with_the_newest() -> None:
    old, new = made("a", Schedule("0 * * * *"), "1"), made("a", Schedule("0 * * * *"), "2")
    with Simulation(old, new, seed=6, start_at=START) as world:
        world.advance("2h")
        assert [run.status().version for run in world.runs()] == ["2", "2"]


def test_a_paused_schedule_lets_ticks_pass_over_restarts_and_goes_on_with_the_next() -> None:
    with Simulation(hourly, seed=7, start_at=START) as world:
        world.advance("1h")
        assert world.ask(lambda engine, batch: engine.schedules.pause("hourly", batch))
        assert not world.ask(lambda engine, batch: engine.schedules.pause("hourly/schedule", batch))
        world.advance("5h")
        world.crash()
        world.advance("5h")
        assert len(world.runs()) == 1
        assert world.ask(lambda engine, batch: engine.schedules.resume("hourly", batch))
        world.advance("1h")
        assert len(world.runs()) == 2


def test_a_backfill_starts_what_has_no_run_yet_and_only_once() -> None:
    with Simulation(hourly, seed=8, start_at=START) as world:
        world.advance("3h")
        first, last = (int((START + timedelta(hours=hours)).timestamp()) * 1_000_000 for hours in (-24, 3))

        def page(limit: int, after: int = first) -> tuple[int, int | None]:
            return world.ask(lambda engine, batch: engine.schedules.backfill("hourly", after, last, limit, batch))

        started, rest = page(10)
        assert (started, rest is None) == (10, False)
        assert rest is not None
        assert page(1_000, rest) == (14, None)
        assert page(1_000) == (0, None)
        world.run()
        found = ticks_of(world, "hourly")
        assert sorted(found) == expected(HOURLY, START - timedelta(hours=24), world.clock.now)
        assert len(found) == 27


def test_a_backfill_of_what_was_missed_and_the_catching_up_with_it_start_each_tick_once() -> None:
    with Simulation(hourly, seed=8, start_at=START) as world:
        world.advance("3h")
        world.clock.jump(5 * 3600)
        now = world.clock.now_us()
        held = []

        def backfill(engine: Any, batch: Any) -> tuple[int, int | None]:
            return engine.schedules.backfill("hourly", now - 8 * 3_600_000_000, now, 100, batch)

        world._engine.schedules.held = True  # as a command does that only wants the backfill
        held.append(world.ask(backfill))
        world.crash()
        world.advance("1h")
        assert held == [(5, None)]
        found = ticks_of(world, "hourly")
        assert sorted(found) == expected(HOURLY, START, world.clock.now)


@pytest.mark.parametrize("known", [True, False])
def test_an_id_that_somebody_took_ahead_of_its_tick_is_that_tick_s_run(known: bool) -> None:
    with Simulation(
        *([hourly] if known else [made("other", DAILY)]), made("hand", DAILY), seed=8, start_at=START
    ) as world:
        if known:
            world.advance("1h")
        taken = expected(HOURLY, START, START + timedelta(hours=3))[-1]
        run_id = f"hourly:schedule:{taken:%Y%m%dT%H%M%SZ}"
        world.start("hourly" if known else "hand", run_id=run_id, input=None if not known else {"scheduled_at": taken})
        world.restart(hourly)
        world.advance("5h")
        assert [run.run_id for run in world.runs()].count(run_id) == 1
        assert len(world.runs()) >= 4


def test_a_run_may_be_triggered_beside_the_ticks() -> None:
    with Simulation(daily, seed=9, start_at=START) as world:
        run_id = world.ask(lambda engine, batch: engine.schedules.trigger("daily", batch))
        world.run()
        assert world.handle(run_id).result() == START
        world.advance("1d")
        assert len(world.runs()) == 2


def test_a_schedule_that_nobody_declared_is_refused_with_the_nearest() -> None:
    near = pytest.raises(DefinitionError, match=r"did you mean hourly/schedule\?")
    with Simulation(daily, hourly, seed=9, start_at=START) as world, near:
        world.ask(lambda engine, batch: engine.schedules.pause("hourly/schedul", batch))


def test_a_clock_that_is_put_back_starts_nothing_twice() -> None:
    with Simulation(hourly, seed=10, start_at=START, faults=[ClockJump(4, -7_200)]) as world:
        world.advance("8h")
        found = ticks_of(world, "hourly")
        assert len(set(found)) == len(found)
        assert found == expected(HOURLY, START, max(found))


def test_a_run_until_nothing_can_happen_does_not_wait_for_ticks() -> None:
    with Simulation(hourly, seed=11, start_at=START) as world:
        world.run()
        assert world.runs() == []
        world.run(until=lambda: len(world.runs()) == 3)
        assert len(ticks_of(world, "hourly")) == 3
