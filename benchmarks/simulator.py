"""The simulator beside plain CPython: the same awaits on a bare asyncio loop, in turn, in the same run. Prints a table.

Usage: python benchmarks/simulator.py [--rounds 3] [--json]

Plain CPython records nothing, replays nothing and survives nothing, so the ratio is what all of that costs, not a race.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from perdure.strict import step, workflow
from perdure.testing import Simulation, check_determinism, crash_everywhere

STEPS = 20
RUNS = 50
NIGHTS = 365
EXAMPLES = 200


async def nothing(number: int) -> int:
    return number


@workflow(id="twenty")
async def twenty(input: int, step) -> int:
    total = 0
    for number in range(input):
        total += await step.run(f"step-{number}", nothing, number)
    return total


@workflow(id="nightly")
async def nightly(input: int, step) -> int:
    for night in range(input):
        three = datetime.now(UTC).replace(hour=3, minute=0, second=0, microsecond=0)
        if three <= datetime.now(UTC):
            three += timedelta(days=1)
        await step.sleep_until(f"night-{night}", three)
        await step.run(f"report-{night}", nothing, night)
    return input


@step
async def count(number: int) -> int:
    return number + 1


@workflow(id="small")
async def small(input: int, step) -> int:
    one, other = await asyncio.gather(count(input), count(input + 1))
    return await count(one + other)


class Work(NamedTuple):
    """What is measured: in the simulator, and as the same awaits on a bare loop."""

    name: str
    unit: str
    simulated: Callable[[], float]
    plain: Callable[[], float]
    bar: str = ""


# ── in the simulator ─────────────────────────────────────────────────────────────────────────────


def one_after_another() -> float:
    """Runs of 20 steps, each begun when the one before has ended: steps per second."""
    with Simulation(twenty) as simulation:
        begun = time.perf_counter()
        for _ in range(RUNS):
            simulation.start(twenty, STEPS).result()
        return RUNS * STEPS / (time.perf_counter() - begun)


def at_once() -> float:
    """50 runs of 20 steps at once: steps per second."""
    with Simulation(twenty) as simulation:
        begun = time.perf_counter()
        for _ in range(RUNS):
            simulation.start(twenty, STEPS)
        simulation.run()
        rate = RUNS * STEPS / (time.perf_counter() - begun)
        assert all(run.status() == "completed" for run in simulation.runs())
        return rate


def crashes() -> float:
    """One crash at every boundary of a run of 20 steps: seconds."""
    return crash_everywhere(twenty, STEPS).seconds


def a_year() -> float:
    """A step at three o'clock, every night: seconds."""
    begun = time.perf_counter()
    with Simulation(nightly, start_at="2030-01-01T00:00:00Z") as simulation:
        assert simulation.start(nightly, NIGHTS).result() == NIGHTS
    return time.perf_counter() - begun


def examples() -> float:
    """A search through 200 worlds of a workflow of three steps: seconds."""
    return check_determinism(small, steps={count: count}, max_examples=EXAMPLES).seconds


# ── the same awaits on a bare loop ───────────────────────────────────────────────────────────────


async def plain_twenty(steps: int) -> int:
    total = 0
    for number in range(steps):
        total += await asyncio.create_task(nothing(number))  # a step is a task of its own, too
    return total


async def plain_small(number: int) -> int:
    one, other = await asyncio.gather(count(number), count(number + 1))
    return await count(one + other)


async def plain_year() -> None:
    for night in range(NIGHTS):
        await asyncio.sleep(0)
        await asyncio.create_task(nothing(night))


def timed(make: Callable[[], Any]) -> float:
    """Seconds that a coroutine takes on a fresh loop, without making the loop."""

    async def measure() -> float:
        begun = time.perf_counter()
        await make()
        return time.perf_counter() - begun

    return asyncio.run(measure())


async def _in_turn() -> None:
    for _ in range(RUNS):
        await plain_twenty(STEPS)


async def _together() -> None:
    await asyncio.gather(*[plain_twenty(STEPS) for _ in range(RUNS)])


async def _as_often_as_crashes() -> None:
    for _ in range(1 + 3 * (STEPS + 1)):  # once without a crash, and three times for every commit
        await plain_twenty(STEPS)


async def _as_often_as_examples() -> None:
    for number in range(2 * EXAMPLES):  # two lives for each
        await plain_small(number)


WORKS = (
    Work("steps/s, a run after another", "steps/s", one_after_another,
         lambda: RUNS * STEPS / timed(_in_turn), "≥ 20,000"),
    Work(f"steps/s, {RUNS} runs at once", "steps/s", at_once,
         lambda: RUNS * STEPS / timed(_together), "≥ 20,000"),
    Work(f"crash_everywhere, {STEPS} steps", "s", crashes, lambda: timed(_as_often_as_crashes), "< 1 s"),
    Work(f"a year of {NIGHTS} nights", "s", a_year, lambda: timed(plain_year)),
    Work(f"check_determinism, {EXAMPLES} examples", "s", examples, lambda: timed(_as_often_as_examples)),
)  # fmt: skip


def measured(rounds: int) -> list[dict[str, Any]]:
    """Both sides of each work in turn, `rounds` times after a round that warms up; the medians."""
    sides: list[tuple[list[float], list[float]]] = [([], []) for _ in WORKS]
    for number in range(rounds + 1):
        for work, (simulated, plain) in zip(WORKS, sides, strict=True):
            one, other = work.simulated(), work.plain()
            if number:
                simulated.append(one)
                plain.append(other)
    found = []
    for work, (simulated, plain) in zip(WORKS, sides, strict=True):
        taken = [one / other for one, other in zip(simulated, plain, strict=True)]
        if work.unit == "steps/s":  # more is better: the other way round
            taken = [1 / each for each in taken]
        found.append(
            {
                "work": work.name,
                "unit": work.unit,
                "simulated": statistics.median(simulated),
                "plain": statistics.median(plain),
                "times_slower": statistics.median(taken),
                "bar": work.bar,
            }
        )
    return found


def show(found: list[dict[str, Any]], rounds: int) -> Table:
    """The table that people read."""
    table = Table(title=f"the simulator, medians of {rounds} rounds")
    for name in ("work", "simulated", "the same awaits, plain", "slower by", "bar"):
        table.add_column(name)
    for each in found:
        form = "{:,.0f}" if each["unit"] == "steps/s" else "{:.3f} s"
        figures = [form.format(each[side]) for side in ("simulated", "plain")]
        table.add_row(each["work"], *figures, f"{each['times_slower']:,.0f} ×", each["bar"])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often both sides are measured, in turn")
    parser.add_argument("--json", action="store_true", help="print JSON on one line instead of a table")
    wanted = parser.parse_args()
    found = measured(wanted.rounds)
    if wanted.json:
        print(json.dumps({"rounds": wanted.rounds, "works": found}))
    else:
        Console().print(show(found, wanted.rounds))


if __name__ == "__main__":
    main()
