"""From an annotation to values that fit it: what inputs and step results are drawn from unless a test says otherwise.

Knows types. Must not know workflows or simulations.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from hypothesis import reject
from hypothesis import strategies as st
from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict

#: What `Any` and `object` stand for: plain values, small, of every JSON kind.
PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)

#: Modules whose types Hypothesis draws within bounds.
_BOUNDED = frozenset({"builtins", "datetime", "fractions"})


def fitting_values(annotation: Any) -> st.SearchStrategy[Any]:
    """Make a strategy of the values that fit an annotation: builtin types, models, dataclasses, and what holds them."""
    drawn = _values_of(annotation)
    if annotation in (Any, object, None, NoneType):
        return drawn
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    except PydanticUserError:  # a step may give what nobody can validate, such as typing.TypedDict on Python 3.11
        return drawn
    return drawn.map(lambda value: _valid(adapter, value))


def _valid(adapter: TypeAdapter[Any], value: Any) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError:  # a validator of the author's own refuses it: draw another one
        reject()


def _values_of(annotation: Any) -> st.SearchStrategy[Any]:
    if annotation in (Any, object) or isinstance(annotation, TypeVar):
        return PLAIN
    if annotation in (None, NoneType):
        return st.none()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return st.deferred(lambda: _models(annotation))
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return st.deferred(lambda: _dataclasses(annotation))
    if is_typeddict(annotation):
        return st.deferred(lambda: _typed_dicts(annotation))
    if annotation is float:
        return st.floats(allow_nan=False)  # a body that compares would find NaN unlike itself
    if annotation is Decimal:
        return _decimals(())
    return _composed(annotation)


def _composed(annotation: Any) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(origin, type) and dataclasses.is_dataclass(origin):
        return st.deferred(lambda: _dataclasses(origin, arguments))
    if is_typeddict(origin):
        return st.deferred(lambda: _typed_dicts(origin, arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, UnionType):
        # None first: the plainest value is what shrinking looks for.
        return st.one_of([_values_of(each) for each in sorted(arguments, key=lambda each: each is not NoneType)])
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin in (list, Sequence) or (origin is not None and origin.__name__ in ("Sequence", "Iterable", "Collection")):
        return st.lists(_values_of(arguments[0]), max_size=5)
    if origin in (set, frozenset):
        return st.lists(_values_of(arguments[0]), max_size=5).map(origin)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return st.lists(_values_of(arguments[0]), max_size=5).map(tuple)
        return st.tuples(*[_values_of(each) for each in arguments])
    if origin is dict or origin is Mapping or getattr(origin, "__name__", "") in ("Mapping", "MutableMapping"):
        return st.dictionaries(_values_of(arguments[0]), _values_of(arguments[1]), max_size=5)
    return st.from_type(annotation)


def _annotated(annotation: Any, said: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Draw by the bounds that Hypothesis understands; what is said beyond them, validation decides."""
    metadata = [each for one in said for each in (one.metadata if isinstance(one, FieldInfo) else [one])]
    patterns = [each.pattern for each in metadata if isinstance(getattr(each, "pattern", None), str)]
    if annotation is str and patterns:
        return st.from_regex(patterns[0])
    if annotation is Decimal:
        return _decimals(metadata)
    step = next((each.multiple_of for each in metadata if hasattr(each, "multiple_of")), None)
    if annotation is int and isinstance(step, int):
        return _multiples(step, metadata)
    said_well = [each for each in metadata if type(each).__module__ == "annotated_types"]
    bounds = [each for each in said_well if not hasattr(each, "multiple_of")]  # Hypothesis warns that it ignores it
    if bounds and get_origin(annotation) is None and getattr(annotation, "__module__", "") in _BOUNDED:
        return st.from_type(Annotated[annotation, *bounds])  # type: ignore[arg-type]  # a type, made at run time
    return _values_of(annotation)


def _multiples(step: int, metadata: Sequence[Any]) -> st.SearchStrategy[int]:
    """Draw multiples: few enough of all integers are, that trying them would end nowhere."""
    lows = [each.ge for each in metadata if getattr(each, "ge", None) is not None]
    lows += [each.gt + 1 for each in metadata if getattr(each, "gt", None) is not None]
    highs = [each.le for each in metadata if getattr(each, "le", None) is not None]
    highs += [each.lt - 1 for each in metadata if getattr(each, "lt", None) is not None]
    lowest = -(-max(lows) // step) if lows else None
    highest = min(highs) // step if highs else None
    if lowest is not None and highest is not None and lowest > highest:
        return st.nothing()
    return st.integers(lowest, highest).map(lambda number: number * step)


def _decimals(metadata: Sequence[Any]) -> st.SearchStrategy[Decimal]:
    said: dict[str, Any] = {}
    for each in metadata:
        for name in ("gt", "ge", "lt", "le", "max_digits", "decimal_places"):
            if getattr(each, name, None) is not None:
                said[name] = getattr(each, name)
    lowest, highest, places = said.get("ge", said.get("gt")), said.get("le", said.get("lt")), said.get("decimal_places")
    if "max_digits" in said:
        limit = Decimal(10) ** (said["max_digits"] - (places or 0)) - Decimal(10) ** -(places or 0)
        lowest = -limit if lowest is None else lowest
        highest = limit if highest is None else min(highest, limit)
    return st.decimals(lowest, highest, allow_nan=False, allow_infinity=False, places=places)


def _models(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    required: dict[str, Any] = {}
    optional: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        values = _annotated(field.annotation, field.metadata)
        key = name if field.alias is None or model.model_config.get("populate_by_name") else field.alias
        (required if field.is_required() else optional)[key] = values
    if model.__pydantic_root_model__:
        return _values_of(model.model_fields["root"].annotation).map(lambda value: _made(model, value))
    return st.fixed_dictionaries(required, optional=optional).map(lambda fields: _made(model, fields))


def _made(model: type[BaseModel], value: Any) -> BaseModel:
    try:
        return model.model_validate(value)
    except ValidationError:  # a validator of the author's own refuses it: draw another one
        reject()


def _dataclasses(cls: type[Any], arguments: Sequence[Any] = ()) -> st.SearchStrategy[Any]:
    hints = _hints(cls, arguments)
    required: dict[str, Any] = {}
    optional: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        (optional if has_default else required)[field.name] = _values_of(hints[field.name])
    return st.fixed_dictionaries(required, optional=optional).map(_caller(cls))


def _hints(cls: Any, arguments: Sequence[Any]) -> dict[str, Any]:
    """The annotations of a class's fields, with what a generic one was given in place of its type variables."""
    hints = typing.get_type_hints(cls, include_extras=True)
    given = dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))  # none: they stay variables
    return {name: _filled(hint, given) for name, hint in hints.items()} if given else hints


def _filled(hint: Any, given: Mapping[Any, Any]) -> Any:
    if isinstance(hint, TypeVar):
        return given.get(hint, hint)
    variables = getattr(hint, "__parameters__", ()) if get_origin(hint) is not None else ()
    return hint[tuple(given.get(each, each) for each in variables)] if variables else hint


def _caller(cls: type[Any]) -> Callable[[dict[str, Any]], Any]:
    def make(fields: dict[str, Any]) -> Any:
        try:
            return cls(**fields)
        except (ValueError, TypeError):  # its __post_init__ refuses it: draw another one
            reject()

    return make


def _typed_dicts(cls: Any, arguments: Sequence[Any] = ()) -> st.SearchStrategy[Any]:
    hints = _hints(cls, arguments)
    required = {name: _values_of(_bare(hints[name])) for name in hints if name in cls.__required_keys__}
    optional = {name: _values_of(_bare(hints[name])) for name in hints if name not in cls.__required_keys__}
    return st.fixed_dictionaries(required, optional=optional)


def _bare(annotation: Any) -> Any:
    """Take off `Required` and `NotRequired`."""
    origin = get_origin(annotation)
    named = getattr(origin, "_name", getattr(origin, "__name__", ""))
    return get_args(annotation)[0] if named in ("Required", "NotRequired", "ReadOnly") else annotation
