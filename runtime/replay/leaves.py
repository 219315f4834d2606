"""The leaves of a recorded value: its scalars with the names of their types, found without any class.

Knows bodies and shapes (see `storage/shape.py`). Must not know why they are looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from perdure.storage.plain import quote

Path: TypeAlias = tuple[str, ...]
#: Gives what a leaf becomes: its place, the name of its type, its text or value.
Change: TypeAlias = Callable[[Path, str, Any], Any]
#: Hears of a part of a value that became another: what it was, its shape, what it is.
Note: TypeAlias = Callable[[Any, Any, Any], None]


class Number(str):
    """A JSON number as it is written."""

    __slots__ = ()


_DECODER: Final = json.JSONDecoder(parse_int=Number, parse_float=Number)


def parsed(text: str) -> Any:
    """Read JSON, with numbers as they are written."""
    return _DECODER.decode(text)


def text_of(value: Any) -> str:
    """Write as `encode` does, numbers as they were."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{quote(name)}:{text_of(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(text_of, value)) + "]"
    if isinstance(value, Number):
        return str(value)
    return quote(value) if isinstance(value, str) else {None: "null", True: "true", False: "false"}[value]


_WRAPPERS: Final = ("tuple", "set", "frozenset", "deque", "OrderedDict", "Counter", "defaultdict")


def mapped(body: Any, shape: Any, path: Path, change: Change, note: Note | None = None) -> Any:
    """Go through a value by its shape (see `storage/shape.py`), and give what it becomes; `note` hears of each part."""
    after = _mapped_parts(body, shape, path, change, note)
    if note is not None and after != body:
        note(body, shape, after)
    return after


def _mapped_parts(body: Any, shape: Any, path: Path, change: Change, note: Note | None) -> Any:
    if body is None:
        return change(path, "null", None)
    if isinstance(shape, str):
        return change(path, shape, body)
    if not shape:
        return _mapped_items(body, {}, None, path, change, note)
    for part in _WRAPPERS:
        if part in shape:
            return _mapped_parts(body, shape[part], path, change, note)
    for part in ("enum", "member", "url"):
        if part in shape:
            return change(path, part, body)
    if "pairs" in shape:
        items = _mapped_parts([pair[1] for pair in body], shape["pairs"][1], path, change, note)
        return [[pair[0], item] for pair, item in zip(body, items, strict=True)]
    if "mixed" in shape:
        return [
            mapped(item, shape["mixed"][pick], (*path, str(index)), change, note)
            for index, (item, pick) in enumerate(zip(body, shape["pick"], strict=True))
        ]
    return _mapped_items(body, shape.get("fields", {}), shape.get("each"), path, change, note)


def _mapped_items(body: Any, fields: dict[str, Any], each: Any, path: Path, change: Change, note: Note | None) -> Any:
    if isinstance(body, dict):
        return {name: mapped(item, fields.get(name, each), (*path, name), change, note) for name, item in body.items()}
    if isinstance(body, list):
        return [mapped(item, each, (*path, str(index)), change, note) for index, item in enumerate(body)]
    if isinstance(body, Number):
        return change(path, "number", body)
    return change(path, "bool" if isinstance(body, bool) else "str", body)


def texts_in(value: Any) -> Iterator[str]:
    """Give all texts and numbers in a value as they are written, keys too."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, str):
        yield value
