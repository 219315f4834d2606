"""What documents cost: sequential steps that write one, beside the same steps without; and searches through many.

Usage: python benchmarks/database.py [ROUNDS] [DOCUMENTS]

All kinds of steps run in turns in one runtime on a file; the ratio is of medians over all rounds. The bar is 1.2.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from perdure import Runtime
from perdure.strict import current_step, step, workflow

STEPS = 100


@step
async def nothing(number: int) -> int:
    """A step that does nothing."""
    return number


@step
async def insert(number: int) -> int:
    """Insert a document."""
    await current_step().database["orders"].insert_one({"number": number, "customer": "Ann", "status": "open"})
    return number


@step
async def update(number: int) -> int:
    """Count in one of a few documents."""
    await current_step().database["totals"].update_one({"_id": f"{number % 10}"}, {"$inc": {"n": 1}}, upsert=True)
    return number


@step
async def find_and_update(number: int) -> int:
    """Read a document by its id and change it."""
    totals = current_step().database["totals"]
    await totals.find_one({"_id": f"{number % 10}"})
    await totals.update_one({"_id": f"{number % 10}"}, {"$set": {"seen": number}}, upsert=True)
    return number


@workflow(id="steps")
async def steps(input: str) -> int:
    """A run of many steps of one kind."""
    for number in range(100):
        if input == "nothing":
            await nothing(number)
        elif input == "insert_one":
            await insert(number)
        elif input == "update_one":
            await update(number)
        else:
            await find_and_update(number)
    return 0


KINDS = ("insert_one", "update_one", "find_one and update_one")


async def in_turns(rounds: int, folder: Path) -> dict[str, list[float]]:
    """Milliseconds of a step, by kind and round."""
    spent: dict[str, list[float]] = {kind: [] for kind in ("nothing", *KINDS)}
    async with Runtime(folder / "steps.duckdb", workflows=[steps]) as runtime:
        for number in range(rounds + 1):
            for kind, times in spent.items():
                begun = time.perf_counter()
                await (await runtime.start("steps", kind)).result()
                if number:  # the first round warms up
                    times.append((time.perf_counter() - begun) * 1000 / STEPS)
    return spent


async def searches(count: int, folder: Path) -> dict[str, float]:
    """Milliseconds of searches through many documents."""
    async with Runtime(folder / "many.duckdb", workflows=[steps]) as runtime:
        orders = runtime.database["orders"]
        for start in range(0, count, 10_000):
            await orders.insert_many([_order(number) for number in range(start, min(start + 10_000, count))])
        kinds: dict[str, Callable[[], Awaitable[Any]]] = {
            "find_one by _id": lambda: orders.find_one({"_id": f"o{count // 2:08}"}),
            "find 1 % by a text": lambda: orders.find({"customer": "customer 42"}),
            "find_one by a number": lambda: orders.find_one({"cents": 4242}),
            "find 1 % by a range": lambda: orders.find({"cents": {"$lt": 100}}),
            "find 20 of them, sorted": lambda: orders.find({"status": "open"}, sort=("cents", -1), limit=20),
            "find a page of 20": lambda: orders.find(after=f"o{count // 2:08}", limit=20),
            "count all": lambda: orders.count(),
            "update_one by a text": lambda: orders.update_one({"customer": "customer 42"}, {"$inc": {"tries": 1}}),
        }
        taken = {}
        for name, search in kinds.items():
            times = []
            for _ in range(5):
                begun = time.perf_counter()
                await search()
                times.append((time.perf_counter() - begun) * 1000)
            taken[name] = round(min(times), 2)
    return taken


def _order(number: int) -> dict[str, Any]:
    return {
        "_id": f"o{number:08}", "customer": f"customer {number % 100}", "cents": number * 7 % 10_000,
        "status": "open" if number % 3 else "paid", "items": [{"sku": "tea", "count": number % 5}],
    }  # fmt: skip


def main() -> None:
    """Measure, and print it as JSON."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        spent = asyncio.run(in_turns(rounds, Path(folder)))
        taken = asyncio.run(searches(count, Path(folder)))
    plain = statistics.median(spent["nothing"])
    ratios = {kind: round(statistics.median(spent[kind]) / plain, 2) for kind in KINDS}
    print(json.dumps({"step_ms": round(plain, 3), "ratio": ratios, "documents": count, "ms": taken}, indent=2))


if __name__ == "__main__":
    main()
