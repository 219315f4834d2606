"""What recorded code finds around it in today's code: steps that it can call, and names that are still there.

A body that is walked on recorded code gets its steps and models from today's modules. When a deploy took one away, the
run must stop as diverged, with nothing recorded of what could not be done, instead of failing for ever.

Knows calls and errors. Must not know who stops the run, nor how recorded code is loaded.
"""

from __future__ import annotations

import asyncio
import inspect
import types
from typing import TYPE_CHECKING, Any, Final

from perdure.core.calls import StepCall
from perdure.core.facts import RunFacts
from perdure.declare.gone import GoneFunction
from perdure.errors import Divergence, ValueUnreadable
from perdure.sandbox import values
from perdure.sandbox.absent import lacking

if TYPE_CHECKING:
    from perdure.core.machine import Machine

STEP_GONE: Final = "step gone"
STEP_SIGNATURE_CHANGED: Final = "step signature changed"
STEP_ARGUMENTS_UNREADABLE: Final = "step arguments unreadable"
SURROUNDINGS_CHANGED: Final = "surroundings changed"

_AGAIN: Final = ", and start the runtime again: the run goes on where it stands"


def misfit(call: StepCall, facts: RunFacts, site: str, position: int) -> Divergence | None:
    """Why today's function can't take a call that recorded code makes; None when it can."""
    function = call.function
    if isinstance(function, GoneFunction):
        module, name = function.__module__, function.__name__
        return _stopped(
            f"step {call.name} can't run: module {module} has no {name} any more.",
            STEP_GONE,
            fix=f"bring {name} back to {module} (an alias of what replaced it will do){_AGAIN}",
            place=(facts, site, position),
        )
    name = lacking(function)
    if name:
        return _stopped(
            f"step {call.name} can't run: module {function.__module__} has no {name} any more, which it calls.",
            STEP_GONE,
            fix=f"bring {name} back to {function.__module__} (an alias of what replaced it will do){_AGAIN}",
            place=(facts, site, position),
        )
    try:
        args, kwargs = call.values()
    except ValueUnreadable as error:
        return _stopped(
            f"step {call.name} can't run: today's classes can't read its recorded arguments.",
            STEP_ARGUMENTS_UNREADABLE,
            why=error.message,
            fix=f"keep the class readable for what was recorded (a default for a new field){_AGAIN}",
            place=(facts, site, position),
        )
    return _unbound(call, args, kwargs, (facts, site, position))


def refuse_loss(machine: Machine, body: asyncio.Task[Any]) -> None:
    """Refuse to record the failure of a recorded body that missed something in today's code."""
    if machine.executable.is_pinned and not body.cancelled():
        divergence = _lost(body.exception(), machine.facts, machine.length)
        if divergence is not None:
            raise divergence


def _lost(error: BaseException | None, facts: RunFacts, position: int) -> Divergence | None:
    """What a body missed, when that is why an error left it; None for any other error."""
    missed = ""
    if isinstance(error, NameError) and not isinstance(error, UnboundLocalError):
        missed = f"the name {error.name}"
    elif isinstance(error, ImportError):
        missed = f"what it imports from {error.name}"
    elif isinstance(error, AttributeError) and _is_todays(error.obj):
        missed = f"the attribute {error.name} of {_shown(error.obj)}"
    if not missed:
        return None
    return _stopped(
        f"the recorded body misses {missed} in today's code.",
        SURROUNDINGS_CHANGED,
        why=f"it raised {type(error).__name__}: {error}",
        fix=f"bring it back{_AGAIN}; if the body is to fail so, cancel the run",
        place=(facts, "", position),
    )


def _unbound(
    call: StepCall, args: tuple[object, ...], kwargs: dict[str, object], place: tuple[RunFacts, str, int]
) -> Divergence | None:
    try:
        signature = inspect.signature(call.function)
    except (TypeError, ValueError):
        return None  # a builtin, which says nothing about itself
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return _stopped(
            f"step {call.name} can't be called as the recorded body calls it: {error}.",
            STEP_SIGNATURE_CHANGED,
            why=f"its function takes {signature} today",
            fix=f"let it take the old arguments too (a default for a new parameter){_AGAIN}",
            place=place,
        )
    return None


def _is_todays(holder: object) -> bool:
    """Whether an object is of the author's modules: a model, one of its instances, or a module."""
    if isinstance(holder, types.ModuleType):
        return values.is_user_module(holder)
    return values.is_user_class(holder if isinstance(holder, type) else type(holder))


def _shown(holder: object) -> str:
    if isinstance(holder, types.ModuleType):
        return f"module {holder.__name__}"
    kind = holder if isinstance(holder, type) else type(holder)
    return f"{kind.__module__}.{kind.__qualname__}"


def _stopped(message: str, cause: str, *, fix: str, place: tuple[RunFacts, str, int], why: str = "") -> Divergence:
    facts, site, position = place
    said = f"{cause}: the body is the recorded one, its steps and models are today's"
    where = [f"{facts.workflow} v{facts.version}", site, f"run {facts.run_id}", f"entry {position}"]
    return Divergence(
        message,
        run_id=facts.run_id,
        position=position,
        cause=cause,
        where=", ".join(part for part in where if part),
        why=f"{said}\n{why}" if why else said,
        fix=fix,
        inspect=f"perdure show LEDGER {facts.run_id}",
    )
