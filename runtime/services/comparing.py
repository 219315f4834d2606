"""How values of documents compare: equal, before, after, and in which order a sort has them.

    rules   1. Only values of one kind compare: a number with a number, a text with a text. Others are unequal, and
               neither is before the other. True is no number.
            2. Numbers compare by their exact value: 1, 1.0 and Decimal("1") are equal. NaN equals NaN.
            3. A datetime with a time zone and one without are two kinds.
            4. Mappings are equal whatever the order of their keys; lists and tuples are one kind.

Knows values. Must not know documents.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Set
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from perdure.services.paths import MISSING, is_array

# In the order in which a sort has the kinds.
_RANKS: Final = {
    name: rank
    for rank, name in enumerate(
        (
            "nothing", "none", "number", "text", "mapping", "array", "set", "bytes", "uuid", "bool", "date",
            "naive datetime", "datetime", "naive time", "time", "timedelta", "other",
        )
    )
}  # fmt: skip
#: Kinds whose values have an order that a filter may ask about.
ORDERED: Final = frozenset(_RANKS) - {"nothing", "none", "mapping", "array", "set", "other"}


def kind_of(value: Any) -> str:
    """The kind of a value; only values of one kind compare."""
    simple = _KINDS.get(type(value))
    if simple is not None:
        return simple
    kind = next((name for name, types in _FAMILIES if isinstance(value, types)), "other")
    if kind in ("datetime", "time") and value.utcoffset() is None:
        return f"naive {kind}"
    return kind


_KINDS: Final[dict[type, str]] = {
    int: "number", float: "number", str: "text", bool: "bool", type(None): "none", dict: "mapping", list: "array",
}  # fmt: skip
# A subclass before its base: a bool is an int, a datetime a date.
_FAMILIES: Final[tuple[tuple[str, Any], ...]] = (
    ("bool", bool), ("number", (int, float, Decimal)), ("text", str), ("none", type(None)), ("mapping", Mapping),
    ("array", (list, tuple)), ("set", Set), ("bytes", (bytes, bytearray)), ("uuid", UUID),
    ("datetime", datetime.datetime), ("date", datetime.date), ("time", datetime.time),
    ("timedelta", datetime.timedelta), ("nothing", type(MISSING)),
)  # fmt: skip


def is_equal(one: Any, other: Any) -> bool:
    """Whether two values are equal, by the rules above."""
    kind = kind_of(one)
    if kind != kind_of(other):
        return False
    if kind == "mapping":
        return len(one) == len(other) and all(key in other and is_equal(one[key], other[key]) for key in one)
    if kind == "array":
        return len(one) == len(other) and all(map(is_equal, one, other))
    if kind == "number":
        return bool(one == other) or (_is_nan(one) and _is_nan(other))
    if kind == "other" and type(one) is not type(other):
        return False
    return bool(one == other)


def comparison(operator: Callable[[Any, Any], bool], bound: Any) -> Callable[[Any], bool]:
    """Give a test of values against a bound, such as `operator.lt`; false for values of another kind, and for NaN."""
    kind = kind_of(bound)
    if _is_nan(bound):
        return lambda value: False
    if kind == "number":  # most common; of itself a float that is NaN is neither before nor after anything
        return lambda value: (
            operator(value, bound)
            if type(value) in (int, float)
            else kind_of(value) == kind and not _is_nan(value) and operator(value, bound)
        )
    return lambda value: kind_of(value) == kind and not _is_nan(value) and operator(value, bound)


def sort_key(value: Any) -> tuple[Any, ...]:
    """Give what any two values sort by: first by kind, then by value. NaN comes before the other numbers."""
    kind = kind_of(value)
    rank = _RANKS[kind]
    if kind == "number":
        return (rank, 0, 0) if _is_nan(value) else (rank, 1, value)
    if kind == "mapping":
        return rank, [(str(key), sort_key(item)) for key, item in value.items()]
    if kind == "array":
        return rank, [sort_key(item) for item in value]
    if kind == "set":
        return rank, sorted(sort_key(item) for item in value)
    if kind == "other":
        return rank, f"{type(value).__qualname__} {value!r}"
    return (rank,) if kind in ("nothing", "none") else (rank, value)


def array_sort_key(value: Any, descending: bool) -> tuple[Any, ...]:
    """The same for a field that documents are sorted by: of an array its smallest item counts, descending the largest.

    An empty array comes before everything else.
    """
    if not is_array(value):
        return sort_key(value)
    keys = [sort_key(item) for item in value]
    if not keys:
        return (-1,)
    return max(keys) if descending else min(keys)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | Decimal) and value != value  # NaN alone is unequal to itself
