"""What schedules should have done, told from outside: from the runs that a ledger has, and plain time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from perdure import Schedule
from perdure.testing import Simulation

START = datetime(2030, 1, 1, tzinfo=UTC)


def ticks_of(simulation: Simulation, workflow: str) -> list[datetime]:
    """The ticks that have a run, in the order of the runs."""
    found = []
    for run in simulation.runs():
        if run.status().workflow == workflow:
            found.append(datetime.strptime(run.run_id.rpartition(":")[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC))
    return found


def expected(schedule: Schedule, after: datetime, until: datetime) -> list[datetime]:
    """The ticks of a span, by the schedule itself (which other tests hold against the calendar)."""
    found = schedule.ticks_between(micros(after), micros(until), 10_000_000)
    return [datetime.fromtimestamp(tick // 1_000_000, UTC) for tick in found]


def micros(when: datetime) -> int:
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
