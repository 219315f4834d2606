"""Instances of recorded classes, made from their fields without running the user's code.

The mirror of records.py, and the one that meets classes that have changed since.

This file knows what each kind of class wants to be given. It must not know how a field's value is decoded.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from perdure.storage.classes import ClassGone, Reference, find_class
from perdure.storage.records import is_model, is_url, slots_of

#: Makes an instance from `name → value`.
Maker: TypeAlias = Callable[[dict[str, Any]], object]

_ABSENT: Final = object()


def _resolve(reference: Reference, wanted: str, fits: Callable[[type], bool]) -> Any:
    """Find a class that must still be of the kind that it was. Asked anew each time: modules may be loaded again."""
    cls = find_class(reference)
    if not fits(cls):
        raise ClassGone(_shown(reference), f"was {wanted} when the value was recorded, and no longer is")
    return cls


def _shown(reference: Reference) -> str:
    if isinstance(reference, list):
        return f"{_shown(reference[0])}[{', '.join(map(_shown, reference[1:]))}]"
    return reference or "None"


def _gained(reference: Reference, name: str) -> ClassGone:
    return ClassGone(_shown(reference), f"has gained the field {name!r} without a default since the value was recorded")


# ── enums and URLs ───────────────────────────────────────────────────────────────────────────────


def enum_reader(reference: Reference, by_name: bool) -> Callable[[Any], object]:
    """Give a function that finds a member, by its name or its value."""

    def read(body: Any) -> object:
        cls = _resolve(reference, "an enum", lambda found: issubclass(found, enum.Enum))
        try:
            # Calling the class asks its `_missing_`, too: the place to map values of the past to those of today.
            return cls.__members__[body] if by_name else cls(body)
        except (KeyError, ValueError):
            raise ClassGone(_shown(reference), f"has no member {body!r} any more") from None

    return read


def url_reader(reference: Reference) -> Callable[[Any], object]:
    """Give a function that makes one of pydantic's URLs."""
    return lambda body: _resolve(reference, "a URL type", is_url)(body)


# ── named tuples ─────────────────────────────────────────────────────────────────────────────────


def namedtuple_maker(reference: Reference) -> Maker:
    """Give a function that makes a named tuple from its fields."""

    def make(state: dict[str, Any]) -> object:
        cls = _resolve(reference, "a named tuple", lambda found: issubclass(found, tuple) and hasattr(found, "_fields"))
        values = []
        for name in cls._fields:
            held = state.get(name, _ABSENT)
            if held is _ABSENT:
                if name not in cls._field_defaults:
                    raise _gained(reference, name)
                held = cls._field_defaults[name]
            values.append(held)
        return tuple.__new__(cls, values)

    return make


# ── dataclasses ──────────────────────────────────────────────────────────────────────────────────


def dataclass_maker(reference: Reference, also: Sequence[str], missing: Sequence[str]) -> Maker:
    """Give a function that makes a dataclass.

    Args:
        also: names that are no fields but were attributes of the instance.
        missing: fields that the instance did not have.
    """

    def make(state: dict[str, Any]) -> object:
        cls = _resolve(reference, "a dataclass", _is_dataclass)
        instance = object.__new__(cls)
        if state.keys() == _dict_fields(cls):
            instance.__dict__.update(state)
            return instance
        for field in dataclasses.fields(cls):
            if field.name in state:
                object.__setattr__(instance, field.name, state[field.name])
            elif field.name in missing:
                continue
            elif field.default is not dataclasses.MISSING:
                object.__setattr__(instance, field.name, field.default)
            elif field.default_factory is not dataclasses.MISSING:
                object.__setattr__(instance, field.name, field.default_factory())
            elif field.init:
                raise _gained(reference, field.name)
        for name in also:
            object.__setattr__(instance, name, state[name])
        return instance

    return make


def _is_dataclass(cls: type) -> bool:
    return "__dataclass_fields__" in cls.__dict__ or dataclasses.is_dataclass(cls)


_known_fields: Final[WeakKeyDictionary[type, frozenset[str]]] = WeakKeyDictionary()


def _dict_fields(cls: type) -> frozenset[str]:
    """Name the fields of a dataclass whose instances keep all of them in `__dict__`; none of another."""
    fields = _known_fields.get(cls)
    if fields is None:
        fields = frozenset(field.name for field in dataclasses.fields(cls))
        if len(slots_of(cls)) > len(slots_of(cls, tuple(fields))) or not cls.__dictoffset__:
            fields = frozenset()
        _known_fields[cls] = fields
    return fields


# ── pydantic models ──────────────────────────────────────────────────────────────────────────────


def model_maker(reference: Reference, node: Mapping[str, Any]) -> Maker:
    """Give a function that makes a pydantic model.

    Args:
        node: the shape; it lists private attributes, and fields that were missing or not set by the caller.
    """
    private_names = frozenset(node.get("private", ()))
    unset = frozenset(node.get("unset", ()))
    missing = frozenset(node.get("missing", ()))
    stray = frozenset(node.get("stray", ()))

    def make(state: dict[str, Any]) -> object:
        cls = _resolve(reference, "a pydantic model", is_model)
        fields = cls.__pydantic_fields__
        allows_extra = cls.model_config.get("extra") == "allow"
        own: dict[str, Any] = {}
        extra: dict[str, Any] | None = {} if allows_extra else None
        private: dict[str, Any] | None = {} if cls.__private_attributes__ else None
        for name, held in state.items():
            if name in private_names:
                if private is not None and name in cls.__private_attributes__:
                    private[name] = held
            elif name in fields:
                own[name] = held
            elif extra is not None:
                extra[name] = held
        given = ({*own, *(extra or ())} - unset) | stray
        if len(own) < len(fields):
            _fill_fields(own, fields, missing, reference)
        if private is not None and len(private) < len(cls.__private_attributes__):
            _fill_private(private, cls.__private_attributes__, missing)
        instance = cls.__new__(cls)
        put = object.__setattr__
        put(instance, "__dict__", own)
        put(instance, "__pydantic_fields_set__", given)
        if not cls.__pydantic_root_model__:  # it has neither: both are attributes of the class
            put(instance, "__pydantic_extra__", extra)
            put(instance, "__pydantic_private__", private)
        return instance

    return make


def _fill_fields(own: dict[str, Any], fields: Mapping[str, Any], missing: frozenset[str], reference: Reference) -> None:
    for name, field in fields.items():
        if name in own or name in missing:
            continue
        if field.is_required():
            raise _gained(reference, name)
        own[name] = field.get_default(call_default_factory=True, validated_data=own)


def _fill_private(private: dict[str, Any], attributes: Mapping[str, Any], missing: frozenset[str]) -> None:
    from pydantic_core import PydanticUndefined  # late: a model is at hand, so it is loaded

    for name, attribute in attributes.items():
        if name not in private and name not in missing:
            default = attribute.get_default()
            if default is not PydanticUndefined:
                private[name] = default
