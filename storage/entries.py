"""What a ledger is made of: entries, and the closed set of their kinds.

An entry is one recorded fact of a run, at a position 0, 1, 2, …  There are four families:

    causes    facts that reach the body: it began, a step completed, a timer fired, an event came, …
    commands  what the body asked for when it was fed a cause: run this step, sleep, wait, start a child, …
    endings   how the body ended: completed, failed, cancelled, or to be retried
    notes     facts the body never sees: a step's attempt failed and waits for the next one, the run diverged, …

The rule that everything rests on: **a cause and all that the body asked for because of it are appended in one
batch.** So the ledger reads `cause, command*, cause, command*, …`, a replay knows exactly which commands must follow
which cause, and the result of step i and the intent of step i+1 share one sync to disk.

This file knows names and shapes. It must not know what they mean to a body (`perdure.core`) or how they are kept.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# ── causes ───────────────────────────────────────────────────────────────────────────────────────
# position 0; name: the workflow's id; body: the input. The body begins here unless `due` is set. detail: run_id,
# version, definition, tags, idempotency_key, parent_run_id, parent_command, timeout_at, python, libraries
# of a fork also: seed, forked_from {run_id, position, at, parent_run_id, tags, forked_from}
CREATED: Final = "created"
BEGAN: Final = "began"  # a delayed or queued run begins
# the next attempt of the whole run begins; `attempt` is its number; detail: timeout_at, when it changes
RESTARTED: Final = "restarted"
STEP_COMPLETED: Final = "step_completed"  # body: the result; attempt: how many it took
STEP_FAILED: Final = "step_failed"  # body: the failure (see failures.py); the last attempt is used up
TIMER_FIRED: Final = "timer_fired"
EVENT_RECEIVED: Final = "event_received"  # body: the payload
WAIT_TIMED_OUT: Final = "wait_timed_out"  # of a wait for an event or a child
CHILD_STARTED: Final = "child_started"  # answers `spawn`
CHILD_COMPLETED: Final = "child_completed"  # body: the child's output
CHILD_FAILED: Final = "child_failed"  # body: the failure
CHILD_CANCELLED: Final = "child_cancelled"
CANCEL_REQUESTED: Final = "cancel_requested"  # name: "cancel" or "timeout"

# ── commands ─────────────────────────────────────────────────────────────────────────────────────
STEP: Final = "step"  # body: the arguments; detail: options. This is the intent, durable before the step starts
SLEEP: Final = "sleep"  # due
WAIT_EVENT: Final = "wait_event"  # detail: type, match; due: its timeout
CHILD: Final = "child"  # body: the child's input; detail: workflow, run_id, mode ("invoke" | "spawn"), on_parent_close
CHILD_RESULT: Final = "child_result"  # wait for a spawned child; detail: run_id
CHILD_CANCEL: Final = "child_cancel"  # detail: run_id
DROPPED: Final = "dropped"  # the body no longer waits for `command` (it was cancelled); nothing answers it

# ── endings ──────────────────────────────────────────────────────────────────────────────────────
COMPLETED: Final = "completed"  # body: the output
FAILED: Final = "failed"  # body: the failure
CANCELLED: Final = "cancelled"
RETRYING: Final = "retrying"  # an exception left the body, and another attempt is due at `due`; body: the failure

# ── notes ────────────────────────────────────────────────────────────────────────────────────────
STEP_STARTED: Final = "step_started"  # intent of an attempt after the first
STEP_RETRYING: Final = "step_retrying"  # `attempt` failed; the next one is due at `due`; body: the failure
# replay stopped; detail: the report, whose `message` is shown as the run's error. Causes that follow wait for RECOVERED
DIVERGED: Final = "diverged"
RECOVERED: Final = "recovered"  # replay works again; the causes since DIVERGED are fed now
# a run that has ended was replayed; detail: ok, definition (that it was replayed against), python, perdure, and when it
# diverged position, cause, message, report
VERIFIED: Final = "verified"

CAUSES: Final = frozenset(
    {
        CREATED, BEGAN, RESTARTED, STEP_COMPLETED, STEP_FAILED, TIMER_FIRED, EVENT_RECEIVED, WAIT_TIMED_OUT,
        CHILD_STARTED, CHILD_COMPLETED, CHILD_FAILED, CHILD_CANCELLED, CANCEL_REQUESTED,
    }
)  # fmt: skip
COMMANDS: Final = frozenset({STEP, SLEEP, WAIT_EVENT, CHILD, CHILD_RESULT, CHILD_CANCEL, DROPPED})
ENDINGS: Final = frozenset({COMPLETED, FAILED, CANCELLED, RETRYING})
NOTES: Final = frozenset({STEP_STARTED, STEP_RETRYING, DIVERGED, RECOVERED, VERIFIED})
KINDS: Final = CAUSES | COMMANDS | ENDINGS | NOTES


class Entry(NamedTuple):
    """One recorded fact of one run. A tuple, because a replay reads them by the hundred thousand.

    The ledger fills in `digest` when it appends; everything else is the writer's.
    """

    run: int  # the run's number: increasing in order of creation, never reused
    position: int  # 0, 1, 2, … within the run, without gaps
    kind: str  # one of KINDS
    at: int  # ledger time in microseconds since 1970 UTC; never decreases within a run
    command: str = ""  # the identity "branch/index" of the command that this asks or answers
    name: str = ""  # of the step, sleep, wait, child; for CREATED the workflow's id
    attempt: int = 0  # of the step, or of the run for CREATED and RESTARTED; 0 where it has no meaning
    due: int | None = None  # microseconds since 1970 UTC
    body: str | None = None  # the encoded value as JSON text (see encoding.py)
    shape: str | None = None  # what JSON can't say about the value; None when JSON says it all
    detail: str | None = None  # kind-specific facts as a JSON object, keys as listed beside each kind
    digest: bytes = b""  # BLAKE2b-256 over the previous entry's digest and this entry (see chain.py)


class DefinitionRow(NamedTuple):
    """One definition of a workflow as it was when runs started with it."""

    digest: str  # hexadecimal digest of its source closure
    workflow: str  # id
    version: str
    python: str  # minor version it was registered under, "3.12"
    source: str  # JSON: a list of {module, qualname, file, line, source}, the body first
    at: int  # microseconds since 1970 UTC
