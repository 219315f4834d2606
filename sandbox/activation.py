"""Whose body is being advanced right now, and the conditions under which it runs.

Bodies run in one thread at a time per process: a lock sees to it. While one runs, its thread has a fresh decimal
context, no cyclic garbage collection (finalizers would run at places that a replay does not repeat), the audit hook
watching it and the watchdog counting.

This file knows that some environment is active in some thread. It must not know what a body is made of.
"""

from __future__ import annotations

import decimal
import gc
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final

from perdure.errors import BudgetExceeded, SandboxViolation
from perdure.sandbox import audit, fuel, watchdog
from perdure.sandbox.environment import Environment

_get_ident: Final[Callable[[], int]] = threading.get_ident
_lock: Final = threading.RLock()

# Bodies may set their decimal context; they begin with this one, whatever the application prefers.
_DECIMALS: Final = decimal.Context(
    prec=28,
    rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)


class _Frame:
    """What the outermost `enter` changed and `leave` puts back."""

    __slots__ = ("collecting", "decimals")

    def __init__(self) -> None:
        self.collecting = False
        self.decimals: decimal.Context | None = None


# Written only by the thread that holds the lock. Others read `_owner`, which then is not their own identity.
_owner: int = 0
_environment: Environment | None = None
_stack: list[tuple[int, Environment | None]] = []
_outermost: Final = _Frame()
_violation: SandboxViolation | None = None


def current() -> Environment | None:
    """Give the environment whose body this thread is advancing, or None outside of bodies and inside `suspended()`."""
    return _environment if _owner == _get_ident() else None


def enter(environment: Environment) -> None:
    """Begin to advance a body in this thread; waits until no other thread does. `leave` must follow.

    Calls nest, also with other environments; the innermost one is current.
    """
    global _owner, _environment, _violation
    _lock.acquire()
    if not _stack:
        audit.install(_is_active, _note)
        _violation = None
        _outermost.collecting = gc.isenabled()
        gc.disable()
        _outermost.decimals = decimal.getcontext()
        decimal.setcontext(_DECIMALS.copy())
        watchdog.begin()
    _stack.append((_owner, _environment))
    _environment = environment
    _owner = _get_ident()


def leave() -> None:
    """End what `enter` began.

    Raises:
        SandboxViolation: the audit hook stopped something in this activation and the body swallowed its error. What
            the body asked for since then must not be carried out.
        BudgetExceeded: the watchdog ended something in this activation; the same holds.
    """
    global _owner, _environment, _violation
    _owner, _environment = _stack.pop()
    violation: SandboxViolation | BudgetExceeded | None = None
    if not _stack:
        late = watchdog.end()
        fuel.release()
        if _outermost.decimals is not None:
            decimal.setcontext(_outermost.decimals)
        if _outermost.collecting:
            gc.enable()
        # A body that swallowed what the watchdog threw has gone on from a place that no replay finds again.
        violation, _violation = watchdog.OutOfTime() if late else _violation, None
    _lock.release()
    if violation is not None:
        raise violation


class activation:
    """`with activation(environment):` is `enter` and `leave` around a block."""

    __slots__ = ("_environment",)

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def __enter__(self) -> None:
        enter(self._environment)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        leave()


class suspended:
    """`with suspended():` lets code of ours work inside a body as if outside: real clock, real I/O, no audit.

    For logging, debuggers and the like, whose doings the body can't see. Outside of bodies it changes nothing.
    """

    __slots__ = ("_held",)

    def __enter__(self) -> None:
        global _owner, _environment
        self._held = _environment if _owner == _get_ident() else None
        if self._held is not None:
            _stack.append((_owner, _environment))
            _owner, _environment = 0, None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _owner, _environment
        if self._held is not None:
            _owner, _environment = _stack.pop()


def _is_active() -> bool:
    return _owner == _get_ident()


def _note(violation: SandboxViolation) -> None:
    """Remember the first violation that the audit hook raised; `leave` raises it again if the body goes on."""
    global _violation
    if _violation is None:
        _violation = violation
