"""`await ctx.state()`: what a run knows of itself at one moment. Recorded, so that a replay sees the same.

Knows a machine's facts. Must not know ledgers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from perdure.durations import moment
from perdure.storage import entries as kinds

if TYPE_CHECKING:
    from perdure.core.machine import Machine
    from perdure.storage.entries import Entry


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as it was when its body asked.

    Attributes:
        run_id, workflow, version, attempt, tags: as `ctx` has them.
        status: "running", since its body runs.
        created_at, timeout_at: aware, UTC; `timeout_at` is None when it has no deadline.
        entries: how many entries it had, before the one that records this.
        cancel_requested: whether somebody asked it to stop.
        waits_for: what other tasks of the body wait for, as kind and name.
    """

    run_id: str
    workflow: str
    version: str
    attempt: int
    status: str
    created_at: datetime
    timeout_at: datetime | None
    entries: int
    cancel_requested: bool
    tags: dict[str, str] = field(default_factory=dict)
    waits_for: tuple[tuple[str, str], ...] = ()


def record_state(machine: Machine, where: str) -> RunState:
    """Write down how the run is, or read how it was."""

    def detail(_: str) -> str:
        return json.dumps({"state": _facts(machine), "site": where}, ensure_ascii=False)

    facts: dict[str, Any] = json.loads(machine.record(kinds.STATE, "state", detail=detail) or "{}")["state"]
    timeout_at = facts.pop("timeout_at")
    return RunState(
        created_at=moment(facts.pop("created_at")),
        timeout_at=None if timeout_at is None else moment(timeout_at),
        waits_for=tuple((kind, name) for kind, name in facts.pop("waits_for")),
        **facts,
    )


def _facts(machine: Machine) -> dict[str, Any]:
    known = machine.known_as
    created = machine.created
    detail = created.facts()
    deadline = machine.timeout_at if machine.timeout_at is not None else detail.get("timeout_at")
    return {
        "run_id": known.run_id,
        "workflow": known.workflow,
        "version": known.version,
        "attempt": known.attempt,
        "status": "running",
        "created_at": (detail.get("forked_from") or {}).get("at", created.at),
        "timeout_at": deadline,
        "entries": machine.length,
        "cancel_requested": machine.cancel_requested,
        "tags": dict(known.tags),
        "waits_for": [[each.kind, each.name] for each in machine.waiting.values() if each.kind != kinds.HOOK],
    }


def deadline_of(begins: Entry, before: int | None) -> int | None:
    """The run's deadline from an attempt's first entry on, which says so when it changes."""
    if not begins.detail:
        return before
    deadline: int | None = json.loads(begins.detail).get("timeout_at", before)
    return deadline
