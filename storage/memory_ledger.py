"""A ledger in plain dictionaries: for tests, simulations and tools. It keeps the whole contract, but for durability.

This file knows how to answer from memory. It must not know anything that another ledger would not do alike.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from perdure.errors import InternalError
from perdure.storage.absorption import Load
from perdure.storage.batch import Batch, prepare
from perdure.storage.cells import Cell, listed, refuse_unkeepable
from perdure.storage.columns import Columns
from perdure.storage.due_window import DueWindow
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.holding import Holding
from perdure.storage.ledger import QueueRow, RunFilter, RunRow, SqlResult, Waiter, is_on_queue, queue_row
from perdure.storage.resumption import is_interrupted
from perdure.storage.waits import KeySets, WaitIndex, waiters_of
from perdure.storage.windows import WINDOW_ENTRIES, Windows


class MemoryLedger:
    """A `Ledger` that lives as long as the object."""

    def __init__(self) -> None:
        self._rows: dict[int, RunRow] = {}
        self._entries: dict[int, list[Entry]] = {}
        self._numbers: dict[str, int] = {}  # by run_id
        self._keys: dict[tuple[str, str], int] = {}  # by workflow and idempotency key
        self._children: dict[str, list[int]] = {}  # by the parent's run_id
        self._definitions: dict[str, DefinitionRow] = {}
        self._due = DueWindow()
        self._key_sets = KeySets()
        self._waits = WaitIndex(self._key_sets)
        self._cells: dict[str, dict[str, Cell]] = {}  # by space, then key
        self._last_run = 0
        self._closed = False

    def next_run(self) -> int:
        """Give out a run number greater than any before."""
        self._last_run += 1
        return self._last_run

    def append(
        self, entries: Sequence[Entry], definitions: Sequence[DefinitionRow] = (), cells: Sequence[Cell] = ()
    ) -> None:
        """Add one batch, all or nothing."""
        self._check_open()
        batch = prepare(entries, self._rows.get)
        for run, row in batch.rows.items():
            if batch.before[run] is None and row.run_id in self._numbers:
                raise InternalError(f"run id {row.run_id!r} is taken.", where=f"run {self._numbers[row.run_id]}")
        refuse_unkeepable(cells)
        self.keep(batch, definitions, cells)
        for run, row in batch.rows.items():
            before = batch.before[run]
            if before is None:
                self._enter(row)
            self._rows[run] = row
            self._entries.setdefault(run, []).extend(batch.entries[run])
            self._due.set(run, row.next_due)
            self._waits.replace(before, row)
        for definition in definitions:
            self._definitions.setdefault(definition.digest, definition)
        for cell in cells:
            self._put(cell)

    def _put(self, cell: Cell) -> None:
        space = self._cells.setdefault(cell.space, {})
        if not cell.is_gone:
            space[cell.key] = cell
        else:
            space.pop(cell.key, None)
            if not space:
                del self._cells[cell.space]

    def keep(self, batch: Batch, definitions: Sequence[DefinitionRow], cells: Sequence[Cell]) -> None:
        """Make a batch survive, before it counts. Memory survives nothing; a simulation writes it to its disk here."""

    def _enter(self, row: RunRow) -> None:
        self._last_run = max(self._last_run, row.run)
        self._numbers[row.run_id] = row.run
        if row.idempotency_key is not None:
            key = (row.workflow, row.idempotency_key)
            self._keys[key] = max(row.run, self._keys.get(key, 0))
        if row.parent_run_id is not None:
            self._children.setdefault(row.parent_run_id, []).append(row.run)

    def run(self, run_id: str) -> RunRow | None:
        """Find a run by its id."""
        return self._rows.get(self._numbers.get(run_id, 0))

    def run_numbered(self, run: int) -> RunRow | None:
        """Find a run by its number."""
        return self._rows.get(run)

    def run_by_key(self, workflow: str, idempotency_key: str) -> RunRow | None:
        """Find the newest run of `workflow` that was started under this key."""
        return self._rows.get(self._keys.get((workflow, idempotency_key), 0))

    def runs(self, wanted: RunFilter) -> list[RunRow]:
        """List runs, newest first."""
        found: list[RunRow] = []
        for run in sorted(self._rows, reverse=True):
            if wanted.limit is not None and len(found) >= wanted.limit:
                break
            if wanted.admits(self._rows[run]):
                found.append(self._rows[run])
        return found

    def count(self, wanted: RunFilter) -> dict[str, int]:
        """Count runs by status."""
        counts: dict[str, int] = {}
        wanted = wanted.unpaged()
        for row in self._rows.values():
            if wanted.admits(row):
                counts[row.status] = counts.get(row.status, 0) + 1
        return counts

    def children(self, run_id: str) -> list[RunRow]:
        """List the runs that this one started, oldest first."""
        return [self._rows[run] for run in sorted(self._children.get(run_id, ()))]

    def entries(self, run: int, start: int = 0, limit: int | None = None) -> list[Entry]:
        """Read a run's entries from position `start` on."""
        return self._entries.get(run, [])[start : None if limit is None else start + limit]

    def selected(self, run: int, kinds: Collection[str], start: int = 0, limit: int | None = None) -> list[Entry]:
        """Read a run's entries of some kinds from position `start` on."""
        found = (entry for entry in self._entries.get(run, [])[start:] if entry.kind in kinds)
        return list(islice(found, limit))

    def on_queues(self, since: int) -> list[QueueRow]:
        """List the runs on queues that have not ended, and those that began at or after `since`."""
        return [queue_row(row) for _, row in sorted(self._rows.items()) if is_on_queue(row, since)]

    def walk(self, row: RunRow) -> Sequence[Entry]:
        """Read a run's entries as a replay needs them."""
        if row.length <= WINDOW_ENTRIES:
            return self.entries(row.run)
        return Windows(lambda start, stop: self.entries(row.run, start, stop - start), 0, row.length)

    def walk_many(self, rows: Sequence[RunRow], *, whole: bool = False) -> Sequence[Sequence[Entry]]:
        """Read several runs' entries as a replay needs them."""
        return [self.walk(row) for row in rows]

    def interrupted(self) -> Iterator[RunRow]:
        """Go through the runs that a restart has to resume, oldest first."""
        for run in sorted(self._rows):
            if is_interrupted(self._rows[run], self.run):
                yield self._rows[run]

    def due(self, until: int, limit: int) -> list[tuple[int, int]]:
        """List `(time, run)` of runs that are due, earliest first."""
        return self._due.due(until, limit)

    def next_due(self) -> int | None:
        """The earliest due time of all runs."""
        return self._due.next_due()

    def prefetch(self, runs: Sequence[int]) -> None:
        """Everything is at hand."""

    def waiters(self, event_type: str, payload: Mapping[str, Any]) -> list[Waiter]:
        """List the waits that this event satisfies."""
        wanted = self._key_sets.candidates(event_type, payload)
        rows = [self._rows[run] for run in sorted(set(self._waits.runs(wanted)))]
        return [waiter for row in rows for waiter in waiters_of(row, event_type, set(wanted.values()))]

    def definition(self, digest: str) -> DefinitionRow | None:
        """Find a definition by its digest."""
        return self._definitions.get(digest)

    def has_definition(self, digest: str) -> bool:
        """Whether there is a definition with this digest."""
        return digest in self._definitions

    def cell(self, space: str, key: str) -> Cell | None:
        """Find a cell."""
        return self._cells.get(space, {}).get(key)

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
        """List cells of a space."""
        found = list(self._cells.get(space, {}).values())
        return listed(found, prefix=prefix, after=after, due_until=due_until, limit=limit, holding=holding)

    def spaces(self, prefix: str) -> list[str]:
        """List the spaces that have cells."""
        return sorted(space for space in list(self._cells) if space.startswith(prefix))

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> SqlResult:
        """Run one read-only query over the documented views, made anew of what there is."""
        columns = Columns(None)
        try:
            load = Load(self._entries, self._rows, dict.fromkeys(self._rows), self._definitions, self._cells)
            columns.absorption.absorb(load, {})
            return columns.sql(query, parameters)
        finally:
            columns.close()

    def close(self) -> None:
        """Refuse further batches; what there is may still be read."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise InternalError("the ledger is closed.", fix="append before close()")
