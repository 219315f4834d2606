"""The cells in the columns: what is asked of their table, in SQL, from any thread.

A cell is found by its hash, with no index (see tables.py): looking through the hashes of a million cells takes some
3 ms. With an index it took 0.7 ms, five times the room in the file, and the risk that the index is damaged, which has
come up in DuckDB under just these deletes and inserts. Most look-ups don't come here: they are for what is hot, or new.

This file knows queries. It must not know that there is a journal, nor how cells are written (absorption.py).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any, Final

from perdure.storage.cells import Cell, cell_hash
from perdure.storage.database import Database
from perdure.storage.holding import Holding
from perdure.storage.tables import CELL_SELECTION, SqlRow, cell_of

#: What a reader sees: the file's cells but for those that its journal changed, and these, but for deleted ones.
READER_CELLS: Final = """
    FROM (FROM kept._ledger.cells WHERE (hash, space, "key") NOT IN (SELECT hash, space, "key" FROM tail.cells))
    UNION ALL FROM (FROM tail.cells WHERE body IS NOT NULL OR data IS NOT NULL)
"""
#: Of so many cells the keys are sorted first: 16,384 of a million took half the time so, and 1,024 twice as much.
_WIDE_FROM: Final = 8_192
#: About what `cell_cache.cell_bytes` says.
_BYTES: Final = "200 + strlen(coalesce(body, '')) + coalesce(octet_length(data), 0)"


class CellColumns:
    """The table of cells, over a cursor of its own, which one thread has at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cursor = database.cursor()
        self._lock = threading.Lock()

    def _all(self, query: str, parameters: Sequence[Any]) -> list[SqlRow]:
        with self._lock, self._database.in_our_words("reading cells"):
            rows: list[SqlRow] = self._cursor.execute(query, list(parameters)).fetchall()
            return rows

    def cell(self, space: str, key: str) -> Cell | None:
        """Find a cell."""
        found = self._all(f"SELECT {CELL_SELECTION} FROM _ledger.cells WHERE hash = ?", [cell_hash(space, key)])
        # Compared here: a comparison of texts in SQL would be made with all rows.
        return next((cell for cell in map(cell_of, found) if cell.space == space and cell.key == key), None)

    def cells(
        self, space: str, prefix: str, after: str | None, due_until: int | None, limit: int | None,
        holding: Sequence[Holding] = (),
    ) -> list[Cell]:  # fmt: skip
        """List cells of a space as `Ledger.cells` does."""
        conditions, parameters = ["space = ?"], list[Any]([space])
        for condition, value in (
            ('starts_with("key", ?)', prefix or None),
            ('"key" > ?', after),
            ("due_us <= ?", due_until),
        ):
            if value is not None:
                conditions.append(condition)
                parameters.append(value)
        for each in holding:
            conditions.append(_held(each))
            parameters += each.texts
            parameters += [_any_of(each.unless)] if each.unless else ()
        if limit is not None and limit > _WIDE_FROM and due_until is None and not holding:
            conditions.append(_up_to(" AND ".join(conditions), limit))
            parameters *= 2
        order = '"key"' if due_until is None else 'due_us, "key"'
        query = f"SELECT {CELL_SELECTION} FROM _ledger.cells WHERE {' AND '.join(conditions)} ORDER BY {order}"
        return list(map(cell_of, self._all(query if limit is None else f"{query} LIMIT {int(limit)}", parameters)))

    def whole(self, space: str, cells_max: int, bytes_max: int) -> list[Cell] | None:
        """All cells of a space; None when they are more than that. Measured first, as far as is needed to tell."""
        some = f"SELECT {_BYTES} AS size FROM _ledger.cells WHERE space = ? LIMIT {cells_max + 1}"
        ((count, size),) = self._all(f"SELECT count(*), sum(size) FROM ({some})", [space])
        if not count:
            return []
        if count > cells_max or size > bytes_max:
            return None
        found = self.cells(space, "", None, None, cells_max + 1)
        return None if len(found) > cells_max else found

    def spaces(self, prefix: str) -> list[str]:
        """List the spaces that begin with `prefix`."""
        query = "SELECT DISTINCT space FROM _ledger.cells WHERE starts_with(space, ?)"
        return [space for (space,) in self._all(query, [prefix])]

    def close(self) -> None:
        """Give the cursor back."""
        with self._lock:
            self._cursor.close()


def _up_to(conditions: str, limit: int) -> str:
    """The condition that a cell is among the first by key, for which keys alone are sorted, and not whole cells."""
    first = f'SELECT "key" FROM _ledger.cells WHERE {conditions} ORDER BY "key" LIMIT {int(limit)}'
    return f'"key" <= (SELECT max("key") FROM ({first}))'


def _held(wanted: Holding) -> str:
    """The condition that a cell is held (see holding.py), with a place for each text and one for `unless`."""
    ways = ["contains(body, ?)"] * len(wanted.texts)
    if wanted.unless:
        ways.append("(body IS NOT NULL AND regexp_matches(shape, ?))")
    return f"({' OR '.join(ways) or 'false'})"


def _any_of(texts: Sequence[str]) -> str:
    """A regular expression for any of these texts: one look at a shape, of which nearly all cells have the same few."""
    return "|".join(map(re.escape, texts))
