"""Values as text: a JSON body that people and SQL can read, and a shape that says what JSON can't.

    >>> encode({"sku": "A1", "price": Decimal("12.50")})
    Encoded(body='{"sku":"A1","price":"12.50"}', shape='{"fields":{"price":"Decimal"}}')

The text is the same in every process, whatever the hash seed and the version of Python, because equal text means equal
arguments at replay. Values are taken by value: what two places share becomes two. Nothing is ever pickled.

Each writer returns the texts of one value. Containers whose items are all plain go through the C encoder at once;
only what is left is walked.

This file knows how values are written. It must not know ledgers, nor what values mean.
"""

from __future__ import annotations

import collections
import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from perdure.storage import records
from perdure.storage.decoding import FACTORIES, Sets, decode
from perdure.storage.plain import all_scalars, all_strings, flat_text, integer_text, is_unicode, parse, quote
from perdure.storage.refusals import DEPTH_MAX, Refused, step_to, too_deep
from perdure.storage.scalars import (
    SCALARS,
    Scalar,
    body_and_shape,
    write_datetime,
    write_time,
    write_unusual_float,
)
from perdure.storage.shape import Shape, common_of, fields_of, list_of, mapping_of, node

__all__ = ["Encoded", "Sets", "decode", "decode_arguments", "encode", "encode_arguments"]


class Encoded(NamedTuple):
    """One value as text."""

    body: str  # JSON
    shape: str | None  # what JSON can't say (see shape.py); None when it says it all


Written: TypeAlias = tuple[str, Shape]
#: Writes a value that sits below so many containers.
Writer: TypeAlias = Callable[[Any, int], Written]

_new: Final = tuple.__new__  # half the time of calling the class
_SHORT: Final = 10**18
_NO_ARGUMENTS: Final = Encoded("[]", None)


def encode(value: object) -> Encoded:
    """Write a value as text from which `decode` makes an equal one of the same types.

    Raises:
        NotSerializable: a part has no lossless encoding; its `path` says which, its `fix` what to do.
    """
    try:
        return _new(Encoded, (_WRITERS.get(type(value)) or _write_other)(value, 0))
    except Refused as refused:
        raise refused.error() from None


def encode_arguments(arguments: tuple[object, ...]) -> Encoded:
    """Write positional arguments, as `encode` writes a list of them. Quick, because every step of a replay does it.

    Raises:
        NotSerializable: as `encode`; the path begins with the argument's index, `$[0]`.
    """
    if not arguments:
        return _NO_ARGUMENTS
    if len(arguments) == 1:
        # One short integer or text is so common that it is worth not asking the C encoder.
        (only,) = arguments
        if type(only) is int and -_SHORT < only < _SHORT:
            return _new(Encoded, (f"[{only}]", None))
        if type(only) is str and only.isascii():
            return _new(Encoded, (f"[{quote(only)}]", None))
    if all_scalars(map(type, arguments)):
        text = flat_text(arguments)
        if text is not None:
            return _new(Encoded, (text, None))
    return encode(list(arguments))


def decode_arguments(body: str, shape: str | None, *, sets: Sets = (set, frozenset)) -> tuple[Any, ...]:
    """Read back what `encode_arguments` wrote. Raises `ValueUnreadable` as `decode` does."""
    arguments: Any = decode(body, shape, sets=sets)
    return tuple(arguments)


def _write(value: object, depth: int) -> Written:
    return (_WRITERS.get(type(value)) or _write_other)(value, depth)


# ── scalars ──────────────────────────────────────────────────────────────────────────────────────


def _write_none(value: None, depth: int) -> Written:
    return "null", None


def _write_bool(value: bool, depth: int) -> Written:
    return "true" if value else "false", None


def _write_str(value: str, depth: int) -> Written:
    if value.isascii() or is_unicode(value):
        return quote(value), None
    return body_and_shape("str", value)


def _write_int(value: int, depth: int) -> Written:
    text = integer_text(value)
    return (text, None) if "x" not in text else body_and_shape("int", text)


def _write_float(value: float, depth: int) -> Written:
    return (float.__repr__(value), None) if value - value == 0.0 else write_unusual_float(value)


def _scalar_writer(scalar: Scalar) -> Writer:
    name, write, _ = scalar
    return lambda value, depth: body_and_shape(name, write(value))


# ── lists and what is written as one ─────────────────────────────────────────────────────────────


def _write_list(value: list[Any] | tuple[Any, ...], depth: int) -> Written:
    if all_scalars(map(type, value)) or (depth + 1 < DEPTH_MAX and _is_table(value)):
        text = flat_text(value)
        if text is not None:
            return text, None
    bodies, shapes = _write_items(value, depth, value)
    return _bracketed(bodies), list_of(shapes, bodies)


def _is_table(value: list[Any] | tuple[Any, ...]) -> bool:
    """Whether every item is a dictionary of names and scalars, such as rows of a query."""
    return set(map(type, value)) == {dict} and all(
        all_strings(map(type, row)) and all_scalars(map(type, row.values())) for row in value
    )


def _bracketed(bodies: Iterable[str]) -> str:
    return f"[{','.join(bodies)}]"


def _write_items(
    items: Iterable[Any], depth: int, container: object, step: str = "[{}]"
) -> tuple[list[str], list[Shape]]:
    if depth >= DEPTH_MAX:
        raise too_deep(container)
    bodies: list[str] = []
    shapes: list[Shape] = []
    find, below = _WRITERS.get, depth + 1
    try:
        for item in items:
            body, shape = (find(type(item)) or _write_other)(item, below)
            bodies.append(body)
            shapes.append(shape)
    except Refused as refused:
        refused.within(step.format(len(bodies)), container)
        raise
    return bodies, shapes


def _write_tuple(value: tuple[Any, ...], depth: int) -> Written:
    body, shape = _write_list(value, depth)
    return body, '{"tuple":null}' if shape is None else f'{{"tuple":{shape}}}'


def _write_deque(value: collections.deque[Any], depth: int) -> Written:
    body, shape = _write_list(list(value), depth)
    length = "" if value.maxlen is None else f'"maxlen":{integer_text(value.maxlen)}'
    return body, node(f'"deque":{shape or "null"}', length)


def _write_set(value: set[Any] | frozenset[Any], depth: int) -> Written:
    """Write the members in an order that all processes agree on; a set that keeps an order of its own keeps it."""
    kind = "set" if isinstance(value, set) else "frozenset"
    if getattr(type(value), "__ordered__", False):
        members = list(value)
    else:
        types = set(map(type, value))
        if types not in ({int}, {str}):
            return _write_sorted(value, depth, kind)
        members = sorted(value)
    body, shape = _write_list(members, depth)
    return body, f'{{"{kind}":{shape or "null"}}}'


def _write_sorted(value: set[Any] | frozenset[Any], depth: int, kind: str) -> Written:
    bodies, shapes = _write_items(value, depth, value, step="[*]")  # a set's member has no index
    order = sorted(range(len(bodies)), key=lambda index: (bodies[index], shapes[index] or ""))
    bodies = [bodies[index] for index in order]
    shape = list_of([shapes[index] for index in order], bodies)
    return _bracketed(bodies), f'{{"{kind}":{shape or "null"}}}'


# ── mappings ─────────────────────────────────────────────────────────────────────────────────────


def _write_dict(value: Mapping[Any, Any], depth: int) -> Written:
    if not all_strings(map(type, value)):
        return _write_keyed(value, depth)
    if all_scalars(map(type, value.values())):
        text = flat_text(value)
        if text is not None:
            return text, None
    if not all(name.isascii() or is_unicode(name) for name in value):
        return _write_keyed(value, depth)
    bodies, shapes = _write_names(value, depth, value)
    return _braced(bodies), node(part) if (part := mapping_of(shapes, bodies)) else None


def _braced(bodies: Mapping[str, str]) -> str:
    return "{" + ",".join([f"{quote(name)}:{body}" for name, body in bodies.items()]) + "}"


def _write_names(value: Mapping[str, Any], depth: int, container: object) -> tuple[dict[str, str], dict[str, str]]:
    if depth >= DEPTH_MAX:
        raise too_deep(container)
    bodies: dict[str, str] = {}
    shapes: dict[str, str] = {}
    find, below = _WRITERS.get, depth + 1
    name = ""
    try:
        for name, item in value.items():  # the except clause reads it
            bodies[name], shape = (find(type(item)) or _write_other)(item, below)
            if shape is not None:
                shapes[name] = shape
    except Refused as refused:
        refused.within(step_to(name), container)
        raise
    return bodies, shapes


def _write_keyed(value: Mapping[Any, Any], depth: int) -> Written:
    """Write a dictionary with keys that JSON can't have: as an object where each key has one text, else as pairs."""
    keys, key_shapes = _write_items(value, depth, value, step=".keys()[{}]")
    bodies, shapes = _write_values(value, depth)
    uniform, key_shape = common_of(key_shapes, keys)
    if uniform:
        as_text = key_shape is not None and all(key[0] == '"' for key in keys)
        names = keys if as_text else [quote(key) for key in keys]
        by_name = dict(zip(names, bodies, strict=True))
        if len(by_name) == len(keys):
            body = "{" + ",".join([f"{name}:{item}" for name, item in by_name.items()]) + "}"
            plain_names = [parse(key) for key in keys] if as_text else keys
            described = {name: shape for name, shape in zip(plain_names, shapes, strict=True) if shape is not None}
            values = mapping_of(described, dict(zip(plain_names, bodies, strict=True)))
            return body, node(f'"{"keys" if as_text else "jsonkeys"}":{key_shape or "null"}', values)
    pairs = [f"[{key},{item}]" for key, item in zip(keys, bodies, strict=True)]
    parts = f"{list_of(key_shapes, keys) or 'null'},{list_of(shapes, bodies) or 'null'}"
    return _bracketed(pairs), f'{{"pairs":[{parts}]}}'


def _write_values(value: Mapping[Any, Any], depth: int) -> tuple[list[str], list[Shape]]:
    bodies: list[str] = []
    shapes: list[Shape] = []
    key: object = None
    try:
        for key, item in value.items():  # noqa: B007  # the except clause reads it
            body, shape = _write(item, depth + 1)
            bodies.append(body)
            shapes.append(shape)
    except Refused as refused:
        refused.within(f"[{key!r:.60}]", value)
        raise
    return bodies, shapes


def _dict_kind_writer(kind: str) -> Writer:
    def write(value: Mapping[Any, Any], depth: int) -> Written:
        body, shape = _write_dict(value, depth)
        return body, f'{{"{kind}":{shape or "null"}}}'

    return write


def _write_defaultdict(value: collections.defaultdict[Any, Any], depth: int) -> Written:
    factory = value.default_factory
    if factory is not None and FACTORIES.get(getattr(factory, "__name__", "")) is not factory:
        raise Refused(
            value,
            f"is a defaultdict with the factory {factory!r}",
            why=f"only the builtin types {', '.join(FACTORIES)} can be found again by name",
            fix="pass dict(value)",
        )
    body, shape = _write_dict(value, depth)
    return body, node(f'"defaultdict":{shape or "null"}', f'"factory":"{factory.__name__}"' if factory else "")


# ── classes ──────────────────────────────────────────────────────────────────────────────────────


def _write_other(value: Any, depth: int) -> Written:
    """Write an instance of a class that isn't built in. Raises `Refused`."""
    if isinstance(value, set | frozenset) and getattr(type(value), "__ordered__", False):
        return _write_set(value, depth)
    plan = records.plan_for(value)
    match plan.kind:
        case "enum":
            return _write(value._value_, depth)[0], f"{{{plan.part}}}"
        case "member":
            return quote(value.name), f"{{{plan.part}}}"
        case "url":
            return quote(str(value)), f"{{{plan.part}}}"
        case "namedtuple":
            taken = records.take_namedtuple(value, plan)
        case "model":
            taken = records.take_model(value, plan)
        case _:
            taken = records.take_dataclass(value, plan)
    state = taken.state
    if all_scalars(map(type, state.values())):
        text = flat_text(state)
        if text is not None:
            return text, node(*taken.parts)
    bodies, shapes = _write_names(state, depth, value)
    return _braced(bodies), node(*taken.parts, fields_of(shapes))


_WRITERS: Final[dict[type, Writer]] = {
    type(None): _write_none,
    bool: _write_bool,
    str: _write_str,
    int: _write_int,
    float: _write_float,
    list: _write_list,
    tuple: _write_tuple,
    dict: _write_dict,
    set: _write_set,
    frozenset: _write_set,
    collections.deque: _write_deque,
    collections.OrderedDict: _dict_kind_writer("OrderedDict"),
    collections.Counter: _dict_kind_writer("Counter"),
    collections.defaultdict: _write_defaultdict,
    datetime.datetime: lambda value, depth: write_datetime(value),
    datetime.time: lambda value, depth: write_time(value),
    **{kind: _scalar_writer(scalar) for kind, scalar in SCALARS.items()},
}
