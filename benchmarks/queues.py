"""What a queue costs: runs of one step through a queue that never holds anybody back, beside the same runs without one.

Usage: python benchmarks/queues.py [RUNS] [--json]

The ratio is of processor time, and both are measured in turns in one process. A second figure is a queue that does hold
them back: all runs wait, ten at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from perdure import Queue, Rate, Runtime
from perdure.strict import step, workflow

ROUNDS = 3
AT_ONCE = 500
WIDE = Queue("wide", max_concurrent_runs=1_000_000, rate=Rate(1_000_000, per="1m"))
NARROW = Queue("narrow", max_concurrent_runs=10)


@step
async def one(number: int) -> int:
    """A step that does nothing."""
    return number


@workflow(id="one")
async def one_step(input: int) -> int:
    """A run of one step."""
    return await one(input)


async def through(queue: str | None, runs: int) -> float:
    """Processor time of so many runs, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "queue.duckdb"
        async with Runtime(path, workflows=[one_step], queues=[WIDE, NARROW]) as runtime:
            before = time.process_time()
            for begin in range(0, runs, AT_ONCE):
                numbers = range(begin, min(begin + AT_ONCE, runs))
                started = await asyncio.gather(*[runtime.start("one", number, queue=queue) for number in numbers])
                await asyncio.gather(*[run.result() for run in started])
            return time.process_time() - before


def measure(runs: int) -> dict[str, Any]:
    """Runs through each queue and through none, in turns."""
    spent: dict[str | None, list[float]] = {None: [], "wide": [], "narrow": []}
    for _ in range(ROUNDS):
        for queue, times in spent.items():
            times.append(asyncio.run(through(queue, runs)))
    plain, wide, narrow = (statistics.median(times) for times in spent.values())
    ratios = {"queue_ratio": wide / plain, "waiting_ratio": narrow / plain}
    return {"runs": runs, "plain_us_per_run": plain / runs * 1e6, **ratios}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="?", type=int, default=2_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.runs)
    if given.json:
        print(json.dumps(found))
        return
    print(f"a run of one step without a queue  {found['plain_us_per_run']:.0f} µs of processor time")
    print(f"on a queue with room               {found['queue_ratio']:.2f} of that")
    print(f"on a queue that lets ten at once   {found['waiting_ratio']:.2f} of that")


if __name__ == "__main__":
    main()
