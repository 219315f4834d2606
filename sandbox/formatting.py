"""Turning values into text in a body: no addresses, and no way from a format string into an object's insides.

This file knows text. It must not know how a body is compiled; the guard for reading attributes is passed in.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import re
import string
import types
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from perdure.errors import SandboxViolation
from perdure.sandbox.sets import OrderedFrozenSet, OrderedSet

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")

#: Types whose text never shows an address, whatever is in them.
PLAIN: Final[frozenset[type]] = frozenset({
    str, int, float, bool, bytes, complex, type(None), decimal.Decimal, fractions.Fraction, uuid.UUID, range,
    datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone,
})  # fmt: skip


def shown(value: Any) -> Any:
    """Give what is to become text in place of `value`: itself, or a plain set's members in order.

    Raises:
        SandboxViolation: its text would show an address, or a set's order, which differ from process to process.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is set or kind is frozenset:
        value = (OrderedSet if kind is set else OrderedFrozenSet)(value)
    _refuse_addresses(value, str(value))
    _refuse_plain_sets(value, 0)
    return value


def text(value: object = "") -> str:
    """`str(value)`, without addresses and with sets in order."""
    return str(shown(value))


def representation(value: object, /) -> str:
    """`repr(value)`, without addresses and with sets in order."""
    given = shown(value)
    written = repr(given)
    if type(value) not in PLAIN:
        _refuse_addresses(given, written)
    return written


def ascii_representation(value: object, /) -> str:
    """`ascii(value)`, without addresses and with sets in order."""
    return representation(value).encode("ascii", "backslashreplace").decode("ascii")


def formatted(value: object, spec: str = "", /) -> str:
    """`format(value, spec)`, without addresses and with sets in order."""
    given = shown(value)
    written = format(given, spec)
    if type(value) not in PLAIN:
        _refuse_addresses(given, written)
    return written


def percent(template: Any, values: Any) -> Any:
    """`template % values`, without addresses; numbers pass."""
    if isinstance(template, str | bytes) and type(values) not in PLAIN:
        if isinstance(values, tuple):
            return template % tuple(_percent_part(each) for each in values)
        if isinstance(values, Mapping):
            return template % {key: _percent_part(each) for key, each in values.items()}
        return template % (_percent_part(values),)
    return template % values


def _percent_part(value: Any) -> Any:
    given = shown(value)
    if type(value) not in PLAIN:
        _refuse_addresses(given, repr(given))
    return given


# ── addresses ────────────────────────────────────────────────────────────────────────────────────


def _refuse_addresses(value: object, written: str) -> None:
    # Most text has no address. If this has one, look who wrote it: a string that says " at 0x10" is just a string.
    if " at 0x" in written and _ADDRESS.search(written):
        culprit = _culprit(value, 0)
        if culprit is not None:
            raise _shows_address(culprit)


def _culprit(value: object, depth: int) -> object | None:
    """Find the innermost object whose own text has the address; None when it is only in strings."""
    if type(value) in PLAIN or isinstance(value, str | bytes | bytearray | enum.Enum) or depth > 20:
        return None
    for part in _parts(value):
        found = _culprit(part, depth + 1)
        if found is not None:
            return found
    if _is_transparent(value):
        return None
    return value if _ADDRESS.search(repr(value)) or _ADDRESS.search(str(value)) else None


def _parts(value: object) -> Sequence[object]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, BaseException):
        return value.args
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value) if field.repr]
    if hasattr(type(value), "model_fields"):
        return list(vars(value).values())
    return ()


def _refuse_plain_sets(value: object, depth: int) -> None:
    """Refuse a plain set inside of a container: its text would show an order that differs from process to process."""
    kind = type(value)
    if kind in PLAIN or depth > 8 or kind not in (list, tuple, dict, set, frozenset):
        return
    if kind in (set, frozenset) and len(value) > 1:  # type: ignore[arg-type]  # a set has a length
        raise SandboxViolation(
            "the text of a plain set can't be used in a body.",
            why="its order differs from process to process",
            fix="show sorted(the_set)",
        )
    for part in _parts(value):
        _refuse_plain_sets(part, depth + 1)


def _is_transparent(value: object) -> bool:
    """Tell whether a value's text is made of its parts' text and nothing else."""
    kind = type(value)
    if kind in (list, tuple, dict, set, frozenset) or getattr(kind, "__ordered__", False):
        return True
    if isinstance(value, BaseException):
        return kind.__str__ in (BaseException.__str__, KeyError.__str__) and kind.__repr__ is BaseException.__repr__
    generated = isinstance(kind.__repr__, types.FunctionType) and dataclasses.is_dataclass(kind)
    return generated and kind.__str__ is object.__str__ and getattr(kind.__repr__, "__wrapped__", None) is not None


def _shows_address(culprit: object) -> SandboxViolation:
    kind = type(culprit)
    what = getattr(culprit, "__qualname__", None)
    named = f"the {kind.__name__} {what}" if isinstance(what, str) else f"an object of type {kind.__qualname__}"
    return SandboxViolation(
        f"the text of {named} can't be used in a body.",
        why="it shows an address, which differs from process to process",
        fix=f"show one of its fields or its __name__, or give {kind.__name__} a __repr__",
    )


# ── format strings ───────────────────────────────────────────────────────────────────────────────


class SafeFormatter(string.Formatter):
    """`str.format` whose fields read attributes through a guard."""

    def __init__(self, read: Callable[[object, str], object]) -> None:
        self._read = read

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        # The stdlib's own splitter; it is what str.format and string.Formatter both use.
        first, rest = _split(field_name)
        value = self.get_value(first, args, kwargs)
        for is_attribute, name in rest:
            if not is_attribute:
                value = value[name]
            elif isinstance(name, str) and name.startswith("_"):
                raise SandboxViolation(
                    f"the format string reads .{name} in a body.",
                    why="special and private attributes lead into the interpreter",
                    fix="pass the value itself as an argument",
                )
            else:
                value = self._read(value, str(name))
        return value, first

    def format_field(self, value: Any, format_spec: str) -> str:
        return formatted(value, format_spec)

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        match conversion:
            case None:
                return value
            case "s":
                return text(value)
            case "r":
                return representation(value)
            case "a":
                return ascii_representation(value)
        raise ValueError(f"Unknown conversion specifier {conversion!s}")


def _split(field_name: str) -> tuple[int | str, list[tuple[bool, int | str]]]:
    first, rest = string._string.formatter_field_name_split(field_name)  # type: ignore[attr-defined]
    return first, list(rest)


def format_method(template: str | type[str], name: str, read: Callable[[object, str], object]) -> Callable[..., str]:
    """Give what `template.format`, or `template.format_map`, is in a body.

    `read(value, attribute)` reads an attribute that a field asks for. Of `str` itself it gives the unbound method.
    """
    formatter = SafeFormatter(read)

    def format(text: str, /, *args: Any, **kwargs: Any) -> str:
        return formatter.vformat(text, args, kwargs)

    def format_map(text: str, mapping: Mapping[str, Any], /) -> str:
        return formatter.vformat(text, (), mapping)

    method: Callable[..., str] = format_map if name == "format_map" else format
    return method if isinstance(template, type) else functools.partial(method, template)
