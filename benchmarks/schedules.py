"""Triggers: how late ticks come on a loaded runtime, and how long an event takes that starts a thousand runs.

Usage: python benchmarks/schedules.py [SCHEDULES] [--json]

The schedules tick every minute, spread over its seconds, while other runs are started as fast as they are
acknowledged; then all of them tick at once. Lateness is how long after its tick a run's first step begins: the run is
on the disk by then, and so is the intent of the step.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from perdure import Event, Runtime, Schedule, ScheduledInput, step, workflow

SPREAD_S = 65
TOGETHER_S = 20


late_ms: list[tuple[datetime, float]] = []


@step
async def note(tick: datetime) -> None:
    """Take the time."""
    late_ms.append((tick, (datetime.now(UTC) - tick).total_seconds() * 1000))


def ticking(number: int, cron: str) -> Any:
    """A workflow on a schedule, whose first step says how late it is."""

    @workflow(id=f"tick-{number}", trigger=Schedule(cron))
    async def body(input: ScheduledInput) -> None:
        await note(input["scheduled_at"])

    return body


def hearing(number: int) -> Any:
    """A workflow that an event starts."""

    @workflow(id=f"hear-{number}", trigger=Event("all"))
    async def body() -> None: ...

    return body


@workflow(id="load")
async def load(input: int, step) -> int:  # type: ignore[no-untyped-def]
    return await step.run("one", lambda: input)


async def ticks(path: Path, crons: list[str], seconds: int, *, loaded: bool) -> list[float]:
    """How late each tick's run began its step, in milliseconds."""
    late_ms.clear()
    workflows = [ticking(number, cron) for number, cron in enumerate(crons)]
    async with Runtime(path, workflows=[*workflows, load]) as runtime:
        opened = datetime.now(UTC)
        await runtime.start(load, -1)
        stop = time.monotonic() + seconds

        async def busy(first: int) -> None:
            number = first
            while loaded and time.monotonic() < stop:
                await (await runtime.start(load, number)).result()
                number += 1

        await asyncio.gather(*[busy(1_000_000 * each) for each in range(4)])
        await asyncio.sleep(max(0.0, stop - time.monotonic()))
        await runtime.idle()
    return [late for tick, late in late_ms if tick > opened]  # while it opens, nothing can tick


async def event(path: Path, runs: int) -> tuple[float, int]:
    """Seconds until an event is acknowledged that starts so many runs, all of them recorded; the best of three."""
    workflows = [hearing(number) for number in range(runs)]
    async with Runtime(path, workflows=workflows) as runtime:
        await runtime.send_event("all")  # definitions are recorded once
        best, started = 60.0, 0
        for _ in range(3):
            begun = time.perf_counter()
            receipt = await runtime.send_event("all")
            best, started = min(best, time.perf_counter() - begun), len(receipt.started)
    return best, started


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("schedules", nargs="?", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    spread = [f"{number % 60} * * * * *" for number in range(options.schedules)]
    together = ["*/10 * * * * *"] * options.schedules
    facts: dict[str, Any] = {"schedules": options.schedules}
    with tempfile.TemporaryDirectory() as folder:
        for name, crons, seconds, loaded in (
            ("spread", spread, SPREAD_S, True), ("together", together, TOGETHER_S, False),
        ):  # fmt: skip
            late = sorted(asyncio.run(ticks(Path(folder) / f"{name}.duckdb", crons, seconds, loaded=loaded)))
            facts[name] = {
                "ticks": len(late), "median_ms": statistics.median(late), "p99_ms": late[int(len(late) * 0.99)],
                "max_ms": late[-1],
            }  # fmt: skip
        seconds, started = asyncio.run(event(Path(folder) / "event.duckdb", options.schedules))
        facts["event"] = {"runs": started, "seconds": seconds}
    if options.json:
        print(json.dumps(facts))
        return
    for name in ("spread", "together"):
        each = facts[name]
        print(
            f"{options.schedules:,} schedules, {name:<8}  {each['ticks']:>6,} ticks  late by {each['median_ms']:.1f} ms"
            f" (median), {each['p99_ms']:.1f} ms (99 %), {each['max_ms']:.1f} ms (most)"
        )
    print(f"an event that starts {started:,} runs is acknowledged after {seconds:.3f} s")


if __name__ == "__main__":
    main()
