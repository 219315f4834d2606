"""What a ledger is made of: entries, and the closed set of their kinds.

An entry is one recorded fact of a run, at a position 0, 1, 2, …  There are four families:

    causes    facts that reach the body: it began, a step completed, a timer fired, a signal came, …
    commands  what the body asked for when it was fed a cause: run this step, sleep, wait, start a child, …
    endings   how the body ended: completed, failed, cancelled, to be retried, or continued as another run
    notes     facts the body never sees: a step's attempt failed and waits for the next one, the run diverged, …

The rule that everything rests on: **a cause and all that the body asked for because of it are appended in one
batch.** So the ledger reads `cause, command*, cause, command*, …`, a replay knows exactly which commands must follow
which cause, and the result of step i and the intent of step i+1 share one sync to disk.

Messages (signals, payloads of hooks) are causes whether or not somebody waits: the body's boxes keep what nobody has
taken yet, so what is kept, and in which order it is taken, is a function of the history.

This file knows names and shapes. It must not know what they mean to a body (`perdure.core`) or how they are kept.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

# ── causes ───────────────────────────────────────────────────────────────────────────────────────
# position 0; name: the workflow's id; body: the input. The body begins here unless `due` is set or it is on a queue.
# detail: run_id, version, definition, tags, idempotency_key, parent_run_id, parent_command, timeout_at, python,
# libraries, options (of the workflow, where they differ from the defaults); on a queue also: queue {name, key,
# priority}; of a successor: continued_from {run_id, first_run_id}; of one that a trigger started: cause {kind, …}, with
# kind "schedule" (schedule, tick, how), "event" (type, resource, namespace, id) or "change" (service, place, key, op)
# of a fork also: seed, forked_from {run_id, position, at, parent_run_id, tags, forked_from}
CREATED: Final = "created"
BEGAN: Final = "began"  # a delayed or queued run begins; detail: timeout_at, when it counts from here
# the next attempt of the whole run begins; `attempt` is its number; detail: timeout_at, when it changes
RESTARTED: Final = "restarted"
STEP_COMPLETED: Final = "step_completed"  # body: the result; attempt: how many it took
STEP_FAILED: Final = "step_failed"  # body: the failure (see failures.py); the last attempt is used up
TIMER_FIRED: Final = "timer_fired"
EVENT_RECEIVED: Final = "event_received"  # body: the payload
SIGNAL_RECEIVED: Final = (
    "signal_received"  # name: the signal's; body: the payload. Answers the first wait for it, or is kept
)
HOOK_RECEIVED: Final = "hook_received"  # command: the HOOK's; name: the token; body: the payload. Likewise
HOOK_REFUSED: Final = "hook_refused"  # command: the HOOK's; its token was taken; body: the failure
WAIT_TIMED_OUT: Final = "wait_timed_out"  # of a wait for an event, a signal, a hook, a condition or a child
CHILD_STARTED: Final = "child_started"  # answers `spawn`
CHILD_COMPLETED: Final = "child_completed"  # body: the child's output
CHILD_FAILED: Final = "child_failed"  # body: the failure
CHILD_CANCELLED: Final = "child_cancelled"
CANCEL_REQUESTED: Final = "cancel_requested"  # name: "cancel" or "timeout"

# ── commands ─────────────────────────────────────────────────────────────────────────────────────
STEP: Final = "step"  # body: the arguments; detail: options. This is the intent, durable before the step starts
SLEEP: Final = "sleep"  # due
WAIT_EVENT: Final = "wait_event"  # detail: type, match; due: its timeout
# name: the signal's; due: its timeout. A kept signal answers it at once, without an entry
WAIT_SIGNAL: Final = "wait_signal"
# name: the token as given, or ""; detail: token. Open until it is closed; nothing answers it but HOOK_REFUSED
HOOK: Final = "hook"
# detail: hook (the HOOK's identity), once (whether its answer closes the hook); due: its timeout, which closes it too
WAIT_HOOK: Final = "wait_hook"
HOOK_CLOSED: Final = "hook_closed"  # detail: hook; its token is free again. Nothing answers it
# a condition over the body's own state; due: its timeout; detail: site, its line. DROPPED says that it holds
WAIT_UNTIL: Final = "wait_until"
EMIT: Final = "emit"  # name: the type; body: the payload. Nothing answers it
PATCHED: Final = "patched"  # name: the change; command: "patched/<change>". The body takes the new way
STATE: Final = "state"  # detail: state, what `ctx.state()` gave. Nothing answers it
CHILD: Final = "child"  # body: the child's input; detail: workflow, run_id, mode ("invoke" | "spawn"), on_parent_close
CHILD_RESULT: Final = "child_result"  # wait for a spawned child; detail: run_id
CHILD_CANCEL: Final = "child_cancel"  # detail: run_id
# the body no longer waits for `command` (it was cancelled, or what it waited for holds). When a message had answered it
# while the run was diverged, and goes back: detail: box, once
DROPPED: Final = "dropped"

# ── endings ──────────────────────────────────────────────────────────────────────────────────────
COMPLETED: Final = "completed"  # body: the output
FAILED: Final = "failed"  # body: the failure
CANCELLED: Final = "cancelled"
RETRYING: Final = "retrying"  # an exception left the body, and another attempt is due at `due`; body: the failure
CONTINUED: Final = "continued"  # the run is completed, and another one goes on; body: its input; detail: run_id

# ── notes ────────────────────────────────────────────────────────────────────────────────────────
STEP_STARTED: Final = "step_started"  # intent of an attempt after the first
STEP_RETRYING: Final = "step_retrying"  # `attempt` failed; the next one is due at `due`; body: the failure
STEP_HEARTBEAT: Final = "step_heartbeat"  # `attempt` of a step is alive; body: its details
# by `attempt` of step `command`; name: the namespace; body: the chunk; detail: offset, step (its name), and when the
# step is another run's: writer (its run_id)
STREAM_WRITTEN: Final = "stream_written"
STREAM_CLOSED: Final = "stream_closed"  # name: the namespace; nothing more is written to it
DEBOUNCED: Final = "debounced"  # a later start takes the place of a queued one; body: its input; due: when it begins
UPGRADED: Final = "upgraded"  # from here on it is walked on other code; detail: definition, version, python, libraries
# somebody tries a run again that had ended: it waits for a place on its queue, and RESTARTED begins its next attempt
REQUEUED: Final = "requeued"
# replay stopped; detail: the report, whose `message` is shown as the run's error. Causes that follow wait for RECOVERED
DIVERGED: Final = "diverged"
RECOVERED: Final = "recovered"  # replay works again; the causes since DIVERGED are fed now
# a run that has ended was replayed; detail: ok, definition (that it was replayed against), python, perdure, and when it
# diverged position, cause, message, report
VERIFIED: Final = "verified"

CAUSES: Final = frozenset(
    {
        CREATED, BEGAN, RESTARTED, STEP_COMPLETED, STEP_FAILED, TIMER_FIRED, EVENT_RECEIVED, SIGNAL_RECEIVED,
        HOOK_RECEIVED, HOOK_REFUSED, WAIT_TIMED_OUT, CHILD_STARTED, CHILD_COMPLETED, CHILD_FAILED, CHILD_CANCELLED,
        CANCEL_REQUESTED,
    }
)  # fmt: skip
COMMANDS: Final = frozenset(
    {
        STEP, SLEEP, WAIT_EVENT, WAIT_SIGNAL, HOOK, WAIT_HOOK, HOOK_CLOSED, WAIT_UNTIL, EMIT, PATCHED, STATE, CHILD,
        CHILD_RESULT, CHILD_CANCEL, DROPPED,
    }
)  # fmt: skip
#: Commands that nothing answers: they are done when they are recorded.
UNANSWERED: Final = frozenset({HOOK, HOOK_CLOSED, EMIT, PATCHED, STATE, CHILD_CANCEL, DROPPED})
ENDINGS: Final = frozenset({COMPLETED, FAILED, CANCELLED, RETRYING, CONTINUED})
NOTES: Final = frozenset(
    {
        STEP_STARTED, STEP_RETRYING, STEP_HEARTBEAT, STREAM_WRITTEN, STREAM_CLOSED, DEBOUNCED, REQUEUED, UPGRADED,
        DIVERGED, RECOVERED, VERIFIED,
    }
)  # fmt: skip
#: Notes that steps give while they work: `command` is the step's, which they don't answer (it may be another run's).
SAID: Final = frozenset({STEP_HEARTBEAT, STREAM_WRITTEN, STREAM_CLOSED})
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

    def facts(self) -> dict[str, Any]:
        """What its detail says, of a kind whose detail is an object."""
        found: dict[str, Any] = json.loads(self.detail or "{}")
        return found


class DefinitionRow(NamedTuple):
    """One definition of a workflow as it was when runs started with it."""

    digest: str  # hexadecimal digest of its source closure
    workflow: str  # id
    version: str
    python: str  # minor version it was registered under, "3.12"
    source: str  # JSON: a list of {module, qualname, file, line, source}, the body first
    at: int  # microseconds since 1970 UTC
