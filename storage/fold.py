"""From entries to what a listing shows: the fold of a run's history into its `RunRow`.

Rules:
- a row is a function of the run's entries alone, so any ledger can rebuild it;
- a command is pending from its entry until an answer, a DROPPED or the end of the attempt;
- answers that come while a run is diverged are recorded facts, so they do end what was pending;
- the status follows from what is pending, but for `queued`, a run's own retry, `diverged` and the ended ones, which are
  phases that certain kinds begin and end.

This file knows what each kind does to a row. It must not know how rows are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from perdure.errors import InternalError
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.ledger import ENDED, Pending, RunRow
from perdure.storage.waits import canonical


def fold(row: RunRow | None, entry: Entry) -> RunRow:
    """Add one entry to a run's row. `row` is changed in place and returned; None begins a run with CREATED."""
    return fold_all(row, (entry,))


def fold_all(row: RunRow | None, entries: Iterable[Entry]) -> RunRow:
    """Add several entries of one run, and work out the status once.

    Raises InternalError when an entry does not continue the row: a gap, a second CREATED, an unknown kind, a time
    that goes back, a detail that lacks what its kind needs. The row may then be half changed; callers give a copy.
    """
    for entry in entries:
        try:
            if row is None:
                row = _created(entry)
            else:
                _continues(row, entry)
                _FOLDS[entry.kind](row, entry)
        except (KeyError, TypeError, ValueError) as error:
            raise _refusal(entry, f"its fields do not fit its kind: {error!r}") from error
        row.updated_at = entry.at
        row.length = entry.position + 1
        row.digest = entry.digest
    if row is None:
        raise InternalError("an empty list of entries was folded into no run.", fix="send us this traceback")
    if row.status not in _PHASES or (row.status == "awaiting_retry" and row.due is None):
        row.status = _status(row.pending)
    return row


def copied(row: RunRow) -> RunRow:
    """A row that can be folded into while others read the original. `Pending`s are shared: the fold replaces them."""
    # Written out, because `dataclasses.replace` takes four times as long and this runs for every run in every batch.
    return RunRow(
        row.run, row.run_id, row.workflow, row.version, row.definition, row.status, row.attempt, row.created_at,
        row.updated_at, row.finished_at, row.tags, row.idempotency_key, row.parent_run_id, row.parent_command, row.due,
        row.timeout_at, row.cancel_requested, row.error, row.length, row.digest, row.verdict, row.pending.copy(),
        row.forked_from,
    )  # fmt: skip


#: Statuses that do not follow from what is pending. A run's own retry is `awaiting_retry` with `due` set.
_PHASES: Final = ENDED | {"queued", "awaiting_retry", "diverged"}


def _status(pending: dict[str, Pending]) -> str:
    best = "running" if not pending else "sleeping"
    for command in pending.values():
        kind = command.kind
        if kind == kinds.STEP:
            if not command.retrying:
                return "running"
            if best == "sleeping":
                best = "awaiting_retry"
        elif kind == kinds.WAIT_EVENT:
            best = "waiting_event"
        elif kind != kinds.SLEEP:
            return "running"
    return best


def _created(entry: Entry) -> RunRow:
    if entry.kind != kinds.CREATED or entry.position != 0:
        raise _refusal(entry, "a run's first entry is `created`, at position 0")
    facts = _facts(entry)
    fork = facts.get("forked_from") or {}
    return RunRow(
        run=entry.run,
        run_id=facts["run_id"],
        workflow=entry.name,
        version=facts["version"],
        definition=facts["definition"],
        status="running" if entry.due is None else "queued",
        attempt=entry.attempt or 1,
        created_at=fork.get("at", entry.at),  # a fork's entries are older than itself
        updated_at=entry.at,
        tags=facts.get("tags") or {},
        idempotency_key=facts.get("idempotency_key"),
        parent_run_id=facts.get("parent_run_id"),
        parent_command=facts.get("parent_command"),
        due=entry.due,
        timeout_at=facts.get("timeout_at"),
        forked_from=fork.get("run_id"),
    )


def _continues(row: RunRow, entry: Entry) -> None:
    if entry.run != row.run or entry.position != row.length:
        raise _refusal(entry, f"run {row.run} goes on at position {row.length}")
    if entry.at < row.updated_at:
        raise _refusal(entry, f"its time {entry.at} is before the run's newest, {row.updated_at}")
    if entry.kind not in _FOLDS:
        raise _refusal(entry, "only a run's first entry is `created`, and all others are of the closed set of kinds")


def _refusal(entry: Entry, why: str) -> InternalError:
    return InternalError(
        f"an entry of kind {entry.kind!r} does not fit the ledger.",
        where=f"run {entry.run}, entry {entry.position}",
        why=why,
        fix="this is a bug of Perdure, and nothing of the batch was kept; send us this message",
    )


def _facts(entry: Entry) -> dict[str, Any]:
    facts = json.loads(entry.detail) if entry.detail else {}
    if not isinstance(facts, dict):
        raise ValueError("detail is not a JSON object")
    return facts


# ── causes ───────────────────────────────────────────────────────────────────────────────────────


def _began(row: RunRow, entry: Entry) -> None:
    row.due = None
    if row.status == "queued":
        row.status = "running"


def _restarted(row: RunRow, entry: Entry) -> None:
    if row.finished_at is not None:
        # Somebody retries a run that had ended, so the cancel that may have ended it is over.
        row.cancel_requested = False
    row.timeout_at = _facts(entry).get("timeout_at", row.timeout_at)
    row.attempt = entry.attempt
    row.finished_at = row.due = row.error = row.verdict = None
    row.pending = {}
    row.status = "running"


def _cancel_requested(row: RunRow, entry: Entry) -> None:
    row.cancel_requested = True


def _answered(row: RunRow, entry: Entry) -> None:
    # Absent when the run ended or restarted meanwhile: the answer is a fact that comes too late.
    row.pending.pop(entry.command, None)


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


def _step(row: RunRow, entry: Entry) -> None:
    # A due of a STEP is a deadline that its performer keeps, not a timer of the ledger.
    row.pending[entry.command] = Pending(
        entry.command, kinds.STEP, entry.name, entry.position, attempt=entry.attempt or 1
    )


def _sleep(row: RunRow, entry: Entry) -> None:
    row.pending[entry.command] = Pending(entry.command, kinds.SLEEP, entry.name, entry.position, entry.due)


def _wait_event(row: RunRow, entry: Entry) -> None:
    facts = _facts(entry)
    row.pending[entry.command] = Pending(
        entry.command, kinds.WAIT_EVENT, entry.name, entry.position, entry.due,
        event_type=facts["type"], match=canonical(facts.get("match") or {}),
    )  # fmt: skip


def _child(row: RunRow, entry: Entry) -> None:
    row.pending[entry.command] = Pending(
        entry.command, entry.kind, entry.name, entry.position, entry.due, child_run_id=_facts(entry)["run_id"]
    )


def _child_cancel(row: RunRow, entry: Entry) -> None:
    """Nothing answers it."""


# ── endings ──────────────────────────────────────────────────────────────────────────────────────


def _ended(row: RunRow, entry: Entry) -> None:
    row.status = entry.kind
    row.finished_at = entry.at
    row.due = None
    row.pending = {}
    row.error = _first_line(entry.body) if entry.kind == kinds.FAILED else None


def _retrying(row: RunRow, entry: Entry) -> None:
    row.status = "awaiting_retry"
    row.due = entry.due if entry.due is not None else entry.at
    row.pending = {}
    row.error = _first_line(entry.body)


def _first_line(failure: str | None) -> str:
    """What a listing shows of a failure, whose body has `type` ("module:qualname") and `message` (see failures.py)."""
    facts = json.loads(failure) if failure else {}
    if not isinstance(facts, dict):
        facts = {"message": facts}
    name = str(facts.get("type", "")).rpartition(":")[2]
    message = str(facts.get("message") or "").strip().partition("\n")[0]
    return ": ".join(part for part in (name, message) if part) or "an error without a message"


# ── notes ────────────────────────────────────────────────────────────────────────────────────────


def _step_started(row: RunRow, entry: Entry) -> None:
    step = row.pending.get(entry.command)
    if step is not None:
        row.pending[entry.command] = replace(step, attempt=entry.attempt, due=None, retrying=False)


def _step_retrying(row: RunRow, entry: Entry) -> None:
    step = row.pending.get(entry.command)
    if step is not None:
        due = entry.due if entry.due is not None else entry.at
        row.pending[entry.command] = replace(step, attempt=entry.attempt + 1, due=due, retrying=True)


def _diverged(row: RunRow, entry: Entry) -> None:
    row.status = "diverged"
    row.error = str(_facts(entry).get("message") or "the replay diverged").partition("\n")[0]


def _recovered(row: RunRow, entry: Entry) -> None:
    if row.status == "diverged":
        row.status = "running"
        row.error = None


def _verified(row: RunRow, entry: Entry) -> None:
    if row.status not in ENDED:
        raise ValueError(f"the run is {row.status}, and only one that has ended is verified")
    row.verdict = bool(_facts(entry)["ok"])


_FOLDS: Final[dict[str, Callable[[RunRow, Entry], None]]] = {
    kinds.BEGAN: _began,
    kinds.RESTARTED: _restarted,
    kinds.CANCEL_REQUESTED: _cancel_requested,
    kinds.STEP_COMPLETED: _answered,
    kinds.STEP_FAILED: _answered,
    kinds.TIMER_FIRED: _answered,
    kinds.EVENT_RECEIVED: _answered,
    kinds.WAIT_TIMED_OUT: _answered,
    kinds.CHILD_STARTED: _answered,
    kinds.CHILD_COMPLETED: _answered,
    kinds.CHILD_FAILED: _answered,
    kinds.CHILD_CANCELLED: _answered,
    kinds.STEP: _step,
    kinds.SLEEP: _sleep,
    kinds.WAIT_EVENT: _wait_event,
    kinds.CHILD: _child,
    kinds.CHILD_RESULT: _child,
    kinds.CHILD_CANCEL: _child_cancel,
    kinds.DROPPED: _answered,
    kinds.COMPLETED: _ended,
    kinds.FAILED: _ended,
    kinds.CANCELLED: _ended,
    kinds.RETRYING: _retrying,
    kinds.STEP_STARTED: _step_started,
    kinds.STEP_RETRYING: _step_retrying,
    kinds.DIVERGED: _diverged,
    kinds.RECOVERED: _recovered,
    kinds.VERIFIED: _verified,
}
