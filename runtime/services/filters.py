"""Filters over documents: `{"status": "open", "cents": {"$gt": 100}}`, read once and then asked of many.

Knows what the operators mean, which are those of MongoDB. Must not know where documents are kept.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Final, NamedTuple, TypeAlias

from perdure.errors import DefinitionError
from perdure.services.comparing import ORDERED, comparison, is_equal, kind_of
from perdure.services.needles import needles_of
from perdure.services.paths import MISSING, is_array, parts_of, spread, values_at
from perdure.storage.encoding import encode
from perdure.storage.holding import Holding
from perdure.texts import did_you_mean

#: Of a document: whether it matches.
Test: TypeAlias = Callable[[Any], bool]
#: Of all values that a path leads to: whether they satisfy an operator.
Check: TypeAlias = Callable[[list[Any]], bool]


class Filter(NamedTuple):
    """A filter that was read. A tuple, because most are read to look at one document only.

    Attributes:
        matches: whether a document does.
        ids: the only ids that a document that matches may have; None when any may.
        fixed: fields that must equal a value, by path: what an upsert begins with.
        wants_all: whether every document matches.
        needles: what the text of a document that matches has: looking for it is far quicker than reading documents.
    """

    matches: Test
    ids: frozenset[str] | None
    fixed: Mapping[str, Any]
    wants_all: bool = False
    needles: tuple[Holding, ...] = ()


def read_filter(given: object) -> Filter:
    """Read a filter, once for all documents.

    Raises:
        DefinitionError: it is no mapping, has an unknown operator, or an operand of the wrong type.
    """
    if type(given) is dict and len(given) == 1 and type(key := given.get("_id")) is str:
        return Filter(
            lambda document: document.get("_id") == key, frozenset((key,)), given
        )  # nearly always it is this one
    reader = _Reader()
    test = reader.documents(given, binding=True)
    ids = None if reader.ids is None else frozenset(reader.ids)
    return Filter(test, ids, reader.fixed, not given, tuple(dict.fromkeys(reader.needles)))


class _Reader:
    """Reads one filter. What is said outside of `$or` and `$nor` binds: it holds for every document that matches."""

    def __init__(self) -> None:
        self.ids: set[str] | None = None
        self.needles: list[Holding] = []
        self.fixed: dict[str, Any] = {}

    def documents(self, given: object, *, binding: bool) -> Test:
        """Read conditions on a document."""
        if not isinstance(given, Mapping):
            raise DefinitionError(
                f"a filter is a mapping, not {_shown(given)}.",
                fix='write {"status": "open"}; {} matches every document',
            )
        tests = [self._one(name, condition, binding=binding) for name, condition in given.items()]
        if len(tests) == 1:
            return tests[0]
        return lambda document: all(test(document) for test in tests)

    def _one(self, name: object, condition: Any, *, binding: bool) -> Test:
        if not (isinstance(name, str) and name.startswith("$")):
            parts = parts_of(name)
            checks = self._checks(".".join(parts), condition, binding=binding)
            if len(parts) == 1:  # so common that it is worth not going a way
                return lambda document: _all_hold(checks, [document.get(name, MISSING)])
            return lambda document: _all_hold(checks, list(values_at(document, parts)))
        if name not in _LOGICAL:
            fix = did_you_mean(name, _LOGICAL)
            if name in OPERATORS:
                fix = f'it stands under a field: {{"cents": {{"{name}": …}}}}'
            raise DefinitionError(f"{name} is no operator that a filter begins with.", fix=fix)
        if not isinstance(condition, Sequence) or isinstance(condition, str) or not condition:
            raise DefinitionError(f"{name} wants a list of filters, not {_shown(condition)}.")
        inner = [self.documents(each, binding=binding and name == "$and") for each in condition]
        if name == "$and":
            return lambda document: all(test(document) for test in inner)
        if name == "$or":
            return lambda document: any(test(document) for test in inner)
        return lambda document: not any(test(document) for test in inner)

    def _checks(self, path: str, condition: Any, *, binding: bool) -> list[Check]:
        """Read the condition on one field."""
        operations = _operations(path, condition)
        if binding:
            for name, operand in operations.items():
                self._bind(path, name, operand)
            if path != "_id":  # documents are found by their ids
                self.needles += needles_of(path, operations)
        return checks_of(path, operations)

    def _bind(self, path: str, name: str, operand: Any) -> None:
        if path == "_id" and name in ("$eq", "$in"):
            wanted = _ids(operand if name == "$in" else [operand])
            self.ids = wanted if self.ids is None else self.ids & wanted
        if name == "$eq":
            self.fixed[path] = operand


def _all_hold(checks: Sequence[Check], values: list[Any]) -> bool:
    for check in checks:  # noqa: SIM110  # a generator would cost as much as the check
        if not check(values):
            return False
    return True


def _ids(given: Any) -> set[str]:
    for each in given if isinstance(given, list | tuple | Set) else ():
        if not isinstance(each, str):
            raise DefinitionError(
                f"no document has the _id {each!r}: ids are texts.",
                fix=f"write {str(each)!r}, and give the text when you insert, too",
            )
    return set(given) if isinstance(given, list | tuple | Set) else set()


def _operations(path: str, condition: Any) -> Mapping[str, Any]:
    """A condition as operators; a plain value is `$eq`."""
    if isinstance(condition, re.Pattern):
        return {"$regex": condition}
    if not isinstance(condition, Mapping) or not any(isinstance(key, str) and key[:1] == "$" for key in condition):
        return {"$eq": condition}
    for name in condition:
        if name not in OPERATORS:
            raise DefinitionError(
                f"{name!r} is no operator of a filter.",
                where=f"the condition on {path!r}",
                fix=did_you_mean(name, OPERATORS),
            )
    return condition


def checks_of(path: str, operations: Mapping[str, Any]) -> list[Check]:
    """Make the checks of one field's operators. Raises DefinitionError for an operand of the wrong type."""
    checks = []
    for name, operand in operations.items():
        try:
            if name == "$regex":
                checks.append(_regex(operand, operations.get("$options", "")))
            elif name != "$options":
                checks.append(OPERATORS[name](operand))
            elif "$regex" not in operations:
                raise DefinitionError("it belongs to a $regex, and there is none.")
        except DefinitionError as error:
            if error.where:
                raise
            raise DefinitionError(
                f"{name} can't have {_shown(operand)}: {error.message}",
                where=f"the condition on {path!r}",
                fix=error.fix,
            ) from None
    return checks


# ── operators ────────────────────────────────────────────────────────────────────────────────────


def _equality(operand: Any) -> Test:
    if isinstance(operand, re.Pattern):
        return lambda value: isinstance(value, str) and operand.search(value) is not None
    if kind_of(operand) in ("other", "mapping", "array", "set"):
        encode(operand)  # no document can hold what has no encoding
    if operand is None:
        return lambda value: value is None or value is MISSING
    if type(operand) is str:
        return lambda value: isinstance(value, str) and value == operand
    return lambda value: is_equal(value, operand)


def _any_value(test: Test) -> Check:
    def check(values: list[Any]) -> bool:
        for value in values:
            if test(value):
                return True
            if type(value) not in _SINGLE and any(map(test, spread(value))):
                return True
        return False

    return check


def _eq(operand: Any) -> Check:
    return _any_value(_equality(operand))


def _negation(check: Check) -> Check:
    return lambda values: not check(values)


def _in(operand: Any) -> Check:
    tests = [_equality(each) for each in _items(operand)]
    return _any_value(lambda value: any(test(value) for test in tests))


def _ordering(compare: Callable[[Any, Any], bool]) -> Callable[[Any], Check]:
    def make(operand: Any) -> Check:
        if kind_of(operand) not in ORDERED:
            raise DefinitionError("it has no order.", fix="compare with a number, a text, a datetime, …")
        return _any_value(comparison(compare, operand))

    return make


def _exists(operand: Any) -> Check:
    if not isinstance(operand, bool):
        raise DefinitionError("it wants True or False.")
    return lambda values: any(value is not MISSING for value in values) is operand


def _not(operand: Any) -> Check:
    operations = _operations("$not", operand)
    if operations.keys() == {"$eq"} and operand is not operations:
        raise DefinitionError("it wants operators.", fix='write {"$ne": value}, or {"$not": {"$gt": 5}}')
    checks = checks_of("$not", operations)
    return lambda values: not _all_hold(checks, values)


def _all(operand: Any) -> Check:
    checks = [_eq(each) for each in _items(operand)]
    return lambda values: bool(checks) and _all_hold(checks, values)


def _size(operand: Any) -> Check:
    if type(operand) is not int or operand < 0:
        raise DefinitionError("it wants a whole number from 0 on.")
    return lambda values: any(is_array(value) and len(value) == operand for value in values)


def _element(operand: Any) -> Check:
    if not isinstance(operand, Mapping):
        raise DefinitionError("it wants a filter, or operators.")
    if operand and all(isinstance(name, str) and name in OPERATORS for name in operand):
        checks = checks_of("$elemMatch", operand)

        def fits(item: Any) -> bool:
            return _all_hold(checks, [item])
    else:
        test = _Reader().documents(operand, binding=False)

        def fits(item: Any) -> bool:
            return isinstance(item, Mapping) and test(item)

    return lambda values: any(is_array(value) and any(map(fits, value)) for value in values)


def _regex(operand: Any, options: Any) -> Check:
    flags = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}
    if not isinstance(options, str) or not set(options) <= set(flags):
        raise DefinitionError(f"$options {options!r} are not known.", fix='use letters of "imsx"')
    if isinstance(operand, re.Pattern) and isinstance(operand.pattern, str) and not options:
        pattern = operand
    elif isinstance(operand, str):
        try:
            pattern = re.compile(operand, sum(flags[letter] for letter in set(options)))
        except re.error as error:
            raise DefinitionError(f"{error}.", fix="it is read as Python's re reads it") from None
    else:
        raise DefinitionError("it wants a text, or a compiled pattern for texts without $options.")
    return _any_value(lambda value: isinstance(value, str) and pattern.search(value) is not None)


def _items(operand: Any) -> list[Any]:
    if not isinstance(operand, list | tuple | Set):
        raise DefinitionError("it wants a list.")
    return list(operand)


OPERATORS: Final[Mapping[str, Callable[[Any], Check]]] = {
    "$eq": _eq,
    "$ne": lambda operand: _negation(_eq(operand)),
    "$gt": _ordering(operator.gt),
    "$gte": _ordering(operator.ge),
    "$lt": _ordering(operator.lt),
    "$lte": _ordering(operator.le),
    "$in": _in,
    "$nin": lambda operand: _negation(_in(operand)),
    "$exists": _exists,
    "$not": _not,
    "$all": _all,
    "$size": _size,
    "$elemMatch": _element,
    "$regex": lambda operand: _regex(operand, ""),
    "$options": lambda operand: _regex("", operand),
}
#: Types of values that are no collections, so that there is nothing more to look at.
_SINGLE: Final = frozenset({str, int, float, bool, type(None), type(MISSING)})
_LOGICAL: Final = ("$and", "$or", "$nor")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
