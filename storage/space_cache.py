"""Spaces at hand: all that the columns have of a space, while that is little.

A listing looks at all cells of the ledger, so a namespace of ten values, or a queue that is asked again and again
whether something is due, would cost the more the more others keep. Here they are looked through in memory.

The owner sees to it that this follows every absorption, so nothing in it is ever older than the columns. What was
forgotten there because it had expired may stay here a while.

This file knows names and sizes. It must not know where cells come from, nor lock anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from perdure.storage.cell_cache import cell_bytes
from perdure.storage.cells import Cell

#: Of one space: looking through so many takes about as long as a query that finds nothing.
SPACE_CELLS_MAX: Final = 1_000
SPACE_BYTES_MAX: Final = 1 << 20
#: Of all spaces together.
_SPACES_MAX: Final = 1_024
_CELLS_MAX: Final = 16_384
_BYTES_MAX: Final = 16 << 20
#: How often a space that was too large is asked for before it is measured again: a queue may have been emptied.
_MEASURED_EVERY: Final = 64
#: How many spaces that are too large are known as such; of others it is found out again.
_LARGE_MAX: Final = 1_024


class SpaceCache:
    """The small spaces that were asked for last, within a number and a size."""

    def __init__(self) -> None:
        self._spaces: OrderedDict[str, dict[str, Cell]] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._cells = 0
        self._size = 0
        self._large: OrderedDict[str, int] = OrderedDict()  # how often one was asked for since it was measured

    def look_up(self, space: str) -> Mapping[str, Cell] | None:
        """All cells of a space by key, until the next change; None when they are not known."""
        cells = self._spaces.get(space)
        if cells is not None:
            self._spaces.move_to_end(space)
        return cells

    def is_worth_measuring(self, space: str) -> bool:
        """Whether a space that is not known may be small. To be asked before each look at the columns."""
        if space not in self._large:
            return True
        self._large[space] += 1
        return self._large[space] % _MEASURED_EVERY == 0

    def keep(self, space: str, cells: Iterable[Cell] | None) -> None:
        """Know all cells of a space; None when it was found to be too large."""
        self._drop(space)
        if cells is None:
            self._large.setdefault(space, 0)
            while len(self._large) > _LARGE_MAX:
                self._large.popitem(last=False)
            return
        self._large.pop(space, None)
        self._spaces[space] = {}
        self._sizes[space] = 0
        for cell in cells:
            self._put(space, cell)
        self._bound()

    def follow(self, changed: Mapping[str, Mapping[str, Cell]]) -> None:
        """Take over cells that the columns have now, by space and key, deleted ones too."""
        for space, cells in changed.items():
            if space not in self._spaces:
                continue
            for cell in cells.values():
                self._put(space, cell)
            if len(self._spaces[space]) > SPACE_CELLS_MAX or self._sizes[space] > SPACE_BYTES_MAX:
                self._drop(space)  # measured anew when it is asked for: what had expired in it may be gone
        self._bound()

    def _bound(self) -> None:
        while len(self._spaces) > _SPACES_MAX or self._cells > _CELLS_MAX or self._size > _BYTES_MAX:
            self._drop(next(iter(self._spaces)))

    def _put(self, space: str, cell: Cell) -> None:
        cells = self._spaces[space]
        before = cells.pop(cell.key, None)
        added = 0 if before is None else -cell_bytes(space, cell.key, before)
        self._cells -= before is not None
        if not cell.is_gone:
            cells[cell.key] = cell
            added += cell_bytes(space, cell.key, cell)
            self._cells += 1
        self._sizes[space] += added
        self._size += added

    def _drop(self, space: str) -> None:
        if space in self._spaces:
            self._cells -= len(self._spaces.pop(space))
            self._size -= self._sizes.pop(space)
