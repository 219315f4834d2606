"""The columns behind the journal: what is asked of the tables, in SQL.

Answers are as of the last absorption; the ledger adds what came since. One thread at a time, but for `sql` and `cells`.

This file knows queries. It must not know that there is a journal, nor how rows are written (absorption.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from perdure.errors import LedgerCorrupt
from perdure.storage import packed
from perdure.storage.absorption import Absorption
from perdure.storage.cell_columns import READER_CELLS, CellColumns
from perdure.storage.database import Database
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.hashed import hashed
from perdure.storage.ledger import QueueRow, RunFilter, RunRow, SqlResult, Waiter
from perdure.storage.migrations import STEPS, check_version, migrate
from perdure.storage.tables import (
    ENTRY_SELECTION,
    QUEUE_SELECTION,
    RUN_SELECTION,
    TABLES,
    SqlRow,
    idempotency_hash,
    row_of,
)
from perdure.storage.views import VIEWS

_COUNT = f"SELECT {' + '.join(f'(SELECT count(*) FROM _ledger.{name})' for name in ('runs', 'waits', 'cells'))}"
_CONTENTS = (
    "SELECT coalesce(list(run_id_hash ORDER BY run_id_hash), []) FROM _ledger.runs",
    "SELECT coalesce(list(idempotency_hash ORDER BY idempotency_hash), []) FROM _ledger.runs "
    "WHERE idempotency_hash IS NOT NULL",
    "SELECT coalesce(list(hash ORDER BY hash), []) FROM _ledger.cells",
    "SELECT coalesce(list(match_hash ORDER BY match_hash, run), []), "
    "coalesce(list(run ORDER BY match_hash, run), []) FROM _ledger.waits",
)
_POSITION = itemgetter(Entry._fields.index("position"))


class Columns:
    """The tables of one ledger.

    Args:
        path: of the DuckDB file; None for tables in memory.
        read_only: leave the file as it is; what `absorption` writes is kept in memory, and queries see both.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False, threads: int = 1) -> None:
        self._path = path
        self._database = Database(path, read_only=read_only, threads=threads)
        try:
            self._cursor = self._database.cursor()
            with self._database.in_our_words("opening the ledger"):
                if read_only:
                    self._look_through()
                else:
                    migrate(self._cursor, self._version(may_be_empty=True), path or "memory")
                self._make_views(read_only)
            self.cells = CellColumns(self._database)
            self.absorption = Absorption(self._database, "tail" if read_only else "_ledger")
        except BaseException:
            self._database.close()
            raise

    def _make_views(self, read_only: bool) -> None:
        """Make the documented views as this release has them, unless the file has them already."""
        digest = str(hashed("\0".join(VIEWS.values())))
        if not read_only and self.meta().get("views") == digest:
            return
        for name, query in VIEWS.items():
            self._cursor.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
        if not read_only:
            self._cursor.execute("DELETE FROM _ledger.meta WHERE key = 'views'")
            self._cursor.execute("INSERT INTO _ledger.meta VALUES ('views', ?)", [digest])

    def _version(self, may_be_empty: bool) -> int:
        catalog = self._database.catalog
        tables = self._all(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? AND NOT temporary", [catalog]
        )
        if ("_ledger", "meta") not in tables:
            if tables or not may_be_empty:
                raise LedgerCorrupt(
                    "the file is a DuckDB database, but not a ledger.",
                    where=str(self._path),
                    why="it has no table _ledger.meta",
                    fix="name another file; a ledger wants one of its own",
                )
            return 0
        found = self._all(f"SELECT value FROM {catalog}._ledger.meta WHERE key = 'schema'")
        return int(found[0][0]) if found else 0

    def _look_through(self) -> None:
        """Make `_ledger.*` show the file's tables and, over them, those that a reader adds in memory."""
        version = self._version(may_be_empty=False)
        check_version(version, self._path or "memory")
        if version < len(STEPS):
            raise LedgerCorrupt(
                f"the ledger has schema version {version}, which can't be read without bringing it up to date.",
                where=str(self._path),
                fix="open it once for writing with this release, or read a copy that was opened so",
            )
        self._cursor.execute("CREATE SCHEMA _ledger")
        self._cursor.execute("CREATE SCHEMA tail")
        newer = {"runs": "run", "waits": "run", "meta": "key", "definitions": "digest"}
        for name in TABLES:
            self._cursor.execute(f"CREATE TABLE tail.{name} AS FROM kept._ledger.{name} LIMIT 0")
            if name == "cells":
                self._cursor.execute(f"CREATE VIEW _ledger.cells AS {READER_CELLS}")
                continue
            key = newer.get(name)
            # Of a run that went on in the journal, waits are replaced as its row is, even by none.
            table = "runs" if name == "waits" else name
            hidden = f"WHERE {key} NOT IN (SELECT {key} FROM tail.{table})" if key else ""
            self._cursor.execute(
                f"CREATE VIEW _ledger.{name} AS FROM (FROM kept._ledger.{name} {hidden}) UNION ALL FROM tail.{name}"
            )

    def _all(self, query: str, parameters: Sequence[Any] = ()) -> list[SqlRow]:
        with self._database.in_our_words("reading the ledger"):
            rows: list[SqlRow] = self._cursor.execute(query, list(parameters)).fetchall()
            return rows

    def _pairs(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, Any]]:
        return [(first, second) for first, second in self._all(query, parameters)]

    def meta(self) -> dict[str, str]:
        """What the ledger notes about itself."""
        return dict(self._pairs("SELECT key, value FROM _ledger.meta"))

    def rows(self, where: str, parameters: Sequence[Any] = ()) -> list[RunRow]:
        """Run rows by a condition, and an order if it names one."""
        found = self._all(f"SELECT {RUN_SELECTION} FROM _ledger.runs WHERE {where}", parameters)
        return [row_of(values) for values in found]

    def run(self, run_id: str) -> RunRow | None:
        """Find a run by its id."""
        return _first(self.rows("run_id_hash = ? AND run_id = ?", [hashed(run_id), run_id]))

    def numbered(self, runs: Collection[int]) -> list[RunRow]:
        """Find runs by their numbers."""
        if len(runs) == 1:
            return self.rows("run = ?", list(runs))
        numbers = sorted(runs)
        return self.rows(
            "run BETWEEN ? AND ? AND list_contains(?, run) ORDER BY run", [numbers[0], numbers[-1], numbers]
        )

    def run_by_key(self, workflow: str, idempotency_key: str) -> RunRow | None:
        """Find the newest run that was started under a key."""
        where = "idempotency_hash = ? AND workflow = ? AND idempotency_key = ? ORDER BY run DESC LIMIT 1"
        return _first(self.rows(where, [idempotency_hash(workflow, idempotency_key), workflow, idempotency_key]))

    def runs(self, wanted: RunFilter, without: Collection[int]) -> list[RunRow]:
        """List runs, newest first, but for some."""
        where, parameters = _condition(wanted, without)
        limit = "" if wanted.limit is None else f" LIMIT {int(wanted.limit)}"
        return self.rows(f"{where} ORDER BY run DESC{limit}", parameters)

    def count(self, wanted: RunFilter, without: Collection[int]) -> dict[str, int]:
        """Count runs by status, but for some."""
        where, parameters = _condition(wanted.unpaged(), without)
        return dict(self._pairs(f"SELECT status, count(*) FROM _ledger.runs WHERE {where} GROUP BY status", parameters))

    def children(self, run_id: str) -> list[RunRow]:
        """List the runs that this one started."""
        return self.rows("parent_hash = ? AND parent_run_id = ? ORDER BY run", [hashed(run_id), run_id])

    def entries(self, run: int, start: int, stop: int | None) -> list[Entry]:
        """Read a run's entries from `start` up to `stop`, which is left out."""
        last = 2**31 - 1 if stop is None else stop - 1
        where = 'run = ? AND "position" BETWEEN ? AND ?'
        found = list(map(Entry._make, self._all(f"SELECT {ENTRY_SELECTION} FROM _ledger.entries WHERE {where}",
                                                [run, start, last])))  # fmt: skip
        # They lie in order; sorting them in SQL as well made a short look-up half as slow again.
        found.sort(key=_POSITION)
        return found

    def beginnings(self, runs: Sequence[int], stop: int) -> dict[int, list[Entry]]:
        """Read the entries of several runs, given in increasing order, from each one's first up to position `stop`."""
        where, parameters = ("run = ?", [runs[0]]) if len(runs) == 1 else _among(runs)
        rows = self._all(
            f'SELECT {ENTRY_SELECTION} FROM _ledger.entries WHERE {where} AND "position" < ?', [*parameters, stop]
        )
        found: dict[int, list[Entry]] = {run: [] for run in runs}
        for entry in map(Entry._make, rows):
            found[entry.run].append(entry)
        for entries in found.values():
            entries.sort(key=_POSITION)
        return found

    def selected(
        self, run: int, kinds: Collection[str], start: int, stop: int | None, limit: int | None
    ) -> list[Entry]:
        """Read a run's entries of some kinds from `start` up to `stop`, which is left out."""
        last = 2**31 - 1 if stop is None else stop - 1
        where = 'run = ? AND "position" BETWEEN ? AND ? AND list_contains(?, kind) ORDER BY "position"'
        where += "" if limit is None else f" LIMIT {int(limit)}"
        return list(map(Entry._make, self._all(f"SELECT {ENTRY_SELECTION} FROM _ledger.entries WHERE {where}",
                                               [run, start, last, sorted(kinds)])))  # fmt: skip

    def on_queues(self, since: int) -> list[QueueRow]:
        """List the runs on queues that have not ended, and those that began at or after `since`."""
        where = "queue IS NOT NULL AND (finished_us IS NULL OR began_us >= ?) ORDER BY run"
        return list(
            map(QueueRow._make, self._all(f"SELECT {QUEUE_SELECTION} FROM _ledger.runs WHERE {where}", [since]))
        )

    def walk(self, run: int, start: int, stop: int) -> list[Entry]:
        """Read a run's entries from `start` up to `stop`, which is left out, as a replay needs them (see packed.py)."""
        of_run = 'SELECT * FROM _ledger.entries WHERE run = ? AND "position" BETWEEN ? AND ?'
        (row,) = self._all(f'SELECT {packed.SELECTION} FROM ({of_run} ORDER BY "position")', [run, start, stop - 1])
        found = packed.unpack(run, start, row)
        return self.entries(run, start, stop) if found is None else found

    def entries_of(self, runs: Sequence[int]) -> list[Entry]:
        """Read all entries of several runs, by run and position."""
        where, parameters = _among(runs)
        found = self._all(
            f'SELECT {ENTRY_SELECTION} FROM _ledger.entries WHERE {where} ORDER BY run, "position"', parameters
        )
        return list(map(Entry._make, found))

    def walk_many(self, lengths: Mapping[int, int]) -> list[list[Entry]] | None:
        """Read several runs' entries as a replay needs them, in one go; None when that can't be done without guessing.

        Args:
            lengths: how many entries each has, by its number, in increasing order.
        """
        where, parameters = _among(list(lengths))
        of_runs = f"SELECT * FROM _ledger.entries WHERE {where}"
        (row,) = self._all(f'SELECT {packed.TEXTS} FROM ({of_runs} ORDER BY run, "position")', parameters)
        whole = self._all(
            f"SELECT {ENTRY_SELECTION} FROM _ledger.entries WHERE {where} AND {packed.IS_WHOLE}", parameters
        )
        return packed.unpack_many(lengths, row, map(Entry._make, whole))

    def entries_between(self, first: int, last: int) -> list[Entry]:
        """Read all entries of the runs from number `first` to `last`, in order."""
        where = 'run BETWEEN ? AND ? ORDER BY run, "position"'
        found = self._all(f"SELECT {ENTRY_SELECTION} FROM _ledger.entries WHERE {where}", [first, last])
        return list(map(Entry._make, found))

    def resumable(self, after: int, limit: int) -> list[tuple[int, str]]:
        """List `(run, resumption)` of runs with a number above `after` that a restart may have to resume."""
        query = "SELECT run, resumption FROM _ledger.runs WHERE resumption IS NOT NULL AND run > ? ORDER BY run LIMIT ?"
        return [(run, need) for run, need in self._all(query, [after, limit])]

    def due(self, limit: int, without: Collection[int]) -> list[tuple[int, int]]:
        """List the earliest `(time, run)`, but for some runs."""
        skipped = " AND NOT list_contains(?, run)" if without else ""
        query = f"SELECT next_due_us, run FROM _ledger.runs WHERE next_due_us IS NOT NULL{skipped} ORDER BY ALL LIMIT ?"
        return [(time, run) for time, run in self._all(query, [*([sorted(without)] if without else []), limit])]

    def key_sets(self) -> list[tuple[str, str]]:
        """The distinct `(type, match)` shapes of waits: one match for each set of keys."""
        query = "SELECT event_type, min(match) FROM _ledger.waits GROUP BY event_type, json_keys(match)"
        return [(event_type, match) for event_type, match in self._all(query)]

    def waiters(self, event_type: str, wanted: Mapping[int, str]) -> list[tuple[int, int, Waiter]]:
        """List `(run, position, waiter)` of waits of a type with one of these matches, by match key."""
        if not wanted:
            return []
        places = ", ".join("?" * len(wanted))
        where = f"event_type = ? AND match_hash IN ({places})"
        found = self._all(
            f'SELECT run, "position", run_id, command, match FROM _ledger.waits WHERE {where}', [event_type, *wanted]
        )
        matches = set(wanted.values())
        return [
            (run, at, Waiter(run, run_id, command)) for run, at, run_id, command, match in found if match in matches
        ]

    def definition(self, digest: str) -> DefinitionRow | None:
        """Find a definition by its digest."""
        found = self._all("FROM _ledger.definitions WHERE digest = ?", [digest])
        return DefinitionRow(*found[0]) if found else None

    def digests(self) -> set[str]:
        """Those of all definitions."""
        return {digest for (digest,) in self._all("SELECT digest FROM _ledger.definitions")}

    def contents(self, at_most: int) -> tuple[list[int], list[int], list[int], tuple[list[int], list[int]]] | None:
        """What `Contents` is made with; None when it is more than so many. From any thread, unless somebody writes."""
        cursor = self._database.cursor()
        try:
            with self._database.in_our_words("reading the ledger"):
                if cursor.execute(_COUNT).fetchall()[0][0] > at_most:
                    return None
                # Sorted there: it takes a third of the time that it takes here, and the interpreter's lock is free.
                runs, keys, cells, waits = (cursor.execute(query).fetchall()[0] for query in _CONTENTS)
                return runs[0], keys[0], cells[0], waits
        finally:
            cursor.close()

    def last_run(self) -> int:
        """The greatest run number."""
        return int(self._all("SELECT coalesce(max(run), 0) FROM _ledger.runs")[0][0])

    def sql(self, query: str, parameters: Sequence[Any]) -> SqlResult:
        """Run a user's query."""
        return self._database.query(query, parameters)

    def close(self) -> None:
        """Give the file back."""
        self.absorption.close()
        self.cells.close()
        self._cursor.close()
        self._database.close()


def _first(rows: list[RunRow]) -> RunRow | None:
    return rows[0] if rows else None


def _among(runs: Sequence[int]) -> tuple[str, list[Any]]:
    """A condition on run numbers, given in increasing order; a range where they are one."""
    first, last = runs[0], runs[-1]
    if last - first + 1 == len(runs):
        return "run BETWEEN ? AND ?", [first, last]
    return "run BETWEEN ? AND ? AND run IN (SELECT unnest(?))", [first, last, list(runs)]


def _condition(wanted: RunFilter, without: Collection[int]) -> tuple[str, list[Any]]:
    """The same as `RunFilter.admits`, in SQL."""
    conditions, parameters = ["true"], list[Any]()
    for condition, value in (
        ("workflow = ?", wanted.workflow),
        ("version = ?", wanted.version),
        ("list_contains(?, status)", list(wanted.statuses) or None),
        ("created_us >= ?", wanted.since),
        ("run < ?", wanted.before_run),
        ("run >= ?", wanted.from_run),
        ("(verdict IS NULL) = ?", wanted.unverified or None),
        ("NOT list_contains(?, run)", sorted(without) or None),
    ):
        if value is not None:
            conditions.append(condition)
            parameters.append(value)
    for name, text in wanted.tags.items():
        conditions.append("tags[?] = ?")
        parameters += [name, text]
    return " AND ".join(conditions), parameters
