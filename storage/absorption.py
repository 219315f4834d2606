"""How what the journal has acknowledged gets into the columns: in batches, one transaction each.

Rows go through an appender into temporary tables first. `append_rows` there took 4 µs a row, where `executemany` took
300, lists of values as parameters 14, and one JSON text 27; from the temporary table DuckDB makes the VARIANT itself.

This file knows how to write rows. It must not know when to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from perdure.storage import entries as kinds
from perdure.storage.cells import Cell
from perdure.storage.database import Database
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.ledger import RunRow
from perdure.storage.tables import (
    DEFINITION_COLUMNS,
    LOADED_CELL_COLUMNS,
    LOADED_ENTRY_COLUMNS,
    LOADED_RUN_COLUMNS,
    WAIT_COLUMNS,
    SqlRow,
    cell_row,
    create_statement,
    entry_row,
    run_row,
    wait_rows,
)

#: Rows handed over at a time: the appender holds the interpreter's lock, and the engine's thread should not wait long.
_CHUNK_ROWS: Final = 200

_STAGES: Final = {
    "stage_entries": LOADED_ENTRY_COLUMNS,
    "stage_runs": LOADED_RUN_COLUMNS,
    "stage_waits": WAIT_COLUMNS,
    "stage_definitions": DEFINITION_COLUMNS,
    "stage_cells": LOADED_CELL_COLUMNS,
}

#: Cells are forgotten so long after they expired, as the times of newly written cells have it, …
_FORGOTTEN_AFTER_US: Final = 60_000_000
#: … and are looked for as often, since it takes a look at all of them.
_FORGETS_EVERY_US: Final = 60_000_000


@dataclass(slots=True)
class Load:
    """What one absorption brings: entries that continue what the columns have, and rows as they are now."""

    entries: dict[int, list[Entry]] = field(default_factory=dict)  # by run
    rows: dict[int, RunRow] = field(default_factory=dict)  # of the same runs
    before: dict[int, RunRow | None] = field(default_factory=dict)  # the rows that the columns have of them
    definitions: dict[str, DefinitionRow] = field(default_factory=dict)  # by digest
    cells: dict[str, dict[str, Cell]] = field(default_factory=dict)  # by space and key; deleted ones too
    cells_are_new: bool = False  # whether the columns have none of these cells


class Absorption:
    """Writes into the tables of one schema, over a cursor of its own.

    Args:
        schema: "_ledger", or "tail" for what a reader adds in memory to a file that it must not change.
    """

    def __init__(self, database: Database, schema: str) -> None:
        self._database = database
        self._schema = schema
        self._forgot_at = 0
        self._cursor = database.cursor()
        with database.in_our_words("preparing the ledger"):
            for name, columns in _STAGES.items():
                self._cursor.execute(create_statement(f"temp.{name}", columns, temporary=True))

    def absorb(self, load: Load, meta: dict[str, str]) -> None:
        """Write a load, and what the ledger notes about itself, in one transaction."""
        with self._database.transaction(self._cursor, "absorbing the journal"):
            self._stage("stage_entries", entry_rows(load))
            self._stage("stage_runs", (run_row(row) for row in load.rows.values()))
            self._stage("stage_waits", (wait for row in load.rows.values() for wait in wait_rows(row)))
            self._stage("stage_definitions", load.definitions.values())
            self._stage("stage_cells", (cell_row(cell) for space in load.cells.values() for cell in space.values()))
            self._move(load)
            for key, value in meta.items():
                self._cursor.execute(f"DELETE FROM {self._schema}.meta WHERE key = ?", [key])
                self._cursor.execute(f"INSERT INTO {self._schema}.meta VALUES (?, ?)", [key, value])

    def checkpoint(self) -> None:
        """Bring the file itself up to date, so that DuckDB's own log is empty."""
        with self._database.in_our_words("writing a checkpoint"):
            self._cursor.execute(f"CHECKPOINT {self._database.catalog}")

    def close(self) -> None:
        """Give the cursor back."""
        self._cursor.close()

    def _stage(self, table: str, rows: Iterable[SqlRow]) -> None:
        iterator = iter(rows)
        chunk = list(islice(iterator, _CHUNK_ROWS))
        if not chunk:
            return
        appender = self._cursor.appender(f"temp.{table}")
        while chunk:
            appender.append_rows(chunk)
            chunk = list(islice(iterator, _CHUNK_ROWS))
        appender.flush()

    def _move(self, load: Load) -> None:
        schema, execute = self._schema, self._cursor.execute
        if load.entries:
            value = "CASE WHEN shown THEN TRY_CAST(TRY_CAST(body AS JSON) AS VARIANT) END"
            execute(f"INSERT INTO {schema}.entries SELECT *, {value} FROM temp.stage_entries")
            execute("TRUNCATE temp.stage_entries")
        if load.rows:
            if any(before is not None for before in load.before.values()):
                for table in ("runs", "waits"):
                    execute(f"DELETE FROM {schema}.{table} WHERE run IN (SELECT run FROM temp.stage_runs)")
            tags = "CAST(CAST(tags AS JSON) AS MAP(VARCHAR, VARCHAR)) AS tags"
            execute(f"INSERT INTO {schema}.runs SELECT * REPLACE ({tags}) FROM temp.stage_runs ORDER BY run")
            execute(f"INSERT INTO {schema}.waits FROM temp.stage_waits")
            execute("TRUNCATE temp.stage_runs")
            execute("TRUNCATE temp.stage_waits")
        if load.definitions:
            new = f"(FROM temp.stage_definitions WHERE digest NOT IN (SELECT digest FROM {schema}.definitions))"
            execute(f"INSERT INTO {schema}.definitions FROM {new}")
            execute("TRUNCATE temp.stage_definitions")
        if load.cells:
            self._move_cells(load)

    def _move_cells(self, load: Load) -> None:
        schema, execute = self._schema, self._cursor.execute
        if not load.cells_are_new:
            names = 'SELECT hash, space, "key" FROM temp.stage_cells'
            execute(f'DELETE FROM {schema}.cells WHERE (hash, space, "key") IN ({names})')
        # What a reader adds in memory must say that a cell of the file is gone; elsewhere a deleted one leaves nothing.
        there = "" if schema == "tail" else "WHERE body IS NOT NULL OR data IS NOT NULL"
        value = "CASE WHEN shown THEN TRY_CAST(TRY_CAST(body AS JSON) AS VARIANT) END"
        execute(f"INSERT INTO {schema}.cells SELECT *, {value} FROM temp.stage_cells {there}")
        execute("TRUNCATE temp.stage_cells")
        now = max(cell.at for space in load.cells.values() for cell in space.values())
        if now >= self._forgot_at + _FORGETS_EVERY_US:
            execute(f"DELETE FROM {schema}.cells WHERE expires_us <= ?", [now - _FORGOTTEN_AFTER_US])
            self._forgot_at = now


def entry_rows(load: Load) -> Iterable[SqlRow]:
    """The entries of a load as rows, run by run, each answer with the position of the command that it answers."""
    for run, entries in sorted(load.entries.items()):
        before = load.before[run]
        asked = {} if before is None else {name: pending.position for name, pending in before.pending.items()}
        yield from _with_asked(entries, asked)


def _with_asked(entries: Sequence[Entry], asked: dict[str, int]) -> Iterable[SqlRow]:
    for entry in entries:
        if entry.kind in kinds.COMMANDS and entry.kind != kinds.DROPPED:
            asked[entry.command] = entry.position
            yield entry_row(entry, None)
        else:
            yield entry_row(entry, None if entry.kind in kinds.SAID else asked.get(entry.command))
