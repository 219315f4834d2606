"""`kill -9` while steps write to services: what a step wrote is there with its result, once, and never without it."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import services_worker
from forked import Worker

from perdure import Runtime
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.ledger import RunFilter
from perdure.storage.verify import verify

RUNS = 8


def live(ledger: Path, longest_s: float | None, chance: random.Random) -> bool:
    """Let a worker live for a random while, or until it is done."""
    process = Worker(services_worker.__file__, ledger, RUNS)
    process.stdout.readline()  # it works now, so that the kill hits the work and not the imports
    if longest_s is not None:
        time.sleep(chance.uniform(0, longest_s))
        process.kill()
    _, errors, code = process.rest()
    assert code in (0, -signal.SIGKILL), errors
    return code == 0


def found(path: Path) -> tuple[list[dict[str, Any]], list[Any], set[str], dict[str, int]]:
    """The results of all steps that completed, the runs that were started, what services keep, and leftovers."""
    ledger = DuckDBLedger(path, read_only=True)
    try:
        rows = ledger.runs(RunFilter(limit=None))
        entries = [entry for row in rows if row.workflow == "writes" for entry in ledger.entries(row.run)]
        results = [json.loads(entry.body or "") for entry in entries if entry.kind == "step_completed"]
        kept = {
            space: {cell.key for cell in ledger.cells(space)}
            for space in ("kv/default", "blob/default", "db/made", "queue/made", "chunk/default", "upload/default")
        }
        count = ledger.cell("kv/default", "count")
        uploads = {json.loads(cell.body or "")["upload"] for cell in ledger.cells("blob/default")}
        numbers = {
            "count": 0 if count is None else int(count.body or ""),
            "documents": len(kept["db/made"]),
            "lost chunks": sum(key.partition("/")[0] not in uploads for key in kept["chunk/default"]),
            "uploads": len(kept["upload/default"]),
        }
        kept["kv/default"].discard("count")
        kept["blob/default"].discard("shared")
        assert kept["kv/default"] == kept["blob/default"] == {result["key"] for result in results}
        assert kept["queue/made"] == {result["message"] for result in results}
        return results, [row for row in rows if row.workflow == "started"], kept["blob/default"], numbers
    finally:
        ledger.close()


def check(path: Path) -> dict[str, int]:
    """Everything that completed is there once, and nothing else; give what is kept beside that."""
    results, started, _, numbers = found(path)
    assert sorted(row.run_id for row in started) == sorted(result["started"] for result in results)
    assert numbers["documents"] == len(results)
    assert numbers["count"] >= sum(int(result["key"].partition("-")[0]) >= 1000 for result in results)
    assert len({result["key"] for result in results}) == len(results)
    return numbers


def test_what_steps_wrote_is_there_with_their_results_and_never_without(tmp_path: Path) -> None:
    chance = random.Random(5)
    path = tmp_path / "services.duckdb"
    for _ in range(4):
        live(path, 0.5, chance)
        check(path)
    assert live(path, None, chance)
    assert verify(path).ok
    numbers = check(path)
    results, started, blobs, _ = found(path)
    assert len(results) == 3 * RUNS
    assert numbers["count"] == 2 * RUNS
    assert all(row.status == "completed" for row in started)
    assert (numbers["lost chunks"], numbers["uploads"]) == (0, 0), "what killed uploads left was not swept"

    async def read() -> None:
        async with Runtime(path, workflows=[services_worker.writes, services_worker.started]) as runtime:
            for name in blobs:
                content = await runtime.storage.get(name)  # which checks its digest
                assert content in (services_worker.BIG, services_worker.BIG + name.encode())
            received = [message.payload for message in await runtime.queue.receive("made", limit=100)]
            assert sorted(received) == sorted(result["key"] for result in results)

    asyncio.run(read())
