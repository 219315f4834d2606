"""How a body's end is written down: completed, failed, cancelled, continued, or to be tried again. Pure decisions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from perdure.core.continuing import next_input, successor_run_id
from perdure.core.facts import Executable, RunFacts
from perdure.core.lifecycle import retry_delay_us
from perdure.errors import RunTimeout, WorkflowError
from perdure.storage import entries as kinds
from perdure.storage.encoding import Encoded
from perdure.storage.entries import Entry
from perdure.storage.failures import decode_failure, encode_failure


class Ending(NamedTuple):
    """What the last entry of an attempt will say."""

    kind: str  # one of kinds.ENDINGS
    value: Encoded | None  # the output or the failure
    delay_us: int | None = None  # before the next attempt
    detail: str | None = None


def ending_of(
    task: asyncio.Task[Any],
    executable: Executable,
    facts: RunFacts,
    cancel: str | None,
    neglected: BaseException | None = None,
) -> Ending:
    """Look at a body that is done.

    Args:
        cancel: `"cancel"` or `"timeout"` when somebody asked the run to stop, else None.
        neglected: what a body that has returned should have awaited.
    """
    error = asyncio.CancelledError() if task.cancelled() else task.exception() or neglected
    if error is None:
        try:
            return Ending(kinds.COMPLETED, executable.encode_output(task.result()))
        except Exception as refused:  # noqa: BLE001  # the output does not fit: that is the run's failure
            error = refused
    going_on = next_input(error)
    if going_on is not None:
        if cancel is None:
            return Ending(kinds.CONTINUED, going_on, detail=json.dumps({"run_id": successor_run_id(facts)}))
        error = asyncio.CancelledError()  # who asked the run to stop did not mean: to stop and go on
    where = f"{facts.workflow} v{facts.version}, run {facts.run_id}"
    if isinstance(error, asyncio.CancelledError):
        if cancel == "cancel":
            return Ending(kinds.CANCELLED, None)
        if cancel is not None:
            error = RunTimeout(
                "the run passed its timeout.",
                where=where,
                fix="raise the workflow's timeout, or find what was slow",
            )
        else:
            error = WorkflowError(
                "the body let a CancelledError out, though nobody cancelled the run.",
                where=where,
                fix="catch it where a task of the body is cancelled",
            )
    delay = None
    if cancel is None:
        delay = retry_delay_us(executable.options.policy, facts.attempt, error, facts.run_id)
    return Ending(kinds.FAILED if delay is None else kinds.RETRYING, encode_failure(error), delay)


def same_ending(recorded: Entry, replayed: Entry) -> bool:
    """Whether two ends agree. Of failures only the class counts: messages may carry what differs between versions of
    Python, and whether to retry is today's policy."""
    failures = (kinds.FAILED, kinds.RETRYING)
    if recorded.kind in failures and replayed.kind in failures:
        return _error_type(recorded) == _error_type(replayed)
    return recorded.kind == replayed.kind and recorded.body == replayed.body and recorded.shape == replayed.shape


def failed_by(entries: Sequence[Entry], error: BaseException) -> bool:
    """Whether an attempt was recorded as failed with an error of this class; notes may follow its end."""
    kind = type(error)
    ending = next((entry for entry in reversed(entries) if entry.kind in kinds.ENDINGS), None)
    return (
        ending is not None
        and ending.kind == kinds.FAILED
        and _error_type(ending) == f"{kind.__module__}:{kind.__qualname__}"
    )


def _error_type(entry: Entry) -> str:
    return decode_failure(entry.body or "", entry.shape).error_type
