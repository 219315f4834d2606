"""Shapes: small JSON texts that say of a body what JSON can't.

    null                                    JSON says it all
    "Decimal"                               text of this scalar type (see scalars.py)
    {"each": S}                             a list or a large mapping, every item is S
    {"mixed": [S, …], "pick": [0, 1, …]}    a list, item i is the S number pick[i]
    {"fields": {name: S, …}}                a mapping; names that are not listed are plain
    {"tuple": L}  {"set": L} …              the list L describes, as another container
    {"keys": S, …}  {"jsonkeys": S, …}      a mapping whose names are bodies of keys, as text or as JSON
    {"pairs": [L, L]}                       a mapping as a list of [key, value]: one L for the keys, one for the values
    {"dataclass": "module:qualname", "fields": …, …}   and "model", "namedtuple", "enum", "member", "url"

Two rules keep shapes small and equal: **a null in the body is None, whatever the shape says**, and names that a shape
lists need not be there. So a list of records whose optional parts differ still has one shape for each item. Names
inside a shape are sorted, so that equal structures have equal texts.

This file knows how shapes are put together. It must not know the types that they name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from perdure.storage.plain import parse, quote

#: A shape's text; None is the shape "JSON says it all".
Shape: TypeAlias = str | None

#: A mapping with more names than this is taken for a table, not a record: its shape doesn't list names if it can.
RECORD_NAMES_MAX: Final = 16


class _Conflict(Exception):
    """Two shapes have no common one."""


def list_of(shapes: Sequence[Shape], bodies: Sequence[str]) -> Shape:
    """Make the shape of a list from its items' shapes and bodies."""
    distinct = dict.fromkeys(shapes)
    if len(distinct) > 1:
        try:
            return _each(_common(distinct, shapes, bodies))
        except _Conflict:
            number = {shape: position for position, shape in enumerate(distinct)}
            mixed = ",".join(shape or "null" for shape in distinct)
            pick = ",".join([str(number[shape]) for shape in shapes])
            return f'{{"mixed":[{mixed}],"pick":[{pick}]}}'
    return _each(shapes[0]) if shapes else None


def common_of(shapes: Sequence[Shape], bodies: Sequence[str]) -> tuple[bool, Shape]:
    """Find one shape that reads every body; `(False, None)` when there is none."""
    distinct = dict.fromkeys(shapes)
    if len(distinct) <= 1:
        return True, next(iter(distinct), None)
    try:
        return True, _common(distinct, shapes, bodies)
    except _Conflict:
        return False, None


def mapping_of(shapes: Mapping[str, str], bodies: Mapping[str, str]) -> str:
    """Make the parts `"each": …` or `"fields": …` of a mapping, without braces; empty when all is plain.

    Args:
        shapes: by name, of what is not plain.
        bodies: by name, of everything.
    """
    if not shapes:
        return ""
    if len(bodies) > RECORD_NAMES_MAX:
        uniform, shape = common_of([shapes.get(name) for name in bodies], list(bodies.values()))
        if uniform:
            return f'"each":{shape}'
    return fields_of(shapes)


def fields_of(shapes: Mapping[str, str]) -> str:
    """Make the part `"fields": …`, without braces; empty when all is plain."""
    if not shapes:
        return ""
    return '"fields":{' + ",".join([f"{quote(name)}:{shapes[name]}" for name in sorted(shapes)]) + "}"


def node(*parts: str) -> str:
    """Put parts such as `"each":…` between braces, sorted, without the empty ones."""
    return "{" + ",".join(sorted(filter(None, parts))) + "}"


def names(label: str, listed: Sequence[str]) -> str:
    """Make a part that lists names; empty when there are none."""
    return f'"{label}":[{",".join(map(quote, listed))}]' if listed else ""


def _each(shape: Shape) -> Shape:
    return None if shape is None else f'{{"each":{shape}}}'


# ── one shape for many ───────────────────────────────────────────────────────────────────────────


def _common(distinct: Mapping[Shape, None], shapes: Sequence[Shape], bodies: Sequence[str]) -> Shape:
    if len(distinct) == 2 and None in distinct:  # often: optional values
        plain = [body for shape, body in zip(shapes, bodies, strict=True) if shape is None]
        if all(body == "null" for body in plain):
            return next(shape for shape in distinct if shape is not None)
    trees = {shape: None if shape is None else parse(shape) for shape in distinct}
    union: Any = None
    for tree in trees.values():
        union = _union(union, tree)
    text = json.dumps(union, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for shape, body in zip(shapes, bodies, strict=True):
        if shape != text and not _covers(union, trees[shape], parse(body)):
            raise _Conflict
    return text


#: Parts of a node that are shapes of the same body, or of its items.
_NESTED: Final = frozenset({"each", "tuple", "set", "frozenset", "deque", "OrderedDict", "Counter", "defaultdict"})
_WRAPPERS: Final = _NESTED - {"each"}


def _union(one: Any, other: Any) -> Any:
    """Merge two shapes as far as their parts allow; whether bodies bear it is asked afterwards."""
    if one is None or one == other:
        return other
    if other is None:
        return one
    if isinstance(one, str) or isinstance(other, str):
        raise _Conflict
    merged = {}
    for part in one.keys() | other.keys():
        if part == "fields":
            ours, theirs = one.get(part, {}), other.get(part, {})
            merged[part] = {name: _union(ours.get(name), theirs.get(name)) for name in ours.keys() | theirs.keys()}
        elif part not in one or part not in other:
            raise _Conflict
        elif part in _NESTED:
            merged[part] = _union(one[part], other[part])
        elif one[part] != other[part]:
            raise _Conflict
        else:
            merged[part] = one[part]
    return merged


def _covers(union: Any, own: Any, body: Any) -> bool:
    """Whether a body reads the same by the merged shape as by its own."""
    if body is None or union == own:
        return True
    if isinstance(union, str) or isinstance(own, str):
        return False
    if own is None and not union.keys() <= {"each", "fields"}:
        return False  # the body is plain JSON, the merged shape makes something else of it
    own = own or {}
    for part, shape in union.items():
        if part == "each":
            if not isinstance(body, list | dict):
                return False
            items = body.values() if isinstance(body, dict) else body
            if not all(_covers(shape, own.get(part), item) for item in items):
                return False
        elif part == "fields":
            if not isinstance(body, dict):
                return False
            fields = own.get(part, {})
            if not all(_covers(each, fields.get(name), body[name]) for name, each in shape.items() if name in body):
                return False
        elif part in _WRAPPERS and not _covers(shape, own.get(part), body):
            return False
    return True
