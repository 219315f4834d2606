"""Proves offline that nothing in a ledger was altered, dropped, inserted or reordered.

Four things must hold, and each finds what the others can't:
- every run's entries continue its chain of digests, from position 0 on;
- every run's row has the length and the digest of its newest entry, so a tail that was cut off shows;
- every run's row is what folding its entries gives, so a listing doesn't lie;
- what queries see as VARIANT is what the entry's body says.

This file knows what a sound ledger is. It must not change one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate

from perdure.errors import InternalError
from perdure.storage.chain import verify_chain
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import Entry
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
#: Runs of entries without a row, and rows without entries: neither is found by walking the rows' own entries.
_ORPHANS = (
    "SELECT DISTINCT run FROM _ledger.entries WHERE run NOT IN (SELECT run FROM _ledger.runs) ORDER BY run LIMIT 100"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One place where the ledger is not as it was written."""

    run: int
    run_id: str
    position: int | None  # None when no single entry is to blame
    message: str

    def __str__(self) -> str:
        place = "" if self.position is None else f", entry {self.position}"
        return f"run {self.run_id or self.run}{place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found."""

    runs: int
    entries: int
    faults: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.faults


def verify(ledger: str | os.PathLike[str] | DuckDBLedger) -> Verdict:
    """Walk through all of a ledger; a path is opened for reading and left as it is.

    Raises:
        LedgerError: it can't be opened or read at all, which is a fault that has no run.
    """
    with _opened(ledger) as opened:
        runs = entries = 0
        faults: list[Fault] = []
        for row, history in _histories(opened):
            runs += 1
            entries += len(history)
            fault = verify_run(row, history)
            if fault is not None:
                faults.append(fault)
        for (run,) in opened.sql(_ORPHANS).rows:
            faults.append(Fault(run, "", 0, "its entries are there, but no row of the run"))
        for run, run_id, position in opened.sql(_CHANGED_VALUES).rows:
            faults.append(Fault(run, run_id, position, "the value that queries see is not what its body says"))
        return Verdict(runs, entries, tuple(sorted(faults, key=lambda fault: (fault.run, fault.position or 0))))


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


def _histories(ledger: DuckDBLedger) -> Iterator[tuple[RunRow, list[Entry]]]:
    """Go through all runs, newest first, with so many at a time that their entries fit in memory."""
    before: int | None = None
    while page := ledger.runs(RunFilter(before_run=before, limit=_PAGE_RUNS)):
        sizes = accumulate(row.length for row in page)
        wanted = page[: max(1, sum(size <= _PAGE_ENTRIES for size in sizes))]
        found: dict[int, list[Entry]] = {row.run: [] for row in wanted}
        for entry in ledger.entries_between(wanted[-1].run, wanted[0].run):
            if entry.run in found:
                found[entry.run].append(entry)
        for row in wanted:
            yield row, found[row.run]
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
