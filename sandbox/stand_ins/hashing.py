"""`hash` in a body: equal values have equal hashes, and the same ones in every process.

Python's own differs per process for text and everything made of text, and for objects it is an address.

This file knows values. It must not know who hashes them.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import hashlib
import ipaddress
import numbers
import types
import uuid
from collections.abc import Iterable
from typing import Final

import pydantic

from perdure.errors import SandboxViolation
from perdure.sandbox import activation

_EPOCH: Final = datetime.datetime(1970, 1, 1)
_ZERO: Final = datetime.timedelta()
_ADDRESSES: Final = (
    ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network,
    ipaddress.IPv4Interface, ipaddress.IPv6Interface,
)  # fmt: skip


def stable_hash(value: object, /) -> int:
    """Give `value`'s hash as 64 bits with a sign, the same in every process.

    Raises:
        TypeError: as `hash` does, for lists and the like.
        SandboxViolation: the hash would be an address, or is computed where text is hashed per process.
    """
    if activation.current() is None:
        return hash(value)
    return _hash(value)


def _hash(value: object) -> int:
    kind = type(value)
    if isinstance(value, enum.Enum) and kind.__hash__ is enum.Enum.__hash__:
        return _digest(b"e", value.name.encode())
    if isinstance(value, str):
        return _digest(b"s", value.encode("utf-8", "surrogatepass"))
    if isinstance(value, numbers.Number):
        if value != value:
            raise _unstable("not a number", "its hash is an address")
        return hash(value)  # numbers of all types that are equal hash equally, and the same everywhere
    if isinstance(value, bytes | memoryview):
        hash(value)  # refuses a memoryview of something that can change
        return _digest(b"b", bytes(value))
    if value is None or value is NotImplemented or value is ...:
        return _digest(b"c", repr(value).encode())
    if isinstance(value, tuple) and kind.__hash__ is tuple.__hash__:
        return _sequence(b"t", value)
    if isinstance(value, frozenset):
        return _digest(b"f", *sorted(_hash(each).to_bytes(8, "big", signed=True) for each in value))
    return _hash_object(value, kind)


def _hash_object(value: object, kind: type) -> int:
    if kind.__hash__ is None:
        raise TypeError(f"unhashable type: {kind.__name__!r}")
    if isinstance(value, datetime.datetime):
        offset = value.replace(fold=0).utcoffset()
        moment = value.replace(tzinfo=None, fold=0) - _EPOCH - (offset or _ZERO)
        return _sequence(b"d", (moment.days, moment.seconds, moment.microseconds))
    if isinstance(value, datetime.date):
        return _sequence(b"y", (value.toordinal(),))
    if isinstance(value, datetime.time):
        seconds = value.hour * 3600 + value.minute * 60 + value.second
        return _sequence(b"h", (_minus(seconds, value.utcoffset()), value.microsecond))
    if isinstance(value, datetime.timedelta):
        return _sequence(b"l", (value.days, value.seconds, value.microseconds))
    if isinstance(value, uuid.UUID):
        return _sequence(b"u", (value.int,))
    if isinstance(value, _ADDRESSES):
        return _digest(b"a", type(value).__name__.encode(), str(value).encode())
    if isinstance(value, range):
        return _sequence(b"r", (len(value), *((value[0], value.step) if len(value) > 1 else value)))
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return _digest(b"n", f"{value.__module__}.{value.__qualname__}".encode())
    if _is_generated(kind):
        fields = [field for field in dataclasses.fields(value) if _counts(field)]  # type: ignore[arg-type]
        return _sequence(b"o", (getattr(value, field.name) for field in fields))
    if isinstance(value, pydantic.BaseModel) and value.model_config.get("frozen"):
        return _sequence(b"m", (type(value), *value.__dict__.values()))
    method = kind.__hash__
    if isinstance(method, types.FunctionType) and _calls_ours(method):
        return method(value)  # type: ignore[no-any-return]  # a class of the body's, checked as the body was
    raise _unstable(f"an object of type {kind.__name__}", "its hash is, or may be, an address")


def _minus(seconds: int, offset: datetime.timedelta | None) -> float:
    return seconds - offset.total_seconds() if offset else seconds


def _counts(field: dataclasses.Field[object]) -> bool:
    return field.compare if field.hash is None else field.hash


def _is_generated(kind: type) -> bool:
    """Tell whether `@dataclass` wrote the class's `__hash__`, as the hash of a tuple of its fields."""
    method = kind.__hash__
    return (
        dataclasses.is_dataclass(kind)
        and isinstance(method, types.FunctionType)
        and method.__code__.co_filename == "<string>"
    )


def _calls_ours(method: types.FunctionType) -> bool:
    own = method.__globals__.get("__builtins__")
    return isinstance(own, dict) and own.get("hash") is stable_hash


def _sequence(tag: bytes, values: Iterable[object]) -> int:
    return _digest(tag, *(_hash(value).to_bytes(8, "big", signed=True) for value in values))


def _digest(tag: bytes, *parts: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(b"".join(parts), digest_size=8, person=tag).digest(), "big", signed=True)


def _unstable(what: str, why: str) -> SandboxViolation:
    return SandboxViolation(
        f"{what} can't be hashed in a body.",
        why=f"{why}, which differs from process to process",
        fix="hash a tuple of its fields, or use a field as the key",
    )
