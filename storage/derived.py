"""What a ledger's tables say twice, so that look-ups are quick: it must follow from the rows and entries.

Hashes that runs are found by, times that the clock looks for, waits that events are matched with, and for each answer
the position of its command. None of it is in the chain of digests, since all of it can be worked out; who changes it
changes no history, but what the ledger finds.

This file knows which columns follow from what. It must not know how a ledger is gone through (verify.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from perdure.storage import entries as kinds
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunRow
from perdure.storage.tables import LOADED_RUN_COLUMNS, RUN_COLUMNS, RUN_SELECTION, WAIT_COLUMNS, run_row, wait_rows

_DERIVED: Final = [name for name in RUN_COLUMNS if name not in RUN_SELECTION.split(", ")]
_PLACES: Final = {name: place for place, name in enumerate(LOADED_RUN_COLUMNS)}
_ANSWERS: Final = kinds.CAUSES | {kinds.DROPPED, kinds.STEP_STARTED, kinds.STEP_RETRYING}
#: Answers that come only while their command is pending, so that its position is always known.
_IN_TIME: Final = frozenset({kinds.STEP_COMPLETED, kinds.STEP_FAILED})


class Derived:
    """The derived columns of the runs from number `first` to `last`."""

    def __init__(self, ledger: DuckDBLedger, first: int, last: int) -> None:
        columns = ", ".join(f'"{name}"' for name in _DERIVED)
        between = "WHERE run BETWEEN ? AND ?"
        self._columns = {
            row[0]: row[1:]
            for row in ledger.sql(f"SELECT run, {columns} FROM _ledger.runs {between}", [first, last]).rows
        }
        self._waits: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
        waits = ", ".join(f'"{name}"' for name in WAIT_COLUMNS)
        for wait in ledger.sql(f"SELECT {waits} FROM _ledger.waits {between}", [first, last]).rows:
            self._waits[wait[0]].append(wait)
        asked = ledger.sql(
            f'SELECT run, "position", asked FROM _ledger.entries {between} AND asked IS NOT NULL', [first, last]
        )
        self._asked = {(run, position): command for run, position, command in asked.rows}

    def faults_of(self, row: RunRow, entries: Sequence[Entry]) -> Iterator[tuple[int | None, str]]:
        """The positions and messages of what does not follow from a run's row and entries."""
        expected = run_row(row)
        for name, found in zip(_DERIVED, self._columns.get(row.run, ()), strict=True):
            if found != expected[_PLACES[name]]:
                yield None, f"its row can't be relied on: {name} is {found!r} for {expected[_PLACES[name]]!r}"
        if sorted(self._waits[row.run], key=repr) != sorted(map(tuple, wait_rows(row)), key=repr):
            yield None, "the waits by which events find it are not those of its entries"
        latest: dict[str, int] = {}
        for entry in entries:
            if entry.kind in kinds.COMMANDS and entry.kind != kinds.DROPPED:
                latest[entry.command] = entry.position
            found = self._asked.get((row.run, entry.position))
            right = latest.get(entry.command) if entry.kind in _ANSWERS else None
            if found != right and (found is not None or entry.kind in _IN_TIME):
                yield entry.position, f"queries take it for the answer of entry {found}, and it is that of {right}"
                return
