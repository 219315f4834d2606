"""`kill -9` around ticks and events: each tick, each event and each change has its runs, once."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import tick_worker
from forked import Worker

from perdure.declare.registry import Registry
from perdure.replay.check import check_run
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.ledger import RunFilter
from perdure.storage.verify import verify

EVENTS = 30


def live(ledger: Path, first: int, longest_s: float | None, chance: random.Random) -> list[int]:
    """Let a worker live for a random while, or until it is done; the events that it acknowledged."""
    process = Worker(tick_worker.__file__, ledger, first, EVENTS)
    process.stdout.readline()  # it works now, so that the kill hits the work and not the imports
    if longest_s is not None:
        time.sleep(chance.uniform(0, longest_s))
        process.kill()
    rest, errors, code = process.rest()
    assert code in (0, -signal.SIGKILL), errors
    return [int(line.split()[1]) for line in rest.splitlines(keepends=True) if line.endswith("\n")]


def test_a_killed_process_leaves_no_tick_and_no_event_without_its_runs_or_with_two(tmp_path: Path) -> None:
    chance = random.Random(5)
    path = tmp_path / "ticks.duckdb"
    sent: set[int] = set()
    for _ in range(5):
        # What was sent and not acknowledged is sent again, under the same id.
        sent.update(live(path, max(sent, default=-1) + 1, 0.12, chance))
    sent.update(live(path, max(sent, default=-1) + 1, None, chance))
    assert verify(path).ok
    ledger = DuckDBLedger(path, read_only=True)
    try:
        rows = ledger.runs(RunFilter(limit=None))
        registry = Registry(tick_worker.ALL)
        for row in chance.sample(rows, 60):
            assert check_run(row, registry.newest(row.workflow), ledger.entries(row.run)).ok
        inputs = {row.run: ledger.entries(row.run, 0, 1)[0].body for row in rows if row.workflow == "on-order"}
    finally:
        ledger.close()
    assert {row.status for row in rows} == {"completed"}
    for scheduled, schedule in (("every-second", tick_worker.EVERY_SECOND), ("every-ten", tick_worker.EVERY_TEN)):
        ticks = sorted(tick_of(row.run_id) for row in rows if row.workflow == scheduled)
        assert len(ticks) > 100 / (10 if scheduled == "every-ten" else 1)
        assert ticks == schedule.ticks_between(ticks[0] - 1, ticks[-1], 10_000_000)
    of_events = Counter(int(body or "-1") for body in inputs.values())
    assert sent <= set(of_events)
    assert set(of_events.values()) == {1}
    counts = Counter(row.workflow for row in rows)
    assert counts["on-order"] == counts["write-down"] == counts["written-down"] == len(of_events)


def tick_of(run_id: str) -> int:
    """The tick that a run's id is made of, in microseconds."""
    tick = datetime.strptime(run_id.rpartition(":")[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return int(tick.timestamp()) * 1_000_000
