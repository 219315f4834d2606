"""Durations and points in time, as people write them, in microseconds, as the ledger keeps them.

Knows text and arithmetic; must not read a clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from perdure.errors import DefinitionError

#: A `timedelta`, seconds as a number, or text such as `"500ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`, `"2h30m"`.
Duration: TypeAlias = timedelta | int | float | str

_UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000,
             "w": 604_800_000_000}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d|w)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:us|ms|s|m|h|d|w))+")
_EXAMPLES = 'write "500ms", "30s", "5m", "1h", "7d", "2h30m", a number of seconds, or a timedelta'
#: About 270 years: anything longer is a mistake, and would pass the end of the ledger's time axis.
_LONGEST_US = 100_000 * _UNITS_US["d"]


def duration_us(value: Duration, what: str = "duration") -> int:
    """Turn a duration into microseconds.

    Args:
        value: the duration; zero is allowed, negative is not.
        what: the word for it in the error, such as `timeout`.

    Raises:
        DefinitionError: it is no duration, negative, or longer than 100,000 days.
    """
    if isinstance(value, str):
        text = value.replace(" ", "").lower()
        if not _WHOLE.fullmatch(text):
            raise _refused(value, what, "that text is no duration")
        micros = sum(round(float(number) * _UNITS_US[unit]) for number, unit in _PART.findall(text))
    elif isinstance(value, timedelta):
        micros = value // timedelta(microseconds=1)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        micros = round(value * 1_000_000) if abs(value) < 1e12 else _LONGEST_US + 1
    else:
        raise _refused(value, what, f"{type(value).__name__} is no duration")
    if micros < 0:
        raise _refused(value, what, "it is negative")
    if micros > _LONGEST_US:
        raise _refused(value, what, "it is longer than 100,000 days")
    return micros


def moment_us(value: datetime | str) -> int:
    """Turn an aware `datetime` or an ISO-8601 text with an offset into microseconds since 1970 UTC.

    Raises:
        DefinitionError: it is naive, or no point in time at all.
    """
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise DefinitionError(
                f"{value!r} is no point in time.",
                why=str(error),
                fix='write ISO 8601 with an offset, such as "2030-01-31T09:00:00+01:00" or "2030-01-31T08:00:00Z"',
            ) from None
    elif isinstance(value, datetime):
        moment = value
    else:
        raise DefinitionError(
            f"{type(value).__name__} is no point in time.",
            fix="pass an aware datetime or an ISO-8601 text with an offset",
        )
    if moment.tzinfo is None:
        raise DefinitionError(
            f"{value!s} has no time zone, so it means a different moment on every machine.",
            fix="add one: datetime(…, tzinfo=UTC), moment.replace(tzinfo=ZoneInfo(…)), or an offset in the text",
        )
    return (moment - _EPOCH) // timedelta(microseconds=1)


def earliest_us(text: str, now_us: int) -> int:
    """Turn what "since" may be, a duration before now or an ISO-8601 text, into microseconds since 1970 UTC.

    Raises:
        DefinitionError: it is neither.
    """
    if text[:4].isdigit() and "-" in text:
        return moment_us(text)
    return now_us - duration_us(text, "since")


def moment(micros: int) -> datetime:
    """Turn ledger time into an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def moment_text(micros: int) -> str:
    """Show microseconds since 1970 UTC as ISO 8601 in UTC."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")


def duration_text(micros: int) -> str:
    """Show a duration briefly: `2h30m`, `1.5s`, `350ms`; the text reads back to the same duration."""
    if micros == 0:
        return "0s"
    parts = []
    rest = micros
    for unit in ("d", "h", "m"):
        count, rest = divmod(rest, _UNITS_US[unit])
        if count:
            parts.append(f"{count}{unit}")
    if rest and not parts and rest < 1_000_000:
        parts.append(f"{rest / 1000:g}ms" if rest % 1000 == 0 or rest > 1000 else f"{rest}us")
    elif rest:
        parts.append(f"{rest / 1_000_000:.6f}".rstrip("0").rstrip(".") + "s")
    return "".join(parts)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _refused(value: object, what: str, why: str) -> DefinitionError:
    return DefinitionError(f"{what}={value!r} can't be used.", why=why, fix=_EXAMPLES)
