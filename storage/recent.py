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
from perdure.storage.contents import Additions, Contents
from perdure.storage.entries import DefinitionRow
from perdure.storage.hashed import hashed
from perdure.storage.ledger import ENDED, RunRow
from perdure.storage.overlay import Overlay
from perdure.storage.space_cache import SPACE_CELLS_MAX, SpaceCache
from perdure.storage.tables import idempotency_hash
from perdure.storage.waits import KeySets

#: Open runs whose rows stay after they were absorbed, so that a run that moves costs no query per batch.
HOT_RUNS_MAX = 4096


class Recent:
    """Overlays and hot rows of one ledger.

    Attributes:
        key_sets: the sets of keys that waits have named, in the columns too.
        contents: what the columns may have; None before that was learned, or when it is too much.
    """

    def __init__(self) -> None:
        self.key_sets = KeySets()
        self._lock = threading.Lock()
        self._fresh = Overlay(self.key_sets)
        self._absorbing: Overlay | None = None
        self._hot: OrderedDict[int, RunRow] = OrderedDict()
        self._hot_numbers: dict[str, int] = {}
        self._hot_cells = CellCache()
        self._hot_spaces = SpaceCache()
        self.contents: Contents | None = None
        self._begun = 0
        self._ended = 0

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

    def run_by_key(self, workflow: str, idempotency_key: str) -> RunRow | None:
        """The newest run that was created under this key in the overlays."""
        numbers = [overlay.run_by_key(workflow, idempotency_key) for overlay in self.overlays()]
        return self.row(max(numbers)) if any(numbers) else None

    def lacks_run(self, run_id: str) -> bool:
        """Whether it is known that the columns don't have a run, which the overlays don't have either."""
        with self._lock:
            return self.contents is not None and hashed(run_id) not in self.contents.runs

    def lacks_key(self, workflow: str, idempotency_key: str) -> bool:
        """Whether it is known that the columns have no run that was started under a key."""
        with self._lock:
            return self.contents is not None and idempotency_hash(workflow, idempotency_key) not in self.contents.keys

    def may_wait(self, keys: Iterable[int], at_most: int) -> set[int] | None:
        """The runs in the columns that may wait under a match key; None when it is not known, or they are more."""
        with self._lock:
            return None if self.contents is None else self.contents.waits.under(keys, at_most)

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
            whole = self._hot_spaces.look_up(space)
            if whole is not None:
                return True, whole.get(key), self._begun
            is_known, cell = self._hot_cells.look_up(space, key)
            if is_known:
                return True, cell, self._begun
            is_lacking = self.contents is not None and cell_hash(space, key) not in self.contents.cells
            return is_lacking, None, self._begun

    def cells(self, space: str) -> tuple[dict[str, Cell], int]:
        """What the overlays say of a space's cells, deleted ones too, and `begun`."""
        with self._lock:
            old = {} if self._absorbing is None else self._absorbing.cells(space)
            return {**old, **self._fresh.cells(space)}, self._begun

    def whole(self, space: str) -> tuple[dict[str, Cell] | None, bool, tuple[int, int]]:
        """All cells of a space by key, deleted ones of the overlays too, None when that is not known; whether it is
        worth finding out; and what `warm_space` wants to have, taken before the columns are asked."""
        with self._lock:
            mark = (self._begun, self._ended)
            known = self._hot_spaces.look_up(space)
            if known is None:
                return None, self._hot_spaces.is_worth_measuring(space), mark
            old, new = {} if self._absorbing is None else self._absorbing.cells(space), self._fresh.cells(space)
            if len(old) + len(new) > SPACE_CELLS_MAX:  # it is about to be too large
                return None, False, mark
            return {**known, **old, **new}, False, mark

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

    def warm_space(self, space: str, cells: list[Cell] | None, mark: tuple[int, int]) -> None:
        """Keep at hand all that the columns said of a space, or that it is too much, unless they may say otherwise.

        An absorption at work is no hindrance: what it brings comes after this. One that has ended meanwhile is: what
        it brought was told to those that were known.
        """
        with self._lock:
            if mark == (self._begun, self._ended):
                self._hot_spaces.keep(space, cells)

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

    def is_new(self, cells: Iterable[int]) -> bool:
        """Whether the columns have none of these cells, by hash; to be asked by the thread that absorbs."""
        return self.contents is not None and not any(number in self.contents.cells for number in cells)

    def end_absorption(self, additions: Additions) -> None:
        """Let go of the overlay that the columns have now, but for the rows of open runs."""
        with self._lock:
            assert self._absorbing is not None
            if self.contents is not None:
                self.contents.add(additions)
            for row in self._absorbing.load.rows.values():
                self._warm(row)
            self._hot_cells.follow(self._absorbing.load.cells)
            self._hot_spaces.follow(self._absorbing.load.cells)
            self._ended += 1
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
