"""From entries to what a listing shows: the fold of a run's history into its `RunRow`.

Rules:
- a row is a function of the run's entries alone, so any ledger can rebuild it;
- a command is pending from its entry until an answer, a DROPPED or the end of the attempt;
- a message answers the earliest pending wait for its box, or is kept there; a wait for a box that keeps one is never
  pending. A new attempt reads its boxes from the start;
- a hook is pending while its token is known, but nothing waits because of it; it outlives a retry of the run;
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
from perdure.storage.boxes import hook_box, signal_box
from perdure.storage.entries import Entry
from perdure.storage.ledger import ENDED, HOOK_TYPE, Pending, RunRow
from perdure.storage.matching import canonical
from perdure.storage.plain import parse


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
        row.forked_from, row.continued_as, row.continued_from, row.queue, row.queue_key, row.priority, row.began_at,
        {box: counts.copy() for box, counts in row.boxes.items()} if row.boxes else {},
        {name: counts.copy() for name, counts in row.streams.items()} if row.streams else {},
        row.requeued_at,
    )  # fmt: skip


#: Statuses that do not follow from what is pending. A run's own retry is `awaiting_retry` with `due` set.
_PHASES: Final = ENDED | {"queued", "awaiting_retry", "diverged"}


def _status(pending: dict[str, Pending]) -> str:
    best = "running"  # until something is found that it waits for
    for command in pending.values():
        kind = command.kind
        if kind == kinds.STEP:
            if not command.retrying:
                return "running"
            if best != "waiting_event":
                best = "awaiting_retry"
        elif kind in _WAITS:
            best = "waiting_event"
        elif kind == kinds.SLEEP:
            if best == "running":
                best = "sleeping"
        elif kind != kinds.HOOK:
            return "running"
    return best


#: Commands that only the outside, or the body itself, can answer.
_WAITS: Final = frozenset({kinds.WAIT_EVENT, kinds.WAIT_SIGNAL, kinds.WAIT_HOOK, kinds.WAIT_UNTIL})


def _created(entry: Entry) -> RunRow:
    if entry.kind != kinds.CREATED or entry.position != 0:
        raise _refusal(entry, "a run's first entry is `created`, at position 0")
    facts = _facts(entry)
    fork = facts.get("forked_from") or {}
    queue = facts.get("queue") or {}
    begins = entry.due is None and not queue
    return RunRow(
        run=entry.run,
        run_id=facts["run_id"],
        workflow=entry.name,
        version=facts["version"],
        definition=facts["definition"],
        status="running" if begins else "queued",
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
        continued_from=(facts.get("continued_from") or {}).get("run_id"),
        queue=queue.get("name"),
        queue_key=queue.get("key", ""),
        priority=queue.get("priority", 0),
        began_at=entry.at if begins else None,
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
    facts = parse(entry.detail) if entry.detail else {}
    if not isinstance(facts, dict):
        raise ValueError("detail is not a JSON object")
    return facts


# ── causes ───────────────────────────────────────────────────────────────────────────────────────


def _began(row: RunRow, entry: Entry) -> None:
    row.due = None
    row.began_at = entry.at
    row.timeout_at = _facts(entry).get("timeout_at", row.timeout_at)
    if row.status == "queued":
        row.status = "running"


def _restarted(row: RunRow, entry: Entry) -> None:
    if row.finished_at is not None:
        # Somebody retries a run that had ended, so the cancel that may have ended it is over.
        # Nor is there a deadline, unless its workflow still has a timeout.
        row.cancel_requested = False
        row.timeout_at = None
    row.timeout_at = _facts(entry).get("timeout_at", row.timeout_at)
    row.attempt = entry.attempt
    if row.began_at is None or row.requeued_at is not None:
        row.began_at = entry.at  # it had ended before it could begin, or waited for a place: begins count for rates
    row.finished_at = row.due = row.verdict = row.continued_as = row.requeued_at = None
    row.pending = _hooks(row)
    for counts in row.boxes.values():
        counts[1] = 0
    if row.status != "diverged":  # else the attempt could not begin, and waits as other causes do
        row.status = "running"
        row.error = None


def _hooks(row: RunRow) -> dict[str, Pending]:
    """The hooks of a run whose attempt is over: whoever holds a token may use it meanwhile, and in the next attempt."""
    return {
        command: replace(pending, closed=False)
        for command, pending in row.pending.items()
        if pending.kind == kinds.HOOK
    }


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


def _wait_until(row: RunRow, entry: Entry) -> None:
    row.pending[entry.command] = Pending(
        entry.command, kinds.WAIT_UNTIL, entry.name, entry.position, entry.due, site=str(_facts(entry).get("site", ""))
    )


def _dropped(row: RunRow, entry: Entry) -> None:
    row.pending.pop(entry.command, None)
    if entry.detail is not None:  # a message had answered it, and goes back
        facts = _facts(entry)
        box = facts["box"]
        row.boxes[box][1] -= 1
        hook = row.pending.get(box.removeprefix("hook:"))
        if hook is not None and facts["once"]:
            row.pending[hook.command] = replace(hook, closed=False)
        _given(row, box)


def _unanswered(row: RunRow, entry: Entry) -> None:
    """It is done when it is recorded."""


# ── messages ─────────────────────────────────────────────────────────────────────────────────────


def _signal_received(row: RunRow, entry: Entry) -> None:
    _received(row, signal_box(entry.name))


def _hook_received(row: RunRow, entry: Entry) -> None:
    _received(row, hook_box(entry.command))


def _wait_signal(row: RunRow, entry: Entry) -> None:
    wait = Pending(entry.command, kinds.WAIT_SIGNAL, entry.name, entry.position, entry.due)
    _wait_for_box(row, signal_box(entry.name), wait)


def _wait_hook(row: RunRow, entry: Entry) -> None:
    facts = _facts(entry)
    wait = Pending(
        entry.command, kinds.WAIT_HOOK, entry.name, entry.position, entry.due,
        hook=facts["hook"], once=bool(facts.get("once")),
    )  # fmt: skip
    _wait_for_box(row, hook_box(wait.hook), wait)


def _hook(row: RunRow, entry: Entry) -> None:
    row.pending[entry.command] = Pending(
        entry.command, kinds.HOOK, entry.name, entry.position,
        event_type=HOOK_TYPE, match=canonical({"token": _facts(entry)["token"]}),
    )  # fmt: skip


def _hook_closed(row: RunRow, entry: Entry) -> None:
    row.pending.pop(_facts(entry)["hook"], None)


def _received(row: RunRow, box: str) -> None:
    row.boxes.setdefault(box, [0, 0])[0] += 1
    _given(row, box)


def _given(row: RunRow, box: str) -> None:
    """A message of the box goes to the earliest wait for it, if there is one."""
    waits = (pending for pending in row.pending.values() if _box_of(pending) == box)
    first = min(waits, key=lambda pending: pending.position, default=None)
    if first is not None:
        del row.pending[first.command]
        _taken(row, row.boxes[box], first)


def _wait_for_box(row: RunRow, box: str, wait: Pending) -> None:
    counts = row.boxes.get(box)
    if counts is not None and counts[0] > counts[1]:
        _taken(row, counts, wait)
    else:
        row.pending[wait.command] = wait


def _taken(row: RunRow, counts: list[int], wait: Pending) -> None:
    counts[1] += 1
    hook = row.pending.get(wait.hook) if wait.once else None
    if hook is not None:
        row.pending[wait.hook] = replace(hook, closed=True)


def _box_of(pending: Pending) -> str | None:
    if pending.kind == kinds.WAIT_SIGNAL:
        return signal_box(pending.name)
    return hook_box(pending.hook) if pending.kind == kinds.WAIT_HOOK else None


# ── endings ──────────────────────────────────────────────────────────────────────────────────────


def _ended(row: RunRow, entry: Entry) -> None:
    row.status = entry.kind
    row.finished_at = entry.at
    row.due = row.requeued_at = None
    row.pending = {}
    row.error = _first_line(entry.body) if entry.kind == kinds.FAILED else None


def _continued(row: RunRow, entry: Entry) -> None:
    row.status = "completed"
    row.finished_at = entry.at
    row.due = row.error = None
    row.pending = {}
    row.continued_as = _facts(entry)["run_id"]


def _retrying(row: RunRow, entry: Entry) -> None:
    row.status = "awaiting_retry"
    row.due = entry.due if entry.due is not None else entry.at
    row.pending = _hooks(row)
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


def _step_heartbeat(row: RunRow, entry: Entry) -> None:
    step = row.pending.get(entry.command)
    if step is not None:
        row.pending[entry.command] = replace(step, heartbeat=entry.body, heartbeat_at=entry.at)


def _stream_written(row: RunRow, entry: Entry) -> None:
    row.streams.setdefault(entry.name, [0, 0])[0] += 1


def _stream_closed(row: RunRow, entry: Entry) -> None:
    row.streams.setdefault(entry.name, [0, 0])[1] = 1


def _debounced(row: RunRow, entry: Entry) -> None:
    row.due = entry.due


def _requeued(row: RunRow, entry: Entry) -> None:
    if row.status not in ENDED:
        raise ValueError(f"the run is {row.status}, and only one that has ended is tried again")
    row.status = "queued"
    row.requeued_at = entry.at
    row.finished_at = row.due = row.timeout_at = row.verdict = row.error = None
    row.cancel_requested = False


def _upgraded(row: RunRow, entry: Entry) -> None:
    facts = _facts(entry)
    row.definition = facts["definition"]
    row.version = facts.get("version", row.version)


def _diverged(row: RunRow, entry: Entry) -> None:
    row.status = "diverged"
    row.error = str(_facts(entry).get("message") or "the replay diverged").partition("\n")[0]


def _recovered(row: RunRow, entry: Entry) -> None:
    if row.status == "diverged":
        waits = row.began_at is None or row.requeued_at is not None
        row.status = "queued" if waits else "running" if row.due is None else "awaiting_retry"
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
    kinds.SIGNAL_RECEIVED: _signal_received,
    kinds.HOOK_RECEIVED: _hook_received,
    kinds.HOOK_REFUSED: _answered,
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
    kinds.CHILD_CANCEL: _unanswered,
    kinds.WAIT_SIGNAL: _wait_signal,
    kinds.HOOK: _hook,
    kinds.WAIT_HOOK: _wait_hook,
    kinds.HOOK_CLOSED: _hook_closed,
    kinds.WAIT_UNTIL: _wait_until,
    kinds.EMIT: _unanswered,
    kinds.PATCHED: _unanswered,
    kinds.STATE: _unanswered,
    kinds.DROPPED: _dropped,
    kinds.COMPLETED: _ended,
    kinds.FAILED: _ended,
    kinds.CANCELLED: _ended,
    kinds.RETRYING: _retrying,
    kinds.CONTINUED: _continued,
    kinds.STEP_STARTED: _step_started,
    kinds.STEP_RETRYING: _step_retrying,
    kinds.STEP_HEARTBEAT: _step_heartbeat,
    kinds.STREAM_WRITTEN: _stream_written,
    kinds.STREAM_CLOSED: _stream_closed,
    kinds.DEBOUNCED: _debounced,
    kinds.REQUEUED: _requeued,
    kinds.UPGRADED: _upgraded,
    kinds.DIVERGED: _diverged,
    kinds.RECOVERED: _recovered,
    kinds.VERIFIED: _verified,
}
