"""W1, W2, W3, W7 and resident memory on Perdure, and the disk's own speed, as JSON on standard output."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import workflows

from perdure import Runtime
from perdure.declare.registry import Registry
from perdure.replay.check import Verdict
from perdure.replay.survey import Survey
from perdure.storage.duckdb_ledger import DuckDBLedger

WORKFLOWS = [workflows.sequential, workflows.one_step]


def fdatasync_ms(folder: Path, rounds: int = 300) -> list[float]:
    """A 4 KiB append and `fdatasync`, in milliseconds each."""
    times = []
    block = b"x" * 4096
    handle = os.open(folder / "append", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(rounds):
        begun = time.perf_counter()
        os.write(handle, block)
        os.fdatasync(handle)
        times.append((time.perf_counter() - begun) * 1000)
    os.close(handle)
    return times


async def w1(folder: Path) -> list[float]:
    """200 sequential steps in one run: milliseconds from one step's call to the next one's."""
    moments: list[float] = []

    async def stamp(number: int) -> int:
        moments.append(time.perf_counter())
        return number

    plain, workflows.nothing = workflows.nothing, stamp  # a body finds the step anew for each run
    try:
        async with Runtime(folder / "w1.duckdb", workflows=WORKFLOWS) as runtime:
            for _ in range(2):
                moments.clear()
                run = await runtime.start("sequential", 200)
                await run.result()
    finally:
        workflows.nothing = plain
    return [(b - a) * 1000 for a, b in pairwise(moments)]


async def w2(folder: Path) -> float:
    """200 runs of 10 steps at once: steps per second."""
    async with Runtime(folder / "w2.duckdb", workflows=WORKFLOWS) as runtime:
        await (await runtime.start("sequential", 10)).result()
        begun = time.perf_counter()
        runs = await asyncio.gather(*[runtime.start("sequential", 10) for _ in range(200)])
        await asyncio.gather(*[run.result() for run in runs])
        return 2000 / (time.perf_counter() - begun)


async def w3(folder: Path) -> list[float]:
    """Start to result of a one-step run, milliseconds each."""
    times = []
    async with Runtime(folder / "w3.duckdb", workflows=WORKFLOWS) as runtime:
        for _ in range(220):
            begun = time.perf_counter()
            run = await runtime.start("one-step", 1)
            await run.result()
            times.append((time.perf_counter() - begun) * 1000)
    return times[20:]


async def w7(folder: Path) -> float:
    """Replay of a recorded run of 5,000 steps, from the file, verified: steps per second."""
    path = folder / "w7.duckdb"
    async with Runtime(path, workflows=WORKFLOWS) as runtime:
        run = await runtime.start("sequential", 5000)
        await run.result()
    rates = []
    registry = Registry(WORKFLOWS)
    for _ in range(5):
        ledger = DuckDBLedger(path, read_only=True)
        row = ledger.run(run.run_id)
        assert row is not None
        begun = time.perf_counter()
        verdict = Survey(ledger, registry).check(row)
        rates.append(5000 / (time.perf_counter() - begun))
        assert isinstance(verdict, Verdict)
        assert verdict.ok, verdict.divergence
        ledger.close()
    return statistics.median(rates)


async def memory(folder: Path, runs: int) -> list[tuple[int, float]]:
    """Resident memory in MiB while short runs pass through."""
    seen = []
    async with Runtime(folder / "memory.duckdb", workflows=WORKFLOWS) as runtime:
        for done in range(0, runs, 1000):
            handles = await asyncio.gather(*[runtime.start("one-step", 1) for _ in range(1000)])
            await asyncio.gather(*[handle.result() for handle in handles])
            if done % (runs // 10) == 0:
                seen.append((done + 1000, resident_mib()))
    return seen


def resident_mib() -> float:
    """This process's resident memory now; where the system has no /proc, the most it ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    wanted = sys.argv[1:] or ["w1", "w2", "w3", "w7"]
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        results["fdatasync_ms"] = statistics.median(fdatasync_ms(folder))
        if "w1" in wanted:
            results["w1_ms"] = statistics.median(asyncio.run(w1(folder)))
        if "w2" in wanted:
            results["w2_steps_per_s"] = asyncio.run(w2(folder))
        if "w3" in wanted:
            results["w3_ms"] = statistics.median(asyncio.run(w3(folder)))
        if "w7" in wanted:
            results["w7_steps_per_s"] = asyncio.run(w7(folder))
        if "memory" in wanted:
            results["memory_mib"] = asyncio.run(memory(folder, 100_000))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
