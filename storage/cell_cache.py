"""Cells at hand: what the columns say of those that were read or written lately, also that one is not there.

The owner sees to it that this follows every absorption, so nothing in it is ever older than the columns.

This file knows names and sizes. It must not know where cells come from, nor lock anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from perdure.storage.cells import Cell

CELLS_MAX: Final = 16_384
BYTES_MAX: Final = 32 << 20
#: A larger cell is not kept: it would push out hundreds of others, and its query is little beside its bytes.
_CELL_BYTES_MAX: Final = 64 << 10


class CellCache:
    """The newest cells by use, within a number and a size."""

    def __init__(self) -> None:
        self._cells: OrderedDict[tuple[str, str], Cell | None] = OrderedDict()
        self._size = 0

    def look_up(self, space: str, key: str) -> tuple[bool, Cell | None]:
        """Whether it is known what this cell is, and the cell, None when it is known not to be there."""
        name = (space, key)
        if name not in self._cells:
            return False, None
        self._cells.move_to_end(name)
        return True, self._cells[name]

    def keep(self, space: str, key: str, cell: Cell | None) -> None:
        """Know a cell, or that it is not there, instead of what was known of it."""
        name = (space, key)
        if name in self._cells:
            self._size -= cell_bytes(space, key, self._cells.pop(name))
        size = cell_bytes(space, key, cell)
        if size > _CELL_BYTES_MAX:
            return
        self._cells[name] = cell
        self._size += size
        while len(self._cells) > CELLS_MAX or self._size > BYTES_MAX:
            (space, key), cold = self._cells.popitem(last=False)
            self._size -= cell_bytes(space, key, cold)

    def follow(self, changed: Mapping[str, Mapping[str, Cell]]) -> None:
        """Take over cells that the columns have now, by space and key, deleted ones too."""
        if sum(map(len, changed.values())) > CELLS_MAX:  # not worth pushing out all others: only what is known already
            known = [(space, key) for space, key in self._cells if key in changed.get(space, ())]
        else:
            known = [(space, key) for space, cells in changed.items() for key in cells]
        for space, key in known:
            cell = changed[space][key]
            self.keep(space, key, None if cell.is_gone else cell)


def cell_bytes(space: str, key: str, cell: Cell | None) -> int:
    """About so many bytes, texts counted by their characters."""
    size = 200 + len(space) + len(key)
    return size if cell is None else size + len(cell.body or "") + len(cell.shape or "") + len(cell.data or b"")
