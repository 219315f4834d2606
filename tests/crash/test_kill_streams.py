"""`kill -9` while steps write: every acknowledged chunk is there, and readers from any offset see what follows."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import stream_worker
from forked import Worker

from perdure.client.streams import Chunk, chunks_of, read_page
from perdure.declare.registry import Registry
from perdure.replay.check import check_run
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.verify import verify

RUNS = 3
SCRIPT = Path(stream_worker.__file__)


def live(ledger: Path, longest_s: float | None, chance: random.Random) -> tuple[bool, list[str]]:
    """Let a worker live for a random while, or until it is done; give whether it was killed, and what it printed."""
    process = Worker(SCRIPT, ledger, RUNS)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout))
    reader.start()
    deadline = time.monotonic() + 30
    while not lines and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    if longest_s is None:
        process.wait(60)
    else:
        time.sleep(chance.uniform(0, longest_s))
    killed = process.poll() is None
    if killed:
        process.kill()
    reader.join()
    _, errors, code = process.rest()
    assert killed or code == 0, errors
    return killed, [line.strip() for line in lines if line.endswith("\n")]


def chunks_from(ledger: DuckDBLedger, run_id: str, namespace: str, start: int) -> list[Chunk]:
    found: list[Chunk] = []
    position, is_last = 0, False
    while not is_last:
        page = read_page(ledger, run_id, position)
        found += chunks_of(page, namespace, start)[0]
        position, is_last = (page.entries[-1].position + 1 if page.entries else 0), page.is_last
    return found


def look(path: Path, acknowledged: set[tuple[str, int, int]]) -> None:
    """What must hold at every moment."""
    assert verify(path).ok
    ledger = DuckDBLedger(path, read_only=True)
    try:
        for number in range(RUNS):
            run_id = f"run-{number}"
            if ledger.run(run_id) is None:
                continue
            for namespace in ("trickled", "poured"):
                chunks = chunks_from(ledger, run_id, namespace, 0)
                assert [chunk.offset for chunk in chunks] == list(range(len(chunks)))
                middle = len(chunks) // 2
                assert chunks_from(ledger, run_id, namespace, middle) == chunks[middle:]
            written = {(run_id, *chunk.value) for chunk in chunks_from(ledger, run_id, "trickled", 0)}
            lost = {each for each in acknowledged if each[0] == run_id} - written
            assert not lost, f"acknowledged chunks are lost: {sorted(lost)}"
    finally:
        ledger.close()


def test_kill_while_steps_write(tmp_path: Path) -> None:
    path = tmp_path / "streams.duckdb"
    chance = random.Random(int(os.environ.get("PERDURE_SEED", "1")))
    acknowledged: set[tuple[str, int, int]] = set()
    kills = 0
    while True:
        killed, lines = live(path, 0.3 if kills < 5 else None, chance)
        kills += killed
        for line in lines:
            if line.startswith("chunk"):
                _, run_id, _, begun, number = line.split()
                acknowledged.add((run_id, int(begun), int(number)))
        look(path, acknowledged)
        if not killed:
            break
    assert acknowledged
    ended(path)


def ended(path: Path) -> None:
    """Every run has ended, replays, and holds the whole of what its last life wrote."""
    registry = Registry([stream_worker.writer])
    ledger = DuckDBLedger(path, read_only=True)
    try:
        for number in range(RUNS):
            run_id = f"run-{number}"
            row = ledger.run(run_id)
            assert row is not None
            assert row.status == "completed"
            assert row.streams["trickled"][1] == 1, "the stream is not closed"
            values = [chunk.value for chunk in chunks_from(ledger, run_id, "trickled", 0)]
            assert [number for _, number in values[-stream_worker.CHUNKS :]] == list(range(stream_worker.CHUNKS))
            poured = [chunk.value for chunk in chunks_from(ledger, run_id, "poured", 0)]
            assert poured[-100:] == list(range(100))
            verdict = check_run(row, registry.newest("writer"), ledger.entries(row.run))
            assert verdict.ok, verdict.divergence
    finally:
        ledger.close()
