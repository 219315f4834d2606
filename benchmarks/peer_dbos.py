"""W1, W2 and W3 on DBOS with SQLite in WAL mode, as JSON on standard output.

Its synchronous and its asynchronous interface are both measured, and the better figure of each counts.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from dbos import DBOS

moments: list[float] = []


@DBOS.step()
async def nothing(number: int) -> int:
    moments.append(time.perf_counter())
    return number


@DBOS.workflow()
async def sequential(count: int) -> int:
    total = 0
    for number in range(count):
        total += await nothing(number)
    return total


@DBOS.step()
def nothing_sync(number: int) -> int:
    moments.append(time.perf_counter())
    return number


@DBOS.workflow()
def sequential_sync(count: int) -> int:
    total = 0
    for number in range(count):
        total += nothing_sync(number)
    return total


def w1_sync() -> list[float]:
    for _ in range(2):
        moments.clear()
        DBOS.start_workflow(sequential_sync, 200).get_result()
    return [(b - a) * 1000 for a, b in pairwise(moments)]


def w2_sync() -> float:
    begun = time.perf_counter()
    handles = [DBOS.start_workflow(sequential_sync, 10) for _ in range(200)]
    for handle in handles:
        handle.get_result()
    return 2000 / (time.perf_counter() - begun)


def w3_sync() -> list[float]:
    times = []
    for _ in range(120):
        begun = time.perf_counter()
        DBOS.start_workflow(sequential_sync, 1).get_result()
        times.append((time.perf_counter() - begun) * 1000)
    return times[20:]


async def w1() -> list[float]:
    for _ in range(2):
        moments.clear()
        await (await DBOS.start_workflow_async(sequential, 200)).get_result()
    return [(b - a) * 1000 for a, b in pairwise(moments)]


async def w2() -> float:
    begun = time.perf_counter()
    handles = await asyncio.gather(*[DBOS.start_workflow_async(sequential, 10) for _ in range(200)])
    await asyncio.gather(*[handle.get_result() for handle in handles])
    return 2000 / (time.perf_counter() - begun)


async def w3() -> list[float]:
    times = []
    for _ in range(120):
        begun = time.perf_counter()
        handle = await DBOS.start_workflow_async(sequential, 1)
        await handle.get_result()
        times.append((time.perf_counter() - begun) * 1000)
    return times[20:]


def main() -> None:
    with tempfile.TemporaryDirectory(dir=".") as name:
        path = Path(name) / "dbos.sqlite"
        DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{path}", "log_level": "ERROR"})
        DBOS.launch()
        connection = sqlite3.connect(path)
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.close()
        assert mode == "wal", mode
        results = {
            "w1_ms": min(statistics.median(w1_sync()), statistics.median(asyncio.run(w1()))),
            "w2_steps_per_s": max(w2_sync(), asyncio.run(w2())),
            "w3_ms": min(statistics.median(w3_sync()), statistics.median(asyncio.run(w3()))),
        }
        DBOS.destroy()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
