"""The open runs of a ledger by the code that they are walked on: how many, since when, and how far from today's.

Knows rows, definitions and closures. Must not know how they are shown.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from perdure.declare.registry import Registry
from perdure.replay.closures import count_changed_lines
from perdure.replay.likeness import closure_of
from perdure.replay.upgrade import OPEN
from perdure.storage.ledger import Ledger, RunFilter

Standing: TypeAlias = Literal["today", "older", "version gone", "workflow gone"]

_PAGE_RUNS = 1_000


@dataclass(slots=True)
class OpenRuns:
    """The open runs of one workflow, version and code.

    Attributes:
        workflow, version, definition: the digest is that of the code.
        standing: how it stands to today's: the same, older, or its version or workflow is not registered.
        changed_lines: lines that differ from today's, of what the body reaches; None when either is not known.
        statuses: how many are in which.
        oldest_at: when the oldest was created, microseconds since 1970.
        oldest_run_id: which that is.
    """

    workflow: str
    version: str
    definition: str
    standing: Standing
    changed_lines: int | None
    statuses: Counter[str] = field(default_factory=Counter)
    oldest_at: int = 0
    oldest_run_id: str = ""

    @property
    def runs(self) -> int:
        """How many they are."""
        return self.statuses.total()

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {
            "workflow": self.workflow, "version": self.version, "definition": self.definition,
            "standing": self.standing, "changed_lines": self.changed_lines, "runs": self.runs,
            "statuses": dict(sorted(self.statuses.items())), "oldest_at": self.oldest_at,
            "oldest_run_id": self.oldest_run_id,
        }  # fmt: skip


def open_runs(ledger: Ledger, registry: Registry) -> list[OpenRuns]:
    """Group the open runs of a ledger, by workflow and version, those with the most runs first."""
    groups: dict[tuple[str, str, str], OpenRuns] = {}
    before: int | None = None
    while True:
        rows = ledger.runs(RunFilter(statuses=OPEN, before_run=before, limit=_PAGE_RUNS))
        for row in rows:
            key = row.workflow, row.version, row.definition
            if key not in groups:
                groups[key] = _group(ledger, registry, *key)
            group = groups[key]
            group.statuses[row.status] += 1
            if not group.oldest_run_id or row.created_at <= group.oldest_at:
                group.oldest_at, group.oldest_run_id = row.created_at, row.run_id
        if len(rows) < _PAGE_RUNS:
            return sorted(groups.values(), key=lambda each: (each.workflow, each.version, -each.runs))
        before = rows[-1].run


def _group(ledger: Ledger, registry: Registry, workflow: str, version: str, digest: str) -> OpenRuns:
    if not registry.knows(workflow, version):
        known = any(each.id == workflow for each in registry.all())
        return OpenRuns(workflow, version, digest, "version gone" if known else "workflow gone", None)
    today = registry.get(workflow, version)
    if today.digest == digest:
        return OpenRuns(workflow, version, digest, "today", 0)
    recorded = ledger.definition(digest)
    changed = None
    if recorded is not None:
        changed = count_changed_lines(closure_of(recorded.source), closure_of(today.source_json))
    return OpenRuns(workflow, version, digest, "older", changed)
