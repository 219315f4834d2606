"""Operations of services: awaited in asynchronous code, simply called in synchronous code. One implementation.

`@operation` makes an asynchronous method usable in both; `blocking(method)` is the same one as type checkers should
see it in code without asyncio.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from perdure.misfit import refuse_misfit
from perdure.services.scope import Scope

T = TypeVar("T")
P = ParamSpec("P")


class Scoped(Protocol):
    """A service: it works in a scope."""

    _scope: Scope


S = TypeVar("S", bound=Scoped)


def operation(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Let a method give an awaitable on an event loop, and its result in a thread that has none."""

    @wraps(method)
    def call(self: S, *args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            work = method(self, *args, **kwargs)
        except TypeError:  # nothing of it has run yet: the call does not fit
            _refuse_misfit(method, (self, *args), kwargs)
            raise
        return self._scope.run(work)

    call.__perdure_works__ = method  # type: ignore[attr-defined]  # what `blocking` waits for
    return cast("Callable[Concatenate[S, P], Coroutine[Any, Any, T]]", call)


class Blocking:
    """A service for code without asyncio: each operation blocks until it is done."""

    def __init__(self, service: Any) -> None:
        self._service = service

    def __repr__(self) -> str:
        return f"<blocking {self._service!r}>"


def blocking(method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Any, P], T]:
    """The blocking twin of an operation, for a class that derives from `Blocking`."""
    works = method.__perdure_works__  # type: ignore[attr-defined]

    @wraps(works)
    def call(self: Any, *args: P.args, **kwargs: P.kwargs) -> T:
        service = self._service
        try:
            work = works(service, *args, **kwargs)
        except TypeError:
            _refuse_misfit(works, (service, *args), kwargs)
            raise
        result: T = service._scope.wait(work)
        return result

    return cast("Callable[Concatenate[Any, P], T]", call)


def _refuse_misfit(method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    caller = sys._getframe(2)  # of the author's line
    refuse_misfit(method, args, kwargs, method.__qualname__, f"{caller.f_code.co_filename}:{caller.f_lineno}")
