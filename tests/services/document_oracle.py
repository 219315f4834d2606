"""What filters mean, said a second time and as plainly as possible: every way through a document is written out first.

Only for documents of JSON values, and filters of fields, operators and `$and`, `$or`, `$nor`.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NOTHING = object()

scalars = st.sampled_from([None, True, False, 0, 1, 2, 2.5, 1.0, "", "x", "y"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
documents = st.dictionaries(st.sampled_from("abc"), values, min_size=1)
paths = st.sampled_from(["a", "b", "c", "a.b", "a.a", "b.a", "a.0", "a.0.b", "a.b.a"])
_bounds = st.sampled_from([0, 1, 2.5, "x", True])
operators = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), values),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), _bounds),
    st.tuples(st.sampled_from(["$in", "$nin", "$all"]), st.lists(values, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
    st.tuples(st.just("$size"), st.integers(0, 3)),
)
operations = st.lists(operators, min_size=1, max_size=2).map(dict)
conditions = st.one_of(
    scalars, st.lists(scalars, max_size=2), operations, operations.map(lambda each: {"$not": each}),
    operations.map(lambda each: {"$elemMatch": each}),
)  # fmt: skip
_fields = st.dictionaries(paths, conditions, max_size=2)
filters = st.one_of(
    _fields,
    st.tuples(st.sampled_from(["$and", "$or", "$nor"]), st.lists(_fields, min_size=1, max_size=2)).map(
        lambda pair: dict([pair])
    ),
)


def matches(document: Any, wanted: dict[str, Any]) -> bool:
    """Whether a document matches."""
    for name, condition in wanted.items():
        if name == "$and":
            holds = all(matches(document, each) for each in condition)
        elif name == "$or":
            holds = any(matches(document, each) for each in condition)
        elif name == "$nor":
            holds = not any(matches(document, each) for each in condition)
        else:
            holds = _satisfies(_ways(document, name.split(".")), condition)
        if not holds:
            return False
    return True


def _ways(value: Any, parts: list[str]) -> list[Any]:
    if not parts:
        return [value]
    first, rest = parts[0], parts[1:]
    if isinstance(value, dict):
        return _ways(value[first], rest) if first in value else [NOTHING]
    if not isinstance(value, list):
        return [NOTHING]
    by_index = _ways(value[int(first)], rest) if first.isdigit() and int(first) < len(value) else []
    return by_index + [each for item in value if isinstance(item, dict) for each in _ways(item, parts)]


def _satisfies(found: list[Any], condition: Any) -> bool:
    if not (isinstance(condition, dict) and any(name.startswith("$") for name in condition)):
        condition = {"$eq": condition}
    return all(_holds(found, name, operand) for name, operand in condition.items())


def _holds(found: list[Any], name: str, operand: Any) -> bool:
    one_by_one = found + [item for value in found if isinstance(value, list) for item in value]
    if name in ("$ne", "$nin"):
        return not _holds(found, {"$ne": "$eq", "$nin": "$in"}[name], operand)
    if name == "$not":
        return not _satisfies(found, operand)
    if name == "$eq":
        return any(_same(value, operand) for value in one_by_one)
    if name == "$in":
        return any(_holds(found, "$eq", each) for each in operand)
    if name == "$all":
        return operand != [] and all(_holds(found, "$eq", each) for each in operand)
    if name == "$exists":
        return operand == any(value is not NOTHING for value in found)
    if name == "$size":
        return any(isinstance(value, list) and len(value) == operand for value in found)
    if name == "$elemMatch":
        return any(
            all(_holds([item], *each) for each in operand.items())
            for value in found if isinstance(value, list) for item in value
        )  # fmt: skip
    signs = {"$gt": (1,), "$gte": (0, 1), "$lt": (-1,), "$lte": (-1, 0)}[name]
    return any(_compared(value, operand) in signs for value in one_by_one)


def _kind(value: Any) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


def _same(value: Any, operand: Any) -> bool:
    if value is NOTHING:
        return operand is None
    if _kind(value) != _kind(operand):
        return False
    if isinstance(value, dict):
        return value.keys() == operand.keys() and all(_same(value[key], operand[key]) for key in value)
    if isinstance(value, list):
        return len(value) == len(operand) and all(map(_same, value, operand))
    return bool(value == operand)


def _compared(value: Any, bound: Any) -> int | None:
    if _kind(value) != _kind(bound):
        return None
    return int(value > bound) - int(value < bound)
