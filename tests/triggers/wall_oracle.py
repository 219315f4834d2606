"""When an expression ticks, found the slow way: every wall-clock minute of a span is asked, one by one.

Shares nothing with the code it judges but croniter's reading of the text. Time zones come straight from `zoneinfo`, by
the meaning of `fold`.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter


class Oracle:
    """One expression of five fields."""

    def __init__(self, expression: str) -> None:
        read: Any = croniter(expression, 0)
        self.minutes, self.hours, self.days, self.months, self.weekdays = read.expanded
        self.nth = read.nth_weekday_of_month
        self.near = read.nearest_weekday

    def is_day(self, day: date) -> bool:
        """Whether it names a day."""
        if self.months != ["*"] and day.month not in self.months:
            return False
        length = calendar.monthrange(day.year, day.month)[1]
        weekday = day.isoweekday() % 7
        by_date = day.day in self.days or ("l" in self.days and day.day == length)
        if self.near:
            by_date = any(day == _working_day(day, min(each, length)) for each in self.near)
        by_weekday = weekday in self.weekdays
        if self.nth:
            which = self.nth.get(weekday, ())
            by_weekday = (day.day - 1) // 7 + 1 in which or ("l" in which and day.day + 7 > length)
        if self.days == ["*"]:
            return by_weekday or self.weekdays == ["*"]
        return by_date or (by_weekday and self.weekdays != ["*"])

    def walls(self, start: datetime, end: datetime) -> list[datetime]:
        """The naive times that it names, from `start` on and before `end`."""
        hours = range(24) if self.hours == ["*"] else self.hours
        minutes = range(60) if self.minutes == ["*"] else self.minutes
        found = []
        for number in range((end - start).days + 2):
            day = start.date() + timedelta(days=number)
            if self.is_day(day):
                found += [datetime(day.year, day.month, day.day, hour, minute) for hour in hours for minute in minutes]
        return [wall for wall in found if start <= wall < end]

    def ticks(self, zone: ZoneInfo, start: datetime, end: datetime) -> list[int]:
        """The ticks of a span of wall-clock time, as seconds since 1970 UTC."""
        every_hour = self.hours == ["*"]
        found: set[int] = set()
        for wall in self.walls(start, end):
            for fold in (0, 1) if every_hour else (0,):
                instant = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
                if instant.astimezone(zone).replace(tzinfo=None) == wall:
                    found.add(int(instant.timestamp()))
                elif not every_hour:
                    found.add(int(_jump_over(wall, zone).timestamp()))
        return sorted(found)


def _working_day(day: date, wanted: int) -> date:
    """The nearest day from Monday to Friday in the month of `day`."""
    days = [day.replace(day=each) for each in range(1, calendar.monthrange(day.year, day.month)[1] + 1)]
    return min((each for each in days if each.isoweekday() < 6), key=lambda each: (abs(each.day - wanted), each.day))


def _jump_over(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which clocks jump over a wall time that they don't show."""
    late = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)  # counted with the offset before the jump: after it
    offset = late.astimezone(zone).utcoffset()
    while late.astimezone(zone).utcoffset() == offset:
        late -= timedelta(minutes=1)
    return late + timedelta(minutes=1)
