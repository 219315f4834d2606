"""`kill -9` at random instants: nothing acknowledged is lost, nothing recorded is done again, every run ends alike."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

import crash_worker
import pytest
from forked import Worker

from perdure.declare.registry import Registry
from perdure.replay.check import check_run
from perdure.storage import entries as kinds
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.encoding import decode
from perdure.storage.verify import verify

RUNS = 12
SCRIPT = Path(crash_worker.__file__)


class Story:
    """One ledger that is killed again and again until its runs are done."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.ledger = folder / "crash.duckdb"
        self.effects = folder / "effects"
        self.chance = chance
        self.acknowledged: set[str] = set()
        self.completed: set[str] = set()  # idempotency keys whose result was recorded when we looked
        self.kills = 0

    def live(self, longest_s: float | None) -> bool:
        """Let a worker live for a random while, or until it is done; True when it finished by itself."""
        process = Worker(SCRIPT, self.ledger, self.effects, RUNS)
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stdout))
        reader.start()
        # Wait until it works, so that the kill hits the work and not the imports.
        deadline = time.monotonic() + 30
        while not lines and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        if longest_s is None:
            process.wait(60)
        else:
            time.sleep(self.chance.uniform(0, longest_s))
        killed = process.poll() is None
        if killed:
            process.kill()
            self.kills += 1
        reader.join()
        _, errors, code = process.rest()
        self.acknowledged |= {line.split()[1] for line in lines if line.startswith("started")}
        assert killed or code == 0, errors
        return not killed

    def look(self) -> None:
        """What must hold at every moment."""
        before = self.effect_counts()
        assert verify(self.ledger).ok
        ledger = DuckDBLedger(self.ledger, read_only=True)
        try:
            for run_id in self.acknowledged:
                row = ledger.run(run_id)
                assert row is not None, f"{run_id} was acknowledged and is lost"
                for entry in ledger.entries(row.run):
                    if entry.kind == kinds.STEP_COMPLETED:
                        self.completed.add(f"{run_id}:{entry.command}")
        finally:
            ledger.close()
        assert all(count == 1 for key, count in before.items() if key.endswith(" once")), before

    def effect_counts(self) -> Counter[str]:
        if not self.effects.exists():
            return Counter()
        counts: Counter[str] = Counter()
        for line in self.effects.read_text().splitlines():
            key, name, _ = line.split()
            counts[f"{key} {name}"] += 1
        return counts

    def check_end(self) -> None:
        registry = Registry([crash_worker.crashed, crash_worker.child])
        ledger = DuckDBLedger(self.ledger, read_only=True)
        try:
            for number in range(RUNS):
                row = ledger.run(f"run-{number}")
                assert row is not None
                assert row.status == "completed", row
                entries = ledger.entries(row.run)
                assert decode(entries[-1].body, entries[-1].shape) == expected(number)
                verdict = check_run(row, registry.newest("crashed"), entries)
                assert verdict.ok, verdict.divergence
        finally:
            ledger.close()


def expected(number: int) -> list:
    several = [{"value": number + 1 + index, "big": 2**70, "order": {"z": 1, "a": 2}} for index in range(3)]
    return [number + 1, several, 7, {"n": number}, number + 2, True]


def run_story(folder: Path, seed: int, kills_max: int) -> int:
    story = Story(folder, random.Random(seed))
    while story.kills < kills_max:
        before = story.effect_counts()
        done_before = set(story.completed)
        if story.live(0.25):
            break
        story.look()
        again = story.effect_counts()
        for key in done_before:
            same = [name for name in again if name.split()[0] == key]
            assert all(again[name] == before[name] for name in same), f"{key} was recorded and ran again"
    assert story.live(None)
    story.look()
    story.check_end()
    return story.kills


@pytest.mark.timeout(600)  # some forty lives
def test_kill_at_random_instants(tmp_path: Path) -> None:
    kills = 0
    seed = int(os.environ.get("PERDURE_SEED", "1"))
    while kills < 30:
        folder = tmp_path / str(seed)
        folder.mkdir()
        kills += run_story(folder, seed, 8)
        seed += 1


@pytest.mark.soak
def test_kill_at_random_instants_for_long(tmp_path: Path) -> None:
    kills = 0
    seed = random.SystemRandom().randrange(2**32)
    while kills < 1000:
        folder = tmp_path / str(seed)
        folder.mkdir()
        print("PERDURE_SEED", seed)
        kills += run_story(folder, seed, 10)
        seed += 1
