"""Updates of documents: `{"$set": {"status": "paid"}, "$inc": {"tries": 1}}`, read once and then applied to many.

Knows what the operators mean, which are those of MongoDB. Must not know where documents are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from perdure.errors import DefinitionError, WorkflowError
from perdure.services.comparing import is_equal, kind_of, sort_key
from perdure.services.filters import OPERATORS as FILTER_OPERATORS
from perdure.services.filters import read_filter
from perdure.services.paths import MISSING, Parts, parts_of
from perdure.texts import did_you_mean

#: What becomes of a field's value, which is MISSING when it has none; MISSING takes the field away.
Change: TypeAlias = Callable[[Any], Any]

_PADDING_MAX: Final = 1_000  # items that a write behind the end of a list may add


class Operation(NamedTuple):
    """One operator on one field."""

    name: str
    parts: Parts
    change: Change


class Update(NamedTuple):
    """An update that was read."""

    operations: tuple[Operation, ...]
    on_insert: tuple[Operation, ...]

    def apply(self, document: dict[str, Any], *, inserts: bool = False) -> None:
        """Change a document in place.

        Args:
            inserts: it is about to be inserted, so that `$setOnInsert` counts.

        Raises:
            WorkflowError: an operator does not fit what is there; the document is to be thrown away.
        """
        for operation in (*self.operations, *(self.on_insert if inserts else ())):
            try:
                _change_at(document, operation.parts, operation.change)
            except WorkflowError as error:
                if error.where:
                    raise
                raise WorkflowError(
                    f"{operation.name} does not fit: {error.message}",
                    where=f"field {'.'.join(operation.parts)!r} of document {document.get('_id')!r}",
                    fix=error.fix,
                ) from None


def read_update(given: object) -> Update:
    """Read an update, once for all documents.

    Raises:
        DefinitionError: it has no operators, an unknown one, an operand of the wrong type, or two for one field.
    """
    if not isinstance(given, Mapping) or not given:
        raise DefinitionError(
            f"an update is a mapping of operators, not {given!r}.", fix='write {"$set": {"status": "paid"}}'
        )
    operations: list[Operation] = []
    for name, fields in given.items():
        if name not in OPERATORS and name != "$setOnInsert":
            _refuse_operator(name)
        if not isinstance(fields, Mapping):
            raise DefinitionError(
                f"{name} wants a mapping of fields, not {fields!r}.", fix=f'{{"{name}": {{"field": …}}}}'
            )
        for path, operand in fields.items():
            operations.append(_operation(name, path, operand))
    if len(operations) > 1:
        _refuse_overlaps(operations)
    if "$setOnInsert" not in given:
        return Update(tuple(operations), ())
    on_insert = tuple(each for each in operations if each.name == "$setOnInsert")
    return Update(tuple(each for each in operations if each.name != "$setOnInsert"), on_insert)


def _operation(name: str, path: object, operand: Any) -> Operation:
    parts = _written(path)
    make = OPERATORS["$set" if name == "$setOnInsert" else name]
    try:
        return Operation(name, parts, make(operand))
    except DefinitionError as error:
        raise DefinitionError(
            f"{name} can't have {operand!r}: {error.message}", where=f"field {path!r}", fix=error.fix
        ) from None


def _written(path: object) -> Parts:
    """The parts of a path that is written to."""
    parts = parts_of(path)
    if parts[0] == "_id":
        raise DefinitionError(
            "an update can't change an _id.", fix="insert it under the new one, and delete the old one"
        )
    for part in parts:
        if part.startswith("$"):
            raise DefinitionError(
                f"the path {path!r} has a part that begins with $.",
                why="positions that a filter found ($, $[], $[name]) are not known here",
                fix="name the index, or read the document, change its list, and $set that",
            )
    return parts


def _refuse_operator(name: object) -> None:
    if isinstance(name, str) and name.startswith("$"):
        raise DefinitionError(
            f"{name} is no operator of an update.", fix=did_you_mean(name, [*OPERATORS, "$setOnInsert"])
        )
    raise DefinitionError(
        f"an update consists of operators, and {name!r} is none.",
        fix=f'write {{"$set": {{"{name}": …}}}}, or replace the whole document by replace_one()',
    )


def _refuse_overlaps(operations: Iterable[Operation]) -> None:
    """Which of two operators on one field would come first is nowhere said, so there must not be two."""
    seen: dict[Parts, str] = {}
    for parts, name in sorted((each.parts, each.name) for each in operations):
        for length in range(1, len(parts) + 1):
            if parts[:length] in seen:
                raise DefinitionError(
                    f"{seen[parts[:length]]} and {name} would both change the field {'.'.join(parts[:length])!r}.",
                    fix="make two updates, one after the other",
                )
        seen[parts] = name


# ── going to a field ─────────────────────────────────────────────────────────────────────────────


def _change_at(container: Any, parts: Parts, change: Change) -> None:
    """Change one field, making the mappings on the way to it unless it would be taken away."""
    for depth, part in enumerate(parts[:-1]):
        inner = _read(container, part, change)
        if inner is MISSING:
            new = change(MISSING)
            if new is MISSING:
                return
            for rest in reversed(parts[depth + 1 :]):
                new = {rest: new}
            _write(container, part, new)
            return
        container = inner
    before = _read(container, parts[-1], change)
    after = change(before)
    if after is not before:
        _write(container, parts[-1], after)


def _read(container: Any, part: str, change: Change) -> Any:
    """A field of what a path came to. Where it can't have any, there is nothing to take away, and no room for more."""
    if isinstance(container, dict):
        return container.get(part, MISSING)
    if isinstance(container, list) and part.isdecimal():
        index = int(part)
        return container[index] if index < len(container) else MISSING
    if change(MISSING) is MISSING:
        return MISSING
    if isinstance(container, list):
        raise WorkflowError(f"there is a list where {part!r} was to be a field.", fix="name the index of its item")
    raise WorkflowError(
        f"there is {_named(container)} where {part!r} was to be a field.",
        fix="$set the field above it to a mapping first",
    )


def _write(container: Any, part: str, value: Any) -> None:
    if isinstance(container, dict):
        if value is MISSING:
            container.pop(part, None)
        else:
            container[part] = value
        return
    index = int(part)  # of a list: `_read` has seen to it
    if index - len(container) > _PADDING_MAX:
        raise WorkflowError(f"the list has {len(container)} items, and {index} is far behind its end.")
    if value is MISSING:
        container[index] = None  # as MongoDB: the others keep their places
        return
    container.extend([None] * (index + 1 - len(container)))
    container[index] = value


# ── operators ────────────────────────────────────────────────────────────────────────────────────


def _set(operand: Any) -> Change:
    return lambda before: operand


def _unset(operand: Any) -> Change:
    return lambda before: MISSING


def _arithmetic(word: str, combine: Callable[[Any, Any], Any], start: int) -> Callable[[Any], Change]:
    def make(operand: Any) -> Change:
        if kind_of(operand) != "number":
            raise DefinitionError("it wants a number.")

        def change(before: Any) -> Any:
            if before is MISSING:
                return operand if start == 0 else operand * 0
            if kind_of(before) != "number":
                raise WorkflowError(f"{_named(before)} can't be {word}.", fix="$set it to a number first")
            if isinstance(before, Decimal) and isinstance(operand, float):
                return combine(before, Decimal(str(operand)))
            if isinstance(before, float) and isinstance(operand, Decimal):
                return combine(Decimal(str(before)), operand)
            return combine(before, operand)

        return change

    return make


def _extreme(chosen: Callable[[Any, Any], bool]) -> Callable[[Any], Change]:
    def make(operand: Any) -> Change:
        key = sort_key(operand)
        return lambda before: operand if before is MISSING or chosen(key, sort_key(before)) else before

    return make


def _push(operand: Any) -> Change:
    items, cut = [operand], None
    if isinstance(operand, Mapping) and "$each" in operand:
        _refuse_modifiers(operand, ("$each", "$slice"))
        items, cut = _list_of(operand["$each"]), operand.get("$slice")
        if cut is not None and type(cut) is not int:
            raise DefinitionError("$slice wants a whole number: the first so many, or below 0 the last so many.")

    def change(before: Any) -> Any:
        after = [*_list_in(before), *items]
        if cut is None:
            return after
        return after[:cut] if cut >= 0 else after[cut:]

    return change


def _add_to_set(operand: Any) -> Change:
    items = [operand]
    if isinstance(operand, Mapping) and "$each" in operand:
        _refuse_modifiers(operand, ("$each",))
        items = _list_of(operand["$each"])

    def change(before: Any) -> Any:
        after = list(_list_in(before))
        for item in items:
            if not any(is_equal(item, other) for other in after):
                after.append(item)
        return before if before is not MISSING and len(after) == len(before) else after

    return change


def _pull(operand: Any) -> Change:
    """Take out the items that equal a value, satisfy operators or, mappings, match a filter."""
    has_operators = isinstance(operand, Mapping) and any(name in FILTER_OPERATORS for name in operand)
    if has_operators:
        matches = read_filter({"item": operand}).matches

        def goes(item: Any) -> bool:
            return matches({"item": item})
    elif isinstance(operand, Mapping):
        matches = read_filter(operand).matches

        def goes(item: Any) -> bool:
            return isinstance(item, Mapping) and matches(item)
    else:

        def goes(item: Any) -> bool:
            return is_equal(item, operand)

    def change(before: Any) -> Any:
        after = [item for item in _list_in(before) if not goes(item)]
        return before if before is MISSING or len(after) == len(before) else after

    return change


def _pop(operand: Any) -> Change:
    if type(operand) is not int or operand not in (1, -1):
        raise DefinitionError("it wants 1 (the last item) or -1 (the first).")

    def change(before: Any) -> Any:
        items = _list_in(before)
        if not items:
            return before
        return items[:-1] if operand == 1 else items[1:]

    return change


def _list_in(before: Any) -> list[Any]:
    if before is MISSING:
        return []
    if not isinstance(before, list):
        raise WorkflowError(f"there is {_named(before)}, and no list.", fix="$set it to a list first")
    return before


def _list_of(given: Any) -> list[Any]:
    if not isinstance(given, list | tuple | Set):
        raise DefinitionError("$each wants a list.")
    return list(given)


def _refuse_modifiers(given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            raise DefinitionError(f"{name!r} is not known beside $each.", fix=did_you_mean(name, known))


def _named(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '…'}"


OPERATORS: Final[Mapping[str, Callable[[Any], Change]]] = {
    "$set": _set,
    "$unset": _unset,
    "$inc": _arithmetic("added to", lambda one, other: one + other, 0),
    "$mul": _arithmetic("multiplied", lambda one, other: one * other, 1),
    "$min": _extreme(lambda one, other: one < other),
    "$max": _extreme(lambda one, other: one > other),
    "$push": _push,
    "$addToSet": _add_to_set,
    "$pull": _pull,
    "$pop": _pop,
}
