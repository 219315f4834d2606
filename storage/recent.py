"""What a ledger has in memory: overlays of what is not in the columns yet, and the rows of runs that move.

Several threads meet here, the one that appends, the one that absorbs and those that read cells, so all of it is behind
one lock, held for moments. Only the appending one changes the newest overlay, so it may read what it was given without
the lock.

This file knows what is at hand. It must not know the journal or the tables.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from perdure.storage.batch import Batch
from perdure.storage.cell_cache import CellCache
from perdure.storage.cells import Cell, cell_hash
from perdure.storage.entries import DefinitionRow
from perdure.storage.known_hashes import KnownHashes
from perdure.storage.ledger import ENDED, RunRow
from perdure.storage.overlay import Overlay
from perdure.storage.waits import KeySets

#: Open runs whose rows stay after they were absorbed, so that a run that moves costs no query per batch.
HOT_RUNS_MAX = 4096


class Recent:
    """Overlays and hot rows of one ledger.

    Attributes:
        key_sets: the sets of keys that waits have named, in the columns too.
        in_columns: which cells the columns may have, by hash; None when they were too many to be counted.
    """

    def __init__(self) -> None:
        self.key_sets = KeySets()
        self._lock = threading.Lock()
        self._fresh = Overlay(self.key_sets)
        self._absorbing: Overlay | None = None
        self._hot: OrderedDict[int, RunRow] = OrderedDict()
        self._hot_numbers: dict[str, int] = {}
        self._hot_cells = CellCache()
        self.in_columns: KnownHashes | None = None
        self._begun = 0

    @property
    def size(self) -> int:
        """Bytes gathered since the last absorption began."""
        return self._fresh.size

    def overlays(self) -> list[Overlay]:
        """The overlays, newest first. Whoever asks the columns too takes these first."""
        with self._lock:
            return [self._fresh] if self._absorbing is None else [self._fresh, self._absorbing]

    def moved(self) -> dict[int, RunRow]:
        """The newest rows of all runs in the overlays."""
        return {run: row for overlay in reversed(self.overlays()) for run, row in overlay.load.rows.items()}

    def row(self, run: int) -> RunRow | None:
        """A run's newest row, if it is at hand."""
        with self._lock:
            row = self._fresh.row(run)
            if row is None and self._absorbing is not None:
                row = self._absorbing.row(run)
            return self._hot.get(run) if row is None else row

    def run(self, run_id: str) -> RunRow | None:
        """Likewise, by the run's id."""
        with self._lock:
            row = self._fresh.run(run_id)
            if row is None and self._absorbing is not None:
                row = self._absorbing.run(run_id)
            if row is None and run_id in self._hot_numbers:
                row = self._hot[self._hot_numbers[run_id]]
            return row

    @property
    def begun(self) -> int:
        """How many absorptions have begun. While it stays the same, nothing gets into the columns but what the
        overlays had when it was read."""
        return self._begun

    def cell(self, space: str, key: str) -> tuple[bool, Cell | None, int]:
        """Whether it is known at hand what a cell is, the cell, and `begun`."""
        with self._lock:
            for overlay in (self._fresh, self._absorbing):
                cell = None if overlay is None else overlay.cells(space).get(key)
                if cell is not None:
                    return True, None if cell.is_gone else cell, self._begun
            if self.in_columns is not None and cell_hash(space, key) not in self.in_columns:
                return True, None, self._begun
            return *self._hot_cells.look_up(space, key), self._begun

    def cells(self, space: str) -> tuple[dict[str, Cell], int]:
        """What the overlays say of a space's cells, deleted ones too, and `begun`."""
        with self._lock:
            old = {} if self._absorbing is None else self._absorbing.cells(space)
            return {**old, **self._fresh.cells(space)}, self._begun

    def spaces(self) -> set[str]:
        """The spaces of which the overlays have cells, or deleted ones."""
        with self._lock:
            old = () if self._absorbing is None else self._absorbing.load.cells
            return {*old, *self._fresh.load.cells}

    def warm_cell(self, space: str, key: str, cell: Cell | None, begun: int) -> None:
        """Keep at hand what the columns said of a cell, unless they may say otherwise by now."""
        with self._lock:
            if self._begun == begun:
                self._hot_cells.keep(space, key, cell)

    def take(
        self, batch: Batch, definitions: Iterable[DefinitionRow], cells: Iterable[Cell], sequence: int, size: int
    ) -> None:
        """Add a batch that the journal has."""
        with self._lock:
            self._fresh.take(batch, definitions, cells, sequence, size)

    def note(self, sequence: int, size: int) -> None:
        """Take note of a record of the journal that holds no batch."""
        with self._lock:
            self._fresh.note(sequence, size)

    def begin_absorption(self) -> Overlay | None:
        """The overlay to be absorbed, the same as before if that failed; None when there is nothing."""
        with self._lock:
            if self._absorbing is None and not self._fresh.empty:
                self._absorbing, self._fresh = self._fresh, Overlay(self.key_sets)
                self._begun += 1
            return self._absorbing

    def is_new(self, overlay: Overlay) -> bool:
        """Whether the columns have none of the cells of the overlay that is being absorbed."""
        known = self.in_columns  # changed by none but the absorbing thread
        return known is not None and not any(number in known for number in overlay.cell_hashes())

    def end_absorption(self) -> None:
        """Let go of the overlay that the columns have now, but for the rows of open runs."""
        assert self._absorbing is not None
        hashes = self._absorbing.cell_hashes()
        with self._lock:
            if self.in_columns is not None:
                self.in_columns.add(hashes)
            for row in self._absorbing.load.rows.values():
                self._warm(row)
            self._hot_cells.follow(self._absorbing.load.cells)
            self._absorbing = None

    def warm(self, rows: Iterable[RunRow]) -> None:
        """Keep rows at hand that were read from the columns."""
        with self._lock:
            for row in rows:
                self._warm(row)

    def _warm(self, row: RunRow) -> None:
        if row.status in ENDED:
            if self._hot.pop(row.run, None) is not None:
                del self._hot_numbers[row.run_id]
            return
        self._hot[row.run] = row
        self._hot.move_to_end(row.run)
        self._hot_numbers[row.run_id] = row.run
        while len(self._hot) > HOT_RUNS_MAX:
            _, cold = self._hot.popitem(last=False)
            del self._hot_numbers[cold.run_id]
