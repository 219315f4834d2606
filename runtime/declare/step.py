"""`@step`: a function whose calls in a body are recorded. Outside a body it is the function it was.

Knows the function and its options. Must not know how a body or a ledger works: a body's `step` object makes the call.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, Generic, Never, ParamSpec, Protocol, TypeVar, overload

from perdure.declare.options import Delivery, Retries, StepOptions
from perdure.durations import Duration
from perdure.errors import DefinitionError, SandboxViolation
from perdure.misfit import fitting
from perdure.sandbox import activation

P = ParamSpec("P")
Rest = ParamSpec("Rest")  # the parameters after `self`
R = TypeVar("R")  # what a body gets, once it has awaited the call
Given = TypeVar("Given")  # what the function itself gives: R of a `def`, a coroutine of R of an `async def`
Instance = TypeVar("Instance")

_refused: ContextVar[bool] = ContextVar("steps refused", default=False)


@contextmanager
def steps_refused() -> Iterator[None]:
    """Let nobody call a step, for as long as a person looks at a body that is only replayed."""
    token = _refused.set(True)
    try:
        yield
    finally:
        _refused.reset(token)


def refusal(what: str) -> SandboxViolation:
    """The error of a step that is called while a person looks at a body; `what` begins its sentence."""
    return SandboxViolation(
        f"{what}, and a debugger runs no steps.",
        why="what it did is recorded; calling it would do it again",
        fix="look at what is recorded: perdure show LEDGER RUN",
    )


class StepDefinition(Generic[P, R, Given]):
    """A function that a body calls as a step.

    In a body a call gives an awaitable, whether the function is async or not: `charge = await charge_card(order)`.
    Anywhere else it is an ordinary call of the function. A type checker can't know where a call stands, and takes it
    for one in a body: elsewhere write `charge_card.function(order)`, which is the same and has the function's own type.

    Attributes:
        function: the function as it was written.
        name: what its calls are recorded under.
    """

    __perdure_opaque__ = True
    __perdure_awaited__ = True  # in a body a call of it gives an awaitable

    def __init__(self, function: Callable[P, Given], options: StepOptions, given_name: str | None = None) -> None:
        self.function = function
        self.step_options = options
        self.given_name = given_name
        self.name = given_name if given_name is not None else function.__name__
        functools.update_wrapper(self, function)
        del self.__dict__[
            "__wrapped__"
        ]  # inspect would look through it, and the sandbox would take it for the function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, Never, R]:
        environment = activation.current()
        if environment is None:
            if _refused.get():
                raise refusal(f"{self.name} is a step")
            return self.function(*args, **kwargs)  # type: ignore[return-value]  # not in a body: see the class
        asks: Any = getattr(environment, "step_context", None)
        if asks is None:
            raise DefinitionError(
                f"step {self.name!r} was called in sandboxed code that is no workflow's body.",
                fix="call it from a body, or outside the sandbox",
            )
        return asks().call(self, args, kwargs)  # type: ignore[no-any-return]

    @fitting
    def options(
        self,
        *,
        name: str | None = None,
        retries: Retries | None = None,
        timeout: Duration | None = None,
        delivery: Delivery | None = None,
        on_error: Callable[[BaseException], object] | None = None,
        heartbeat_timeout: Duration | None = None,
    ) -> StepDefinition[P, R, Given]:
        """Make the same step with other options: `charge_card.options(name="charge-again", timeout="5s")(order)`.

        A `name` given here must be unique within the run, as with `step.run`.
        """
        overridden = self.step_options.overridden(retries, timeout, delivery, on_error, heartbeat_timeout)
        return StepDefinition(self.function, overridden, name if name is not None else self.given_name)

    @overload
    def __get__(self, instance: None, owner: type) -> StepDefinition[P, R, Given]: ...

    @overload
    def __get__(
        self: StepDefinition[Concatenate[Instance, Rest], R, Given], instance: Instance, owner: type | None = None
    ) -> Callable[Rest, Coroutine[object, Never, R]]: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        # A step may be declared in a class; bound, its instance is the first argument, by value.
        if instance is None:
            return self
        return functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<step {self.name}>"


class _Decorating(Protocol):
    """What `@step(…)` is before it is over its function."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> StepDefinition[P, R, Coroutine[object, Never, R]]: ...

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> StepDefinition[P, R, Awaitable[R]]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> StepDefinition[P, R, R]: ...


@overload
def step(function: Callable[P, Coroutine[Any, Any, R]], /) -> StepDefinition[P, R, Coroutine[object, Never, R]]: ...


@overload
def step(function: Callable[P, Awaitable[R]], /) -> StepDefinition[P, R, Awaitable[R]]: ...


@overload
def step(function: Callable[P, R], /) -> StepDefinition[P, R, R]: ...


@overload
def step(
    *,
    retries: Retries | None = None,
    timeout: Duration | None = None,
    delivery: Delivery | None = None,
    on_error: Callable[[BaseException], object] | None = None,
    heartbeat_timeout: Duration | None = None,
) -> _Decorating: ...


@fitting
def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    retries: Retries | None = None,
    timeout: Duration | None = None,
    delivery: Delivery | None = None,
    on_error: Callable[[BaseException], object] | None = None,
    heartbeat_timeout: Duration | None = None,
) -> Any:
    """Make a function a step: `@step` or `@step(retries=3, timeout="30s")`.

    Called in a body, its arguments and result are recorded under the function's name; a second call in the same branch
    is `name#2`. Outside a body it is called as it is. Options are those of `step.run`.

    Raises:
        DefinitionError: what is decorated is no function, or an option can't be used.
    """
    options = StepOptions().overridden(retries, timeout, delivery, on_error, heartbeat_timeout)

    def declare(decorated: Callable[..., Any]) -> StepDefinition[..., Any, Any]:
        if not inspect.isroutine(decorated) or inspect.isgeneratorfunction(decorated):
            raise DefinitionError(
                f"@step decorates a function, not {decorated!r}.",
                why="a generator gives its values one by one, a step gives one result"
                if inspect.isgeneratorfunction(decorated)
                else "",
                fix="write def or async def under it, and return the result",
            )
        return StepDefinition(decorated, options)

    return declare if function is None else declare(function)
