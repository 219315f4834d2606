"""Cells: what a batch wrote is what every thread reads, at once and ever after, also while it gets into the columns."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_histories import DEFINITION, created, step

from perdure.errors import InternalError, LedgerFull
from perdure.storage import cell_cache, disk, duckdb_ledger, payload
from perdure.storage.batch import Batch
from perdure.storage.cell_cache import CellCache
from perdure.storage.cells import Cell, cell_hash
from perdure.storage.contents import Additions, Hashes, WaitingRuns
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.ledger import Ledger
from perdure.storage.memory_ledger import MemoryLedger
from perdure.storage.space_cache import SpaceCache

MINUTE = 60_000_000


@pytest.fixture(params=["memory", "duckdb"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    made: Ledger = MemoryLedger() if request.param == "memory" else DuckDBLedger(tmp_path / "a.duckdb", gather_s=3600)
    yield made
    made.close()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[DuckDBLedger]:
    """A ledger in a file that absorbs only when it is asked."""
    made = DuckDBLedger(tmp_path / "a.duckdb", gather_s=3600)
    yield made
    made.close()


def value(key: str, body: object, *, at: int = 1000, space: str = "kv/a", **fields: object) -> Cell:
    return Cell(space, key, at, at, json.dumps(body), **fields)  # type: ignore[arg-type]


def gone(key: str, *, at: int = 2000, space: str = "kv/a") -> Cell:
    return Cell(space, key, at, at)


def killed(path: Path) -> Path:
    """What a kill at this moment would leave."""
    copy = path.parent / "copy"
    shutil.copytree(path.parent, copy)
    return copy / path.name


def absorb(ledger: Ledger) -> None:
    ledger.sql("SELECT 1")


# ── one batch ────────────────────────────────────────────────────────────────────────────────────


def test_a_refused_batch_leaves_neither_entries_nor_cells(ledger: Ledger) -> None:
    run = ledger.next_run()
    ledger.append([created(run, 1000)])
    with pytest.raises(InternalError):
        ledger.append([step(run, 5)], (), [value("k", 1)])  # position 5 does not continue the run
    assert ledger.cell("kv/a", "k") is None
    with pytest.raises(InternalError, match="lone surrogate"):
        ledger.append([step(run, 1)], (), [value("k", 1), value("\ud800", 1)])
    assert ledger.cell("kv/a", "k") is None
    assert len(ledger.entries(run)) == 1


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        (Cell("kv/\udcff", "k", 1, 1, "1"), "space"),
        (Cell("kv/a", "k", 1, 1, '"\ud800"'), "body"),
        (Cell("kv/a", "k", 1, 1, "1", '"\udfff"'), "shape"),
        (Cell("kv/a", "k", 2**63, 1, "1"), "version"),
        (Cell("kv/a", "k", 1, 1, "1", due=-(2**63) - 1), "due"),
    ],
)
def test_what_no_column_holds_is_refused_before_it_counts(ledger: Ledger, cell: Cell, label: str) -> None:
    with pytest.raises(InternalError, match=f"the {label} of a cell") as caught:
        ledger.append([], (), [cell])
    assert "in " in str(caught.value.where)
    assert ledger.spaces("") == []


def test_of_two_cells_with_one_name_the_later_counts(ledger: Ledger) -> None:
    ledger.append([], (), [value("k", 1), gone("k"), value("k", 2), value("j", 1), gone("j")])
    absorb(ledger)
    assert [cell.body for cell in ledger.cells("kv/a")] == ["2"]


def test_a_full_disk_leaves_what_was_there(kept: DuckDBLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.append([], (), [value("k", 1)])

    write_at = disk.write_at

    def full(*_: object) -> None:
        monkeypatch.setattr(disk, "write_at", write_at)  # what undoes the record may be written
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "write_at", full)
    with pytest.raises(LedgerFull):
        kept.append([], (), [value("k", 2), value("j", 2)])
    assert [cell.body for cell in kept.cells("kv/a")] == ["1"]
    kept.append([], (), [value("k", 3)])
    assert kept.cell("kv/a", "k") == value("k", 3)


def test_one_batch_may_bring_twenty_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.duckdb"
    monkeypatch.setattr(duckdb_ledger, "_HASTE_BYTES", 1 << 40)
    data = bytes(range(256)) * (20 << 12)
    text = "x" * (10 << 20)
    ledger = DuckDBLedger(path, gather_s=3600)
    ledger.append([], (), [value("data", 1, data=data), value("text", text)])
    again = DuckDBLedger(killed(path))
    ledger.close()
    try:
        assert again.cell("kv/a", "data") == value("data", 1, data=data)
        assert again.cell("kv/a", "text") == value("text", text)
        assert again.sql("SELECT octet_length(data) FROM cells WHERE key = 'data'").rows == ((20 << 20,),)
    finally:
        again.close()


def test_a_batch_beyond_what_a_record_holds_is_refused_with_what_to_do(
    kept: DuckDBLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duckdb_ledger, "_BATCH_BYTES_MAX", 1000)
    with pytest.raises(LedgerFull, match="a batch of") as caught:
        kept.append([], (), [value("k", 1, data=bytes(2000))])
    assert caught.value.fix is not None
    assert kept.cell("kv/a", "k") is None
    kept.append([], (), [value("k", 1)])


# ── while it moves into the columns ──────────────────────────────────────────────────────────────


def test_a_deleted_cell_stays_deleted_wherever_the_older_one_is(kept: DuckDBLedger) -> None:
    kept.append([], (), [value("k", 1), value("j", 1)])
    absorb(kept)
    kept.append([], (), [gone("k")])
    for _ in range(2):  # in the overlay, then in the columns
        assert kept.cell("kv/a", "k") is None
        assert [cell.key for cell in kept.cells("kv/a", limit=1)] == ["j"]
        absorb(kept)
    kept.append([], (), [gone("j")])
    assert kept.spaces("kv/") == []
    absorb(kept)
    assert kept.spaces("kv/") == []
    assert kept.sql("SELECT count(*) FROM _ledger.cells").rows == ((0,),)


def test_a_cell_is_seen_once_and_newest_first_in_the_middle_of_an_absorption(
    kept: DuckDBLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.append([], (), [value("k", 1), value("j", 1)])
    absorb(kept)
    kept.append([], (), [value("k", 2), gone("j"), value("new", 2)])
    seen: list[object] = []
    end = kept._recent.end_absorption

    def committed(
        additions: Additions,
    ) -> None:  # the columns have it, and the overlay is still there
        kept.append([], (), [value("new", 3)])
        seen.append([(cell.key, cell.body) for cell in kept.cells("kv/a")])
        seen.append(kept.cell("kv/a", "j"))
        seen.append(kept.spaces(""))
        end(additions)

    monkeypatch.setattr(kept._recent, "end_absorption", committed)
    absorb(kept)
    assert seen == [[("k", "2"), ("new", "3")], None, ["kv/a"]]
    assert [(cell.key, cell.body) for cell in kept.cells("kv/a")] == [("k", "2"), ("new", "3")]


def test_what_a_query_found_is_not_kept_when_it_may_be_outdated(
    kept: DuckDBLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.append([], (), [value("k", 1)])
    absorb(kept)
    kept._recent._hot_cells = CellCache()
    look_up = kept._columns.cells.cell

    def slow(space: str, key: str) -> Cell | None:
        found = look_up(space, key)
        kept.append([], (), [value("k", 2)])
        absorb(kept)  # by the time that the answer is there, the columns have another one
        kept._recent._hot_cells, kept._recent._hot_spaces = CellCache(), SpaceCache()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(kept._columns.cells, "cell", slow)
        assert kept.cell("kv/a", "k") == value("k", 1)
    assert kept.cell("kv/a", "k") == value("k", 2)


def test_many_changed_cells_are_absorbed_before_a_listing_with_a_limit(kept: DuckDBLedger) -> None:
    kept.append([], (), [value(f"{number:05}", number) for number in range(3000)])
    assert [cell.key for cell in kept.cells("kv/a", after="00010", limit=2)] == ["00011", "00012"]
    kept.append([], (), [gone(f"{number:05}") for number in range(2990)])
    assert [cell.key for cell in kept.cells("kv/a", limit=2)] == ["02990", "02991"]


def test_every_thread_reads_whole_batches_and_its_own_writes(tmp_path: Path) -> None:
    """One thread writes the same number to two cells; nobody ever sees two numbers, or an older one than before."""
    ledger = DuckDBLedger(tmp_path / "a.duckdb", gather_s=0.001, segment_bytes=8192)
    problems: list[str] = []
    written, done = [0], threading.Event()

    def read(look: Callable[[], list[str | None]]) -> None:
        last = 0
        while not done.is_set():
            before = written[0]
            bodies = set(look())
            if len(bodies) != 1:
                problems.append(f"a torn batch: {bodies}")
            number = int(bodies.pop() or "0")
            if number < max(last, before):
                problems.append(f"{number} after {last}, and {before} was acknowledged")
            last = number

    def both() -> list[str | None]:
        return [cell.body for cell in ledger.cells("kv/a")]

    def one() -> list[str | None]:
        cell = ledger.cell("kv/a", "k")
        return [None if cell is None else cell.body]

    ledger.append([], (), [value("k", 0), value("j", 0)])
    readers = [threading.Thread(target=read, args=(look,)) for look in (both, one, both)]
    for reader in readers:
        reader.start()
    for number in range(1, 400):
        ledger.append([], (), [value("k", number), value("j", number)])
        written[0] = number
        own = ledger.cell("kv/a", "j")
        assert own is not None
        assert own.body == str(number)
        if number % 10 == 0:
            ledger._recent._hot_cells, ledger._recent._hot_spaces = (
                CellCache(),
                SpaceCache(),
            )  # readers meet the columns
    done.set()
    for reader in readers:
        reader.join()
    ledger.close()
    assert problems == []


# ── expiry ───────────────────────────────────────────────────────────────────────────────────────


def test_an_expired_cell_is_forgotten_some_time_later_and_a_newer_one_is_not(kept: DuckDBLedger) -> None:
    kept.append([], (), [value("k", 1, expires_at=5000), value("j", 1, expires_at=10 * MINUTE), value("i", 1)])
    absorb(kept)
    kept.append([], (), [value("l", 1, at=5 * MINUTE)])
    absorb(kept)
    assert kept.sql("SELECT key FROM cells ORDER BY 1").rows == (("i",), ("j",), ("l",))
    kept.append([], (), [value("j", 2, at=9 * MINUTE, expires_at=90 * MINUTE)])
    kept.append([], (), [value("m", 1, at=20 * MINUTE)])
    absorb(kept)
    assert kept.sql("SELECT key FROM cells ORDER BY 1").rows == (("i",), ("j",), ("l",), ("m",))


# ── readers ──────────────────────────────────────────────────────────────────────────────────────


def test_a_reader_sees_what_only_the_journal_has_and_what_it_deleted(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    ledger = DuckDBLedger(path, gather_s=3600)
    ledger.append([], (), [value("k", 1), value("j", 1), value("i", 1)])
    absorb(ledger)
    ledger.append([], (), [value("k", 2), gone("j"), value("new", 2, space="kv/b")])
    reader = DuckDBLedger(killed(path), read_only=True)
    ledger.close()
    try:
        assert [(cell.key, cell.body) for cell in reader.cells("kv/a")] == [("i", "1"), ("k", "2")]
        assert reader.cell("kv/a", "j") is None
        assert reader.spaces("") == ["kv/a", "kv/b"]
        assert reader.sql("SELECT namespace, key FROM kv ORDER BY ALL").rows == (("a", "i"), ("a", "k"), ("b", "new"))
    finally:
        reader.close()


# ── what is at hand ──────────────────────────────────────────────────────────────────────────────


def test_a_look_up_for_something_new_or_hot_asks_no_columns(
    kept: DuckDBLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.append([], (), [value(f"k{number}", number) for number in range(25)])
    absorb(kept)
    kept._learn()
    kept.append([], (), [value(f"k{number}", number) for number in range(25)])
    absorb(kept)

    def refuse(*_: object) -> None:
        raise AssertionError("the columns were asked")

    monkeypatch.setattr(kept._columns.cells, "cell", refuse)
    assert kept.cell("kv/a", "new") is None
    assert kept.cell("kv/a", "k7") == value("k7", 7)


def test_which_cells_there_are_is_known_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    ledger = DuckDBLedger(path)
    ledger.append([], (), [value("k", 1), value("j", 1)])
    ledger.close()
    ledger = DuckDBLedger(path, gather_s=3600)
    ledger._learn()
    try:
        assert ledger.cell("kv/a", "k") == value("k", 1)
        ledger.append([], (), [value("k", 2), value("new", 2)])  # one replaces what the columns have
        absorb(ledger)
        assert ledger.sql("SELECT key, version FROM cells ORDER BY 1").rows == (("j", 1000), ("k", 1000), ("new", 1000))
    finally:
        ledger.close()


def test_more_cells_than_are_counted_are_found_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_ledger, "_KNOWN_MAX", 1)
    path = tmp_path / "a.duckdb"
    for number in range(3):
        ledger = DuckDBLedger(path)
        ledger.append([], (), [value(str(number), number), value("same", number)])
        ledger.close()
    ledger = DuckDBLedger(path)
    ledger._learn()
    assert ledger._recent.contents is None
    assert [cell.body for cell in ledger.cells("kv/a")] == ["0", "1", "2", "2"]
    assert ledger.cell("kv/a", "none") is None
    ledger.close()


def test_the_cache_keeps_what_was_used_last_within_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_cache, "CELLS_MAX", 3)
    cache = CellCache()
    for key in "abc":
        cache.keep("kv/a", key, value(key, 1))
    assert cache.look_up("kv/a", "a") == (True, value("a", 1))
    cache.keep("kv/a", "d", None)
    assert cache.look_up("kv/a", "b") == (False, None)
    assert cache.look_up("kv/a", "d") == (True, None)
    cache.keep("kv/a", "a", value("a", 1, data=bytes(1 << 20)))  # too large, and what was known is outdated
    assert cache.look_up("kv/a", "a") == (False, None)
    cache.follow({"kv/a": {key: value(key, 2) for key in "wxyzc"}})  # too many: only what is known already
    assert cache.look_up("kv/a", "c") == (True, value("c", 2))
    assert cache.look_up("kv/a", "w") == (False, None)


def test_known_hashes_forget_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.storage.contents._GATHERED_MAX", 10)
    hashes = [cell_hash("kv/a", str(number)) for number in range(100)]
    known = Hashes(sorted(hashes[:30]))
    for first in range(0, 60, 4):
        known.add(hashes[first : first + 8])
    assert [number in known for number in hashes] == [True] * 64 + [False] * 36


def test_waiting_runs_are_found_by_their_key_however_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = WaitingRuns([-5, 3, 3, 9], [1, 1, 2, 7])
    waits.add([(3, 2), (3, 5), (4, 1), (3, 5)])
    assert waits.under([3], 10) == {1, 2, 5}
    assert waits.under([4, 9, 0], 10) == {1, 7}
    assert waits.under([3], 3) == {1, 2, 5}
    assert waits.under([3], 2) is None, "many are searched for elsewhere"
    assert not waits.is_crowded
    monkeypatch.setattr("perdure.storage.contents._GATHERED_MAX", 1)
    assert waits.is_crowded


# ── records and views ────────────────────────────────────────────────────────────────────────────

texts = st.text(st.characters(codec="utf-8"), max_size=8)
cells = st.builds(
    Cell, texts, texts, *[st.integers(-(2**63), 2**63 - 1)] * 2, st.none() | texts, st.none() | texts,
    st.none() | st.binary(max_size=9), *[st.none() | st.integers(-(2**63), 2**63 - 1)] * 2,
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(cells, max_size=4))
def test_a_record_gives_back_the_cells_that_were_written(written: list[Cell]) -> None:
    content = payload.write_batch(Batch({}, [], {}, {}), [DEFINITION], written)
    assert content.isascii()
    found = payload.read(content)
    assert found.cells == written
    assert found.definitions == [DEFINITION]
    assert all(type(cell.data) in (bytes, type(None)) for cell in found.cells)


def test_views_show_each_kind_of_cell_under_its_own_name(ledger: Ledger) -> None:
    blob = {"size": 3, "sha256": "ab", "content_type": "text/plain", "metadata": {}, "created_at": 1, "updated_at": 2}
    ticks = {"cron": "0 3 * * *", "timezone": "UTC", "done_until": 5, "paused": False, "last_tick": None,
             "last_run_id": None}  # fmt: skip
    facts = json.dumps({"deliveries": 2, "sent_at": 7}).encode()
    ledger.append([], (), [
        value("k", {"n": 1}, space="kv/invites"),
        value("old", 1, space="kv/invites", expires_at=5000),
        value("o1", {"total": 5}, space="db/orders"),
        value("a.txt", blob, space="blob/reports"),
        value("m", {"to": "x"}, space="queue/mail", data=facts, due=9),
        value("d", {"to": "y"}, space="queue.dead/mail",
              data=json.dumps({"deliveries": 5, "sent_at": 7, "reason": "delivered too often"}).encode()),
        value("nightly", ticks, space="schedule/ticks", due=8),
    ])  # fmt: skip
    ask = ledger.sql
    assert ask("SELECT namespace, key, value.n::INT FROM kv").rows == (("invites", "k", 1),), "one has expired"
    assert ask("SELECT collection, id, document.total::INT FROM documents").rows == (("orders", "o1", 5),)
    assert ask("SELECT bucket, name, size, content_type FROM blobs").rows == (("reports", "a.txt", 3, "text/plain"),)
    queued = "SELECT queue, id, deliveries, epoch_us(sent_at), epoch_us(visible_at) FROM queued"
    assert ask(queued).rows == (("mail", "m", 2, 7, 9),)
    assert ask("SELECT queue, id, reason FROM dead_letters").rows == (("mail", "d", "delivered too often"),)
    schedules = "SELECT id, cron, paused, epoch_us(next_at), last_at FROM schedules"
    assert ask(schedules).rows == (("nightly", "0 3 * * *", False, 8, None),)
    assert ask("SELECT count(*) FROM cells").rows == ((7,),)
