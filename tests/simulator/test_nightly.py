"""A year of nights in seconds, with a process that dies in many of them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from typing import Any

from perdure.strict import workflow
from perdure.testing import Crash, FullDisk, Simulation
from perdure.testing.choices import Seeded

NIGHTS = 365


def report(night: str) -> str:
    """What is done each night."""
    return f"report of {night}"


@workflow(id="nightly", version="1")
async def nightly(input: int, step: Any, ctx: Any) -> int:
    """At three o'clock, every night."""
    for _ in range(input):
        now = datetime.now(UTC)
        three = datetime.combine(now.date(), time(3), UTC)
        if three <= now:
            three += timedelta(days=1)
        await step.sleep_until(three)
        await step.run(f"report-{three.date()}", report, three.date().isoformat())
    return input


def test_a_year_of_nights_has_one_run_of_the_step_a_night_whatever_dies_between() -> None:
    chosen = Seeded(1)
    faults: list[Any] = [Crash(1 + chosen.choose(2 * NIGHTS), ("before", "after")[chosen.choose(2)]) for _ in range(40)]
    faults += [FullDisk(1 + chosen.choose(2 * NIGHTS)) for _ in range(10)]
    with Simulation(nightly, seed=1, faults=faults) as simulation:
        run = simulation.start("nightly", NIGHTS)
        assert run.result() == NIGHTS
        assert simulation.lives > 20
        completed = [entry for entry in run.entries() if entry.kind == "step_completed"]
        assert len({entry.name for entry in completed}) == len(completed) == NIGHTS
        nights = Counter(effect.step for effect in simulation.effects())
        assert len(nights) == NIGHTS
        # A crash before the commit of a result makes the step run again, under the same key.
        assert sum(nights.values()) - NIGHTS <= sum(fault.when == "before" for fault in faults[:40])
        moments = [datetime.fromtimestamp(entry.at / 1e6, UTC) for entry in completed]
        assert all(moment.hour == 3 and moment.minute == 0 for moment in moments)
        assert moments[-1] - moments[0] == timedelta(days=NIGHTS - 1)
