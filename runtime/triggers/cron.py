"""A cron expression, as the wall-clock times that it names. Time zones are for `ticks.py`.

croniter reads the text. When it matches is found here, on plain numbers, because a schedule is asked over and over,
and because an expression is a set of wall-clock times: what a zone makes of them comes after.

Wall time is a number of seconds: since 1970-01-01 00:00:00 by the wall clock, whatever the zone.
"""

from __future__ import annotations

import calendar
import functools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from croniter import CroniterError, croniter

from perdure.errors import DefinitionError
from perdure.triggers.cron_fields import fields_of, refuse_bad_field, refuse_unreadable

DAY_S: Final = 86_400
_EPOCH: Final = date(1970, 1, 1).toordinal()
#: The calendar's end for us; Python's own is a year later, and nobody should meet it while counting days.
LAST_YEAR: Final = 9_998
#: Any day that comes at all comes within so many years: a fifth Monday of a February may take 40.
_RARE_YEARS: Final = 41
_LAST: Final = 0  # in `nth`: the last one of the month


@dataclass(frozen=True)
class Days:
    """The days that an expression names. None is any; when both kinds are named, either one will do.

    Attributes:
        months: 1 to 12. dates: days of the month. last: its last day. nearest: the working days nearest to these.
        weekdays: 0 is Sunday. nth: pairs of a weekday and which one of the month; 0 is the last.
    """

    months: frozenset[int]
    dates: frozenset[int] | None
    last: bool
    nearest: frozenset[int]
    weekdays: frozenset[int] | None
    nth: frozenset[tuple[int, int]]

    def of(self, year: int, month: int) -> tuple[int, ...]:
        """The days of one month that are named, in order."""
        return _days_of(self, year, month)

    def _names(self, day: int, weekday: int, length: int, near: Sequence[int]) -> bool:
        by_date = self.dates is not None and (day in self.dates or (self.last and day == length) or day in near)
        by_weekday = self.weekdays is not None and (
            weekday in self.weekdays
            or (weekday, (day - 1) // 7 + 1) in self.nth
            or (day + 7 > length and (weekday, _LAST) in self.nth)
        )
        if self.dates is not None and self.weekdays is not None:
            return by_date or by_weekday
        return by_date or by_weekday or (self.dates is None and self.weekdays is None)


@functools.lru_cache(maxsize=4096)
def _days_of(days: Days, year: int, month: int) -> tuple[int, ...]:
    if month not in days.months:
        return ()
    first, length = calendar.monthrange(year, month)  # Monday is 0
    near = [_working_day(day, first, length) for day in days.nearest]
    return tuple(day for day in range(1, length + 1) if days._names(day, (first + day) % 7, length, near))


def _working_day(day: int, first: int, length: int) -> int:
    """The day from Monday to Friday that is nearest, in the same month."""
    day = min(day, length)
    weekday = (first + day - 1) % 7
    if weekday == 5:
        return day - 1 if day > 1 else day + 2
    if weekday == 6:
        return day + 1 if day < length else day - 2
    return day


@dataclass(frozen=True)
class Cron:
    """What an expression names: days, and on each of them the same times.

    Attributes:
        every_hour: whether it leaves the hour open; then it goes by the minute, and not by the time of the day.
    """

    days: Days
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]

    @property
    def every_hour(self) -> bool:
        """Whether it leaves the hour open."""
        return len(self.hours) == 24

    def first_wall(self, at_least: int, below: int) -> int | None:
        """The first wall time that is named, from `at_least` on and before `below`; None when there is none."""
        day, second = divmod(at_least, DAY_S)
        of_day = self._first_of_day(second)
        found = self._first_day(day if of_day is not None else day + 1, below // DAY_S)
        if found is None:
            return None
        if found != day or of_day is None:
            of_day = self._first_of_day(0)
        assert of_day is not None  # every day has a first time
        wall = found * DAY_S + of_day
        return wall if wall < below else None

    def last_wall(self, at_most: int, at_least: int) -> int | None:
        """The last wall time that is named, down to `at_least`; None when there is none."""
        day, second = divmod(at_most, DAY_S)
        of_day = self._last_of_day(second)
        found = self._last_day(day if of_day is not None else day - 1, at_least // DAY_S)
        if found is None:
            return None
        if found != day or of_day is None:
            of_day = self._last_of_day(DAY_S - 1)
        assert of_day is not None  # every day has a last time
        wall = found * DAY_S + of_day
        return wall if wall >= at_least else None

    def count_walls(self, at_least: int, below: int) -> int:
        """How many wall times are named from `at_least` on and before `below`."""
        first, last = at_least // DAY_S, below // DAY_S
        if first >= last:
            return self._count_of_day(first, at_least % DAY_S, below - first * DAY_S)
        inside = self._count_days(first + 1, last - 1) * len(self.hours) * len(self.minutes) * len(self.seconds)
        return inside + self._count_of_day(first, at_least % DAY_S, DAY_S) + self._count_of_day(last, 0, below % DAY_S)

    def _count_days(self, first: int, last: int) -> int:
        count, day = 0, first
        while day <= last:
            moment = date.fromordinal(_EPOCH + day)
            days = self.days.of(moment.year, moment.month)
            length = calendar.monthrange(moment.year, moment.month)[1]
            until = moment.day + min(last - day, length - moment.day)
            count += bisect_right(days, until) - bisect_left(days, moment.day)
            day += length - moment.day + 1
        return count

    def _count_of_day(self, day: int, at_least: int, below: int) -> int:
        """How many times of one day are named, from one of its seconds on and before another."""
        if at_least >= below or not self._count_days(day, day):
            return 0
        return self._count_before(below) - self._count_before(at_least)

    def _count_before(self, second: int) -> int:
        hour, minute, rest = second // 3600, second // 60 % 60, second % 60
        count = bisect_left(self.hours, hour) * len(self.minutes) * len(self.seconds)
        if hour in self.hours:
            count += bisect_left(self.minutes, minute) * len(self.seconds)
            if minute in self.minutes:
                count += bisect_left(self.seconds, rest)
        return count

    def _first_day(self, day: int, last: int) -> int | None:
        while day <= last:
            moment = date.fromordinal(_EPOCH + day)
            if moment.year > LAST_YEAR:
                return None
            days = self.days.of(moment.year, moment.month)
            index = bisect_left(days, moment.day)
            if index < len(days):
                found = day + days[index] - moment.day
                return found if found <= last else None
            day += calendar.monthrange(moment.year, moment.month)[1] - moment.day + 1
        return None

    def _last_day(self, day: int, first: int) -> int | None:
        while day >= first:
            moment = date.fromordinal(_EPOCH + day)
            days = self.days.of(moment.year, moment.month)
            index = bisect_right(days, moment.day)
            if index:
                found = day + days[index - 1] - moment.day
                return found if found >= first else None
            day -= moment.day
        return None

    def _first_of_day(self, second: int) -> int | None:
        hour, minute, rest = second // 3600, second // 60 % 60, second % 60
        index = bisect_left(self.hours, hour)
        if index < len(self.hours) and self.hours[index] == hour:
            at = bisect_left(self.minutes, minute)
            if at < len(self.minutes) and self.minutes[at] == minute:
                of_minute = bisect_left(self.seconds, rest)
                if of_minute < len(self.seconds):
                    return hour * 3600 + minute * 60 + self.seconds[of_minute]
                at += 1
            if at < len(self.minutes):
                return hour * 3600 + self.minutes[at] * 60 + self.seconds[0]
            index += 1
        if index < len(self.hours):
            return self.hours[index] * 3600 + self.minutes[0] * 60 + self.seconds[0]
        return None

    def _last_of_day(self, second: int) -> int | None:
        hour, minute, rest = second // 3600, second // 60 % 60, second % 60
        index = bisect_right(self.hours, hour)
        if index and self.hours[index - 1] == hour:
            at = bisect_right(self.minutes, minute)
            if at and self.minutes[at - 1] == minute:
                of_minute = bisect_right(self.seconds, rest)
                if of_minute:
                    return hour * 3600 + minute * 60 + self.seconds[of_minute - 1]
                at -= 1
            if at:
                return hour * 3600 + self.minutes[at - 1] * 60 + self.seconds[-1]
            index -= 1
        if index:
            return self.hours[index - 1] * 3600 + self.minutes[-1] * 60 + self.seconds[-1]
        return None


@functools.lru_cache(maxsize=4096)
def parsed(expression: str) -> Cron:
    """Read a cron expression of 5 fields, of 6 with the seconds first, or an alias such as `@daily`.

    Raises:
        DefinitionError: a field can't be used, or no day ever matches.
    """
    texts = fields_of(expression)
    refuse_bad_field(expression, texts)
    try:
        read = croniter(" ".join(texts), 0, second_at_beginning=True)
    except CroniterError as error:
        refuse_unreadable(expression, error)
    minutes, hours, dates, months, weekdays, *rest = read.expanded
    nth = frozenset(
        (weekday, _LAST if number == "l" else number)
        for weekday, numbers in read.nth_weekday_of_month.items()
        for number in numbers
    )
    nearest = frozenset(getattr(read, "nearest_weekday", ()))  # croniter 6 has none, and refuses what would need them
    if weekdays == ["*"] and not nth:
        plain = None
    else:
        plain = frozenset(_numbers(weekdays, 0, 6)) - {weekday for weekday, _ in nth}
    days = Days(
        months=frozenset(_numbers(months, 1, 12)),
        dates=None if dates == ["*"] else frozenset(day for day in dates if day != "l") - nearest,
        last="l" in dates,
        nearest=nearest,
        weekdays=plain,
        nth=nth,
    )
    found = Cron(days, _numbers(hours, 0, 23), _numbers(minutes, 0, 59), _numbers(rest[0], 0, 59) if rest else (0,))
    start = _RARE_YEARS * 366 * DAY_S
    if found.first_wall(start, 2 * start) is None:
        raise DefinitionError(
            f"cron {expression!r} never comes.",
            why=f"no month of {texts[-2]!r} has a day {texts[-3]!r}"
            + (f" that is {texts[-1]!r}" if texts[-1] != "*" else ""),
            fix="name a day that its months have; L is the last one",
        )
    return found


def _numbers(expanded: Sequence[Any], least: int, most: int) -> tuple[int, ...]:
    return tuple(range(least, most + 1)) if "*" in expanded else tuple(sorted(expanded))
