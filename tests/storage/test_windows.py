"""Long histories are read a window at a time, and are otherwise sequences like any."""

from __future__ import annotations

import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.storage import entries as kinds
from perdure.storage import history_answers, memory_ledger
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import Entry
from perdure.storage.memory_ledger import MemoryLedger
from perdure.storage.windows import Windows


class Window(list):
    """A list that can be watched while it is in memory."""


class Source:
    """Gives entries by position, and counts what is asked of it and what of it is still held."""

    def __init__(self, length: int) -> None:
        self.entries = [Entry(1, position, kinds.STEP, position) for position in range(length)]
        self.asked: list[tuple[int, int]] = []
        self.held: weakref.WeakSet[Window] = weakref.WeakSet()
        self.held_max = 0

    def read(self, start: int, stop: int) -> list[Entry]:
        self.asked.append((start, stop))
        window = Window(self.entries[start:stop])
        self.held.add(window)
        self.held_max = max(self.held_max, len({id(each) for each in self.held}))
        return window

    __hash__ = None


Window.__hash__ = object.__hash__


@given(st.integers(0, 40), st.integers(1, 15), st.integers(-45, 45), st.integers(-45, 45))
def test_windows_are_a_sequence_like_a_list(length: int, size: int, one: int, other: int) -> None:
    source = Source(length)
    windows, plain = Windows(source.read, 0, length, size), source.entries
    assert len(windows) == length
    assert list(windows) == plain
    assert list(reversed(windows)) == plain[::-1]
    assert list(windows[one:other]) == plain[one:other]
    assert list(windows[one:][:other]) == plain[one:][:other]
    if -length <= one < length:
        assert windows[one] == plain[one]
    else:
        with pytest.raises(IndexError):
            windows[one]
    assert list(windows) == plain, "also after somebody looked into it"


def test_going_through_holds_one_window_and_reads_each_once() -> None:
    source = Source(1000)
    windows = Windows(source.read, 0, 1000, 100)
    assert windows[0].position == 0, "whoever looks at the beginning first has read the first window"
    for entry in windows:
        assert entry.position >= 0
    assert source.asked == [(start, start + 100) for start in range(0, 1000, 100)]
    assert source.held_max == 1


def test_going_backwards_reads_no_more_than_it_needs() -> None:
    source = Source(1000)
    assert next(reversed(Windows(source.read, 0, 1000, 100))).position == 999
    assert source.asked == [(900, 1000)]


@pytest.mark.parametrize("size", [3, 50, 199, 200, 201])
def test_both_ledgers_give_a_long_history_whole_whatever_the_window(tmp_path, monkeypatch, size: int) -> None:
    for module in (history_answers, memory_ledger):
        monkeypatch.setattr(module, "WINDOW_ENTRIES", size)
    monkeypatch.setattr("perdure.storage.windows.Windows.__init__.__defaults__", (size,))
    facts = '{"run_id": "r", "version": "1", "definition": "d"}'
    history = [Entry(1, 0, kinds.CREATED, 1, name="w", attempt=1, body="null", detail=facts)]
    for number in range(200):
        command, position = f"0/{number}", len(history)
        history.append(Entry(1, position, kinds.STEP, 1, command, f"s{number}", 1, body="[]", detail="{}"))
        body, shape = ("[1]", "t") if number % 7 == 0 else (str(number), None)
        kind = kinds.STEP_FAILED if number % 50 == 3 else kinds.STEP_COMPLETED
        history.append(Entry(1, position + 1, kind, 1, command, f"s{number}", 1, body=body, shape=shape))
    memory, duckdb = MemoryLedger(), DuckDBLedger(tmp_path / "l.duckdb", gather_s=0.001)
    try:
        for start, stop in ((0, 150), (150, 399), (399, 401)):
            for ledger in (memory, duckdb):
                ledger.append(history[start:stop])
            duckdb.sql("SELECT 1")  # absorbs, so that the next part is in the overlay alone
            for row in (memory.run("r"), duckdb.run("r")):
                whole = [_replayed(entry) for entry in history[: row.length]]
                assert [_replayed(entry) for entry in memory.walk(row)] == whole
                assert [_replayed(entry) for entry in duckdb.walk(row)] == whole
                (read,) = duckdb.walk_many([row], whole=True)
                assert [entry._replace(digest=b"") for entry in read] == history[: row.length]
    finally:
        duckdb.close()


def _replayed(entry: Entry) -> tuple[object, ...]:
    return entry.position, entry.kind, entry.command, entry.name, entry.body, entry.shape


def test_a_page_of_runs_is_read_with_one_query(tmp_path) -> None:
    path = tmp_path / "l.duckdb"
    ledger = DuckDBLedger(path)
    runs = [ledger.next_run() for _ in range(20)]
    for run in runs:
        facts = f'{{"run_id": "r{run}", "version": "1", "definition": "d"}}'
        ledger.append([Entry(run, 0, kinds.CREATED, 1, name="w", attempt=1, body="null", detail=facts),
                       Entry(run, 1, kinds.SLEEP, 1, "0/0", "nap", due=99)])  # fmt: skip
    ledger.close()
    ledger = DuckDBLedger(path)
    queries = []
    read = ledger._columns._all
    ledger._columns._all = lambda *query: queries.append(query) or read(*query)
    try:
        ledger.prefetch(runs)
        rows = [ledger.run_numbered(run) for run in runs]
        assert [len(ledger.walk(row)) for row in rows] == [2] * 20
        assert [row.status for row in rows] == ["sleeping"] * 20
        assert len(queries) == 1
        first = rows[0]
        ledger.append([Entry(first.run, 2, kinds.TIMER_FIRED, 2, "0/0", "nap")])
        assert len(ledger.walk(ledger.run_numbered(first.run))) == 3, "what came since is seen"
    finally:
        ledger.close()
