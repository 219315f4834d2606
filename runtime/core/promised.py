"""What a body was promised and never waited for: calls of `step` that nobody awaited, tasks that it left at work.

Python drops both in silence, or with a warning whenever it collects garbage. A step that never happens is a bug of the
workflow, so the end of the body says so, at the same place on every replay.

Knows coroutines and tasks. Must not know how a run ends.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.core.loop import BodyTask
from perdure.core.refusals import explain
from perdure.core.sites import site
from perdure.core.waiting import Waiting
from perdure.declare.offered import gives_awaitable
from perdure.errors import NeverAwaited
from perdure.misfit import refuse_misfit
from perdure.sandbox import activation
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry

if TYPE_CHECKING:
    from perdure.core.machine import Machine

C = TypeVar("C", bound=Coroutine[Any, Any, Any])
_Kind = TypeVar("_Kind", bound=type)

#: Work that is lost when nobody waits for it any more; a timer or a wait that is dropped loses nothing.
_WORK = frozenset({kinds.STEP, kinds.CHILD})
#: They note by themselves, because they are called for every step; the last one is awaited by who calls it.
_NOTED_INSIDE = frozenset({"run", "call", "asyncio_sleep"})
_SWEEP_AT = 64


class Promised:
    """The coroutines that a body was given, as long as it may still have to await them."""

    __slots__ = ("_sweep_at", "count", "given")

    def __init__(self) -> None:
        self.count = 0
        self.given: dict[int, Coroutine[Any, Any, Any]] = {}  # in order; `step.run` takes its own out when it begins
        self._sweep_at = _SWEEP_AT

    def note(self, coroutine: C) -> C:
        """Remember one; those that have begun are forgotten now and then."""
        self.count += 1
        given = self.given
        given[self.count] = coroutine
        if len(given) > self._sweep_at:
            self.given = {token: each for token, each in given.items() if _is_waiting(each)}
            self._sweep_at = 2 * len(self.given) + _SWEEP_AT
        return coroutine

    def never_awaited(self) -> list[Coroutine[Any, Any, Any]]:
        """List those that have not begun, in the order in which they were asked for."""
        return [each for each in self.given.values() if _is_waiting(each)]

    def clear(self) -> None:
        """Forget all of them without Python's complaint: the body is gone, or its end has said so."""
        for each in self.never_awaited():
            each.close()
        self.given.clear()


def _is_waiting(coroutine: Coroutine[Any, Any, Any]) -> bool:
    # `close()` and being cancelled before the first step end a coroutine as well: that was somebody's will.
    # Looking costs a call of the audit hook, so nobody does it for every step.
    return inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED


def noting(kind: _Kind) -> _Kind:
    """Let every method of a class that gives a coroutine note it with its machine."""
    for name in dir(kind):
        member = inspect.getattr_static(kind, name)
        if inspect.isfunction(member) and name[0] != "_" and name not in _NOTED_INSIDE and gives_awaitable(member):
            setattr(kind, name, _noted(member))
    return kind


def _noted(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            coroutine = method(self, *args, **kwargs)
        except TypeError:
            where = site()  # as a body's errors say it: what is recorded is the same on every machine
            with activation.suspended():  # looking at a signature is ours
                refuse_misfit(method, (self, *args), kwargs, f"step.{method.__name__}", where)
            raise
        return self._machine.promised.note(coroutine)

    return call


def neglected(machine: Machine, root: BodyTask[Any], recorded: Entry | None, run: str) -> NeverAwaited | None:
    """What a body that has returned should have awaited, as the error of the run; None when there is nothing.

    That it swallowed its cancellation is only logged: some mean it, and what it returned is its output. A body that
    ran out of its budget has not returned; what it was busy with is added to its error.

    Args:
        recorded: how the run ended, on replay. What was recorded as completed did, whatever it neglected.
        run: what the error says of the run.
    """
    if recorded is not None and recorded.kind == kinds.COMPLETED:
        return None
    if root.cancelled() or root.exception() is not None:
        explain(None if root.cancelled() else root.exception(), machine.reads, machine.max_ops)
        return None
    if machine.cancel_requested:
        machine.put_out(logging.WARNING, _swallowed(machine.stopped_at, run), {})
    for coroutine in machine.promised.never_awaited():
        return _not_awaited(coroutine, run)
    for task in machine.loop.tasks:
        if not task.done() and not task.heard and not task.cancelling():
            at_work = [each.name for each in machine.waiting.values() if each.kind in _WORK and _is_of(each, task)]
            if at_work:
                return _left_behind(task, at_work, run)
    return None


def _swallowed(stopped_at: str, run: str) -> str:
    place = f" at {stopped_at}" if stopped_at else ""
    return (
        f"the body was asked to stop{place}, caught the CancelledError and returned: the run counts as completed. "
        f"End the handler with `raise` if it should be cancelled ({run})"
    )


def _is_of(waiting: Waiting, task: BodyTask[Any]) -> bool:
    """Tell whether a task, or one that it created, waits for a command."""
    branch = waiting.command.partition("/")[0]
    return branch == task.branch.path or branch.startswith(f"{task.branch.path}.")


def _not_awaited(coroutine: Coroutine[Any, Any, Any], run: str) -> NeverAwaited:
    frame = coroutine.cr_frame  # type: ignore[attr-defined]  # of a coroutine object, which these all are
    given = dict(frame.f_locals)
    definition = given.get("definition")
    name = given.get("name") or getattr(definition, "name", "")
    where = given.get("where") or ""
    return NeverAwaited(
        f"the body asked for {name!r} and never awaited it, so it never happened.",
        where=f"{where}, {run}" if where else run,
        why="a call of `step` gives an awaitable, and does nothing before somebody awaits it",
        fix="write await in front of the call; one that is not wanted after all: .close() it",
    )


def _left_behind(task: BodyTask[Any], at_work: list[str], run: str) -> NeverAwaited:
    names = ", ".join(repr(name) for name in at_work)
    return NeverAwaited(
        f"the body returned while a task that nobody awaited was still at work on {names}.",
        where=f"{task.made_at}, {run}" if task.made_at else run,
        why="what a body leaves behind is dropped: its result is lost, and it may never have run",
        fix="await the task, or use asyncio.gather or asyncio.TaskGroup; one that is not wanted: task.cancel()",
    )
