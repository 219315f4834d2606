"""A writer is killed at random instants, again and again: what it acknowledged is there, whole, and it goes on."""

from __future__ import annotations

import random
import select
from pathlib import Path

from forked import Worker

from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.ledger import RunFilter
from perdure.storage.verify import verify

ROUNDS = 20
WRITER = Path(__file__).with_name("crash_writer.py")


def written_until_killed(path: Path, wait_s: float) -> list[tuple[int, int]]:
    """Let a writer run for a while; return the `(run, length)` that it was told is safe."""
    writer = Worker(WRITER, path)
    assert writer.stdout.readline() == "ready\n"
    select.select([], [], [], wait_s)  # how long it may write: any instant must do
    writer.kill()
    said, errors, code = writer.rest()
    assert code == -9, errors
    whole = said[: said.rfind("\n") + 1].split("\n")[:-1]
    return [(int(run), int(length)) for run, length in (line.split() for line in whole)]


def check_cells(ledger: DuckDBLedger) -> None:
    """Of each batch, the entries and the cells are both there or both not; of any cell, its newest."""
    rows = ledger.runs(RunFilter(limit=None))
    assert [(cell.key, cell.body) for cell in ledger.cells("kv/lengths")] == sorted(
        (row.run_id, str(row.length)) for row in rows
    )
    assert [cell.key for cell in ledger.cells("kv/marks")] == sorted(f"{row.run_id} {row.length}" for row in rows)
    for row in rows[:50]:
        said = ledger.cell("kv/lengths", row.run_id)
        assert said is not None
        assert said.version == row.length


def test_nothing_acknowledged_is_lost_by_kill_at_any_instant(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    instants = random.Random(20)
    safe: dict[int, int] = {}
    for number in range(ROUNDS):
        for run, length in written_until_killed(path, instants.uniform(0, 0.15)):
            safe[run] = max(length, safe.get(run, 0))
        if number % 5 == 4:
            verdict = verify(path)  # reads the journal as it was left
            assert verdict.ok, [str(fault) for fault in verdict.faults]
    assert len(safe) > ROUNDS, "the writer hardly wrote anything; the test shows nothing"
    ledger = DuckDBLedger(path)
    try:
        for run, length in safe.items():
            row = ledger.run(f"r{run}")
            assert row is not None, f"run {run} was acknowledged and is lost"
            assert row.length >= length
            assert len(ledger.entries(run)) == row.length
            assert ledger.definition(f"d{run}") is not None
        check_cells(ledger)
        assert ledger.next_run() > max(safe)
    finally:
        ledger.close()
    assert verify(path).ok
