"""Dotted paths into documents: `"customer.city"`, `"items.0.sku"`; through arrays a path reaches every item.

Knows how values nest. Must not know filters or updates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any, Final, TypeAlias

from perdure.errors import DefinitionError

Parts: TypeAlias = tuple[str, ...]


class Missing:
    """What a path finds where there is nothing."""

    def __repr__(self) -> str:
        return "nothing"


MISSING: Final = Missing()


def parts_of(path: object) -> Parts:
    """Take a path apart. Raises DefinitionError for what is none."""
    if not isinstance(path, str) or not path:
        raise DefinitionError(f"{path!r} can't be the name of a field.", fix='give a text, such as "customer.city"')
    parts = tuple(path.split("."))
    if "" in parts:
        raise DefinitionError(f"the path {path!r} has an empty part.", fix='write it as "customer.city"')
    return parts


def is_array(value: object) -> bool:
    """Whether a path goes on into its items, and a filter looks at each of them."""
    return isinstance(value, list | tuple)


def values_at(value: object, parts: Parts, start: int = 0) -> Iterator[Any]:
    """Give all values that a path leads to; MISSING for each way on which it leads to nothing."""
    if start == len(parts):
        yield value
        return
    part = parts[start]
    if isinstance(value, Mapping):
        if part in value:
            yield from values_at(value[part], parts, start + 1)
        else:
            yield MISSING
    elif isinstance(value, list | tuple):
        if part.isdecimal() and int(part) < len(value):
            yield from values_at(value[int(part)], parts, start + 1)
        for item in value:
            if isinstance(item, Mapping):
                yield from values_at(item, parts, start)
    else:
        yield MISSING


def spread(value: Any) -> Iterator[Any]:
    """Give the value itself, and of a collection its items: `{"tags": "new"}` finds documents with this tag."""
    yield value
    if is_array(value) or isinstance(value, Set):
        yield from value
