"""Time zones as stretches of time in which clocks run evenly, found in the zone's own data.

Knows offsets. Must not know what is scheduled.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from perdure.errors import DefinitionError
from perdure.texts import did_you_mean

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: No zone has ever changed its clocks twice within a day, so looking once a day misses no change.
_LOOK_S: Final = 86_400
#: Names of files beside the zones: what they say depends on the machine, or counts leap seconds.
_NO_ZONES: Final = ("localtime", "posixrules", "right/", "posix/", "Factory")
#: What people write for a zone that is none, and has nothing near that they could mean.
_OFFSET: Final = re.compile(r"(?:UTC|GMT|Z)?\s*[+-]\d{1,2}(?::?\d\d)?")
_ABBREVIATION: Final = re.compile(r"(?!UTC|GMT)[A-Z]{2,5}")


class Stretch(NamedTuple):
    """A stretch of time with one offset, in whole seconds since 1970 UTC; at most a year long."""

    start: int
    end: int  # the first second after it
    offset: int  # what clocks show minus UTC
    before: int  # the offset just before `start`; equal when only the year is over


def zone(name: object) -> ZoneInfo:
    """Find a time zone by its name, such as `"Europe/Berlin"`.

    Raises:
        DefinitionError: there is none.
    """
    if isinstance(name, str) and not name.startswith(_NO_ZONES):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass  # no such file, a path, or a folder of zones
    why = "it is another zone on every machine" if name == "localtime" else ""
    raise DefinitionError(
        f"timezone={name!r} can't be used.", why=why or "no such time zone is known", fix=_nearest(str(name))
    )


def _nearest(name: str) -> str:
    if _OFFSET.fullmatch(name):
        return (
            'name a place, whose clocks change when its law says so: "Europe/Berlin"; or "UTC"\n'
            'always two hours ahead of UTC is "Etc/GMT-2": there the sign is the other way round'
        )
    if _ABBREVIATION.fullmatch(name):
        return 'name a place instead of letters that several zones share: "America/Los_Angeles", or "UTC"'
    name = name.replace(" ", "_")
    known = sorted(each for each in available_timezones() if not each.startswith(_NO_ZONES))
    places = [each for each in known if each.rpartition("/")[2].lower() == name.rpartition("/")[2].lower()]
    if places:
        return f"did you mean {' or '.join(places[:3])}?"
    fix = did_you_mean(name, known)
    return fix if fix.startswith("did you mean") else 'write a name such as "Europe/Berlin", or "UTC"'


def stretch(zone: ZoneInfo, at: int) -> Stretch:
    """The stretch that has this second.

    Args:
        at: seconds since 1970 UTC.
    """
    year = (_EPOCH + timedelta(seconds=at)).year
    starts = _changes(zone, year)
    following = next((index for index, each in enumerate(starts) if each.start > at), len(starts))
    return starts[following - 1]


@functools.lru_cache(maxsize=4096)
def _changes(zone: ZoneInfo, year: int) -> tuple[Stretch, ...]:
    """The stretches of one year, cut at its ends (of UTC)."""
    begin, end = _year_start(year), _year_start(year + 1)
    marks = []  # when a stretch starts, with the offsets before it and in it
    offset = _offset(zone, begin - 1)
    if _offset(zone, begin) == offset:
        marks.append((begin, offset, offset))
    at = begin - 1
    while at < end - 1:
        look = min(at + _LOOK_S, end - 1)
        new = _offset(zone, look)
        if new != offset:
            marks.append((_first_with(zone, new, at, look), offset, new))
            offset = new
        at = look
    ends = [start for start, _, _ in marks[1:]] + [end]
    return tuple(Stretch(start, stop, now, was) for (start, was, now), stop in zip(marks, ends, strict=True))


def _first_with(zone: ZoneInfo, offset: int, before: int, after: int) -> int:
    """The first second with this offset, between one without and one with it."""
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == offset:
            after = middle
        else:
            before = middle
    return after


def _offset(zone: ZoneInfo, at: int) -> int:
    offset = (_EPOCH + timedelta(seconds=at)).astimezone(zone).utcoffset()
    return 0 if offset is None else offset // timedelta(seconds=1)


def _year_start(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
