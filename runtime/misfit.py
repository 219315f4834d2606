"""A call that does not fit its signature, answered as an error of ours: which word was wrong, and which was meant.

Knows signatures. Must not know what is called.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar

from perdure.errors import DefinitionError
from perdure.texts import did_you_mean

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def fitting(function: Callable[P, R]) -> Callable[P, R]:
    """Answer calls of a public function that don't fit it with `DefinitionError`, where Python says a bare `TypeError`.

    A call that fits costs one more frame and nothing else.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError:
            caller = sys._getframe(1)
            shown = function.__qualname__.removesuffix(".__init__").removeprefix("strict_")
            refuse_misfit(function, args, kwargs, shown, f"{caller.f_code.co_filename}:{caller.f_lineno}")
            raise  # it fits, so the function itself raised it

    if inspect.iscoroutinefunction(function) and sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(call)
    return call


def fitting_methods(kind: type[T]) -> type[T]:
    """Make every public method of a class, and its construction, answer misfits as `fitting` does."""
    for name, member in list(vars(kind).items()):
        if inspect.isfunction(member) and (not name.startswith("_") or name == "__init__"):
            setattr(kind, name, fitting(member))
    return kind


def refuse_misfit(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], shown: str, where: str
) -> None:
    """Say what does not fit in a call that raised `TypeError`.

    Args:
        shown: what the caller calls the function. where: its line.

    Raises:
        DefinitionError: it does not fit. Nothing else is said: then the function itself raised it.
    """
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as misfit:
        _refuse(signature, kwargs, str(misfit), shown, where)


def _refuse(signature: inspect.Signature, kwargs: dict[str, Any], misfit: str, shown: str, where: str) -> NoReturn:
    takes = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD) and parameter.name != "self"
    ]
    unknown = [name for name in kwargs if name not in takes]
    message = f"{shown}(…) takes no {unknown[0]!r}." if unknown else f"{shown}(…) can't be called like this: {misfit}."
    raise DefinitionError(
        message,
        where=where,
        why=f"it takes {', '.join(takes)}",
        fix=did_you_mean(unknown[0], takes) if unknown else f"write {shown}{_without_self(signature)}",
    ) from None


def _without_self(signature: inspect.Signature) -> str:
    parameters = [
        parameter.replace(annotation=parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))
