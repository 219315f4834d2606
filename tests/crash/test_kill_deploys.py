"""`kill -9` around continuing, upgrading, running out of time and out of entries: each ends as it would have."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import deploy_worker
from forked import Worker

from perdure.replay.check import check_run
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.encoding import decode
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunFilter, RunRow
from perdure.storage.verify import verify


def live(folder: Path, release: str, longest_s: float | None, chance: random.Random) -> None:
    """Let a worker live until it is done, or for a random while."""
    process = Worker(deploy_worker.__file__, folder, release)
    process.stdout.readline()  # it works now, so that the kill hits the work and not the imports
    if longest_s is not None:
        time.sleep(chance.uniform(0, longest_s))
        process.kill()
    _, errors, code = process.rest(90)
    assert code in ((0,) if longest_s is None else (0, -signal.SIGKILL)), errors


def read(path: Path) -> dict[str, tuple[RunRow, list[Entry]]]:
    ledger = DuckDBLedger(path, read_only=True)
    try:
        return {row.run_id: (row, ledger.entries(row.run)) for row in ledger.runs(RunFilter(limit=None))}
    finally:
        ledger.close()


def test_chains_upgrades_and_compensation_survive_kills_at_random_instants(tmp_path: Path) -> None:
    chance = random.Random(5)
    live(tmp_path, "1", None, chance)
    for longest_s in (0.05, 0.1, 0.2, 0.3):
        live(tmp_path, "2", longest_s, chance)
    live(tmp_path, "2", None, chance)
    assert verify(tmp_path / "deploys.duckdb").ok
    runs = read(tmp_path / "deploys.duckdb")
    workflows = {each.id: each for each in deploy_worker.WORKFLOWS}
    assert all(check_run(row, workflows[row.workflow], entries).ok for row, entries in runs.values())
    check_chain(runs)
    for run_id, (row, entries) in runs.items():
        counts, done = (
            Counter(entry.kind for entry in entries),
            [entry.name for entry in entries if entry.kind == "step_completed"],
        )
        if row.workflow == "moved":
            assert (row.status, counts["upgraded"], counts["created"]) == ("completed", 1, 1), run_id
            assert decode(entries[-1].body, entries[-1].shape) == "as release 2 has it"
        elif row.workflow == "hurried":
            assert (row.status, counts["cancel_requested"], len(done)) == ("failed", 1, 3), run_id
            assert "RunTimeout" in (row.error or "")
        elif row.workflow == "endless":
            assert row.status == "failed", run_id
            assert "BudgetExceeded" in (row.error or "")


def check_chain(runs: dict[str, tuple[RunRow, list[Entry]]]) -> None:
    """Each run of the chain has one successor, and took every number in order."""
    chain = [row for row, _ in runs.values() if row.workflow == "chain"]
    successors = [row.continued_as for row in chain if row.continued_as]
    assert len(successors) == len(set(successors)) == len(chain) - 1
    (last,) = [row for row in chain if row.continued_as is None]
    ending = runs[last.run_id][1][-1]
    got = decode(ending.body, ending.shape)
    assert list(dict.fromkeys(got)) == sorted(set(got)) == list(range(deploy_worker.CHAIN))
    assert got == sorted(got)
