"""How the runs of a simulation ended, by names that are the same in every life.

A run that an event or a change started has an id that the clock drew, and a crash has the clock draw another one. So it
goes by what it is and what caused it, and whatever carries its id (its children, what it gave) likewise.

Knows rows and entries. Must not know which outcomes should be equal.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from perdure.storage import entries as kinds
from perdure.storage.encoding import decode
from perdure.storage.entries import Entry
from perdure.storage.ledger import Ledger, RunFilter, RunRow

#: What starts runs under ids that nobody can foresee; a tick's run is called by its tick.
_UNFORESEEN = ("event", "change")


class Outcome(NamedTuple):
    """How one run ended, as the ledger has it, so that it can be compared to the letter."""

    status: str
    body: str | None
    shape: str | None
    error: str | None

    def __str__(self) -> str:
        if self.status != "completed":
            return f"{self.status}  {self.error or ''}".rstrip()
        return f"{self.status}  {decode(self.body or 'null', self.shape)!r}"


def outcomes_of(ledger: Ledger) -> dict[str, Outcome]:
    """How each run ended, or stands, oldest first."""
    names: dict[str, str] = {}  # of ids that may be others in another life
    rows = list(reversed(ledger.runs(RunFilter(limit=None))))
    counts: dict[str, int] = {}
    for row in rows:
        cause = _cause(ledger, row)
        if cause is not None:
            counts[cause] = counts.get(cause, 0) + 1
            names[row.run_id] = f"run {counts[cause]} of {cause}"

    def renamed(text: str | None) -> str | None:
        for run_id, name in names.items():
            if text is not None and run_id in text:
                text = text.replace(run_id, json.dumps(name, ensure_ascii=False)[1:-1])
        return text

    found: dict[str, Outcome] = {}
    for row in rows:
        end = _end(ledger, row)
        outcome = Outcome(row.status, renamed(end.body), end.shape, row.error) if end else _without(row)
        found[renamed(row.run_id) or ""] = outcome
    return found


def _without(row: RunRow) -> Outcome:
    return Outcome(row.status, None, None, row.error)


def _end(ledger: Ledger, row: RunRow) -> Entry | None:
    """The entry that completed a run."""
    if row.status != "completed":
        return None
    return next(each for each in reversed(ledger.entries(row.run)) if each.kind == kinds.COMPLETED)


def _cause(ledger: Ledger, row: RunRow) -> str | None:
    """The workflow and what started it, of a run whose id follows from neither."""
    (created,) = ledger.entries(row.run, 0, 1)
    cause = created.facts().get("cause")
    if cause is None or cause["kind"] not in _UNFORESEEN:
        return None
    return f"{row.workflow}, started by {', '.join(str(value) for value in cause.values())}"
