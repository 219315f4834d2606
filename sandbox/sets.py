"""Sets that keep the order of insertion, because a plain set's order depends on the process.

They are real sets: the base class holds the members, so that `in`, `len`, `==`, and C code that looks at the table cost
and see what they always do; a dictionary beside it holds the order.

This file knows order. It must not know where sets come from.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Container, Iterable, Iterator, Set
from typing import Any, ClassVar, Final, Self, TypeVar

from perdure.errors import SandboxViolation

T = TypeVar("T")


class _SetType(type):
    """Lets `isinstance(x, OrderedSet)` mean what `isinstance(x, set)` means: in a body, `set` is `OrderedSet`."""

    def __instancecheck__(cls, instance: object) -> bool:
        plain = cls.__mro__[1] if cls.__dict__.get("__ordered__") else cls
        return isinstance(instance, plain) if plain is not cls else type.__instancecheck__(cls, instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        plain = cls.__mro__[1] if cls.__dict__.get("__ordered__") else cls
        return issubclass(subclass, plain) if plain is not cls else type.__subclasscheck__(cls, subclass)


def _merged(sets: tuple[Iterable[Any], ...]) -> dict[Any, None]:
    merged: dict[Any, None] = {}
    for each in sets:
        merged.update(dict.fromkeys(in_order(each)))
    return merged


def _table(other: Iterable[Any]) -> Container[Any]:
    """Give something that answers `in` quickly."""
    return other if isinstance(other, Set | dict) else set(other)


class OrderedSet(set[T], metaclass=_SetType):
    """A `set` in order of insertion. `pop` takes the newest member."""

    __slots__ = ("_order",)
    __ordered__: ClassVar[bool] = True
    __hash__ = None

    def __init__(self, iterable: Iterable[T] = (), /) -> None:
        order = dict.fromkeys(in_order(iterable))
        set.__init__(self, order)
        self._order: dict[T, None] = order

    # ── looking ──

    def __iter__(self) -> Iterator[T]:
        return iter(self._order)

    def __reversed__(self) -> Iterator[T]:
        return reversed(self._order)

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self._order))}}}" if self._order else "set()"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self._order),)

    # ── changing one member ──

    def add(self, element: T, /) -> None:
        set.add(self, element)
        self._order[element] = None

    def discard(self, element: Any, /) -> None:
        set.discard(self, element)
        self._order.pop(element, None)

    def remove(self, element: Any, /) -> None:
        set.remove(self, element)
        del self._order[element]

    def pop(self) -> T:
        if not self._order:
            raise KeyError("pop from an empty set")
        element, _ = self._order.popitem()
        set.discard(self, element)
        return element

    def clear(self) -> None:
        set.clear(self)
        self._order.clear()

    def copy(self) -> OrderedSet[T]:
        return OrderedSet(self._order)

    # ── combining ──

    def union(self, *others: Iterable[Any]) -> OrderedSet[Any]:
        return OrderedSet(_merged((self, *others)))

    def intersection(self, *others: Iterable[Any]) -> OrderedSet[T]:
        tables = [_table(other) for other in others]
        return OrderedSet([each for each in self._order if all(each in table for table in tables)])

    def difference(self, *others: Iterable[Any]) -> OrderedSet[T]:
        tables = [_table(other) for other in others]
        return OrderedSet([each for each in self._order if not any(each in table for table in tables)])

    def symmetric_difference(self, other: Iterable[Any], /) -> OrderedSet[Any]:
        theirs = dict.fromkeys(in_order(other))
        return OrderedSet([*(each for each in self._order if each not in theirs),
                           *(each for each in theirs if each not in self._order)])  # fmt: skip

    def update(self, *others: Iterable[Any]) -> None:
        self._order.update(_merged(others))
        set.update(self, self._order)

    def _become(self, other: OrderedSet[Any]) -> None:
        order = other._order
        set.clear(self)
        set.update(self, order)
        self._order = order

    def intersection_update(self, *others: Iterable[Any]) -> None:
        self._become(self.intersection(*others))

    def difference_update(self, *others: Iterable[Any]) -> None:
        self._become(self.difference(*others))

    def symmetric_difference_update(self, other: Iterable[Any], /) -> None:
        self._become(self.symmetric_difference(other))

    def __or__(self, other: Any) -> Any:
        return self.union(other) if isinstance(other, Set) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return OrderedSet(_merged((other, self))) if isinstance(other, Set) else NotImplemented

    def __and__(self, other: Any) -> Any:
        return self.intersection(other) if isinstance(other, Set) else NotImplemented

    __rand__ = __and__

    def __sub__(self, other: Any) -> Any:
        return self.difference(other) if isinstance(other, Set) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return OrderedSet(other).difference(self) if isinstance(other, Set) else NotImplemented

    def __xor__(self, other: Any) -> Any:
        return self.symmetric_difference(other) if isinstance(other, Set) else NotImplemented

    def __rxor__(self, other: Any) -> Any:
        return OrderedSet(other).symmetric_difference(self) if isinstance(other, Set) else NotImplemented

    def __ior__(self, other: Any) -> Any:
        if not isinstance(other, Set):
            return NotImplemented
        self.update(other)
        return self

    def __iand__(self, other: Any) -> Any:
        if not isinstance(other, Set):
            return NotImplemented
        self.intersection_update(other)
        return self

    def __isub__(self, other: Any) -> Any:
        if not isinstance(other, Set):
            return NotImplemented
        self.difference_update(other)
        return self

    def __ixor__(self, other: Any) -> Any:
        if not isinstance(other, Set):
            return NotImplemented
        self.symmetric_difference_update(other)
        return self


class OrderedFrozenSet(frozenset[T], metaclass=_SetType):
    """A `frozenset` in order of insertion, equal to and hashing like the plain one."""

    __slots__ = ("_order",)
    __ordered__: ClassVar[bool] = True
    _order: dict[T, None]

    def __new__(cls, iterable: Iterable[T] = (), /) -> Self:
        order = dict.fromkeys(in_order(iterable))
        self = super().__new__(cls, order)
        self._order = order
        return self

    def __iter__(self) -> Iterator[T]:
        return iter(self._order)

    def __reversed__(self) -> Iterator[T]:
        return reversed(self._order)

    def __repr__(self) -> str:
        return f"frozenset({{{', '.join(map(repr, self._order))}}})" if self._order else "frozenset()"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self._order),)

    def copy(self) -> OrderedFrozenSet[T]:
        return self

    def union(self, *others: Iterable[Any]) -> OrderedFrozenSet[Any]:
        return OrderedFrozenSet(_merged((self, *others)))

    def intersection(self, *others: Iterable[Any]) -> OrderedFrozenSet[T]:
        tables = [_table(other) for other in others]
        return OrderedFrozenSet([each for each in self._order if all(each in table for table in tables)])

    def difference(self, *others: Iterable[Any]) -> OrderedFrozenSet[T]:
        tables = [_table(other) for other in others]
        return OrderedFrozenSet([each for each in self._order if not any(each in table for table in tables)])

    def symmetric_difference(self, other: Iterable[Any], /) -> OrderedFrozenSet[Any]:
        theirs = dict.fromkeys(in_order(other))
        return OrderedFrozenSet([*(each for each in self._order if each not in theirs),
                                 *(each for each in theirs if each not in self._order)])  # fmt: skip

    def __or__(self, other: Any) -> Any:
        return self.union(other) if isinstance(other, Set) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return OrderedFrozenSet(_merged((other, self))) if isinstance(other, Set) else NotImplemented

    def __and__(self, other: Any) -> Any:
        return self.intersection(other) if isinstance(other, Set) else NotImplemented

    __rand__ = __and__

    def __sub__(self, other: Any) -> Any:
        return self.difference(other) if isinstance(other, Set) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return OrderedFrozenSet(other).difference(self) if isinstance(other, Set) else NotImplemented

    def __xor__(self, other: Any) -> Any:
        return self.symmetric_difference(other) if isinstance(other, Set) else NotImplemented

    def __rxor__(self, other: Any) -> Any:
        return OrderedFrozenSet(other).symmetric_difference(self) if isinstance(other, Set) else NotImplemented


# ── sets that come from elsewhere ────────────────────────────────────────────────────────────────

_PLAIN: Final = (set, frozenset)


def in_order(iterable: Iterable[T]) -> Iterable[T]:
    """Give `iterable` itself, or a plain set's members sorted: its own order depends on the process.

    Raises:
        SandboxViolation: the members have no order of their own, such as objects without `<`.
    """
    if not issubclass(type(iterable), _PLAIN) or getattr(iterable, "__ordered__", False):
        return iterable
    if len(iterable) < 2:  # type: ignore[arg-type]  # it is a set
        return iterable
    try:
        return sorted(iterable, key=_key)
    except (TypeError, decimal.InvalidOperation):
        raise SandboxViolation(
            "a set from outside the body was iterated, and its members have no order.",
            why="a plain set's order differs from process to process, and these members can't be sorted",
            fix="hand over a list, or sort it with a key: sorted(the_set, key=…)",
        ) from None


def _key(value: object) -> tuple[Any, ...]:
    """Give a key by which values of mixed plain types sort the same way in every process."""
    kind = type(value)
    if value is None:
        return (0,)
    if issubclass(kind, enum.Enum):
        return (8, kind.__qualname__, value.name)  # type: ignore[attr-defined]
    if issubclass(kind, int | float | decimal.Decimal):
        if value != value:
            raise TypeError("not a number has no order")
        return (1, value)
    if issubclass(kind, str):
        return (2, value)
    if issubclass(kind, bytes):
        return (3, value)
    if issubclass(kind, tuple):
        return (4, tuple(map(_key, value)))  # type: ignore[call-overload]
    if issubclass(kind, _PLAIN):
        return (5, sorted(map(_key, value)))  # type: ignore[call-overload]
    if issubclass(kind, datetime.datetime):
        return (6, value.tzinfo is not None, value)  # type: ignore[attr-defined]
    if kind in (datetime.date, datetime.time, datetime.timedelta, uuid.UUID):
        return (7, kind.__name__, value)
    if kind.__lt__ is object.__lt__:  # type: ignore[operator]
        raise TypeError("no order")
    return (9, kind.__module__, kind.__qualname__, value)
