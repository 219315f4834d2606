"""Whatever is changed behind the ledger's back is found, with its run and position."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from ledger_histories import completed, created, step

from perdure.storage import entries as kinds
from perdure.storage.chain import GENESIS, seal
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import Entry
from perdure.storage.verify import verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "orders.duckdb"
    ledger = DuckDBLedger(path, gather_s=3600)
    for _ in range(3):
        run = ledger.next_run()
        ledger.append([created(run, 1000), step(run, 1)])
        ledger.append([completed(run, 2, 1), Entry(run, 3, kinds.COMPLETED, 1001, body="1")])
    ledger.close()
    return path


def change(path: Path, statement: str) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(statement)


def test_an_untouched_ledger_verifies(path: Path) -> None:
    verdict = verify(path)
    assert verdict.ok
    assert (verdict.runs, verdict.entries) == (3, 12)


@pytest.mark.parametrize(
    ("statement", "place"),
    [
        ("""UPDATE _ledger.entries SET body = '{"amount":9}' WHERE run = 2 AND position = 2""", (2, 2)),
        ("UPDATE _ledger.entries SET name = 'x' WHERE run = 2 AND position = 1", (2, 1)),
        ("UPDATE _ledger.entries SET at_us = at_us + 1 WHERE run = 2 AND position = 0", (2, 0)),
        ("UPDATE _ledger.entries SET digest = 'x'::BLOB WHERE run = 2 AND position = 3", (2, 3)),
        ("DELETE FROM _ledger.entries WHERE run = 2 AND position = 1", (2, 1)),
        ("DELETE FROM _ledger.entries WHERE run = 2 AND position = 3", (2, 3)),
        ("DELETE FROM _ledger.entries WHERE run = 2", (2, 0)),
        ("UPDATE _ledger.entries SET position = 3 - position WHERE run = 2 AND position IN (1, 2)", (2, 1)),
        ("INSERT INTO _ledger.entries FROM _ledger.entries WHERE run = 2 AND position = 1", (2, 2)),
        ("INSERT INTO _ledger.entries SELECT * REPLACE (2 AS run, 4 AS position) FROM _ledger.entries "
         "WHERE run = 3 AND position = 3", (2, 4)),
        ("""UPDATE _ledger.entries SET value = '{"amount":9}'::JSON::VARIANT WHERE run = 2 AND position = 2""", (2, 2)),
        ("UPDATE _ledger.entries SET value = NULL WHERE run = 2 AND position = 2", (2, 2)),
        ("UPDATE _ledger.runs SET status = 'failed' WHERE run = 2", (2, None)),
        ("UPDATE _ledger.runs SET length = 3 WHERE run = 2", (2, 3)),
        ("DELETE FROM _ledger.runs WHERE run = 2", (2, 0)),
    ],
)  # fmt: skip
def test_a_change_is_found_at_its_place(path: Path, statement: str, place: tuple[int, int | None]) -> None:
    change(path, statement)
    verdict = verify(path)
    assert not verdict.ok
    assert (verdict.faults[0].run, verdict.faults[0].position) == place
    assert {fault.run for fault in verdict.faults} == {2}
    assert str(verdict.faults[0])


def test_a_tail_that_was_rewritten_with_its_chain_is_found_by_the_row(path: Path) -> None:
    """Whoever recomputes all digests must change the row as well."""
    digest, changed = GENESIS, []
    ledger = DuckDBLedger(path, read_only=True)
    for entry in ledger.entries(2):
        entry, _ = seal(digest, entry._replace(name="other" if entry.position == 1 else entry.name))
        digest = entry.digest
        changed.append(entry)
    ledger.close()
    for entry in changed:
        change(path, f"UPDATE _ledger.entries SET name = '{entry.name}', digest = unhex('{entry.digest.hex()}') "
                     f"WHERE run = 2 AND position = {entry.position}")  # fmt: skip
    assert [fault.run for fault in verify(path).faults] == [2]


def test_a_ledger_that_is_open_may_be_verified_too(path: Path) -> None:
    ledger = DuckDBLedger(path, gather_s=3600)
    ledger.append([created(ledger.next_run(), 1000)])
    verdict = verify(ledger)
    ledger.close()
    assert verdict.ok
    assert (verdict.runs, verdict.entries) == (4, 13)
