"""Cells: named values that change, beside entries, which never do.

What is neither a run nor a fact about one lives here: values of `kv`, documents, blobs, messages on queues, how far a
schedule has come. A cell is written in the batch of the entries that it goes with, so that no crash can separate them.

This file knows what a cell is, and what may be asked about cells. It must not know what one is for, nor how it is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from perdure.errors import InternalError
from perdure.storage.hashed import hashed
from perdure.storage.holding import Holding, are_held


class Cell(NamedTuple):
    """One value under a name. Without a body and data it is gone: that is how a cell is deleted."""

    space: str  # what it belongs to, such as "kv/default": its kind, a slash, and a name that users chose
    key: str  # within the space
    version: int  # the writer's; differs on every write of this cell
    at: int  # when it was written, microseconds since 1970 UTC
    body: str | None = None  # the encoded value as JSON text (see encoding.py)
    shape: str | None = None
    data: bytes | None = None  # bytes that belong to it, as they are
    due: int | None = None  # by what `Ledger.cells(due_until=…)` finds it, microseconds
    expires_at: int | None = None  # from then on it counts as gone; a ledger may forget it after that

    @property
    def is_gone(self) -> bool:
        """Whether this says that the cell was deleted."""
        return self.body is None and self.data is None

    def is_there(self, now_us: int) -> bool:
        """Whether the cell has a value at this time."""
        return not self.is_gone and (self.expires_at is None or self.expires_at > now_us)


class Cells(Protocol):
    """What may be asked about cells, from any thread. An answer is what was so at one moment, never half a batch."""

    def cell(self, space: str, key: str) -> Cell | None:
        """Find a cell; None when it never was or is gone. One past its `expires_at` may be given or not."""
        ...

    def cells(
        self,
        space: str,
        *,
        prefix: str = "",
        after: str | None = None,
        due_until: int | None = None,
        limit: int | None = None,
        holding: Sequence[Holding] = (),
    ) -> list[Cell]:
        """List the cells of a space whose key begins with `prefix`, by key (Unicode code points).

        Args:
            after: only keys greater than this one, for paging.
            due_until: only those whose `due` is at or before this time, ordered by `due`, then key.
            holding: only those that have all of this in their texts.
        """
        ...

    def spaces(self, prefix: str) -> list[str]:
        """List the spaces that begin with `prefix` and have cells, in order."""
        ...


def cell_hash(space: str, key: str) -> int:
    """What a cell is found by; others may have the same."""
    return hashed(f"{space}\0{key}")


def refuse_unkeepable(cells: Iterable[Cell]) -> None:
    """Raise InternalError for a cell that no column can hold, before its batch counts as written."""
    for cell in cells:
        if _is_plain(cell):
            continue
        for label, value in zip(Cell._fields, cell, strict=True):
            why = None
            if isinstance(value, str) and not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError as error:
                    why = f"it has a lone surrogate, {error.object[error.start]!a}, at {error.start}"
            elif isinstance(value, int) and not -(2**63) <= value < 2**63:
                why = f"{value} does not fit in 64 bits"
            if why is not None:
                raise InternalError(
                    f"the {label} of a cell can't be kept.",
                    where=f"cell {cell.key[:80]!a} in {cell.space[:80]!a}",
                    why=why,
                    fix="refuse it, or escape it, before it reaches the ledger",
                )


def _is_plain(cell: Cell) -> bool:
    """Whether it can be kept, as far as can be told at a glance: nearly all can."""
    space, key, version, at, body, shape, _, due, expires_at = cell
    return (
        space.isascii()
        and key.isascii()
        and (body is None or body.isascii())
        and (shape is None or shape.isascii())
        and 0 <= version < 2**63
        and 0 <= at < 2**63
        and (due is None or 0 <= due < 2**63)
        and (expires_at is None or 0 <= expires_at < 2**63)
    )


def listed(
    found: Iterable[Cell], *, prefix: str = "", after: str | None = None, due_until: int | None = None,
    limit: int | None = None, holding: Sequence[Holding] = (),
) -> list[Cell]:  # fmt: skip
    """Choose and order cells of one space as `Ledger.cells` does, `found` being all that may be wanted."""
    chosen = [
        cell
        for cell in found
        if not cell.is_gone
        and cell.key.startswith(prefix)
        and (after is None or cell.key > after)
        and (due_until is None or (cell.due is not None and cell.due <= due_until))
        and (not holding or are_held(holding, cell.body, cell.shape))
    ]
    if due_until is None:
        chosen.sort(key=lambda cell: cell.key)
    else:
        chosen.sort(key=lambda cell: (cell.due or 0, cell.key))
    return chosen[:limit]
