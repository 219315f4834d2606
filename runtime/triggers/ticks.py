"""The instants at which a cron expression ticks in a time zone.

An expression names wall-clock times, and twice a year clocks don't run evenly:

    a time that names its hours   happens once. One that clocks skip happens at the instant of the jump (with whatever
                                  else does then); one that they show twice happens the first time
    every hour                    goes by the minutes that clocks show: `*/10 * * * *` ticks every ten real minutes,
                                  through the hour that comes twice, and over the one that does not come

Ticks are whole seconds, strictly increasing. Knows expressions and zones. Must not know what ticks are for.
"""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

from perdure.triggers.cron import DAY_S, LAST_YEAR, Cron
from perdure.triggers.zones import Stretch, stretch

_END_S: Final = (LAST_YEAR - 1970) * 365 * DAY_S
_BEGIN_S: Final = -1900 * 365 * DAY_S


def first_tick(cron: Cron, zone: ZoneInfo, at_least: int) -> int | None:
    """The first tick from this second on; None at the end of the calendar."""
    at = max(at_least, _BEGIN_S)
    while at < _END_S:
        here = stretch(zone, at)
        tick = _first_in(cron, here, at)
        if tick is not None:
            return tick
        at = here.end
    return None


def last_tick(cron: Cron, zone: ZoneInfo, at_most: int, at_least: int) -> int | None:
    """The last tick up to this second, and not before `at_least`; None when there is none."""
    at = min(at_most, _END_S)
    at_least = max(at_least, _BEGIN_S)
    while at >= at_least:
        here = stretch(zone, at)
        tick = _last_in(cron, here, at)
        if tick is not None:
            return tick if tick >= at_least else None
        at = here.start - 1
    return None


def count_ticks(cron: Cron, zone: ZoneInfo, at_least: int, at_most: int) -> int:
    """How many ticks there are from one second to another, both included."""
    at, last = max(at_least, _BEGIN_S), min(at_most, _END_S - 1)
    count = 0
    while at <= last:
        here = stretch(zone, at)
        if at == here.start and _is_made_up_for(cron, here):
            count += 1
            at += 1  # what else happens then is the same tick
        until = min(here.end, last + 1)
        count += cron.count_walls(max(at + here.offset, _begin(cron, here)), until + here.offset)
        at = here.end
    return count


def _first_in(cron: Cron, here: Stretch, at: int) -> int | None:
    if at == here.start and _is_made_up_for(cron, here):
        return at
    wall = cron.first_wall(max(at + here.offset, _begin(cron, here)), here.end + here.offset)
    return None if wall is None else wall - here.offset


def _last_in(cron: Cron, here: Stretch, at: int) -> int | None:
    wall = cron.last_wall(at + here.offset, _begin(cron, here))
    if wall is not None:
        return wall - here.offset
    return here.start if _is_made_up_for(cron, here) else None


def _begin(cron: Cron, here: Stretch) -> int:
    """The first wall time of a stretch that has not been there before."""
    shown = here.start + here.offset
    return shown if cron.every_hour else max(shown, here.start + here.before)


def _is_made_up_for(cron: Cron, here: Stretch) -> bool:
    """Whether clocks skip a time that is named when this stretch begins."""
    if cron.every_hour or here.offset <= here.before:
        return False
    return cron.first_wall(here.start + here.before, here.start + here.offset) is not None
