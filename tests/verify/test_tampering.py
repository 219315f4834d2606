"""Whatever is changed in a ledger's file behind its back is found and located, from the file alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from forger import change, cheaper, entries_of, rechained, write_run

from perdure.cli.verify import source_digest
from perdure.errors import LedgerCorrupt
from perdure.storage import entries as kinds
from perdure.storage.cells import Cell
from perdure.storage.chain import seal
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import Entry
from perdure.storage.segments import HEADER_BYTES, read_record, record
from perdure.storage.verify import Verdict, verify


def look(path: Path) -> Verdict:
    return verify(path, source_digest=source_digest)


def places(path: Path) -> list[tuple[str, int | None]]:
    return [(fault.run_id, fault.position) for fault in look(path).faults]


# ── the histories ────────────────────────────────────────────────────────────────────────────────


def test_an_untouched_ledger_is_sound(path: Path) -> None:
    verdict = look(path)
    assert verdict.faults == ()
    assert verdict.runs == 4
    assert verdict.entries > 20


HISTORIES = {
    "a result is altered": (
        """UPDATE _ledger.entries SET body = '{"paid":0}' WHERE run = 2 AND position = 2""", 2),
    "a time is altered": ("UPDATE _ledger.entries SET at_us = at_us - 1 WHERE run = 2 AND position = 3", 3),
    "a detail is altered": ("UPDATE _ledger.entries SET detail = '{}' WHERE run = 2 AND position = 1", 1),
    "a shape is added": ("UPDATE _ledger.entries SET shape = '\"x\"' WHERE run = 2 AND position = 2", 2),
    "an attempt is altered": ("UPDATE _ledger.entries SET attempt = 9 WHERE run = 2 AND position = 2", 2),
    "a due time is added": ("UPDATE _ledger.entries SET due_us = 5 WHERE run = 2 AND position = 2", 2),
    "a kind is altered": ("UPDATE _ledger.entries SET kind = 'step_failed' WHERE run = 2 AND position = 2", 2),
    "the first entry is dropped": ("DELETE FROM _ledger.entries WHERE run = 2 AND position = 0", 0),
    "an entry is dropped": ("DELETE FROM _ledger.entries WHERE run = 2 AND position = 2", 2),
    "two are swapped": ("UPDATE _ledger.entries SET position = 7 - position WHERE run = 2 AND position IN (3, 4)", 3),
    "one is there twice": ("INSERT INTO _ledger.entries FROM _ledger.entries WHERE run = 2 AND position = 2", 3),
    "one is inserted": (
        "UPDATE _ledger.entries SET position = position + 1 WHERE run = 2 AND position >= 3; "
        "INSERT INTO _ledger.entries SELECT * REPLACE (3 AS position) FROM _ledger.entries "
        "WHERE run = 2 AND position = 2", 3),
    "one is taken from another run": (
        "INSERT INTO _ledger.entries SELECT * REPLACE (2 AS run) FROM _ledger.entries "
        "WHERE run = 3 AND position = 2", 3),
    "two runs' entries are swapped": (
        "UPDATE _ledger.entries SET run = 5 - run WHERE run IN (2, 3) AND position = 2", 2),
}  # fmt: skip


@pytest.mark.parametrize("what", HISTORIES)
def test_a_change_of_a_history_is_found_at_its_place(what: str, path: Path) -> None:
    statements, position = HISTORIES[what]
    change(path, *statements.split("; "))
    found = places(path)
    assert ("b", position) in found
    assert {run_id for run_id, _ in found} <= ({"b", "c"} if "swapped" in what else {"b"})


def test_a_truncated_run_is_found_where_it_ends(path: Path) -> None:
    length = len(entries_of(path, "b"))
    change(path, f"DELETE FROM _ledger.entries WHERE run = 2 AND position >= {length - 3}")
    assert ("b", length - 3) in places(path)


def test_a_run_that_was_truncated_with_its_row_is_found(path: Path) -> None:
    """Cut back to where its first attempt ended, with the length and digest to match: its status gives it away."""
    entries = entries_of(path, "b")
    cut = next(entry.position for entry in entries if entry.kind == kinds.RETRYING) + 1
    change(
        path,
        f"DELETE FROM _ledger.entries WHERE run = 2 AND position >= {cut}",
        f"UPDATE _ledger.runs SET length = {cut}, digest = unhex('{entries[cut - 1].digest.hex()}') WHERE run = 2",
    )
    (fault,) = look(path).faults
    assert (fault.run_id, fault.position) == ("b", None)
    assert "status" in fault.message


def test_recomputing_one_digest_moves_the_fault_to_the_next_entry(path: Path) -> None:
    entries = entries_of(path, "b")
    forged, _ = seal(entries[1].digest, cheaper(entries[2]))
    write_run(path, [*entries[:2], forged, *entries[3:]], with_row=False)
    assert places(path) == [("b", 3)]


def test_recomputing_the_whole_chain_is_found_by_the_row(path: Path) -> None:
    entries = rechained(entries_of(path, "b"), cheaper)
    write_run(path, entries, with_row=False)
    assert places(path) == [("b", len(entries))]


def test_recomputing_chain_and_row_leaves_no_trace_in_the_file(path: Path) -> None:
    """What nothing in the file can show: see test_evidence.py."""
    write_run(path, rechained(entries_of(path, "b"), cheaper), with_row=True)
    assert look(path).ok


# ── what listings, look-ups and queries go by ────────────────────────────────────────────────────


def _column(name: str, value: str, run: int = 2) -> str:
    return f"UPDATE _ledger.runs SET {name} = {value} WHERE run = {run}"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (_column("status", "'failed'"), "status"),
        (_column("error", "'x'"), "error"),
        (_column("attempt", "1"), "attempt"),
        (_column("verdict", "true"), "verdict"),
        (_column("tags", "MAP {'a': 'b'}"), "tags"),
        (_column("finished_us", "NULL"), "finished_at"),
        (_column("run_id_hash", "7"), "run_id_hash"),
        (_column("parent_hash", "7"), "parent_hash"),
        (_column("idempotency_hash", "7"), "idempotency_hash"),
        (_column("next_due_us", "7"), "next_due_us"),
        (_column("resumption", "'now'"), "resumption"),
        (_column("digest", "'x'::BLOB"), "entries"),
        ("INSERT INTO _ledger.runs FROM _ledger.runs WHERE run = 2", "another row"),
        ("UPDATE _ledger.entries SET asked = 3 WHERE run = 2 AND position = 2", "answer of entry 3"),
        ("UPDATE _ledger.entries SET asked = NULL WHERE run = 2 AND position = 2", "answer of entry None"),
        ("UPDATE _ledger.entries SET value = NULL WHERE run = 2 AND position = 2", "the value that queries see"),
        ("DELETE FROM _ledger.runs WHERE run = 2", "no row"),
        ("UPDATE _ledger.runs SET definition = 'd' WHERE run = 2", "definition"),
    ],
)
def test_a_change_of_what_is_looked_up_is_found_at_its_run(statement: str, message: str, path: Path) -> None:
    change(path, statement)
    faults = look(path).faults
    assert {fault.run for fault in faults} == {2}
    assert message in "\n".join(map(str, faults))


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM _ledger.waits",
        "UPDATE _ledger.waits SET event_type = 'stolen'",
        "UPDATE _ledger.waits SET match_hash = 1",
        "INSERT INTO _ledger.waits SELECT * REPLACE ('refunded' AS event_type) FROM _ledger.waits",
        "UPDATE _ledger.waits SET run = 77",
    ],
)
def test_a_change_of_the_waits_is_found(statement: str, path: Path) -> None:
    change(path, statement)
    faults = look(path).faults
    assert {fault.run_id for fault in faults} <= {"w", ""}
    assert faults


@pytest.mark.parametrize("source", ["replace(source, 'input + 1', 'input + 2')", "'[]'", "'no JSON'"])
def test_a_change_of_recorded_code_is_found(source: str, path: Path) -> None:
    change(path, f"UPDATE _ledger.definitions SET source = {source} WHERE workflow = 'shop'")
    (fault,) = look(path).faults
    assert "definition" in str(fault)
    assert "shop v1" in str(fault)


def test_recorded_code_that_is_gone_is_found(path: Path) -> None:
    change(path, "DELETE FROM _ledger.definitions WHERE workflow = 'shop'")
    (fault,) = look(path).faults
    assert fault.run_id == "a"
    assert "2 later runs" in fault.message


# ── the journal ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The copy of a ledger that was open, with three batches that only its journal has."""
    path = tmp_path / "open" / "shop.duckdb"
    path.parent.mkdir()
    ledger = DuckDBLedger(path, gather_s=3600)
    for _ in range(3):
        run = ledger.next_run()
        detail = f'{{"run_id": "r{run}", "version": "1", "definition": "d"}}'
        ledger.append([Entry(run, 0, kinds.CREATED, 1000 + run, name="shop", attempt=1, body="{}", detail=detail)])
    copy = tmp_path / "copy" / "shop.duckdb"
    shutil.copytree(path.parent, copy.parent)
    ledger.close()
    return copy


def records(path: Path) -> tuple[Path, list[tuple[int, int]]]:
    """The journal's file, and where its records begin and end."""
    (file,) = [each for each in path.with_name(path.name + ".journal").iterdir() if any(each.read_bytes()[:64])]
    data, offset, found = file.read_bytes(), 0, []
    while (each := read_record(data, offset)) is not None:
        found.append((offset, each.end))
        offset = each.end
    return file, found


def write_at(file: Path, offset: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(data)


def test_what_only_the_journal_has_is_verified_too_and_left_as_it_is(killed: Path) -> None:
    before = {file: file.read_bytes() for file in sorted(killed.parent.rglob("*")) if file.is_file()}
    assert (verify(killed).runs, verify(killed).ok) == (3, True)
    after = {file: file.read_bytes() for file in sorted(killed.parent.rglob("*")) if file in before}
    assert after == before


def test_a_record_torn_by_a_crash_is_no_fault(killed: Path) -> None:
    file, found = records(killed)
    start, end = found[-1]
    write_at(file, (start + end) // 2, bytes(end - (start + end) // 2))
    verdict = verify(killed)
    assert verdict.ok
    assert verdict.runs == 2


def test_a_record_damaged_before_the_end_is_none_that_a_crash_tore(killed: Path) -> None:
    file, found = records(killed)
    write_at(file, found[-2][0] + HEADER_BYTES + 5, b"x")
    with pytest.raises(LedgerCorrupt, match="the journal lacks record"):
        verify(killed)


def test_a_record_that_was_rewritten_with_its_checksum_is_found_at_its_entry(killed: Path) -> None:
    file, found = records(killed)
    start, end = found[-1]
    whole = read_record(file.read_bytes(), start)
    assert whole is not None
    forged = whole.payload.replace(b'"shop"', b'"shot"')
    assert forged != whole.payload
    write_at(file, start, record(whole.ledger, whole.sequence, forged))
    with pytest.raises(LedgerCorrupt, match="an entry in the journal was altered") as caught:
        verify(killed)
    assert "run 3, entry 0" in caught.value.where
    assert end


# ── cells ────────────────────────────────────────────────────────────────────────────────────────

CELLS = {
    "one is there twice": ("INSERT INTO _ledger.cells FROM _ledger.cells WHERE key = 'a'", "there 2 times"),
    "one is renamed": ("UPDATE _ledger.cells SET key = 'c' WHERE key = 'a'", "can't be found"),
    "one is moved to another space": ("UPDATE _ledger.cells SET space = 'kv/y' WHERE key = 'a'", "can't be found"),
    "a body is cut off": ("UPDATE _ledger.cells SET body = '{\"n\":' WHERE key = 'a'", "its body can't be read"),
    "a body does not fit its shape": ("UPDATE _ledger.cells SET body = '\"x\"' WHERE key = 'b'", "is no Decimal"),
    "a class's body is cut off": (
        """UPDATE _ledger.cells SET body = '[', shape = '{"dataclass":"m:C","fields":{}}' WHERE key = 'a'""",
        "its body can't be read",
    ),
    "a body is taken out": ("UPDATE _ledger.cells SET body = NULL WHERE key = 'a'", "neither a body nor data"),
    "queries see another value": (
        "UPDATE _ledger.cells SET value = 7::VARIANT WHERE key = 'a'",
        "is not what its body",
    ),
}


@pytest.fixture
def with_cells(path: Path) -> Path:
    ledger = DuckDBLedger(path)
    of_a_class = '{"dataclass":"a_module_that_nobody_has:C","fields":{}}'
    ledger.append([], (), [
        Cell("kv/x", "a", 1, 1, '{"n":1}'), Cell("kv/x", "b", 1, 1, '"1.5"', '"Decimal"'),
        Cell("kv/x", "class", 1, 1, "{}", of_a_class), Cell("chunk/x", "a/0", 1, 1, data=b"\xff"),
    ])  # fmt: skip
    ledger.close()
    return path


def test_untouched_cells_are_sound_and_counted_and_import_nothing(with_cells: Path) -> None:
    verdict = look(with_cells)
    assert verdict.faults == ()
    assert verdict.cells == 4


@pytest.mark.parametrize("what", CELLS)
def test_a_cell_that_can_not_be_found_or_read_is_a_fault(what: str, with_cells: Path) -> None:
    statement, message = CELLS[what]
    change(with_cells, statement)
    faults = [str(fault) for fault in look(with_cells).faults]
    assert len(faults) == 1 or what == "one is there twice", faults
    assert message in faults[0]
    assert faults[0].startswith("cell ")


def test_another_value_of_a_cell_is_no_fault_because_no_chain_covers_it(with_cells: Path) -> None:
    change(
        with_cells, """UPDATE _ledger.cells SET body = '{"n":2}', value = '{"n":2}'::JSON::VARIANT WHERE key = 'a'"""
    )
    assert look(with_cells).faults == ()
