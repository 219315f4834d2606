"""Notes on runs that move for no other reason: they are appended in their place, and bring no body back for it.

A run whose body is in memory gets its note at once. For any other the note waits in the batch until something brings
the body back, or makes an entry without it, or the batch is done; so that whatever else this batch has for the run
finds its positions as they are.

Knows positions. Must not know what the notes say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.core.machine import Machine
from perdure.engine.batch import Batch
from perdure.storage.ledger import RunRow

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


class Notes:
    """The notes of one engine's runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, row: RunRow, batch: Batch, kind: str, **fields: Any) -> None:
        """Make a run's next entry, now or later in this batch."""
        machine = self._engine.residents.get(row.run)
        if machine is not None and not machine.ended:
            batch.add(machine.entry(kind, batch.now, **fields))
        else:
            batch.notes.setdefault(row.run, []).append((kind, fields))

    def come_first(self, machine: Machine, batch: Batch) -> None:
        """A body was brought back: what waits for it comes before what it will be fed."""
        for kind, fields in batch.notes.pop(machine.facts.run, ()):
            batch.add(machine.entry(kind, batch.now, **fields))

    def come_before(self, row: RunRow, batch: Batch) -> None:
        """An entry is made without a body: what waits comes before it."""
        for kind, fields in batch.notes.pop(row.run, ()):
            batch.add(self._engine.moves.bare_entry(row, batch, kind, **fields))

    def settle(self, batch: Batch) -> None:
        """Make what still waits, before the append."""
        for run in list(batch.notes):
            machine = self._engine.residents.get(run)
            if machine is not None and not machine.ended:
                self.come_first(machine, batch)
                continue
            if machine is not None:
                batch.lengths.setdefault(run, machine.length)
            row = self._engine.ledger.run_numbered(run)
            if row is not None:
                self.come_before(row, batch)
