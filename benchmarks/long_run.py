"""One very long run: what its last step costs beside its first, what it weighs, and how it comes back.

Usage: python benchmarks/long_run.py [STEPS] [--json]

The ratio is between the last and the first tenth of one run's own steps. Replays are of the run as it lies in the file.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import workflows
from durable import resident_mib

from perdure import Runtime
from perdure.declare.registry import Registry
from perdure.replay.check import Verdict
from perdure.replay.survey import Survey
from perdure.storage.duckdb_ledger import DuckDBLedger

WORKFLOWS = [workflows.sequential, workflows.wide, workflows.one_step]


async def live(path: Path, steps: int) -> dict[str, float]:
    """Walk through all steps, and note the processor time at each."""
    moments: list[float] = []
    weights: list[float] = []

    async def stamp(number: int) -> int:
        moments.append(time.process_time())  # what neighbours do to the clock is not this run's cost
        if number in (steps // 10, steps - 1):
            gc.collect()
            weights.append(resident_mib())
        return number

    workflows.nothing = stamp  # a body finds the step anew for each run
    async with Runtime(path, workflows=WORKFLOWS) as runtime:
        run = await runtime.start("sequential", steps, run_id="long")
        await run.result()
    costs = [(after - before) * 1000 for before, after in pairwise(moments)]
    tenth = steps // 10
    first, last = statistics.median(costs[100:tenth]), statistics.median(costs[-tenth:-1])
    return {
        "first_step_cpu_ms": first, "last_step_cpu_ms": last, "last_to_first": last / first,
        "bytes_per_step": (weights[-1] - weights[0]) * 2**20 / (steps - tenth),
    }  # fmt: skip


def peak_mib() -> float:
    """The most that was resident, as a sampling thread sees it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def check(path: Path, steps: int) -> dict[str, float]:
    """Verify it from the file."""
    ledger = DuckDBLedger(path, read_only=True)
    row = ledger.run("long")
    assert row is not None
    gc.collect()
    before = peak_mib()
    begun = time.perf_counter()
    verdict = Survey(ledger, Registry(WORKFLOWS)).check(row)
    took = time.perf_counter() - begun
    assert isinstance(verdict, Verdict)
    assert verdict.ok, verdict.divergence
    ledger.close()
    return {"replayed_steps_per_s": steps / took, "replay_peak_mib": peak_mib() - before}


async def parallel(path: Path, steps: int) -> dict[str, float]:
    """The same number of steps side by side, a hundredth and a tenth of it at once."""
    found = {}
    async with Runtime(path, workflows=WORKFLOWS) as runtime:
        await (await runtime.start("wide", 10)).result()
        for width in (steps // 100, steps // 10):
            begun = time.perf_counter()
            await (await runtime.start("wide", width)).result()
            found[f"wide_{width}_ms_per_step"] = (time.perf_counter() - begun) * 1000 / width
    return found


def phase(name: str, path: Path, steps: int) -> dict[str, float]:
    """Measure one phase in a fresh process."""
    command = [sys.executable, __file__, str(steps), "--phase", name, "--path", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", type=int, nargs="?", default=100_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--phase", choices=["live", "check", "parallel"], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.phase:
        print(json.dumps(asyncio.run(globals()[wanted.phase](wanted.path, wanted.steps))))
        return
    with tempfile.TemporaryDirectory(dir=".") as name:
        path = Path(name) / "long.duckdb"
        found: dict[str, float] = {}
        for each in ("live", "check"):
            found |= phase(each, path, wanted.steps)
        found |= phase("parallel", Path(name) / "wide.duckdb", wanted.steps)
    if wanted.json:
        print(json.dumps(found))
        return
    for label, value in found.items():
        print(f"{label:<28}{value:>14.3f}")


if __name__ == "__main__":
    main()
