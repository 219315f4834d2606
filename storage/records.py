"""Records: dataclasses, pydantic models and named tuples, as their fields; enums, as their value.

Reading never runs `__init__`, `__post_init__` or a validator: a value comes back as it was, not as it would be made.
When a class has changed since, a field with a default that was gained gets it, a field that was lost is dropped (a
model that allows extra fields keeps it as one), and a field without a default that was gained can't be read.

What caches fill in later (`functools.cached_property`) is not part of a value. Everything else that an instance holds
is.

This file knows what each kind of class keeps where. It must not know how a field's value is encoded.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from perdure.storage.classes import reference_text
from perdure.storage.plain import is_unicode
from perdure.storage.refusals import Refused, refusal
from perdure.storage.shape import names


class Taken(NamedTuple):
    """A record taken apart."""

    state: dict[str, Any]  # name → value, in the order of the fields
    parts: tuple[str, ...]  # of the shape: the class, and what is unusual about this instance


class Plan(NamedTuple):
    """How instances of one class are written. Holds no reference to the class, so that classes can go."""

    kind: str  # "dataclass", "model", "namedtuple", "enum", "member" or "url"
    part: str  # of the shape: `"dataclass":"shop:Order"`
    fields: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()  # names of slots that are no fields


_plans: Final[WeakKeyDictionary[type, Plan]] = WeakKeyDictionary()


def plan_for(value: object) -> Plan:
    """Find how to write a value of a class that isn't built in. Raises `Refused`."""
    cls = type(value)
    plan = _plans.get(cls)
    if plan is None:
        plan = _plans[cls] = _plan(cls, value)
    return plan


def _plan(cls: type, value: object) -> Plan:
    if isinstance(value, enum.Enum):
        kind = "enum" if _by_value(cls) else "member"
        return Plan(kind, _class_part(kind, cls, value))
    if isinstance(value, tuple) and isinstance(getattr(cls, "_fields", None), tuple):
        return Plan("namedtuple", _class_part("namedtuple", cls, value), cls._fields)  # type: ignore[attr-defined]
    if is_model(cls):
        return Plan("model", _class_part("model", cls, value), tuple(cls.__pydantic_fields__))  # type: ignore[attr-defined]
    if is_url(cls):
        return Plan("url", _class_part("url", cls, value))
    if dataclasses.is_dataclass(cls) and _is_bare(cls):
        fields = tuple(field.name for field in dataclasses.fields(cls))
        return Plan("dataclass", _class_part("dataclass", cls, value), fields, slots_of(cls, fields))
    raise refusal(value)


def _class_part(kind: str, cls: type, value: object) -> str:
    return f'"{kind}":{reference_text(cls, value)}'


def _is_bare(cls: type) -> bool:
    """Whether instances hold nothing but attributes: no builtin type with contents of its own is among the bases."""
    try:
        object.__new__(cls)
    except TypeError:
        return False
    return True


def slots_of(cls: type, fields: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Name the slots of a class and its bases, but for fields and what Python adds."""
    found = []
    for base in cls.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            mangled = f"_{base.__name__.lstrip('_')}{name}" if name[:2] == "__" and name[-2:] != "__" else name
            if mangled not in (*fields, "__dict__", "__weakref__"):
                found.append(mangled)
    return tuple(found)


# ── enums ────────────────────────────────────────────────────────────────────────────────────────


def _by_value(cls: type[enum.Enum]) -> bool:
    """An enum is written by value when that reads well in SQL, else by the member's name."""
    values = [member._value_ for member in cls.__members__.values()]
    return all(
        is_unicode(value) if type(value) is str else type(value) is int and abs(value) < 2**63 for value in values
    )


def is_model(cls: type) -> bool:
    """Whether a class is a pydantic model, without importing pydantic."""
    pydantic = sys.modules.get("pydantic.main")
    return pydantic is not None and issubclass(cls, pydantic.BaseModel)


def is_url(cls: type) -> bool:
    """Whether a class is one of pydantic's URL types."""
    return any(
        base.__module__ == "pydantic.networks" and base.__name__ in ("_BaseUrl", "_BaseMultiHostUrl")
        for base in cls.__mro__
    )


# ── taking apart ─────────────────────────────────────────────────────────────────────────────────


def take_namedtuple(value: Any, plan: Plan) -> Taken:
    """Take a named tuple apart."""
    if getattr(value, "__dict__", None):
        raise Refused(
            value,
            f"is a named tuple with further attributes {sorted(value.__dict__)}",
            fix="make the class a dataclass",
        )
    return Taken(dict(zip(plan.fields, tuple.__iter__(value), strict=True)), (plan.part,))


def take_dataclass(value: object, plan: Plan) -> Taken:
    """Take a dataclass apart: its fields, and whatever else the instance holds."""
    own: Mapping[str, Any] = getattr(value, "__dict__", {})
    if not plan.slots and tuple(own) == plan.fields:
        return Taken(dict(own), (plan.part,))
    state, missing = {}, []
    for name in plan.fields:
        try:
            state[name] = getattr(value, name)
        except AttributeError:
            missing.append(name)
    also = [name for name in own if name not in state and not _is_cache(type(value), name)]
    state.update((name, own[name]) for name in also)
    for name in plan.slots:
        if hasattr(value, name):
            state[name] = getattr(value, name)
            also.append(name)
    return Taken(state, (plan.part, names("also", sorted(also)), names("missing", missing)))


def take_model(value: Any, plan: Plan) -> Taken:
    """Take a pydantic model apart: fields by name, extra fields, private attributes, which fields were set."""
    own: dict[str, Any] = value.__dict__
    extra: dict[str, Any] = value.__pydantic_extra__ or {}
    private: dict[str, Any] = value.__pydantic_private__ or {}
    given: set[str] = value.__pydantic_fields_set__
    if tuple(own) == plan.fields:
        state, missing = dict(own), []
    else:  # assigned in another order, made by model_construct, or with cached properties beside the fields
        state = {name: held for name, held in own.items() if name in plan.fields}
        missing = [name for name in plan.fields if name not in own]
    if type(value).__private_attributes__:
        missing += [name for name in type(value).__private_attributes__ if name not in private]
    if not extra and not private and not missing and len(given) == len(state) and given == state.keys():
        return Taken(state, (plan.part,))
    _add(state, extra, value, "extra field")
    unset = [name for name in state if name not in given]
    _add(state, private, value, "private attribute")
    listed = (
        names("missing", missing),
        names("private", list(private)),
        names("stray", sorted(given - state.keys())),
        names("unset", unset),
    )
    return Taken(state, (plan.part, *listed))


def _add(state: dict[str, Any], further: Mapping[str, Any], value: object, kind: str) -> None:
    for name in further:
        if name in state:
            raise Refused(value, f"has a field {name!r} and also the {kind} {name!r}", fix=f"rename the {kind}")
    state.update(further)


def _is_cache(cls: type, name: str) -> bool:
    return isinstance(getattr(cls, name, None), functools.cached_property)
