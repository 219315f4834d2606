"""The order of found documents: `sort="created"`, `sort=("created", -1)`, `sort=[("status", 1), ("created", -1)]`.

Knows fields and directions. Must not know filters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from perdure.errors import DefinitionError
from perdure.services.comparing import array_sort_key
from perdure.services.paths import MISSING, Parts, parts_of, values_at

Sort: TypeAlias = str | tuple[str, int] | Sequence[tuple[str, int]] | Mapping[str, int]
Found: TypeAlias = tuple[str, dict[str, Any]]

_SPARE: Final = 1_000  # documents beyond those that are wanted, before the rest is dropped


class Order:
    """An order, and the documents that come first in it.

    Args:
        wanted: how many are; None is all.
    """

    def __init__(self, fields: Sequence[tuple[Parts, bool]], wanted: int | None) -> None:
        self._fields = fields
        self._wanted = wanted
        self._kept: list[Found] = []

    def add(self, found: Sequence[Found]) -> None:
        """Take in some more, which come in the order of their ids."""
        self._kept += found
        if self._wanted is not None and len(self._kept) > 2 * self._wanted + _SPARE:
            self._kept = self.first()

    def first(self) -> list[Found]:
        """Those that come first; of equal ones those with the smaller ids."""
        kept = self._kept
        for parts, descending in reversed(self._fields):
            kept = sorted(kept, key=partial(_key, parts, descending), reverse=descending)
        return kept[: self._wanted]


def _key(parts: Parts, descending: bool, found: Found) -> tuple[Any, ...]:
    values = list(values_at(found[1], parts)) or [MISSING]
    return array_sort_key(values[0] if len(values) == 1 else values, descending)


def read_sort(given: Sort) -> list[tuple[Parts, bool]]:
    """Read an order: fields, and whether they descend. Raises DefinitionError."""
    if isinstance(given, str):
        pairs: list[Any] = [(given, 1)]
    elif isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str):
        pairs = [given]
    elif isinstance(given, Mapping):
        pairs = list(given.items())
    else:
        pairs = list(given) if isinstance(given, Sequence) else [given]
    fields = []
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or pair[1] not in (1, -1):
            raise DefinitionError(
                f"{pair!r} says no order.", where=f"sort={given!r}", fix='write ("created", 1), or -1 for descending'
            )
        fields.append((parts_of(pair[0]), pair[1] == -1))
    if not fields:
        raise DefinitionError("sort names no field.", fix='write sort="created", or leave it out')
    return fields
