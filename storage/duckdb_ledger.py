"""The ledger in a DuckDB file: a journal in front that acknowledges, columns behind that answer.

    append ──► journal (one record, one sync) ──► overlay in memory ──► absorber's thread ──► columns (DuckDB)
                        └ acknowledged                └ answers join it to the columns' ones

Rules:
- a batch counts from the moment when the journal has it, and is in the overlay before `append` returns;
- the columns note which record they have absorbed in the same transaction, so each record is absorbed once;
- whoever asks looks at the overlays first and at the columns then: what moves from one to the other meanwhile is seen
  twice, which is allowed for, and never missed;
- beside the file lie `….journal` (while it is open, or was killed) and `….lock`; a closed ledger is one file.

This file joins the parts. It must not know SQL, nor how a record looks on disk.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from perdure.errors import InternalError, LedgerCorrupt, LedgerError, LedgerFull, LedgerReadOnly
from perdure.storage import payload
from perdure.storage.absorber import GATHER_S, Absorber
from perdure.storage.absorption import Load
from perdure.storage.batch import prepare
from perdure.storage.cell_answers import CellAnswers
from perdure.storage.cells import Cell, refuse_unkeepable
from perdure.storage.columns import Columns
from perdure.storage.contents import Additions, Contents
from perdure.storage.due_window import DueWindow
from perdure.storage.entries import CREATED, DefinitionRow, Entry
from perdure.storage.history_answers import HistoryAnswers
from perdure.storage.holding import Holding
from perdure.storage.journal import SEGMENT_BYTES, Journal
from perdure.storage.ledger import QueueRow, RunFilter, RunRow, SqlResult, Waiter, is_on_queue, queue_row
from perdure.storage.lock import OwnerLock, ReaderLock
from perdure.storage.place import check_place
from perdure.storage.recent import Recent
from perdure.storage.resumption import is_interrupted
from perdure.storage.segments import JournalScan
from perdure.storage.wait_answers import WaitAnswers

#: A gathered size at which the absorber begins at once, and one at which batches wait for it: memory is bounded.
_HASTE_BYTES: Final = 4 << 20
_WAIT_BYTES: Final = 128 << 20
#: A record's length is kept in 32 bits, and all of it is in memory several times on its way.
_BATCH_BYTES_MAX: Final = 1 << 30
#: Of more runs, waits and cells it is not kept in memory which there are: a look-up for a new one costs a query then.
_KNOWN_MAX: Final = 4_000_000
#: How many runs the overlays may have moved before a listing absorbs first, instead of leaving them out in SQL.
_LEFT_OUT_MAX: Final = 1000
#: Run numbers reserved at a time; a restart after a kill skips the rest.
_RESERVED_RUNS: Final = 4096
_PAGE_RUNS: Final = 500


class DuckDBLedger:
    """A `Ledger` kept in a file.

    Args:
        path: of the DuckDB file; made when it is not there, in a folder that is.
        read_only: look at a ledger that nobody owns, and change no file; what its journal holds is seen too.
        threads: cores that one SQL query may use.
        gather_s: how long batches are gathered before they are absorbed into the columns.
        segment_bytes: size of the journal's files.

    Raises:
        LedgerLocked: a process owns it (or this one has it open). LedgerCorrupt: it isn't a sound ledger.
        LedgerTooNew: a newer release wrote it. LedgerReadOnly, LedgerFull: it can't be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        threads: int = 1,
        gather_s: float = GATHER_S,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.path = Path(path).absolute()
        self._recent = Recent()
        self._absorbing = threading.Lock()  # one absorption at a time
        self._known_definitions: set[str] = set()
        self._journal: Journal | None = None
        self._absorber: Absorber | None = None
        self._closed = self._has_learned = False
        check_place(self.path, read_only)
        with ExitStack() as undo:  # if opening fails, in reverse order
            self._owner = ReaderLock(self.path) if read_only else OwnerLock(self.path)
            undo.callback(self._owner.release)
            if not read_only and self.path.exists() and self.path.stat().st_size == 0:
                self.path.unlink()  # a temporary file's, or a first start that was killed: there is nothing in it
            self._columns = Columns(self.path, read_only=read_only, threads=threads)
            undo.callback(self._columns.close)
            undo.callback(self._leave_journal)
            self._recover(read_only, segment_bytes)
            undo.pop_all()
        self._due = DueWindow(self._read_due)
        self._histories = HistoryAnswers(self._recent, self._columns)
        self._waits = WaitAnswers(self._recent, self._columns, self._present)
        self._cells = CellAnswers(self._recent, self._columns.cells, self._absorb)
        if not read_only:
            self._absorber = Absorber(self._tend, gather_s)
            self._absorber.wake(at_once=False)

    # ── opening and closing ──────────────────────────────────────────────────────────────────────

    @property
    def journal_folder(self) -> Path:
        """Where the journal's files lie."""
        return self.path.with_name(self.path.name + ".journal")

    def _recover(self, read_only: bool, segment_bytes: int) -> None:
        meta = self._columns.meta()
        ledger, absorbed = int(meta.get("ledger", "0")), int(meta.get("absorbed", "0"))
        if meta.get("open") == "1" and not self.journal_folder.is_dir():
            raise LedgerCorrupt(
                "the ledger was not closed, and its journal is missing.",
                where=str(self.journal_folder),
                why="the newest acknowledged entries were in it",
                fix="bring the journal's folder to where the file is; copy both, or close the ledger before copying it",
            )
        for event_type, match in self._columns.key_sets():
            self._recent.key_sets.add(event_type, match)
        self._reserved = max(int(meta.get("reserved", "0")), self._columns.last_run())
        if read_only:
            records = JournalScan(self.journal_folder, ledger, absorbed).records()
        else:
            if not ledger:
                ledger = secrets.randbits(63) | 1
                self._columns.absorption.absorb(Load(), {"ledger": str(ledger), "absorbed": "0"})
            self._journal = Journal(self.journal_folder, ledger, absorbed, segment_bytes)
            records = self._journal.recover()
        for sequence, content in records:
            self._replay(sequence, content)
            if self._recent.size > _HASTE_BYTES:
                self._absorb()
        self._absorb()
        self._known_definitions = self._columns.digests()
        self._last_run = self._reserved
        if not read_only:
            self._columns.absorption.absorb(Load(), {"open": "1"})

    def _replay(self, sequence: int, content: bytes) -> None:
        """Take a record of the journal as if its batch had just been appended."""
        where = f"{self.journal_folder}, record {sequence}"
        try:
            found = payload.read(content)
            batch = prepare(found.entries, self._present(_continued(found.entries)).get)
        except (ValueError, InternalError) as error:
            raise LedgerCorrupt("a record of the journal does not fit the ledger.", where=where, why=str(error),
                                fix="restore file and journal from the same backup") from error  # fmt: skip
        sealed = [entry for entries in batch.entries.values() for entry in entries]
        written = {(entry.run, entry.position): entry.digest for entry in found.entries}
        for entry in sealed:
            if written[entry.run, entry.position] != entry.digest:
                raise LedgerCorrupt(
                    "an entry in the journal was altered.", where=f"{where}, run {entry.run}, entry {entry.position}",
                    why="its digest does not continue the run's chain", fix="restore file and journal from a backup",
                )  # fmt: skip
        self._reserved = max(self._reserved, found.reserved, *batch.rows, 0)
        self._recent.take(batch, found.definitions, found.cells, sequence, len(content))

    def close(self) -> None:
        """Absorb what is left, and give the file back. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._absorber is not None:
            self._absorber.stop()
        if self._journal is not None:
            self._close_journal(self._journal)
        self._columns.close()
        self._owner.release()

    def _leave_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def _close_journal(self, journal: Journal) -> None:
        try:
            self._absorb()
            self._columns.absorption.absorb(Load(), {"open": "0", "reserved": str(self._last_run)})
            self._columns.absorption.checkpoint()
        except LedgerError:
            # The journal keeps what the columns could not take; the next start absorbs it, or says why it can't.
            journal.close()
        else:
            journal.remove()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def next_run(self) -> int:
        """Give out a run number greater than any before."""
        if self._last_run >= self._reserved:
            reserved = self._last_run + _RESERVED_RUNS
            content = payload.write_reservation(reserved)
            sequence = self._writable().append(content)
            self._reserved = reserved
            self._recent.note(sequence, len(content))
        self._last_run += 1
        return self._last_run

    def append(
        self, entries: Sequence[Entry], definitions: Sequence[DefinitionRow] = (), cells: Sequence[Cell] = ()
    ) -> None:
        """Add one batch, all or nothing, and return only when it would survive a power cut."""
        journal = self._writable()
        batch = prepare(entries, self._present(_continued(entries)).get)
        for run, row in batch.rows.items():
            if batch.before[run] is None and self._recent.run(row.run_id) is not None:
                raise InternalError(f"run id {row.run_id!r} is taken.", where=f"run {run}")
        definitions = [each for each in definitions if each.digest not in self._known_definitions]
        refuse_unkeepable(cells)
        content = payload.write_batch(batch, definitions, cells)
        if not content:
            return
        if len(content) > _BATCH_BYTES_MAX:
            raise LedgerFull(
                f"a batch of {len(content) >> 20:,} MiB is too large.", where=str(self.path),
                why=f"a batch is one record of the journal, of at most {_BATCH_BYTES_MAX >> 20:,} MiB",
                fix="write less in one step; keep what is large elsewhere, and where it is in the ledger",
            )  # fmt: skip
        if self._recent.size > _WAIT_BYTES:
            self._absorb()  # in the foreground, so that its error is this batch's
        sequence = journal.append(content)
        self._known_definitions.update(each.digest for each in definitions)
        self._recent.take(batch, definitions, cells, sequence, len(content))
        for run, row in batch.rows.items():
            self._due.set(run, row.next_due)
        if self._absorber is not None:
            self._absorber.wake(at_once=self._recent.size > _HASTE_BYTES)

    def _writable(self) -> Journal:
        if self._journal is None:
            raise LedgerReadOnly("the ledger was opened with read_only=True.", where=str(self.path),
                                 fix="open it without, once nobody else has it")  # fmt: skip
        if self._closed:
            raise InternalError("the ledger is closed.", where=str(self.path), fix="append before close()")
        return self._journal

    def _present(self, runs: Iterable[int]) -> dict[int, RunRow]:
        """The newest rows of these runs, with one query for all that are not at hand."""
        rows: dict[int, RunRow] = {}
        missing: list[int] = []
        for run in runs:
            row = self._recent.row(run)
            if row is None:
                missing.append(run)
            else:
                rows[run] = row
        if missing:
            found = self._columns.numbered(missing)
            self._recent.warm(found)
            rows |= {row.run: row for row in found}
        return rows

    def _tend(self) -> None:
        """What the absorber's thread does: absorb, and learn what the columns have, beside an opening that is over."""
        contents = self._recent.contents
        if not self._has_learned or (contents is not None and contents.waits.is_crowded):
            self._learn()
        self._absorb()

    def _learn(self) -> None:
        with self._absorbing:  # so that nothing gets into the columns meanwhile
            found = self._columns.contents(_KNOWN_MAX)
            self._recent.contents = None if found is None else Contents(*found)
            self._has_learned = True

    def _absorb(self) -> None:
        """Bring everything acknowledged into the columns."""
        with self._absorbing:
            overlay = self._recent.begin_absorption()
            if overlay is None:
                return
            additions = Additions.of(overlay.load)
            overlay.load.cells_are_new = self._recent.is_new(additions.cells)
            meta = {"absorbed": str(overlay.sequence), "reserved": str(self._reserved)}
            self._columns.absorption.absorb(overlay.load, meta)
            self._recent.end_absorption(additions)
            if self._journal is not None:
                self._journal.absorbed(overlay.sequence)
                self._journal.make_spare()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def run(self, run_id: str) -> RunRow | None:
        """Find a run by its id."""
        row = self._recent.run(run_id)
        if row is None and not self._recent.lacks_run(run_id):
            row = self._columns.run(run_id)
            self._recent.warm([] if row is None else [row])  # whoever looks a run up goes on with it
        return row

    def run_numbered(self, run: int) -> RunRow | None:
        """Find a run by its number."""
        return self._present([run]).get(run)

    def run_by_key(self, workflow: str, idempotency_key: str) -> RunRow | None:
        """Find the newest run of `workflow` that was started under this key."""
        found = self._recent.run_by_key(workflow, idempotency_key)
        if self._recent.lacks_key(workflow, idempotency_key):
            return found
        old = self._columns.run_by_key(workflow, idempotency_key)
        if old is None or (found is not None and found.run > old.run):
            return found
        return self._recent.row(old.run) or old

    def runs(self, wanted: RunFilter) -> list[RunRow]:
        """List runs, newest first."""
        moved = self._few_moved()
        found = self._columns.runs(wanted, moved.keys())
        found += [row for row in moved.values() if wanted.admits(row)]
        found.sort(key=lambda row: -row.run)
        return found if wanted.limit is None else found[: wanted.limit]

    def count(self, wanted: RunFilter) -> dict[str, int]:
        """Count runs by status."""
        moved, wanted = self._few_moved(), wanted.unpaged()
        counts = self._columns.count(wanted, moved.keys())
        for row in moved.values():
            if wanted.admits(row):
                counts[row.status] = counts.get(row.status, 0) + 1
        return counts

    def children(self, run_id: str) -> list[RunRow]:
        """List the runs that this one started, oldest first."""
        moved = self._recent.moved()
        found = {row.run: row for row in self._columns.children(run_id)}
        found |= {row.run: row for row in moved.values() if row.parent_run_id == run_id}
        return [found[run] for run in sorted(found)]

    def entries(self, run: int, start: int = 0, limit: int | None = None) -> list[Entry]:
        """Read a run's entries from position `start` on."""
        return self._histories.entries(run, start, limit)

    def selected(self, run: int, kinds: Collection[str], start: int = 0, limit: int | None = None) -> list[Entry]:
        """Read a run's entries of some kinds from position `start` on."""
        return self._histories.selected(run, kinds, start, limit)

    def prefetch(self, runs: Sequence[int]) -> None:
        """Read the rows and the short histories of these runs with one query, for when they are asked for next."""
        self._histories.prefetch(runs)

    def walk(self, row: RunRow) -> Sequence[Entry]:
        """Read a run's entries as a replay needs them."""
        return self._histories.walk(row)

    def walk_many(self, rows: Sequence[RunRow], *, whole: bool = False) -> Sequence[Sequence[Entry]]:
        """Read several runs' entries as a replay needs them, in one query where nothing of them is new."""
        return self._histories.walk_many(rows, whole=whole)

    def on_queues(self, since: int) -> list[QueueRow]:
        """List the runs on queues that have not ended, and those that began at or after `since`."""
        moved = self._few_moved()
        found = [row for row in self._columns.on_queues(since) if row.run not in moved]
        found += [queue_row(row) for row in moved.values() if is_on_queue(row, since)]
        return sorted(found, key=lambda row: row.run)

    def entries_between(self, first: int, last: int) -> list[Entry]:
        """Read all entries of the runs from number `first` to `last`, by run and position: for walking through all."""
        self._absorb()
        return self._columns.entries_between(first, last)

    def interrupted(self) -> Iterator[RunRow]:
        """Go through the runs that a restart has to resume, oldest first."""
        self._absorb()
        after = 0
        while page := self._columns.resumable(after, _PAGE_RUNS):
            after = page[-1][0]
            for row in self._columns.numbered([run for run, _ in page]):
                # Asked again, for the run may have moved while the caller was busy with the ones before.
                row = self._recent.row(row.run) or row
                if is_interrupted(row, self.run):
                    yield row

    def due(self, until: int, limit: int) -> list[tuple[int, int]]:
        """List `(time, run)` of runs that are due, earliest first."""
        return self._due.due(until, limit)

    def next_due(self) -> int | None:
        """The earliest due time of all runs."""
        return self._due.next_due()

    def _read_due(self, limit: int) -> list[tuple[int, int]]:
        moved = self._few_moved()
        found = self._columns.due(limit, moved.keys())
        found += [(row.next_due, run) for run, row in moved.items() if row.next_due is not None]
        return sorted(found)[:limit]

    def waiters(self, event_type: str, payload: Mapping[str, Any]) -> list[Waiter]:
        """List the waits that this event satisfies."""
        return self._waits.waiters(event_type, payload)

    def definition(self, digest: str) -> DefinitionRow | None:
        """Find a definition by its digest."""
        for overlay in self._recent.overlays():
            if digest in overlay.load.definitions:
                return overlay.load.definitions[digest]
        return self._columns.definition(digest)

    def has_definition(self, digest: str) -> bool:
        """Whether there is a definition with this digest."""
        return digest in self._known_definitions

    def cell(self, space: str, key: str) -> Cell | None:
        """Find a cell."""
        return self._cells.cell(space, key)

    def cells(self, space: str, *, prefix: str = "", after: str | None = None, due_until: int | None = None,
              limit: int | None = None, holding: Sequence[Holding] = ()) -> list[Cell]:  # fmt: skip
        """List cells of a space."""
        return self._cells.cells(space, prefix=prefix, after=after, due_until=due_until, limit=limit, holding=holding)

    def spaces(self, prefix: str) -> list[str]:
        """List the spaces that have cells."""
        return self._cells.spaces(prefix)

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> SqlResult:
        """Run one read-only query over the documented views; it sees everything that was acknowledged."""
        self._absorb()
        return self._columns.sql(query, parameters)

    def _few_moved(self) -> dict[int, RunRow]:
        """The rows in the overlays, which must be few enough to be left out of a query by number."""
        moved = self._recent.moved()
        if len(moved) > _LEFT_OUT_MAX:
            self._absorb()
            moved = self._recent.moved()
        return moved


def _continued(entries: Sequence[Entry]) -> set[int]:
    """The runs that these entries go on with."""
    return {entry.run for entry in entries} - {entry.run for entry in entries if entry.kind == CREATED}
