"""`datetime` in a body: the real types, whose clocks show ledger time in UTC.

`datetime.now()` and `datetime.today()` without a zone give naive UTC, whatever the machine's time zone, and
`date.today()` the date in UTC. What would depend on the machine's zone without asking a clock is refused.

The stand-ins for `datetime` and `date` are classes that make, and recognise, instances of the real ones. Outside of a
body they behave as those. This file must not know who keeps ledger time.
"""

from __future__ import annotations

import datetime as real
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from perdure.errors import SandboxViolation
from perdure.sandbox.activation import current
from perdure.sandbox.stand_ins.facade import StandInType, refuse_subclass

_EPOCH: Final = real.datetime(1970, 1, 1, tzinfo=real.UTC)


def _zone_dependent(what: str, fix: str) -> SandboxViolation:
    return SandboxViolation(f"{what} can't be used in a body.", why="it depends on the machine's time zone", fix=fix)


def _now_utc(now_us: int) -> real.datetime:
    # Not fromtimestamp(now_us / 1e6), which rounds.
    return _EPOCH + real.timedelta(microseconds=now_us)


class date(real.date, metaclass=StandInType):
    """`datetime.date`, whose `today()` is ledger time's date in UTC."""

    _real = real.date

    def __new__(cls, year: int, month: int, day: int) -> real.date:  # type: ignore[misc]  # the real class, on purpose
        return real.date(year, month, day)

    def __init_subclass__(cls) -> NoReturn:
        raise refuse_subclass(cls.__mro__[1])

    @classmethod
    def today(cls) -> real.date:  # type: ignore[override]
        environment = current()
        return real.date.today() if environment is None else _now_utc(environment.now_us()).date()

    @classmethod
    def fromtimestamp(cls, timestamp: float, /) -> real.date:  # type: ignore[override]
        if current() is None:
            return real.date.fromtimestamp(timestamp)
        raise _zone_dependent(
            "date.fromtimestamp", "name the zone: datetime.fromtimestamp(seconds, timezone.utc).date()"
        )

    @classmethod
    def fromordinal(cls, ordinal: int, /) -> real.date:  # type: ignore[override]
        return real.date.fromordinal(ordinal)

    @classmethod
    def fromisoformat(cls, text: str, /) -> real.date:  # type: ignore[override]
        return real.date.fromisoformat(text)

    @classmethod
    def fromisocalendar(cls, year: int, week: int, day: int) -> real.date:  # type: ignore[override]
        return real.date.fromisocalendar(year, week, day)


class datetime(real.datetime, metaclass=StandInType):
    """`datetime.datetime`, whose clocks show ledger time; naive results are in UTC."""

    _real = real.datetime

    def __new__(  # type: ignore[misc]  # the real class, on purpose
        cls,
        year: int,
        month: int,
        day: int,
        hour: int = 0,
        minute: int = 0,
        second: int = 0,
        microsecond: int = 0,
        tzinfo: real.tzinfo | None = None,
        *,
        fold: int = 0,
    ) -> real.datetime:
        return real.datetime(year, month, day, hour, minute, second, microsecond, tzinfo, fold=fold)

    def __init_subclass__(cls) -> NoReturn:
        raise refuse_subclass(cls.__mro__[1])

    @classmethod
    def now(cls, tz: real.tzinfo | None = None) -> real.datetime:  # type: ignore[override]
        environment = current()
        if environment is None:
            return real.datetime.now(tz)
        now = _now_utc(environment.now_us())
        return now.replace(tzinfo=None) if tz is None else now.astimezone(tz)

    @classmethod
    def utcnow(cls) -> real.datetime:  # type: ignore[override]
        environment = current()
        if environment is None:
            return real.datetime.now(real.UTC).replace(tzinfo=None)
        return _now_utc(environment.now_us()).replace(tzinfo=None)

    @classmethod
    def today(cls) -> real.datetime:  # type: ignore[override]
        return cls.now()

    @classmethod
    def fromtimestamp(cls, timestamp: float, tz: real.tzinfo | None = None) -> real.datetime:  # type: ignore[override]
        if tz is None and current() is not None:
            raise _zone_dependent(
                "datetime.fromtimestamp without a zone", "name it: datetime.fromtimestamp(seconds, timezone.utc)"
            )
        return real.datetime.fromtimestamp(timestamp, tz)

    @classmethod
    def utcfromtimestamp(cls, timestamp: float, /) -> real.datetime:  # type: ignore[override]
        return real.datetime.fromtimestamp(timestamp, real.UTC).replace(tzinfo=None)

    @classmethod
    def fromordinal(cls, ordinal: int, /) -> real.datetime:  # type: ignore[override]
        return real.datetime.fromordinal(ordinal)

    @classmethod
    def fromisoformat(cls, text: str, /) -> real.datetime:  # type: ignore[override]
        return real.datetime.fromisoformat(text)

    @classmethod
    def fromisocalendar(cls, year: int, week: int, day: int) -> real.datetime:  # type: ignore[override]
        return real.datetime.fromisocalendar(year, week, day)

    @classmethod
    def combine(  # type: ignore[override]
        cls, date: real.date, time: real.time, tzinfo: real.tzinfo | bool | None = True
    ) -> real.datetime:
        if isinstance(tzinfo, bool):  # not given: keep the time's own
            return real.datetime.combine(date, time)
        return real.datetime.combine(date, time, tzinfo)

    @classmethod
    def strptime(cls, text: str, format: str, /) -> real.datetime:  # type: ignore[override]
        return real.datetime.strptime(text, format)


# ── methods of values ────────────────────────────────────────────────────────────────────────────


def _timestamp(value: real.datetime) -> float:
    if value.utcoffset() is None:
        raise _zone_dependent(
            "timestamp() of a naive datetime", "make it aware: value.replace(tzinfo=timezone.utc).timestamp()"
        )
    return value.timestamp()


def _astimezone(value: real.datetime, tz: real.tzinfo | None = None) -> real.datetime:
    if value.utcoffset() is None:
        raise _zone_dependent(
            "astimezone() of a naive datetime", "make it aware: value.replace(tzinfo=timezone.utc).astimezone(…)"
        )
    if tz is None and current() is not None:
        raise _zone_dependent("astimezone() without a zone", "name it: value.astimezone(timezone.utc)")
    return value.astimezone(tz)


def _strftime(value: real.datetime, format: str) -> str:
    if "%s" in format:
        raise _zone_dependent("strftime('%s')", "int(value.timestamp()) of an aware datetime")
    return value.strftime(format)


#: Methods of a `datetime` whose outcome may depend on the machine, and what a body calls instead, with the value first.
METHODS: Final[Mapping[str, Callable[..., object]]] = {
    "timestamp": _timestamp,
    "astimezone": _astimezone,
    "strftime": _strftime,
}
