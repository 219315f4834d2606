"""`kill -9` while runs wait on a queue: none is lost, none begins twice, and no limit is passed at any instant."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import queue_worker
from forked import Worker

from perdure.replay.check import check_run
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunFilter
from perdure.storage.verify import verify

RUNS = 30


def live(ledger: Path, longest_s: float | None, chance: random.Random) -> tuple[bool, set[str]]:
    """Let a worker live for a random while, or until it is done; what it acknowledged."""
    process = Worker(queue_worker.__file__, ledger, RUNS)
    first = process.stdout.readline()  # it works now, so that the kill hits the work and not the imports
    if longest_s is not None:
        time.sleep(chance.uniform(0, longest_s))
        process.kill()
    rest, errors, code = process.rest()
    assert code in (0, -signal.SIGKILL), errors
    return code == 0, {line.split()[1] for line in (first + rest).splitlines(keepends=True)
                                     if line.endswith("\n")}  # fmt: skip


def test_a_queue_keeps_its_runs_and_its_limits_when_its_process_is_killed(tmp_path: Path) -> None:
    chance = random.Random(11)
    path = tmp_path / "queue.duckdb"
    acknowledged: set[str] = set()
    for _ in range(4):
        _, now = live(path, 0.15, chance)
        acknowledged |= now
    done, now = live(path, None, chance)
    assert done
    assert verify(path).ok
    ledger = DuckDBLedger(path, read_only=True)
    try:
        rows = ledger.runs(RunFilter(limit=None))
        assert acknowledged | now == {row.run_id for row in rows} == {f"run-{number}" for number in range(RUNS)}
        histories = {row.run: ledger.entries(row.run) for row in rows}
    finally:
        ledger.close()
    assert all(row.status == "completed" for row in rows)
    assert all(check_run(row, queue_worker.queued, histories[row.run]).ok for row in rows)
    assert all(Counter(entry.kind for entry in entries)["began"] == 1 for entries in histories.values())
    keys = {row.run: row.queue_key for row in rows}
    assert most_at_once(list(histories.values())) == queue_worker.QUEUE.max_concurrent_runs
    for key in set(keys.values()):
        assert most_at_once([entries for run, entries in histories.items() if keys[run] == key]) == 1


def most_at_once(histories: list[list[Entry]]) -> int:
    """The most runs that had begun and not ended, going by the ledger's time; an end comes before a begin."""
    moves = [(entry.at, entry.kind == "began") for entries in histories for entry in entries
             if entry.kind in ("began", "completed")]  # fmt: skip
    running = most = 0
    for _, began in sorted(moves):
        running += 1 if began else -1
        most = max(most, running)
    return most
