"""How each kind of outcome answers the command that waits for it. Transitions as data: kind → what the future gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from perdure.errors import ChildCancelled, ChildFailed, InvalidInput, StepFailed, StepTimeout, UnknownWorkflow
from perdure.sandbox import activation
from perdure.sandbox.sets import OrderedFrozenSet, OrderedSet
from perdure.storage import entries as kinds
from perdure.storage.encoding import decode
from perdure.storage.entries import Entry
from perdure.storage.failures import decode_failure
from perdure.storage.plain import parse

Outcome: TypeAlias = Callable[["asyncio.Future[Any]", Entry], None]

SETS = (OrderedSet, OrderedFrozenSet)


def value_of(cause: Entry) -> Any:
    """A result, always decoded from the ledger's form, on first execution too."""
    if cause.shape is None:
        return parse(cause.body or "null")
    with activation.suspended():  # decoding may import the classes of what was recorded
        return decode(cause.body or "null", cause.shape, sets=SETS)


def give_value(future: asyncio.Future[Any], cause: Entry) -> None:
    """The recorded result."""
    future.set_result(value_of(cause))


def give_nothing(future: asyncio.Future[Any], cause: Entry) -> None:
    """The timer fired, the child started."""
    future.set_result(None)


def raise_failure(future: asyncio.Future[Any], cause: Entry) -> None:
    """The exception that the step raised, as its own class where it can be rebuilt."""
    failure = decode_failure(cause.body or "null", cause.shape, sets=SETS)
    error = failure.exception()
    # A future refuses StopIteration, and a step's cancellation must not look like the body's.
    if error is None or not isinstance(error, Exception) or isinstance(error, (StopIteration, asyncio.CancelledError)):
        error = StepFailed(
            f"step {cause.name} failed after {_times(cause.attempt)}: {failure.first_line}",
            why=f"it raised {failure.error_type}, which can't be rebuilt here",
            fix="make the class importable and its arguments encodable to catch it by its own name",
        )
        error.error_type = failure.error_type
    for name, value in (
        ("step_name", cause.name),
        ("attempts", cause.attempt),
        ("traceback_text", failure.traceback_text),
    ):
        try:
            setattr(error, name, value)
        except (AttributeError, TypeError):
            break  # a class with __slots__: it stays as it is
    future.set_exception(error)


def time_out(future: asyncio.Future[Any], cause: Entry) -> None:
    """A wait for an event gives None; a wait for a child (it has a name of a child's command) raises."""
    if cause.detail is None:
        future.set_result(None)
        return
    future.set_exception(
        StepTimeout(
            f"child {cause.name!r} took longer than its timeout.",
            where=cause.detail,
            why="the parent stopped waiting; the child was cancelled",
            fix="raise timeout=, or use step.spawn and look later",
        )
    )


def raise_child_failed(future: asyncio.Future[Any], cause: Entry) -> None:
    """A child run failed; its own exception is the cause where it can be rebuilt."""
    failure = decode_failure(cause.body or "null", cause.shape, sets=SETS)
    reason = failure.exception()
    refused = isinstance(reason, UnknownWorkflow | InvalidInput)  # it never started, so there is no run to look into
    error = ChildFailed(
        f"child {cause.name!r} failed: {failure.first_line}",
        where=getattr(reason, "where", "") if refused else f"child run {cause.detail}",
        why=getattr(reason, "why", "") if refused else "",
        fix=getattr(reason, "fix", "") if refused else "look into the child run, or catch ChildFailed",
    )
    error.child_run_id = cause.detail or ""
    error.error_type = failure.error_type
    error.__cause__ = reason
    future.set_exception(error)


def raise_child_cancelled(future: asyncio.Future[Any], cause: Entry) -> None:
    """A child run was cancelled."""
    error = ChildCancelled(f"child {cause.name!r} was cancelled.", where=f"child run {cause.detail}")
    error.child_run_id = cause.detail or ""
    future.set_exception(error)


OUTCOMES: Final[dict[str, Outcome]] = {
    kinds.STEP_COMPLETED: give_value,
    kinds.STEP_FAILED: raise_failure,
    kinds.TIMER_FIRED: give_nothing,
    kinds.EVENT_RECEIVED: give_value,
    kinds.WAIT_TIMED_OUT: time_out,
    kinds.CHILD_STARTED: give_nothing,
    kinds.CHILD_COMPLETED: give_value,
    kinds.CHILD_FAILED: raise_child_failed,
    kinds.CHILD_CANCELLED: raise_child_cancelled,
}


def _times(count: int) -> str:
    return "1 attempt" if count == 1 else f"{count} attempts"
