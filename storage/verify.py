"""Proves offline that nothing in a ledger was altered, dropped, inserted or reordered.

These must hold, and each finds what the others can't:
- every run's entries continue its chain of digests, from position 0 on;
- every run's row has the length and the digest of its newest entry, so a tail that was cut off shows;
- every run's row is what folding its entries gives, so a listing doesn't lie;
- what look-ups go by follows from the rows and entries (derived.py);
- what queries see as VARIANT is what the entry's body says;
- every definition's source has the definition's digest, which the runs' first entries name;
- every cell is found, once, and can be read (cell_verification.py): of cells it proves no more, since they change.

All of this holds of a history that was rewritten whole, with its chain and its row. That is found only by what was
written down of it before and kept elsewhere (evidence.py).

This file knows what a sound ledger is. It must not change one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate

from perdure.errors import InternalError
from perdure.storage.cell_verification import CellVerification
from perdure.storage.chain import verify_chain
from perdure.storage.derived import Derived
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.evidence import Evidence, definition_digest
from perdure.storage.fold import fold_all
from perdure.storage.ledger import RunFilter, RunRow

_PAGE_RUNS = 5000
_PAGE_ENTRIES = 50_000

#: Compared as JSON on both sides, since VARIANT sorts keys and rounds numbers: the same cast must give the same again.
_CHANGED_VALUES = """
    SELECT e.run, coalesce(r.run_id, ''), e."position"
    FROM _ledger.entries AS e LEFT JOIN _ledger.runs AS r ON r.run = e.run
    WHERE e.value::JSON::VARCHAR IS DISTINCT FROM
        CASE WHEN shown THEN TRY_CAST(TRY_CAST(body AS JSON) AS VARIANT) END::JSON::VARCHAR
    ORDER BY ALL LIMIT 100
"""
#: Runs of entries without a row, and waits of none: neither is found by walking the rows' own entries.
_ORPHANS = (
    "SELECT DISTINCT run FROM _ledger.entries WHERE run NOT IN (SELECT run FROM _ledger.runs) ORDER BY run LIMIT 100"
)
_ORPHAN_WAITS = (
    "SELECT DISTINCT run FROM _ledger.waits WHERE run NOT IN (SELECT run FROM _ledger.runs) ORDER BY run LIMIT 100"
)
#: Numbers and ids that several rows have: look-ups would find any of them.
_TWINS = """
    SELECT run, run_id FROM _ledger.runs
    WHERE run IN (SELECT run FROM _ledger.runs GROUP BY run HAVING count(*) > 1)
        OR run_id IN (SELECT run_id FROM _ledger.runs GROUP BY run_id HAVING count(*) > 1)
    ORDER BY ALL LIMIT 100
"""
_UNDEFINED = """
    SELECT min(run), min_by(run_id, run), definition, count(*) FROM _ledger.runs
    WHERE definition NOT IN (SELECT digest FROM _ledger.definitions) GROUP BY definition ORDER BY 1 LIMIT 100
"""

#: Works out the digest of a definition's source; None when that can't be done here, as when its syntax is too new.
SourceDigest = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One place where the ledger is not as it was written."""

    run: int  # 0 when it is no run's
    run_id: str
    position: int | None  # None when no single entry is to blame
    message: str

    def __str__(self) -> str:
        if not self.run and not self.run_id:
            return self.message
        place = "" if self.position is None else f", entry {self.position}"
        return f"run {self.run_id or self.run}{place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found."""

    runs: int
    entries: int
    faults: tuple[Fault, ...]
    cells: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.faults


def verify(
    ledger: str | os.PathLike[str] | DuckDBLedger,
    *,
    against: Evidence | None = None,
    export: Evidence | None = None,
    source_digest: SourceDigest | None = None,
    progress: Callable[[int], object] = lambda entries: None,
) -> Verdict:
    """Walk through all of a ledger; a path is opened for reading and left as it is.

    Args:
        against: what was written down earlier; all of it must still be there, unaltered.
        export: takes what this ledger has now.
        source_digest: checks the definitions too.
        progress: told how many more entries were gone through.

    Raises:
        LedgerError: it can't be opened or read at all, which is a fault that has no run.
    """
    with _opened(ledger) as opened:
        runs = entries = 0
        faults: list[Fault] = []
        seen: set[str] = set()
        for row, history, derived in _histories(opened):
            runs += 1
            entries += len(history)
            faults.extend(_faults_of(row, history, derived, against))
            seen.add(row.run_id)
            if export is not None:
                export.take(row)
            progress(len(history))
        faults += _faults_between(opened)
        if against is not None:
            faults += [
                Fault(head.run, head.run_id, None, f"the run is gone, and had {head.length} entries in the evidence")
                for head in against.in_order()
                if head.run_id not in seen
            ]
        faults += _faults_of_definitions(opened, against, export, source_digest)
        cells = CellVerification(opened)
        faults += [Fault(0, "", None, message) for message in cells.faults()]
        faults.sort(key=lambda fault: (fault.run, fault.position or 0))
        return Verdict(runs, entries, tuple(faults), cells.cells)


def _faults_of(row: RunRow, history: Sequence[Entry], derived: Derived, against: Evidence | None) -> Iterator[Fault]:
    fault = verify_run(row, history)
    if fault is not None:
        yield fault
    else:  # else what follows from the entries says nothing new
        for position, message in derived.faults_of(row, history):
            yield Fault(row.run, row.run_id, position, message)
    changed = None if against is None else against.change_in(row, history)
    if changed is not None:
        yield Fault(row.run, row.run_id, *changed)


def _faults_between(ledger: DuckDBLedger) -> Iterator[Fault]:
    for (run,) in ledger.sql(_ORPHANS).rows:
        yield Fault(run, "", 0, "its entries are there, but no row of the run")
    for (run,) in ledger.sql(_ORPHAN_WAITS).rows:
        yield Fault(run, "", None, "it waits for an event, but there is no row of the run")
    for run, run_id in ledger.sql(_TWINS).rows:
        yield Fault(run, run_id, None, "another row has its number or its id")
    for run, run_id, position in ledger.sql(_CHANGED_VALUES).rows:
        yield Fault(run, run_id, position, "the value that queries see is not what its body says")


def _faults_of_definitions(
    ledger: DuckDBLedger, against: Evidence | None, export: Evidence | None, source_digest: SourceDigest | None
) -> Iterator[Fault]:
    missing = dict(against.definitions) if against is not None else {}
    for fields in ledger.sql("FROM _ledger.definitions ORDER BY digest").rows:
        row = DefinitionRow(*fields)
        name = f"definition {row.digest} ({row.workflow} v{row.version})"
        found = row.digest if source_digest is None else source_digest(row.source)
        if found not in (None, row.digest):
            yield Fault(0, "", None, f"{name}: its source was altered, and has the digest {found}")
        if missing.pop(row.digest, definition_digest(row)) != definition_digest(row):
            yield Fault(0, "", None, f"{name} is not what it was in the evidence")
        if export is not None:
            export.take_definition(row)
    for digest in missing:
        yield Fault(0, "", None, f"definition {digest} is gone, and was in the evidence")
    if source_digest is not None:
        for run, run_id, digest, count in ledger.sql(_UNDEFINED).rows:
            others = f"; so were {count - 1:,} later runs" if count > 1 else ""
            yield Fault(run, run_id, None, f"it was started with definition {digest}, which is not there{others}")


def verify_run(row: RunRow, entries: Sequence[Entry]) -> Fault | None:
    """The first fault of one run, or None."""
    position = verify_chain(entries)
    if position is not None:
        found = entries[position]
        if found.position > position:
            message = f"this entry was dropped; entry {found.position} follows"
        elif found.position < position:
            message = f"entry {found.position} is there twice, or was moved"
        else:
            message = "the entry, or the one before it, was altered: its digest does not fit"
        return Fault(row.run, row.run_id, position, message)
    if len(entries) != row.length or (entries[-1].digest if entries else b"") != row.digest:
        position = min(len(entries), row.length)
        return Fault(row.run, row.run_id, position, f"the run has {row.length} entries, and {len(entries)} are there")
    try:
        folded = fold_all(None, entries)
    except InternalError as error:
        return Fault(row.run, row.run_id, None, f"its entries make no run: {error.why}")
    if folded != row:
        return Fault(row.run, row.run_id, None, f"its row says otherwise than its entries: {_difference(folded, row)}")
    return None


def _difference(folded: RunRow, row: RunRow) -> str:
    names = [name for name in RunRow.__slots__ if getattr(folded, name) != getattr(row, name)]
    return ", ".join(f"{name} is {getattr(row, name)!r} for {getattr(folded, name)!r}" for name in names)


def _histories(ledger: DuckDBLedger) -> Iterator[tuple[RunRow, list[Entry], Derived]]:
    """Go through all runs, newest first, with so many at a time that their entries fit in memory."""
    before: int | None = None
    while page := ledger.runs(RunFilter(before_run=before, limit=_PAGE_RUNS)):
        sizes = accumulate(row.length for row in page)
        wanted = page[: max(1, sum(size <= _PAGE_ENTRIES for size in sizes))]
        found: dict[int, list[Entry]] = {row.run: [] for row in wanted}
        for entry in ledger.entries_between(wanted[-1].run, wanted[0].run):
            if entry.run in found:
                found[entry.run].append(entry)
        derived = Derived(ledger, wanted[-1].run, wanted[0].run)
        for row in wanted:
            yield row, found[row.run], derived
        before = wanted[-1].run


@contextmanager
def _opened(ledger: str | os.PathLike[str] | DuckDBLedger) -> Iterator[DuckDBLedger]:
    if not isinstance(ledger, (str, os.PathLike)):
        yield ledger
        return
    opened = DuckDBLedger(ledger, read_only=True, threads=os.cpu_count() or 1)
    try:
        yield opened
    finally:
        opened.close()
