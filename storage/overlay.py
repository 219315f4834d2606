"""What was acknowledged and is not in the columns yet: entries, rows, definitions and cells of some batches, in memory.

A ledger has up to two: one that batches go into, and one that is being absorbed. A row here hides the columns' one.

This file knows what came last. It must not know the journal or the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perdure.storage.absorption import Load
from perdure.storage.batch import Batch
from perdure.storage.cells import Cell
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.ledger import RunRow
from perdure.storage.waits import KeySets, WaitIndex


class Overlay:
    """Some batches, seen as what they changed.

    Attributes:
        load: what an absorption writes.
        sequence: the journal's number of the newest batch in it.
        size: bytes that its batches took in the journal.
    """

    def __init__(self, key_sets: KeySets) -> None:
        self.load = Load()
        self.sequence = 0
        self.size = 0
        self._numbers: dict[str, int] = {}
        self._keys: dict[tuple[str, str], int] = {}  # by workflow and idempotency key
        self._waits = WaitIndex(key_sets)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to absorb."""
        return self.sequence == 0

    def take(
        self, batch: Batch, definitions: Iterable[DefinitionRow], cells: Iterable[Cell], sequence: int, size: int
    ) -> None:
        """Add a batch that the journal has."""
        load = self.load
        for run, row in batch.rows.items():
            if run not in load.rows:
                load.before[run] = batch.before[run]
                load.entries[run] = batch.entries[run]
                self._numbers[row.run_id] = run
                if row.idempotency_key is not None and batch.before[run] is None:
                    key = (row.workflow, row.idempotency_key)
                    self._keys[key] = max(run, self._keys.get(key, 0))
                self._waits.replace(None, row)
            else:
                load.entries[run] += batch.entries[run]
                self._waits.replace(load.rows[run], row)
            load.rows[run] = row
        for definition in definitions:
            load.definitions[definition.digest] = definition
        for cell in cells:
            load.cells.setdefault(cell.space, {})[cell.key] = cell
        self.note(sequence, size)

    def note(self, sequence: int, size: int) -> None:
        """Take note of a record of the journal."""
        self.sequence = sequence
        self.size += size

    def row(self, run: int) -> RunRow | None:
        """A run's row, if a batch moved it."""
        return self.load.rows.get(run)

    def run(self, run_id: str) -> RunRow | None:
        """Likewise, by the run's id."""
        number = self._numbers.get(run_id)
        return None if number is None else self.load.rows[number]

    def cells(self, space: str) -> dict[str, Cell]:
        """The cells of a space that these batches wrote or deleted, by key."""
        return self.load.cells.get(space, {})

    def run_by_key(self, workflow: str, idempotency_key: str) -> int:
        """The number of the newest run that was created under this key in these batches; 0 when there is none."""
        return self._keys.get((workflow, idempotency_key), 0)

    def entries(self, run: int) -> Sequence[Entry]:
        """The entries of a run that came in these batches."""
        return self.load.entries.get(run, ())

    def waiting(self, keys: dict[int, str]) -> list[RunRow]:
        """Rows that may have a wait under one of these match keys."""
        return [self.load.rows[run] for run in set(self._waits.runs(keys))]
