"""What a ledger in a file answers about cells: what is at hand, joined to what the columns have.

Any thread may ask. An answer is how things were at one moment while it was asked for, so a batch is seen whole or not
at all: overlays are looked at first, the columns then, and again both if an absorption began in between.

This file joins two sources. It must not know SQL, nor what a cell is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from perdure.storage.cell_columns import CellColumns
from perdure.storage.cells import Cell, listed
from perdure.storage.holding import Holding
from perdure.storage.recent import Recent
from perdure.storage.space_cache import SPACE_BYTES_MAX, SPACE_CELLS_MAX

#: How many cells of a space the overlays may have changed before a listing absorbs first, instead of asking for more.
_CHANGED_MAX: Final = 1000


class CellAnswers:
    """The readers of `Ledger` that are about cells.

    Args:
        absorb: brings everything acknowledged into the columns.
    """

    def __init__(self, recent: Recent, columns: CellColumns, absorb: Callable[[], None]) -> None:
        self._recent = recent
        self._columns = columns
        self._absorb = absorb

    def cell(self, space: str, key: str) -> Cell | None:
        """Find a cell."""
        known, cell, begun = self._recent.cell(space, key)
        if not known:
            cell = self._columns.cell(space, key)
            self._recent.warm_cell(space, key, cell, begun)
        return cell

    def cells(
        self, space: str, *, prefix: str, after: str | None, due_until: int | None, limit: int | None,
        holding: Sequence[Holding] = (),
    ) -> list[Cell]:  # fmt: skip
        """List cells of a space."""
        whole = self._whole(space)
        if whole is not None:
            return listed(whole.values(), prefix=prefix, after=after, due_until=due_until, limit=limit, holding=holding)
        while True:
            changed, begun = self._recent.cells(space)
            hiding = sum(key.startswith(prefix) and (after is None or key > after) for key in changed)
            if limit is not None and hiding > _CHANGED_MAX:
                self._absorb()
                changed, begun = self._recent.cells(space)
                hiding = len(changed)
            wanted = None if limit is None else limit + hiding
            found = self._columns.cells(space, prefix, after, due_until, wanted, holding)
            if self._recent.begun == begun:
                break
        found = [cell for cell in found if cell.key not in changed]
        if not changed:
            return found
        found += changed.values()
        return listed(found, prefix=prefix, after=after, due_until=due_until, limit=limit, holding=holding)

    def _whole(self, space: str) -> dict[str, Cell] | None:
        """All cells of a space by key, deleted ones too; None when they are too many to have them at hand."""
        whole, is_worth_measuring, mark = self._recent.whole(space)
        if whole is None and is_worth_measuring:
            self._recent.warm_space(space, self._columns.whole(space, SPACE_CELLS_MAX, SPACE_BYTES_MAX), mark)
            whole, _, _ = self._recent.whole(space)
        return whole

    def spaces(self, prefix: str) -> list[str]:
        """List the spaces that have cells."""
        changed = {space for space in self._recent.spaces() if space.startswith(prefix)}
        # Of a space that batches changed it takes a look at its cells: all may have been deleted.
        there = {space for space in changed
                 if self.cells(space, prefix="", after=None, due_until=None, limit=1)}  # fmt: skip
        return sorted(there | (set(self._columns.spaces(prefix)) - changed))
