"""What a schedule owes, told a second time and in another way: as spans of time that are lived through one by one.

    must    ticks that have a run, whatever strikes
    may     ticks of which the clock decides: it was put back over them, or they were late by about a minute

Every other tick has none. Knows schedules and what was done to a life. Must not know the engine.
"""

from __future__ import annotations

from perdure import Schedule

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
LATE_US = 60 * SECOND_US


class Owing:
    """One schedule of a life."""

    def __init__(self, schedule: Schedule, now: int) -> None:
        self.schedule = schedule
        self.must: set[int] = set()
        self.may: set[int] = set()
        self.seen = now  # up to here it is decided what became of each tick
        self.passed: list[tuple[int, int]] = []  # after `seen`, and not owed
        self.paused: int | None = None  # since when

    def lived(self, begin: int, now: int) -> None:
        """Something was at work from one moment to another, and whatever was late was seen to first."""
        if self.paused is not None:
            return
        late = self._owed(self.seen, begin)
        if self.schedule.catch_up == "all":
            self.must.update(late)
        else:
            missed = [tick for tick in late if tick <= begin - LATE_US]
            self.must.update(tick for tick in late if tick > begin - LATE_US)
            if self.schedule.catch_up == "last":
                self.must.update(missed[-1:])
        self.must.update(self._owed(max(begin, self.seen), now))
        self.seen, self.passed = max(self.seen, now), []

    def jumped(self, before: int, now: int) -> None:
        """The clock was put somewhere else."""
        if now > before:
            if self.schedule.catch_up != "all":  # a full disk may have kept the last of them for the next life
                self.uncertain(before - LATE_US, before)
            return
        # Whatever the clock shows again may be started now that was not before, and is not started twice.
        self.may.update(self._ticks(now - LATE_US, max(self.seen, before)))
        self.seen = min(self.seen, now)
        self.passed = [(begin, min(end, now)) for begin, end in self.passed if begin < now]
        if self.paused is not None:
            self.paused = min(self.paused, now)

    def uncertain(self, begin: int, end: int) -> None:
        """Of these ticks nothing is sure."""
        ticks = self._ticks(begin, end)
        self.may.update(tick for tick in ticks if tick in self.must)
        self.must.difference_update(ticks)

    def pause(self, now: int) -> None:
        """Let ticks pass from now on."""
        self.paused = now if self.paused is None else self.paused

    def resume(self, now: int) -> None:
        """Go on: the ticks of the pause are not owed."""
        if self.paused is not None:
            self.passed.append((self.paused, now))
            self.paused = None

    def undeclared(self, begin: int, now: int) -> None:
        """A runtime was at work without it, which noted that every hour; less than one counts for nothing."""
        end = begin + (now - begin) // HOUR_US * HOUR_US
        if end > begin:
            self.passed.append((begin, end))

    def backfilled(self, begin: int, end: int) -> None:
        """Somebody had all of a range started that had no run."""
        self.must.update(self._ticks(begin, end))

    def check(self, started: list[int]) -> None:
        """Hold what was started against it."""
        found = set(started)
        assert len(started) == len(found), "a tick has two runs"
        assert self.must <= found, f"{self.schedule} lost {sorted(self.must - found)[:5]}"
        more = found - self.must - self.may
        assert not more, f"{self.schedule} started what nobody owed: {sorted(more)[:5]}"

    def _owed(self, begin: int, end: int) -> list[int]:
        ticks = self._ticks(begin, end)
        return [tick for tick in ticks if not any(after < tick <= until for after, until in self.passed)]

    def _ticks(self, begin: int, end: int) -> list[int]:
        return self.schedule.ticks_between(begin, end, 1_000_000) if begin < end else []
