"""What a body hands to a step, and what the runtime really calls.

A closure that stands in a step's place runs outside: with the real module globals, and with the body's variables,
which it shares. So `unwrap` opens whatever it is given (a twin, a local function, a bound method, a partial) and gives
the plain function behind it.

This file knows functions and cells. It must not know how they were compiled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import CellType, CodeType, CoroutineType, FunctionType, MethodType
from typing import Any, Final, NamedTuple

from perdure.errors import SandboxViolation
from perdure.sandbox import values
from perdure.sandbox.compiler import native_code


class StepClosure:
    """A callable on its way to a step. The body can hold it, but neither call nor open it."""

    __slots__ = ("_function",)  # private to a library's class: the guard refuses it

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<step closure {getattr(self._function, '__name__', 'partial')}>"


class StepCallable(NamedTuple):
    """What a step calls: the real function, and the variables of the body that it sees."""

    function: Callable[..., Any]
    #: Contents, now, of the free variables that belong to the body; filled ones only. A function that was not made in
    #: a body has none, and what a body itself closes over is not its own.
    captured: Mapping[str, Any] = {}


def partial(function: Any, /, *arguments: Any, **keywords: Any) -> Any:
    """Make a partial of a callable on its way to a step."""
    return functools.partial(function, *arguments, **keywords)


# Twins by their functions; the two live as long as each other.
originals: Final[dict[FunctionType, FunctionType]] = {}
# The code of a twin → its original's; local functions are looked up in both.
_outermost: Final[dict[CodeType, tuple[CodeType, CodeType]]] = {}


# Cells that bodies close over from outside, by id (and kept, so that no other cell gets the id): they are the world's,
# not the body's, so a step that uses them shares them instead of getting a copy.
_of_the_world: Final[dict[int, CellType]] = {}


def note_twin(twin: FunctionType, original: FunctionType) -> None:
    """Remember whose twin a function is."""
    originals[twin] = original
    for cell in (*(twin.__closure__ or ()), *(original.__closure__ or ())):
        _of_the_world[id(cell)] = cell
    pair = twin.__code__, original.__code__
    pending = [twin.__code__]
    while pending:
        code = pending.pop()
        _outermost[code] = pair
        pending += [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def handed_over(function: Any) -> Any:
    """Give what a body put in a step's place, as it stands there; `unwrap` opens it further."""
    return function._function if type(function) is StepClosure else function


def is_ordinary(function: object) -> bool:
    """Tell whether this is a module's own function, which needs no opening: by far the most common step."""
    return type(function) is FunctionType and "%realm" not in function.__globals__


def unwrap(function: Callable[..., Any] | StepClosure) -> StepCallable:
    """Open what a body hands to a step.

    Raises:
        SandboxViolation: it is no callable.
    """
    memo: dict[int, Any] = {}
    opened = _open(function, memo)
    if isinstance(opened, CoroutineType):
        opened.close()  # nobody will await it, and it would warn about that
        raise SandboxViolation(
            "a step got a coroutine instead of a function.",
            why="the function was already called in the body",
            fix='pass the function and its arguments: await step.run("name", fn, argument)',
        )
    if not callable(opened):
        raise SandboxViolation(
            f"a step can't call {type(opened).__name__}.", fix='hand over a function: `await step.run("name", fn, …)`'
        )
    return StepCallable(opened, _captured(opened) if memo else {})


def _open(function: Any, memo: dict[int, Any]) -> Any:
    if isinstance(function, StepClosure):
        return _open(function._function, memo)
    if values.is_opaque(function):
        return function
    if isinstance(function, functools.partial):
        inner = _open(function.func, memo)
        if inner is function.func:
            return function
        return functools.partial(inner, *function.args, **function.keywords)
    if isinstance(function, MethodType):
        inner = _open(function.__func__, memo)
        return function if inner is function.__func__ else MethodType(inner, function.__self__)
    if isinstance(function, FunctionType) and values.is_restricted(function):
        return originals.get(function) or _rebuilt(function, memo)
    return function


def _rebuilt(function: FunctionType, memo: dict[int, Any]) -> FunctionType:
    """Rebuild a local function of a body as plain Python would have made it, over the same cells."""
    if id(function) in memo:
        return memo[id(function)]  # type: ignore[no-any-return]
    code = function.__code__
    pair = _outermost.get(code)
    plain = native_code(code, *pair) if pair else None
    if plain is None:
        return function  # of `load`, which has no plain counterpart; it runs restricted
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    substitutes = function.__globals__["%substitutes"]
    closure: list[CellType] = []
    made = FunctionType(plain, function.__globals__["%real"], function.__name__, function.__defaults__, tuple(
        cells.setdefault(name, CellType()) for name in plain.co_freevars
    ))  # fmt: skip
    memo[id(function)] = made
    for name in plain.co_freevars:
        cell = cells[name]
        cell = substitutes.get(id(cell), cell)
        filled, contents = values.cell_contents(cell)
        if filled and values.is_restricted(contents):
            # Outside, a local function that it calls is the plain one too.
            cell = CellType(_open(contents, memo))
        closure.append(cell)
    final = FunctionType(plain, made.__globals__, made.__name__, function.__defaults__, tuple(closure))
    final.__kwdefaults__ = function.__kwdefaults__
    final.__qualname__ = function.__qualname__
    final.__module__ = function.__module__
    memo[id(function)] = final
    return final


def _captured(function: Any) -> dict[str, Any]:
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, MethodType):
        function = function.__func__
    captured: dict[str, Any] = {}
    if isinstance(function, FunctionType):
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            filled, contents = values.cell_contents(cell)
            if filled and id(cell) not in _of_the_world:
                captured[name] = contents
    return captured
