"""Which ticks a schedule owes: those after the last that is done with, without those that were meant to pass.

    missed      nothing was running: they are owed, and the schedule's `catch_up` says what becomes of them
    paused      they pass. What was missed before the pause is still owed after it
    undeclared  a runtime was at work whose workflows had no such schedule. For less than an hour that is a deploy that
                was taken back, and they are owed; for longer the schedule was removed, and they pass

Pure: knows cursors and schedules. Must not know what a tick starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perdure.engine.cursors import Cursor
from perdure.triggers.schedule import Schedule

#: A schedule that was undeclared for as long was removed; also how often a runtime that lacks one notes that.
REMOVED_US: Final = 3_600_000_000


def next_owed(schedule: Schedule, cursor: Cursor, after: int) -> int | None:
    """The first tick after a time that is owed, or will be; None at the end of the calendar."""
    tick = schedule.next_after(after)
    for begin, end in cursor.passed:
        if tick is not None and begin < tick <= end:
            tick = schedule.next_after(end)
    return tick


def last_owed(schedule: Schedule, cursor: Cursor, after: int, until: int) -> int | None:
    """The last tick after one time and up to another that is owed; None when there is none."""
    spans = reversed(list(_spans(cursor, after, until)))
    return next((tick for span in spans if (tick := schedule.last_between(*span)) is not None), None)


def ticks_owed(schedule: Schedule, cursor: Cursor, after: int, until: int, limit: int) -> list[int]:
    """The ticks after one time and up to another that are owed, the earliest first, at most `limit` of them."""
    found: list[int] = []
    for begin, end in _spans(cursor, after, until):
        found += schedule.ticks_between(begin, end, limit - len(found))
        if len(found) >= limit:
            break
    return found


def _spans(cursor: Cursor, after: int, until: int) -> Iterator[tuple[int, int]]:
    """What is left of a span without what passed."""
    for begin, end in cursor.passed:
        if after < min(begin, until):
            yield after, min(begin, until)
        after = max(after, end)
    if after < until:
        yield after, until


# ── how a cursor changes ─────────────────────────────────────────────────────────────────────────


def cursor_for(schedule: Schedule, known: Cursor | None, now: int) -> Cursor:
    """Where a declared schedule goes on: where it was, or from now on when it is new or goes by another expression."""
    if known is None:
        return Cursor(schedule.cron, schedule.timezone, now)
    if (known.cron, known.timezone) != (schedule.cron, schedule.timezone):
        changed = {"cron": schedule.cron, "timezone": schedule.timezone}
        return known.moved(**changed, done_until=now, passed=(), undeclared=None)
    if known.undeclared is not None:
        begin, end = known.undeclared
        known = known.moved(undeclared=None)
        if end - begin >= REMOVED_US:
            known = _without(schedule, known, begin, end)
    if any(end > now for _, end in known.passed):  # from before the clock was put back: those times come again
        known = known.moved(passed=tuple((begin, min(end, now)) for begin, end in known.passed if begin < now))
    return known


def undeclared(cursor: Cursor, now: int) -> Cursor:
    """The same, of a schedule that a runtime at work lacks; itself when that was noted within the hour."""
    if cursor.undeclared is None or cursor.undeclared[0] > now:
        return cursor.moved(undeclared=(now, now))
    begin, end = cursor.undeclared
    return cursor if now < end + REMOVED_US else cursor.moved(undeclared=(begin, now))


def paused(cursor: Cursor, now: int) -> Cursor:
    """The same, while ticks pass."""
    return cursor.moved(paused=True, paused_at=now)


def resumed(schedule: Schedule, cursor: Cursor, now: int, *, skip_missed: bool) -> Cursor:
    """The same, going on: what passed during the pause is not owed; what was missed before is, unless it is skipped."""
    begin = cursor.done_until if cursor.paused_at is None else cursor.paused_at
    cursor = cursor.moved(paused=False, paused_at=None)
    return cursor.moved(done_until=now, passed=()) if skip_missed else _without(schedule, cursor, begin, now)


def followed(cursor: Cursor, done_until: int, **changes: object) -> Cursor:
    """The same, once every tick up to a time is done with."""
    left = tuple(each for each in cursor.passed if each[1] > done_until)
    return cursor.moved(done_until=done_until, passed=left, **changes)


def _without(schedule: Schedule, cursor: Cursor, begin: int, end: int) -> Cursor:
    """The same, with the ticks of a span not owed."""
    tick = next_owed(schedule, cursor, min(cursor.done_until, begin))
    if tick is None or tick > begin:  # nothing before is owed, so that nothing need be remembered
        return cursor.moved(done_until=max(end, begin), passed=())
    return cursor.moved(passed=tuple(sorted([*cursor.passed, (begin, end)]))) if begin < end else cursor
