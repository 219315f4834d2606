"""Scalars that JSON doesn't have, each as text that people and SQL can read.

    Decimal     "12.50", "NaN", "sNaN7", "-0"         datetime    "2024-05-01T10:00:00.000001+00:00"
    float       "NaN", "Infinity", "-Infinity"                    "2024-10-27T02:30:00 Europe/Berlin"
    UUID        its usual form                        timedelta   "1 days 02:03:04.500000", as DuckDB's INTERVAL
    bytes       base64                                Fraction    "2/3"

A `ZoneInfo` is written by its key, without the offset, which depends on the machine's time zone data. A `UUID`'s
`is_safe` is not kept.

This file is a table: type → name and both directions. It must not know containers, nor classes of the user's.
"""

from __future__ import annotations

import binascii
import datetime as dt
import ipaddress
import json
import pathlib
import sys
import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from perdure.storage.plain import integer_from, integer_text, is_unicode, quote
from perdure.storage.refusals import Refused


class Scalar(NamedTuple):
    """How one type becomes text and comes back."""

    name: str  # in the shape
    write: Callable[[Any], str]
    read: Callable[[str], object]


# ── text ─────────────────────────────────────────────────────────────────────────────────────────

ESCAPED: Final = ".escaped"  # a suffix of the name: the text has lone surrogates, and is written with JSON's escapes


def escape(text: str) -> str:
    """Write a string with lone surrogates as ASCII."""
    return json.dumps(text)[1:-1]


def unescape(text: str) -> str:
    """Read what `escape` wrote."""
    unescaped: str = json.loads(f'"{text}"')
    return unescaped


def body_and_shape(name: str, text: str) -> tuple[str, str]:
    """Write a scalar's text as JSON, and its name as a shape."""
    if text.isascii() or is_unicode(text):
        return quote(text), f'"{name}"'
    return quote(escape(text)), f'"{name}{ESCAPED}"'


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────


def _write_decimal(value: Decimal) -> str:
    return str(value).replace("e", "E")  # the context's `capitals` must not show


def _write_float(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _write_fraction(value: Fraction) -> str:
    return f"{integer_text(value.numerator)}/{integer_text(value.denominator)}"


def _read_fraction(text: str) -> Fraction:
    numerator, _, denominator = text.partition("/")
    return Fraction(integer_from(numerator), integer_from(denominator))


def _write_range(value: range) -> str:
    return ":".join(map(integer_text, (value.start, value.stop, value.step)))


def _read_range(text: str) -> range:
    return range(*map(integer_from, text.split(":")))


# ── bytes ────────────────────────────────────────────────────────────────────────────────────────


def _write_bytes(value: bytes | bytearray) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _read_bytes(text: str) -> bytes:
    return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)


# ── time ─────────────────────────────────────────────────────────────────────────────────────────

Moment = TypeVar("Moment", dt.datetime, dt.time)

_FOLD: Final = ".fold"  # a suffix of the name: fold=1
_PYDANTIC: Final = ".TzInfo"  # a suffix of the name: the offset is of the class that pydantic's parser gives


def _moment_name(kind: str, value: dt.datetime | dt.time) -> str:
    if not value.fold and (value.tzinfo is None or value.tzinfo is dt.UTC):
        return kind  # nearly always
    pydantic = _PYDANTIC if _is_pydantic_offset(value.tzinfo) else ""
    return kind + pydantic + (_FOLD if value.fold else "")


def _is_pydantic_offset(zone: dt.tzinfo | None) -> bool:
    core = sys.modules.get("pydantic_core")
    return core is not None and type(zone) is core.TzInfo


def _write_moment(value: dt.datetime | dt.time) -> str:
    zone = value.tzinfo
    if zone is None or zone is dt.UTC:
        return value.isoformat()
    kind = type(zone)
    if kind is ZoneInfo:
        return f"{value.replace(tzinfo=None).isoformat()} {_write_zone(zone)}"  # type: ignore[arg-type]
    if kind is dt.timezone:
        name = zone.__getinitargs__()[1:]  # type: ignore[attr-defined]  # the only way to tell a given name from the default
        return " ".join([value.isoformat(), *name])
    if _is_pydantic_offset(zone):
        return value.isoformat()
    raise Refused(
        value,
        f"has the time zone {zone!r} of {kind.__module__}.{kind.__qualname__}, which has no lossless encoding",
        fix='use datetime.UTC, datetime.timezone(…) or zoneinfo.ZoneInfo("…")',
    )


def _read_datetime(text: str) -> dt.datetime:
    return _read_moment(text, dt.datetime.fromisoformat)


def _read_time(text: str) -> dt.time:
    return _read_moment(text, dt.time.fromisoformat)


_SIGNS: Final = frozenset("+-")
_FINE_OFFSET: Final = len("+00:00:00.000001")  # read here, because CPython takes one below a second for UTC


def _read_moment(text: str, read: Callable[[str], Moment]) -> Moment:
    if " " not in text and text[-_FINE_OFFSET : 1 - _FINE_OFFSET] not in _SIGNS:
        return read(text)
    moment, space, name = text.partition(" ")
    if moment[-_FINE_OFFSET : 1 - _FINE_OFFSET] in _SIGNS:
        value = read(moment[:-_FINE_OFFSET])
        clock = _read_timedelta("0 days " + moment[1 - _FINE_OFFSET :])
        value = value.replace(tzinfo=dt.timezone(-clock if moment[-_FINE_OFFSET] == "-" else clock))
    else:
        value = read(moment)
    return value.replace(tzinfo=_zone(value.tzinfo, name)) if space else value


def _zone(offset: dt.tzinfo | None, name: str) -> dt.tzinfo:
    if offset is None:
        return ZoneInfo(name)
    delta = offset.utcoffset(None)
    assert delta is not None  # a fixed offset: it came from fromisoformat
    return dt.timezone(delta, name)


def _folded(read: Callable[[str], Any]) -> Callable[[str], object]:
    return lambda text: read(text).replace(fold=1)


def _with_pydantic_offset(read: Callable[[str], Any]) -> Callable[[str], object]:
    def read_moment(text: str) -> object:
        from pydantic_core import TzInfo  # late: importing it takes longer than the rest of storage

        value = read(text)
        seconds = value.tzinfo.utcoffset(None).total_seconds()
        return value.replace(tzinfo=TzInfo(int(seconds)))

    return read_moment


def _write_zone(value: ZoneInfo) -> str:
    if value.key is None:
        raise Refused(value, "is a ZoneInfo without a key", fix='load it by its key: ZoneInfo("Europe/Berlin")')
    return value.key


def _write_offset(value: dt.timezone) -> str:
    midnight = dt.datetime(2000, 1, 1, tzinfo=value)
    return _write_moment(midnight)[len("2000-01-01T00:00:00") :]


def _read_offset(text: str) -> dt.tzinfo | None:
    return _read_datetime("2000-01-01T00:00:00" + text).tzinfo


def _write_timedelta(value: dt.timedelta) -> str:
    minutes, seconds = divmod(value.seconds, 60)
    return f"{value.days} days {minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{value.microseconds:06}"


def _read_timedelta(text: str) -> dt.timedelta:
    days, _, clock = text.split(" ")
    hours, minutes, seconds = clock.split(":")
    return dt.timedelta(
        days=int(days), hours=int(hours), minutes=int(minutes), microseconds=int(seconds.replace(".", ""))
    )


# ── paths ────────────────────────────────────────────────────────────────────────────────────────


def _read_path(kind: type[pathlib.PurePath], pure: type[pathlib.PurePath]) -> Callable[[str], object]:
    """A concrete path of the other operating system can't exist here; its pure form has the same parts."""
    foreign = issubclass(kind, pathlib.Path) and not issubclass(type(pathlib.Path()), kind)
    return pure if foreign else kind


# ── the table ────────────────────────────────────────────────────────────────────────────────────

SCALARS: Final[dict[type, Scalar]] = {
    Decimal: Scalar("Decimal", _write_decimal, Decimal),
    complex: Scalar("complex", repr, complex),
    Fraction: Scalar("Fraction", _write_fraction, _read_fraction),
    range: Scalar("range", _write_range, _read_range),
    bytes: Scalar("bytes", _write_bytes, _read_bytes),
    bytearray: Scalar("bytearray", _write_bytes, lambda text: bytearray(_read_bytes(text))),
    uuid.UUID: Scalar("UUID", str, uuid.UUID),
    dt.date: Scalar("date", dt.date.isoformat, dt.date.fromisoformat),
    dt.timedelta: Scalar("timedelta", _write_timedelta, _read_timedelta),
    dt.timezone: Scalar("timezone", _write_offset, _read_offset),
    ZoneInfo: Scalar("ZoneInfo", _write_zone, ZoneInfo),
    type(...): Scalar("Ellipsis", lambda _: "...", lambda _: ...),
    pathlib.PurePosixPath: Scalar("PurePosixPath", str, pathlib.PurePosixPath),
    pathlib.PureWindowsPath: Scalar("PureWindowsPath", str, pathlib.PureWindowsPath),
    pathlib.PosixPath: Scalar("PosixPath", str, _read_path(pathlib.PosixPath, pathlib.PurePosixPath)),
    pathlib.WindowsPath: Scalar("WindowsPath", str, _read_path(pathlib.WindowsPath, pathlib.PureWindowsPath)),
    ipaddress.IPv4Address: Scalar("IPv4Address", str, ipaddress.IPv4Address),
    ipaddress.IPv6Address: Scalar("IPv6Address", str, ipaddress.IPv6Address),
    ipaddress.IPv4Network: Scalar("IPv4Network", str, ipaddress.IPv4Network),
    ipaddress.IPv6Network: Scalar("IPv6Network", str, ipaddress.IPv6Network),
    ipaddress.IPv4Interface: Scalar("IPv4Interface", str, ipaddress.IPv4Interface),
    ipaddress.IPv6Interface: Scalar("IPv6Interface", str, ipaddress.IPv6Interface),
}


def write_datetime(value: dt.datetime) -> tuple[str, str]:
    """Write a datetime; its shape says fold and the class of its offset."""
    return body_and_shape(_moment_name("datetime", value), _write_moment(value))


def write_time(value: dt.time) -> tuple[str, str]:
    """Write a time; its shape says fold and the class of its offset."""
    return body_and_shape(_moment_name("time", value), _write_moment(value))


def write_unusual_float(value: float) -> tuple[str, str]:
    """Write nan or an infinity."""
    return quote(_write_float(value)), '"float"'


def _readers() -> dict[str, Callable[[str], object]]:
    readers: dict[str, Callable[[str], object]] = {scalar.name: scalar.read for scalar in SCALARS.values()}
    readers |= {"str": str, "int": integer_from, "float": float}
    for kind, read in (("datetime", _read_datetime), ("time", _read_time)):
        readers[kind] = read
        readers[kind + _PYDANTIC] = _with_pydantic_offset(read)
        readers[kind + _FOLD] = _folded(read)
        readers[kind + _PYDANTIC + _FOLD] = _folded(readers[kind + _PYDANTIC])
    return readers


#: Name in a shape → how to read its text.
READERS: Final = _readers()
