"""What stands in for steps: values, exceptions or functions, checked against the real steps' signatures.

A fake that the real step could not be called like, or whose result the real one could not give, is refused: a test that
passes with it would prove nothing.

Knows functions and annotations. Must not know how a step is run.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from perdure.declare.registry import Definition
from perdure.declare.step import StepDefinition
from perdure.errors import DefinitionError
from perdure.replay.closures import Closure
from perdure.testing.outside import Act, is_function, play

#: What `steps=` takes: by step name or step, a function to call, an exception to raise, or a value to give.
Steps = Mapping[Any, Any]


class Fakes:
    """The stand-ins of one simulation.

    Raises:
        DefinitionError: a name that no workflow's code mentions, or a fake that does not fit its step.
    """

    def __init__(self, steps: Steps | None, definitions: Iterable[Definition]) -> None:
        self._fakes: dict[str, Any] = {}
        self._checked: set[tuple[int, int]] = set()  # of fake and step: a loop calls one step under many names
        if not isinstance(steps, Mapping | None):
            raise DefinitionError(
                f"steps={steps!r} can't be used.", fix='give a mapping: steps={"charge_card": "ch_1"}'
            )
        closures = [Closure.from_json(definition.source_json) for definition in definitions]
        for key, fake in (steps or {}).items():
            name = key if isinstance(key, str) else getattr(key, "name", None) or getattr(key, "__name__", None)
            if not isinstance(name, str):
                raise DefinitionError(f"steps={{{key!r}: …}} names no step.", fix="give a step or its name")
            if isinstance(key, str) and not any(closure.mentions(name) for closure in closures):
                raise _unknown(name, closures)
            if isinstance(key, StepDefinition):
                _check(name, key.function, fake)
            self._fakes[name] = fake.afresh() if isinstance(fake, Act) else fake

    def stand_in(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """Give what to call for a step; the real function when nothing stands in for it."""
        try:
            fake = self.of(name)
        except KeyError:
            return real
        place = (id(fake), id(getattr(real, "__code__", real)))
        if place not in self._checked:
            _check(name, real, fake)
            self._checked.add(place)
        return fake if is_function(fake) else lambda *args, **kwargs: play(fake, args, kwargs)

    def check_result(self, name: str, real: Callable[..., Any], result: Any) -> None:
        """Refuse what a fake gave if the real step could not give it; what real steps give is theirs to say.

        Raises:
            DefinitionError: it does not fit the step's return annotation.
        """
        try:
            self.of(name)
        except KeyError:
            return
        _check_value(name, real, result)

    def of(self, name: str) -> Any:
        """What stands in for the step of this name; raises `KeyError` when nothing does."""
        base = name.partition("#")[0].partition("[")[0]
        return self._fakes[name] if name in self._fakes else self._fakes[base]


def _check(name: str, real: Callable[..., Any], fake: Any) -> None:
    for played in fake.plays if isinstance(fake, Act) else (fake,):
        if is_function(played):
            _check_signature(name, real, played)
        elif not isinstance(played, BaseException) and not isinstance(played, type):
            _check_value(name, real, played)


def _check_signature(name: str, real: Callable[..., Any], fake: Callable[..., Any]) -> None:
    try:
        wanted, given = inspect.signature(real), inspect.signature(fake)
    except (TypeError, ValueError):
        return  # a built-in that does not tell
    problem = _misfit(wanted, given)
    if problem:
        raise DefinitionError(
            f"the fake of step {name!r} can't be called like the step: {problem}.",
            where=_place(fake),
            why=f"the step takes {wanted}, the fake {given}",
            fix="give the fake the step's parameters",
        )


def _misfit(wanted: inspect.Signature, given: inspect.Signature) -> str:
    """Why some call that the real one takes is not one that the fake takes; empty when there is none."""
    kinds = inspect.Parameter
    parameters = list(given.parameters.values())
    takes_rest = any(each.kind is kinds.VAR_POSITIONAL for each in parameters)
    takes_names = any(each.kind is kinds.VAR_KEYWORD for each in parameters)
    if takes_rest and takes_names:
        return ""
    positional = [each for each in parameters if each.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    for index, each in enumerate(wanted.parameters.values()):
        if each.kind is kinds.VAR_POSITIONAL and not takes_rest:
            return f"it lacks *{each.name}"
        if each.kind is kinds.VAR_KEYWORD and not takes_names:
            return f"it lacks **{each.name}"
        if each.kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD):
            continue
        same = given.parameters.get(each.name)
        if each.kind is not kinds.KEYWORD_ONLY and not takes_rest and index >= len(positional):
            return f"it lacks {each.name!r}"
        if each.kind is kinds.POSITIONAL_OR_KEYWORD and index < len(positional) and positional[index].name != each.name:
            return f"its parameter {positional[index].name!r} stands where the step has {each.name!r}"
        if each.kind is kinds.KEYWORD_ONLY and same is None and not takes_names:
            return f"it lacks {each.name!r}"
        if same is not None and each.default is not kinds.empty and same.default is kinds.empty:
            return f"it requires {each.name!r}, which the step does not"
    for each in parameters:
        optional = each.default is not kinds.empty or each.kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
        if not optional and each.name not in wanted.parameters:
            return f"it requires {each.name!r}, which the step does not have"
    return ""


def _check_value(name: str, real: Callable[..., Any], value: Any) -> None:
    adapter = _kept_adapter(real) if isinstance(real, FunctionType) else result_adapter(real)
    if adapter is None:
        return
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        raise DefinitionError(
            f"the fake of step {name!r} gives what the step can't: {value!r}.",
            where=_place(real),
            why=error.errors()[0]["msg"],
            fix="give a value of the step's return annotation",
        ) from None


def result_annotation(real: Callable[..., Any]) -> Any:
    """What a step's results are annotated as; `inspect.Parameter.empty` when it does not say."""
    try:
        hints = typing.get_type_hints(real, include_extras=True)
    except (TypeError, NameError, AttributeError):
        return inspect.Parameter.empty
    return hints.get("return", inspect.Parameter.empty)


def result_adapter(real: Callable[..., Any]) -> TypeAdapter[Any] | None:
    """What validates a step's results; None when it is not annotated, or not with something that can be."""
    annotation = result_annotation(real)
    if annotation is inspect.Parameter.empty or annotation is Any:
        return None
    try:
        return TypeAdapter(annotation)
    except (PydanticUserError, TypeError):
        return None


_kept_adapter = functools.lru_cache(maxsize=256)(result_adapter)  # building one takes longer than many calls of a fake


def _unknown(name: str, closures: Iterable[Closure]) -> DefinitionError:
    words = {word for closure in closures for word in closure.words()}
    close = difflib.get_close_matches(name, words, 1)
    return DefinitionError(
        f"steps={{{name!r}: …}}: no workflow here has a step of that name.",
        fix=f"did you mean {close[0]!r}?" if close else "give the step itself, or the name that the body uses",
    )


def _place(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
