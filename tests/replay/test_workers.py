"""Chunks of run numbers spread over processes: all of them are checked once, and whoever dies ends the check."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from perdure.errors import DefinitionError, InternalError, PerdureError
from perdure.replay.check import Verdict
from perdure.replay.report import Report
from perdure.replay.selection import Selection
from perdure.replay.survey import Finding, Survey
from perdure.replay.workers import CHUNK_RUNS, Task, Workers
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.ledger import RunFilter

RUNS = 4 * CHUNK_RUNS + 7


@dataclass(frozen=True)
class Part:
    """Stands for a survey: says that every run of a chunk replays, or does something worse at one of them."""

    at: int = 0
    does: str = ""

    def check_all(self, selection: Selection) -> Iterator[Finding]:
        wanted = selection.wanted
        assert wanted.from_run is not None
        assert wanted.before_run is not None
        for run in range(wanted.from_run, wanted.before_run):
            if run == self.at and self.does == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if run == self.at and self.does == "exhaust":
                raise MemoryError("no room")
            if run == self.at and self.does == "refuse":
                raise DefinitionError("not like this.", where="orders.py:3")
            yield Verdict(f"run-{run}", f"shop-{os.getpid()}", "1", 2, run=run)


@dataclass(frozen=True)
class Opening:
    part: Part

    @contextmanager
    def __call__(self) -> Iterator[Survey]:
        yield cast("Survey", self.part)


def reports(part: Part, count: int, runs: int = RUNS) -> list[Report]:
    with Workers(Task(Opening(part), Selection(), "orders.duckdb", True), count) as workers:
        return list(workers.check(runs))


def ids(found: list[Report]) -> list[int]:
    return sorted(int(case.run_id[4:]) for report in found for cases in report.cases.values() for case in cases)


@pytest.mark.parametrize("runs", [1, CHUNK_RUNS + 1, RUNS])
def test_every_run_is_checked_once(runs: int) -> None:
    assert ids(reports(Part(), 2, runs)) == list(range(1, runs + 1))


def test_the_work_is_shared() -> None:
    found = reports(Part(), 2)
    assert len({workflow for report in found for workflow, _ in report.tallies}) == 2


def test_nothing_to_do_starts_no_process() -> None:
    assert reports(Part(), 2, 0) == []


@pytest.mark.parametrize(
    ("does", "kind", "said", "at"),
    [
        ("kill", PerdureError, "a worker process died of signal SIGKILL", RUNS),
        ("kill", PerdureError, "a worker process died of signal SIGKILL", CHUNK_RUNS // 2),
        ("exhaust", InternalError, "MemoryError: no room", CHUNK_RUNS + 1),
        ("refuse", DefinitionError, "not like this", CHUNK_RUNS // 2),
    ],
)
def test_what_ends_a_worker_ends_the_check(does: str, kind: type[PerdureError], said: str, at: int) -> None:
    with pytest.raises(kind, match=said):
        reports(Part(at, does), 2)
    assert multiprocessing.active_children() == []


def test_a_check_that_nobody_wants_any_more_leaves_no_process() -> None:
    with Workers(Task(Opening(Part()), Selection(), "orders.duckdb", False), 2) as workers:
        assert next(workers.check(RUNS)).runs > 0
        assert len(multiprocessing.active_children()) == 2
    assert multiprocessing.active_children() == []


def test_an_error_from_a_worker_keeps_its_place_and_its_code() -> None:
    with pytest.raises(DefinitionError) as caught:
        reports(Part(RUNS, "refuse"), 2)
    assert (caught.value.where, caught.value.code) == ("orders.py:3", "DEF101")


def test_readers_of_one_ledger_do_not_keep_each_other_out(tmp_path: Path) -> None:
    DuckDBLedger(tmp_path / "orders.duckdb").close()
    ledgers = [DuckDBLedger(tmp_path / "orders.duckdb", read_only=True) for _ in range(2)]
    assert [ledger.runs(RunFilter()) for ledger in ledgers] == [[], []]
    for ledger in ledgers:
        ledger.close()
