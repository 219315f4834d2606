"""What a run looks like from outside: its status, and its history. Plain data for people and programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from perdure.durations import moment
from perdure.errors import ValueUnreadable
from perdure.storage import entries as kinds
from perdure.storage.boxes import signal_box
from perdure.storage.encoding import decode
from perdure.storage.entries import Entry
from perdure.storage.failures import decode_failure
from perdure.storage.ledger import RunRow

_FAILURES = frozenset(
    {kinds.STEP_FAILED, kinds.STEP_RETRYING, kinds.FAILED, kinds.RETRYING, kinds.CHILD_FAILED, kinds.HOOK_REFUSED}
)


@dataclass(frozen=True, slots=True)
class Waits:
    """One thing that a run waits for: a step at work or between two attempts, a timer, a message, a child."""

    kind: str  # step, sleep, wait_event, wait_signal, wait_hook, wait_until, child, child_result
    name: str  # as the body gave it; of wait_signal the signal's, of wait_hook the token
    until: datetime | None = None  # when the clock ends it
    attempt: int = 0  # of a step
    event_type: str = ""
    child_run_id: str = ""
    site: str = ""  # of wait_until: the line of its condition
    heartbeat: Any = None  # of a step: the newest details that it gave, as plain JSON values
    heartbeat_at: datetime | None = None


class RunStatus(str):
    """A run's status, which is a text (`status == "completed"`), and what else is known of the run.

    Attributes:
        run_id, workflow, version, definition: which run, of what; `definition` is the digest it started with.
        attempt: of the whole run, 1 on the first.
        created_at, updated_at, finished_at: aware, UTC; `finished_at` is None while it is open.
        due: when a queued run begins or the next attempt of a run is due, else None.
        error: the first line of the latest error, None when there is none.
        waits_for: what it waits for, in the order in which it was asked.
        hooks: tokens of its hooks that take payloads now.
        signals: by name, how many are kept that the body has not taken; empty when there are none.
        streams: by namespace, how many chunks were written.
        verdict: once the run was verified after its end, whether it replayed; else None.
        tags, idempotency_key, parent_run_id, entries: as recorded; `entries` counts them.
        forked_from: the run_id of the run that this one was forked from, or None.
        queue, queue_key, priority: the queue that it is on, or None, and what its turn there goes by.
        began_at: when its body first ran, or ran again once its queue had a place; None before that.
        continued_as, continued_from: the run_id of the run that goes on with this one, or with which this one goes on,
            or None.
    """

    __slots__ = (
        "attempt", "began_at", "cancel_requested", "continued_as", "continued_from", "created_at", "definition", "due",
        "entries", "error", "finished_at", "forked_from", "hooks", "idempotency_key", "parent_run_id", "priority",
        "queue", "queue_key", "run_id", "signals", "streams", "tags", "updated_at", "verdict", "version", "waits_for",
        "workflow",
    )  # fmt: skip

    run_id: str
    workflow: str
    version: str
    definition: str
    attempt: int
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    due: datetime | None
    error: str | None
    verdict: bool | None
    waits_for: tuple[Waits, ...]
    hooks: tuple[str, ...]
    signals: Mapping[str, int]
    streams: Mapping[str, int]
    tags: Mapping[str, str]
    idempotency_key: str | None
    parent_run_id: str | None
    forked_from: str | None
    queue: str | None
    queue_key: str
    priority: int
    began_at: datetime | None
    continued_as: str | None
    continued_from: str | None
    cancel_requested: bool
    entries: int

    @property
    def status(self) -> str:
        """The status alone, as a plain text."""
        return str.__str__(self)

    def as_json(self) -> dict[str, Any]:
        """Everything as plain JSON values, times as ISO 8601."""
        shown: dict[str, Any] = {"run_id": self.run_id, "status": self.status}
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, datetime):
                value = value.isoformat()
            elif name == "waits_for":
                value = [
                    {
                        "kind": each.kind,
                        "name": each.name,
                        "until": each.until.isoformat() if each.until else None,
                        "attempt": each.attempt,
                        "event_type": each.event_type,
                        "child_run_id": each.child_run_id,
                        "site": each.site,
                        "heartbeat": each.heartbeat,
                        "heartbeat_at": each.heartbeat_at.isoformat() if each.heartbeat_at else None,
                    }
                    for each in self.waits_for
                ]
            elif name == "hooks":
                value = list(self.hooks)
            elif name in ("tags", "signals", "streams"):
                value = dict(value)
            shown[name] = value
        return shown


_SIGNALS = signal_box("")  # what the boxes of signals begin with


def waiting_text(status: RunStatus) -> str:
    """Say in a few words what a run does: `sleeping (grace until 2030-01-02 00:00:00Z)`."""
    waits = [
        (each.site or each.name or each.kind)
        + (f" until {each.until:%Y-%m-%d %H:%M:%SZ}" if each.until is not None else "")
        for each in status.waits_for
    ]
    return status.status + (f" ({', '.join(waits)})" if waits else "")


def status_of(row: RunRow) -> RunStatus:
    """Show a ledger's row."""
    status = RunStatus(row.status)
    status.run_id = row.run_id
    status.workflow = row.workflow
    status.version = row.version
    status.definition = row.definition
    status.attempt = row.attempt
    status.created_at = moment(row.created_at)
    status.updated_at = moment(row.updated_at)
    status.finished_at = None if row.finished_at is None else moment(row.finished_at)
    status.due = None if row.due is None else moment(row.due)
    status.error = row.error
    status.verdict = row.verdict
    status.tags = dict(row.tags)
    status.idempotency_key = row.idempotency_key
    status.parent_run_id = row.parent_run_id
    status.forked_from = row.forked_from
    status.queue = row.queue
    status.queue_key = row.queue_key
    status.priority = row.priority
    status.began_at = None if row.began_at is None else moment(row.began_at)
    status.continued_as = row.continued_as
    status.continued_from = row.continued_from
    status.cancel_requested = row.cancel_requested
    status.entries = row.length
    status.signals = {
        box.removeprefix(_SIGNALS): received - taken
        for box, (received, taken) in row.boxes.items()
        if box.startswith(_SIGNALS) and received > taken
    }
    status.streams = {name: written for name, (written, _) in row.streams.items()}
    pending = sorted(row.pending.values(), key=lambda each: each.position)
    status.waits_for = tuple(
        Waits(
            each.kind,
            each.name,
            None if each.due is None else moment(each.due),
            each.attempt,
            each.event_type,
            each.child_run_id,
            each.site,
            None if each.heartbeat is None else json.loads(each.heartbeat),
            None if each.heartbeat_at is None else moment(each.heartbeat_at),
        )
        for each in pending
        if each.kind != kinds.HOOK  # nothing waits because of it
    )
    tokens = (json.loads(each.match)["token"] for each in pending if each.kind == kinds.HOOK and not each.closed)
    status.hooks = tuple(tokens)
    return status


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One entry of a run, decoded for people.

    Attributes:
        position, kind, at, command, name, attempt, due: as recorded; times are aware, UTC.
        value: the decoded input, arguments, result, payload or output; for failures the recorded text. Of a value whose
            class is gone, or has changed too much, the `ValueUnreadable` that says so: the rest can still be read.
        text: the value as it is recorded, JSON; None where there is none.
        detail: kind-specific facts, such as `site` (file and line that asked).
    """

    position: int
    kind: str
    at: datetime
    command: str
    name: str
    attempt: int
    due: datetime | None
    value: Any
    detail: Mapping[str, Any]
    text: str | None = None


def history_entry(entry: Entry) -> HistoryEntry:
    """Decode one entry."""
    value: Any = None
    if entry.body is not None:
        if entry.kind in _FAILURES:
            value = decode_failure(entry.body, entry.shape).first_line
        else:
            value = _decoded(entry.body, entry.shape)
    detail: Any = {}
    if entry.detail is not None:
        detail = entry.facts() if entry.detail.startswith("{") else {"child_run_id": entry.detail}
    return HistoryEntry(
        entry.position,
        entry.kind,
        moment(entry.at),
        entry.command,
        entry.name,
        entry.attempt,
        None if entry.due is None else moment(entry.due),
        value,
        detail,
        entry.body,
    )


def _decoded(body: str, shape: str | None) -> Any:
    try:
        return decode(body, shape)
    except ValueUnreadable as unreadable:
        return unreadable
