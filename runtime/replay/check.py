"""Replay of recorded runs: the same walk as production's, with nobody who would perform anything.

Knows how to walk a whole history, attempt by attempt. Why a run diverges is found in `causes.py`, and shown by
`report.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perdure.core.history import Reused, split_attempts
from perdure.core.machine import Machine
from perdure.declare.registry import Definition
from perdure.engine.residents import facts_of
from perdure.errors import Divergence
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunRow


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a replay found.

    Attributes:
        run_id, workflow, version: which run, on which definition.
        entries: how many entries were walked.
        divergence: the first difference, or None when code and ledger agree.
    """

    run_id: str
    workflow: str
    version: str
    entries: int
    divergence: Divergence | None = None

    @property
    def ok(self) -> bool:
        """Whether code and ledger agree."""
        return self.divergence is None

    def __bool__(self) -> bool:
        return self.ok


def check_run(row: RunRow, definition: Definition, entries: Sequence[Entry]) -> Verdict:
    """Replay a run, finished or open, against a definition. An open run is checked up to where it stands."""
    reused = Reused()
    divergence: Divergence | None = None
    for number, attempt in enumerate(split_attempts(entries), start=1):
        machine = Machine(definition, facts_of(row, attempt=number), reused)
        machine.set_input(entries[0])
        try:
            machine.replay(attempt)
        except Divergence as found:
            divergence = found
            break
        finally:
            machine.close()
        reused = Reused(reused)
        reused.learn(attempt)
    return Verdict(row.run_id, row.workflow, row.version, len(entries), divergence)
