"""From text back to values: a shape is compiled once into a reader, and kept.

This file knows what each part of a shape makes of a body. It must not know how values are written.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, TypeAlias

from perdure.errors import ValueUnreadable
from perdure.storage import instances
from perdure.storage.classes import ClassGone
from perdure.storage.plain import parse
from perdure.storage.refusals import step_to
from perdure.storage.scalars import ESCAPED, READERS, unescape

#: Makes a value from parsed JSON. Containers may be changed in place: they were parsed for this.
Reader: TypeAlias = Callable[[Any], Any]
#: What sets are made with: the mutable kind and the frozen one.
Sets: TypeAlias = tuple[Callable[[Iterable[Any]], Any], Callable[[Iterable[Any]], Any]]

_CACHED_SHAPE_MAX: Final = 4096  # characters; longer ones describe one value, and seldom come again

#: What a `defaultdict` may have as its factory, so that its name is enough.
FACTORIES: Final[dict[str, type]] = {kind.__name__: kind for kind in (list, dict, set, int, str, float, tuple, bool)}


class _Unreadable(Exception):
    """Internal: a part that can't be read, on its way up."""

    def __init__(self, problem: str, *, reference: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.reference = reference
        self.steps: list[str] = []


def decode(body: str, shape: str | None, *, sets: Sets = (set, frozenset)) -> object:
    """Read back what `encode` wrote.

    Args:
        sets: what sets and frozen sets are made with; each is given the members in recorded order.

    Raises:
        ValueUnreadable: the text is broken, or a class that it names is gone or has changed too much.
    """
    try:
        plain = parse(body)
        if shape is None:
            return plain
        make = _cached_reader if len(shape) <= _CACHED_SHAPE_MAX else _new_reader
        return make(shape, sets)(plain)
    except _Unreadable as unreadable:
        raise _error(unreadable) from unreadable.__cause__
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise _error(_Unreadable(f"does not fit its shape: {type(error).__name__}: {error}")) from error


def _error(unreadable: _Unreadable) -> ValueUnreadable:
    path = "$" + "".join(reversed(unreadable.steps))
    if unreadable.reference:
        return ValueUnreadable(
            f"{path} is of the class {unreadable.reference}, which {unreadable.problem}.",
            path=path,
            recorded_type=unreadable.reference,
            where=path,
            why="the class was moved, renamed or changed after the value was recorded",
            fix="keep the old name (an alias in the old module is enough), and give new fields a default",
        )
    return ValueUnreadable(
        f"{path} {unreadable.problem}.",
        path=path,
        where=path,
        why="the text was altered, or a newer release wrote it",
        fix="check the ledger with `perdure verify`, and open it with the release that wrote it",
    )


def _new_reader(shape: str, sets: Sets) -> Reader:
    return _reader(parse(shape), sets)


_cached_reader = lru_cache(maxsize=1024)(_new_reader)


def _reader(node: Any, sets: Sets) -> Reader:
    """Compile one shape. Every reader but the plain one gives None for a null."""
    if node is None:
        return _as_it_is
    if isinstance(node, str):
        return _scalar(node)
    read = _container(node, sets)

    def read_or_none(body: Any) -> Any:
        return None if body is None else read(body)

    return read_or_none


def _as_it_is(body: Any) -> Any:
    return body


def _scalar(name: str) -> Reader:
    read = READERS.get(name.removesuffix(ESCAPED))
    if read is None:
        raise _Unreadable(f"is of the type {name!r}, which this release does not know")
    if name.endswith(ESCAPED):
        plain = read
        read = lambda body: plain(unescape(body))  # noqa: E731  # one name for both
    known = read

    def read_scalar(body: Any) -> object:
        try:
            return None if body is None else known(body)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, OSError) as error:
            raise _Unreadable(f"is no {name}: {body!r:.80}: {error}") from error

    return read_scalar


# ── containers ───────────────────────────────────────────────────────────────────────────────────


def _container(node: dict[str, Any], sets: Sets) -> Reader:
    wrappers: dict[str, Callable[[Any], Any]] = {
        "tuple": tuple,
        "set": sets[0],
        "frozenset": sets[1],
        "deque": lambda items: collections.deque(items, node.get("maxlen")),
        "OrderedDict": collections.OrderedDict,
        "Counter": collections.Counter,
        "defaultdict": lambda mapping: collections.defaultdict(FACTORIES.get(node.get("factory", "")), mapping),
    }
    for part, wrap in wrappers.items():
        if part in node:
            return _wrapped(wrap, _reader(node[part], sets))
    if "keys" in node or "jsonkeys" in node:
        return _keyed(node, sets)
    if "pairs" in node:
        return _pairs(*(_reader(part, sets) for part in node["pairs"]))
    if "mixed" in node:
        return _mixed([_reader(part, sets) for part in node["mixed"]], node["pick"])
    if "each" in node:
        return _each(_reader(node["each"], sets))
    fields = _fields(node.get("fields", {}), sets)
    return fields if node.keys() == {"fields"} else _of_class(node, fields)


def _wrapped(wrap: Callable[[Any], Any], read: Reader) -> Reader:
    return wrap if read is _as_it_is else lambda body: wrap(read(body))


def _each(read: Reader) -> Reader:
    def read_each(body: Any) -> Any:
        if isinstance(body, dict):
            return _read_names(body, dict.fromkeys(body, read))
        return _read_items(body, [read] * len(body))

    return read_each


def _mixed(readers: list[Reader], pick: list[int]) -> Reader:
    chosen = [readers[number] for number in pick]
    return lambda body: _read_items(body, chosen)


def _read_items(body: list[Any], readers: list[Reader]) -> list[Any]:
    values: list[Any] = []
    try:
        for item, read in zip(body, readers, strict=True):
            values.append(read(item))
    except _Unreadable as unreadable:
        unreadable.steps.append(f"[{len(values)}]")
        raise
    return values


def _fields(shapes: dict[str, Any], sets: Sets) -> Reader:
    readers = {name: _reader(shape, sets) for name, shape in shapes.items()}
    return lambda body: _read_names(body, readers)


def _read_names(body: dict[str, Any], readers: dict[str, Reader]) -> dict[str, Any]:
    name = ""
    try:
        for name, read in readers.items():  # the except clause reads it
            if name in body:
                body[name] = read(body[name])
    except _Unreadable as unreadable:
        unreadable.steps.append(step_to(name))
        raise
    return body


def _keyed(node: dict[str, Any], sets: Sets) -> Reader:
    in_json = "jsonkeys" in node
    read_key = _reader(node["jsonkeys" if in_json else "keys"], sets)
    values = {part: shape for part, shape in node.items() if part in ("each", "fields")}
    read_values = _container(values, sets) if values else _as_it_is

    def read_keyed(body: dict[str, Any]) -> dict[Any, Any]:
        keys = [read_key(parse(name) if in_json else name) for name in body]
        return dict(zip(keys, read_values(body).values(), strict=True))

    return read_keyed


def _pairs(read_keys: Reader, read_values: Reader) -> Reader:
    def read_pairs(body: list[list[Any]]) -> dict[Any, Any]:
        keys = read_keys([pair[0] for pair in body])
        return dict(zip(keys, read_values([pair[1] for pair in body]), strict=True))

    return read_pairs


# ── classes ──────────────────────────────────────────────────────────────────────────────────────


def _of_class(node: dict[str, Any], fields: Reader) -> Reader:
    if "dataclass" in node:
        make = instances.dataclass_maker(node["dataclass"], node.get("also", ()), node.get("missing", ()))
    elif "model" in node:
        make = instances.model_maker(node["model"], node)
    elif "namedtuple" in node:
        make = instances.namedtuple_maker(node["namedtuple"])
    elif "enum" in node:
        return _guarded(instances.enum_reader(node["enum"], by_name=False))
    elif "member" in node:
        return _guarded(instances.enum_reader(node["member"], by_name=True))
    elif "url" in node:
        return _guarded(instances.url_reader(node["url"]))
    else:
        raise _Unreadable(f"has the shape {sorted(node)}, which this release does not know")
    return _guarded(make, fields)


def _guarded(make: Callable[[Any], object], fields: Reader = _as_it_is) -> Reader:
    def read(body: Any) -> object:
        state = fields(body)
        try:
            return make(state)
        except ClassGone as gone:
            raise _Unreadable(gone.problem, reference=gone.reference) from gone.__cause__

    return read
