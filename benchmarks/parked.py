"""Many parked runs: what it costs to start, keep, reopen and wake them.

Usage: python benchmarks/parked.py [RUNS] [--json]

Ratios come from two sizes measured in the same run: what one of N parked runs costs beside one of N/10. Memory is what
the process has resident after a garbage collection, less what it had before, by run.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import workflows
from durable import resident_mib

from perdure import Runtime

WORKFLOWS = [workflows.parked, workflows.sleeper, workflows.one_step]
AT_ONCE = 2000
WOKEN = 200


async def start(path: Path, runs: int) -> dict[str, float]:
    """Start runs that wait for an event each, a few thousand calls at a time."""
    async with Runtime(path, workflows=WORKFLOWS) as runtime:
        await (await runtime.start("one-step", 1)).result()
        await asyncio.gather(*[runtime.start("parked", -1 - number) for number in range(AT_ONCE)])
        before = settled_mib(runtime)
        begun, used = time.perf_counter(), time.process_time()
        for first in range(0, runs, AT_ONCE):
            await asyncio.gather(*[runtime.start("parked", first + number) for number in range(AT_ONCE)])
        took, used = time.perf_counter() - begun, time.process_time() - used
        memory = (settled_mib(runtime) - before) * 2**20 / runs
    return {"start_s": took, "start_cpu_us": used * 1e6 / runs, "memory_bytes": memory}


async def start_many(path: Path, runs: int) -> dict[str, float]:
    """The same in one call, whose inputs are validated first."""
    async with Runtime(path, workflows=WORKFLOWS) as runtime:
        await (await runtime.start("one-step", 1)).result()
        await runtime.start_many("parked", range(-AT_ONCE, 0))
        settled_mib(runtime)
        begun, used = time.perf_counter(), time.process_time()
        await runtime.start_many("parked", range(runs))
        took, used = time.perf_counter() - begun, time.process_time() - used
    return {"start_many_s": took, "start_many_cpu_us": used * 1e6 / runs}


def settled_mib(runtime: Runtime) -> float:
    """Resident memory once the ledger has absorbed what it was given."""
    runtime.sql("SELECT 1")
    gc.collect()
    return resident_mib()


async def restart(path: Path, runs: int) -> dict[str, float]:
    """Open the ledger again, with all of them parked; then wake some, and let a run begin beside them."""
    begun = time.perf_counter()
    async with Runtime(path, workflows=WORKFLOWS) as runtime:
        ready = time.perf_counter() - begun
        begun = time.perf_counter()
        await (await runtime.start("one-step", 1)).result()
        first = time.perf_counter() - begun
        sent, ended = [], []
        step = max(1, runs // (WOKEN + 1))
        for number in range(WOKEN):
            begun = time.perf_counter()
            assert await runtime.send_event("paid", {"order": number * step, "cents": 5}) == 1
            sent.append((time.perf_counter() - begun) * 1000)
        for _ in range(WOKEN):
            begun = time.perf_counter()
            assert await runtime.send_event("paid", {"order": "nobody's", "cents": 5}) == 0
            ended.append((time.perf_counter() - begun) * 1000)
        idle = await idle_share()
    return {
        "ready_s": ready, "first_run_ms": first * 1000, "send_event_ms": statistics.median(sent),
        "send_event_p99_ms": sorted(sent)[int(len(sent) * 0.99)], "unheard_event_ms": statistics.median(ended),
        "idle_share": idle,
    }  # fmt: skip


async def idle_share(seconds: float = 2.0) -> float:
    """The share of a core that the process takes while nothing happens."""
    await asyncio.sleep(0.5)
    begun, used = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    return (time.process_time() - used) / (time.perf_counter() - begun)


async def sleepers(path: Path, runs: int) -> dict[str, float]:
    """Runs whose timers lie within the next seconds: what they cost while they sleep, and the storm when they wake."""
    async with Runtime(path, workflows=WORKFLOWS) as runtime:
        begun, before = time.time(), settled_mib(runtime)
        # All wake at one moment, far enough that all are asleep by then.
        wakes = begun + runs / 2500 + 4
        for first in range(0, runs, AT_ONCE):
            await asyncio.gather(
                *[runtime.start("sleeper", wakes - time.time()) for _ in range(min(AT_ONCE, runs - first))]
            )
        memory = settled_mib(runtime) - before
        left = wakes - time.time() - 0.5
        idle = await idle_share(left - 0.5) if left > 1 else float("nan")
        await asyncio.sleep(max(0.0, wakes - time.time()))
        woken = time.perf_counter()
        # While they wake, others are served: the longest that a new run had to wait.
        longest = 0.0
        while runtime.sql("SELECT count(*) FROM runs WHERE status = 'sleeping'").rows[0][0]:
            asked = time.perf_counter()
            await runtime.start("one-step", 1)
            longest = max(longest, time.perf_counter() - asked)
        took = time.perf_counter() - woken
    return {
        "asleep_memory_bytes": memory * 2**20 / runs, "asleep_idle_share": idle, "storm_per_s": runs / took,
        "storm_longest_wait_ms": longest * 1000,
    }  # fmt: skip


def phase(name: str, path: Path, runs: int) -> dict[str, float]:
    """Measure one phase in a fresh process."""
    command = [sys.executable, __file__, str(runs), "--phase", name, "--path", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(runs: int) -> dict[str, float]:
    """All phases with so many runs."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        path = Path(name) / "parked.duckdb"
        found = phase("start", path, runs) | phase("restart", path, runs)
        found |= phase("start_many", Path(name) / "many.duckdb", runs)
        return found | phase("sleepers", Path(name) / "sleepers.duckdb", min(runs, 10_000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int, nargs="?", default=100_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--phase", choices=["start", "start_many", "restart", "sleepers"], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.phase:
        print(json.dumps(asyncio.run(globals()[wanted.phase](wanted.path, wanted.runs))))
        return
    many, few = measure(wanted.runs), measure(wanted.runs // 10)
    if wanted.json:
        print(json.dumps({"runs": wanted.runs, "many": many, "few": few}))
        return
    print(f"{'':<24}{wanted.runs:>14,}{wanted.runs // 10:>14,}")
    for name, value in many.items():
        print(f"{name:<24}{value:>14.3f}{few[name]:>14.3f}")


if __name__ == "__main__":
    main()
