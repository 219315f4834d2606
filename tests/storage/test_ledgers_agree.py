"""The ledger in memory and the one in DuckDB answer alike, whatever is appended, absorbed, reopened or killed."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledger_histories import DEFINITION, Moves, payloads

from perdure.storage.cells import Cell
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.due_window import DueWindow
from perdure.storage.entries import SIGNAL_RECEIVED, STEP, STEP_COMPLETED, STREAM_WRITTEN, Entry
from perdure.storage.ledger import HOOK_TYPE, STATUSES, Ledger, RunFilter
from perdure.storage.memory_ledger import MemoryLedger
from perdure.storage.verify import verify


def opened(path: Path) -> DuckDBLedger:
    # Absorbed only when a rule says so; segments so small that they are filled, recycled and too small for some.
    ledger = DuckDBLedger(path, gather_s=3600, segment_bytes=1024)
    ledger._due = DueWindow(ledger._read_due, size=2)  # so small that it runs dry
    return ledger


SPACES = ("kv/a", "kv/b", "queue/a")
cells = st.builds(
    lambda encoded, **fields: Cell(**fields, body=encoded[0], shape=encoded[1]),
    space=st.sampled_from(SPACES),
    key=st.sampled_from(["", "a", "ab", "b", "é", "\U0001f600", "\uffff", "x\0y"]),
    version=st.integers(0, 2**63 - 1),
    at=st.just(1000),
    encoded=st.sampled_from([(None, None), ('{"a":[1,null]}', None), ('"é"', None), ('"1.50"', '"Decimal"')]),
    data=st.sampled_from([None, b"", b"\0\xff"]),
    due=st.none() | st.integers(990, 1100),
    expires_at=st.none() | st.integers(10**6, 10**7),  # so far off that none is forgotten: ledgers may differ in that
)


def brief(entry: Entry) -> Entry:
    """What a replay needs of an entry."""
    ordinary = entry.kind in (STEP, STEP_COMPLETED)
    return entry._replace(digest=b"", **({"attempt": 0, "detail": None, "due": None} if ordinary else {}))


class LedgersAgree(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.memory = MemoryLedger()
        self.path = self.folder / "0" / "ledger.duckdb"
        self.path.parent.mkdir()
        self.at = 1000
        self.started: list[int] = []
        self.moves = 0

    @initialize()
    def open(self) -> None:
        self.duckdb = opened(self.path)

    @rule(data=st.data(), count=st.integers(1, 3))
    def start(self, data: st.DataObject, count: int) -> None:
        batch: list[Entry] = []
        for _ in range(count):
            run = self.duckdb.next_run()
            assert all(run > earlier for earlier in self.started)
            moves = Moves(data.draw, self.at)
            batch += moves.start(run, [f"r{earlier}" for earlier in self.started[:3]])
            self.started.append(run)
        self.append(batch, define=True)

    @precondition(lambda self: self.started)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        runs = data.draw(st.lists(st.sampled_from(self.started), min_size=1, max_size=3, unique=True))
        batch: list[Entry] = []
        for run in runs:
            row = self.memory.run_numbered(run)
            assert row is not None
            batch += Moves(data.draw, self.at).next(row)
        self.append(batch)

    @rule(batch=st.lists(cells, max_size=5))
    def write_cells(self, batch: list[Cell]) -> None:
        self.append([], cells=batch)

    @precondition(lambda self: self.started)
    @rule(data=st.data(), batch=st.lists(cells, min_size=1, max_size=2))
    def move_with_cells(self, data: st.DataObject, batch: list[Cell]) -> None:
        row = self.memory.run_numbered(data.draw(st.sampled_from(self.started)))
        assert row is not None
        self.append(Moves(data.draw, self.at).next(row), cells=batch)

    def append(self, batch: list[Entry], define: bool = False, cells: Sequence[Cell] = ()) -> None:
        for ledger in (self.memory, self.duckdb):
            ledger.append(batch, [DEFINITION] if define else [], [cell._replace(at=self.at) for cell in cells])
        self.at += 7

    @rule()
    def absorb(self) -> None:
        self.duckdb.sql("SELECT 1")

    @rule()
    def learn(self) -> None:
        self.duckdb._learn()

    @rule()
    def reopen(self) -> None:
        self.duckdb.close()
        assert [path.name for path in self.path.parent.iterdir()] == [self.path.name]
        self.duckdb = opened(self.path)

    @rule()
    def kill(self) -> None:
        """What a kill leaves is what the files hold at that moment; the copy is opened, the original forgotten."""
        self.moves += 1
        copy = self.folder / str(self.moves) / self.path.name
        shutil.copytree(self.path.parent, copy.parent)
        with_reader = DuckDBLedger(copy, read_only=True)
        try:
            self.compare(with_reader)
        finally:
            with_reader.close()
        self.duckdb.close()
        self.path = copy
        self.duckdb = opened(copy)

    @invariant()
    def agree_in_short(self) -> None:
        """What costs little is compared after every rule, the rest by a rule."""
        assert self.duckdb.next_due() == self.memory.next_due()
        for run in self.started[-2:]:
            assert self.duckdb.run_numbered(run) == self.memory.run_numbered(run)
            assert self.duckdb.entries(run) == self.memory.entries(run)
        assert self.duckdb.due(self.at, 5) == self.memory.due(self.at, 5)
        paid: dict[str, object] = {"order": 1, "to": [1, None]}
        assert self.duckdb.waiters("paid", paid) == self.memory.waiters("paid", paid)
        token: dict[str, object] = {"token": "t1"}
        assert self.duckdb.waiters(HOOK_TYPE, token) == self.memory.waiters(HOOK_TYPE, token)
        assert self.duckdb.cell("kv/a", "a") == self.memory.cell("kv/a", "a")
        assert self.duckdb.cells("kv/a", limit=2) == self.memory.cells("kv/a", limit=2)

    @rule()
    def agree(self) -> None:
        self.compare(self.duckdb)

    def compare(self, other: Ledger) -> None:
        other.prefetch(self.started)  # which must change no answer
        for run in [*self.started, 10**6]:
            expected = self.memory.run_numbered(run)
            assert other.run_numbered(run) == expected
            assert other.run(f"r{run}") == expected
            assert other.children(f"r{run}") == self.memory.children(f"r{run}")
            assert other.entries(run) == self.memory.entries(run)
            length = len(self.memory.entries(run))
            for start, limit in ((length // 2, None), (max(length - 2, 0), 1)):
                assert other.entries(run, start, limit) == self.memory.entries(run, start, limit)
            for some in ({STEP, SIGNAL_RECEIVED}, {STREAM_WRITTEN}, set()):
                for start, limit in ((0, None), (length // 2, 1)):
                    assert other.selected(run, some, start, limit) == self.memory.selected(run, some, start, limit)
        for since in (self.at - 40, self.at):
            assert other.on_queues(since) == self.memory.on_queues(since)
        self.compare_walks(other)
        filters = [RunFilter(), RunFilter(limit=2), RunFilter(tags={"team": "a"}), RunFilter(tags={'k"': "x"}, limit=1)]
        filters += [RunFilter(workflow="none"), RunFilter(version="1", since=self.at - 20, before_run=3)]
        filters += [RunFilter(statuses=STATUSES[:5]), RunFilter(from_run=2), RunFilter(from_run=2, before_run=4)]
        filters += [RunFilter(unverified=True), RunFilter(unverified=True, statuses=("completed",), limit=2)]
        for wanted in filters:
            assert other.runs(wanted) == self.memory.runs(wanted)
            assert other.count(wanted) == self.memory.count(wanted)
        assert list(other.interrupted()) == list(self.memory.interrupted())
        assert other.next_due() == self.memory.next_due()
        for until in (self.at - 40, self.at, 10**9):
            for limit in (1, 100):
                assert other.due(until, limit) == self.memory.due(until, limit)
        for key in ("k1", "k2", "k3"):
            assert other.run_by_key("shop", key) == self.memory.run_by_key("shop", key)
        assert other.definition("d1") == self.memory.definition("d1")
        assert other.definition("d2") is None
        assert other.has_definition("d1") == (self.memory.definition("d1") is not None)
        assert not other.has_definition("d2")
        self.compare_cells(other)

    def compare_cells(self, other: Ledger) -> None:
        for prefix in ("", "kv/", "kv/b", "x"):
            assert other.spaces(prefix) == self.memory.spaces(prefix)
        for space in (*SPACES, "kv/none"):
            for key in ("", "a", "ab", "b", "é", "x\0y", "none"):
                assert other.cell(space, key) == self.memory.cell(space, key)
            for limit in (None, 1, 3):
                for prefix, after in (("", None), ("a", None), ("", "a"), ("a", "a"), ("", "é")):
                    expected = self.memory.cells(space, prefix=prefix, after=after, limit=limit)
                    assert other.cells(space, prefix=prefix, after=after, limit=limit) == expected
                for due in (1000, 1050):
                    expected = self.memory.cells(space, due_until=due, limit=limit)
                    assert other.cells(space, due_until=due, limit=limit) == expected

    def compare_walks(self, other: Ledger) -> None:
        rows = self.memory.runs(RunFilter(limit=None))
        for some in (rows, rows[1:], rows[::2]):
            expected = self.memory.walk_many(some)
            assert other.walk_many(some, whole=True) == expected
            walked = other.walk_many(some)
            assert [[brief(entry) for entry in each] for each in walked] == [
                [brief(entry) for entry in each] for each in expected
            ]

    @rule(event_type=st.sampled_from(["paid", "shipped", "other"]), payload=payloads)
    def waiters(self, event_type: str, payload: dict[str, object]) -> None:
        expected = [
            (row.run, command)
            for row in reversed(self.memory.runs(RunFilter(limit=None)))
            for command, pending in row.pending.items()
            if pending.event_type == event_type and satisfies(payload, json.loads(pending.match))
        ]
        for ledger in (self.memory, self.duckdb):
            assert [(waiter.run, waiter.command) for waiter in ledger.waiters(event_type, payload)] == expected

    @rule()
    def views(self) -> None:
        query = "SELECT * FROM {} ORDER BY ALL"
        for view in ("runs", "steps", "entries", "events", "verdicts", "definitions", "cells", "kv", "queued"):
            found = self.duckdb.sql(query.format(view))
            assert repr(found) == repr(self.memory.sql(query.format(view)))  # repr: nan and inf are in it

    def teardown(self) -> None:
        self.duckdb.close()
        verdict = verify(self.path)
        assert verdict.ok, [str(fault) for fault in verdict.faults]
        assert verdict.runs == len(self.started)
        shutil.rmtree(self.folder)


def satisfies(payload: dict[str, object], match: dict[str, object]) -> bool:
    """The definition of a match, the slow way round."""
    return all(key in payload and equal(payload[key], wanted) for key, wanted in match.items())


def equal(left: object, right: object) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == right and isinstance(left, bool) == isinstance(right, bool)


LedgersAgree.TestCase.settings = settings(
    max_examples=8, stateful_step_count=15, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
TestLedgersAgree = LedgersAgree.TestCase
