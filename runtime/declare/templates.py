"""Templates over an input's fields, such as `"order-{order_id}"`: what keys are made of.

Knows texts and annotations. Must not know what a key is for.
"""

from __future__ import annotations

import dataclasses
import difflib
import string
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import is_typeddict

from perdure.errors import DefinitionError, InvalidInput

#: Types that are their value, and have no field that a template could name.
_WITHOUT_FIELDS: Final = (str, int, float, bool, bytes, list, tuple, set, frozenset)


def check_template(option: str, template: object) -> None:
    """Refuse a template that can't be read, or that gives the same text for every input.

    Args:
        option: the name under which it was given, for the error.
    """
    if not isinstance(template, str):
        raise DefinitionError(f"{option}={template!r} is no template.", fix=f'give a text: {option}="{{order_id}}"')
    try:
        names = _names(template)
    except ValueError as error:
        raise DefinitionError(
            f"{option}={template!r} is no template.", why=str(error), fix="write a brace itself as {{ or }}"
        ) from None
    if not names:
        raise DefinitionError(
            f"{option}={template!r} names no field, so it is the same for every run.",
            fix=f'name a field of the input: {option}="order-{{order_id}}"',
        )
    if any(name == "" or name.isdigit() for name in names):
        raise DefinitionError(
            f"{option}={template!r} has a field without a name.",
            fix=f'name the field of the input: {option}="order-{{order_id}}"',
        )


def check_fields(option: str, template: str, annotation: Any, where: str) -> None:
    """Refuse a template that names a field which no input of this annotation has.

    Nothing is said of an annotation that leaves its fields open (`dict`, `Any`, a union): the start will tell.
    """
    known = fields_of(annotation)
    if known is None:
        return
    for name in _names(template):
        if name not in known:
            meant = difflib.get_close_matches(name, known, 1)
            has = f"it has {', '.join(sorted(known))}" if known else f"{annotation!r} has no fields"
            raise DefinitionError(
                f"{option}={template!r} names {name!r}, which is no field of the input.",
                where=where,
                why=has,
                fix=f"write {{{meant[0]}}}" if meant else "name fields that the input's annotation has",
            )


def fields_of(annotation: Any) -> frozenset[str] | None:
    """The fields that every value of an annotation has; None when it does not say."""
    if get_origin(annotation) is Annotated:
        return fields_of(get_args(annotation)[0])
    if not isinstance(annotation, type):
        # `list[int]` has no fields, and a union or a type variable leaves them open.
        return frozenset() if get_origin(annotation) in _WITHOUT_FIELDS else None
    if issubclass(annotation, BaseModel):
        return frozenset(annotation.model_fields) if annotation.model_config.get("extra") != "allow" else None
    if dataclasses.is_dataclass(annotation):
        return frozenset(field.name for field in dataclasses.fields(annotation))
    if is_typeddict(annotation):
        return frozenset(annotation.__annotations__)
    return frozenset() if annotation in _WITHOUT_FIELDS else None


def filled(option: str, template: str, value: object, where: str) -> str:
    """Fill a template from a validated input.

    Raises:
        InvalidInput: the input lacks a field that it names.
    """
    fields = value if isinstance(value, dict) else _values(value)
    try:
        return template.format_map(fields)
    except (KeyError, AttributeError, IndexError, ValueError, TypeError) as error:
        what = "idempotency key" if option == "idempotency_key" else option
        raise InvalidInput(
            f"the {what} {template!r} can't be filled from the input.",
            where=where,
            why=f"{type(error).__name__}: {error}",
            fix="name fields that the input has",
        ) from None


def _names(template: str) -> list[str]:
    """The fields that a template names, without what it takes of them (`{order.id}`, `{items[0]}`)."""
    found = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    return [field.replace("[", ".").partition(".")[0] for field in found]


def _values(value: object) -> dict[str, Any]:
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value):  # it may have slots, and no __dict__
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return dict(getattr(value, "__dict__", {}))
