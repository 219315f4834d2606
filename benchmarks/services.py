"""What a service adds to a step: sequential steps that write to `kv` or send to `queue`, beside the same steps without.

Usage: python benchmarks/services.py [ROUNDS] [--json] [--only NAME]

All kinds run in turns in one runtime on a file. A round is a run of each kind; the ratio is of the first deciles over
all rounds, because whatever else the machine does only ever adds to a run.
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

from perdure import Runtime
from perdure.strict import current_step, step, workflow

STEPS = 30


@step
async def nothing(number: int) -> int:
    """A step that does nothing."""
    return number


@step
async def put_known(number: int) -> int:
    """Write one of a few keys anew."""
    await current_step().kv.put(f"known:{number % 10}", {"number": number})
    return number


@step
async def put_new(number: int) -> int:
    """Write a key that was never there."""
    at = current_step()
    await at.kv.put(f"new:{at.run_id}:{number}", {"number": number})
    return number


@step
async def read_and_write(number: int) -> int:
    """Read a key and count in another."""
    kv = current_step().kv
    await kv.get(f"known:{number % 10}")
    count: int = await kv.increment("count")
    return count


@step
async def send(number: int) -> int:
    """Send a message."""
    await current_step().queue.send("jobs", {"number": number})
    return number


@workflow(id="steps")
async def steps(input: str) -> int:
    """A run of many steps of one kind."""
    for number in range(30):
        if input == "nothing":
            await nothing(number)
        elif input == "put_known":
            await put_known(number)
        elif input == "put_new":
            await put_new(number)
        elif input == "read_and_write":
            await read_and_write(number)
        else:
            await send(number)
    return 0


KINDS = {
    "put_known": "kv.put to a known key",
    "put_new": "kv.put to a new key",
    "read_and_write": "kv.get and kv.increment",
    "send": "queue.send",
}


async def in_turns(rounds: int, kinds: list[str]) -> dict[str, list[float]]:
    """Seconds of each run, by kind."""
    spent: dict[str, list[float]] = {kind: [] for kind in ("nothing", *kinds)}
    with tempfile.TemporaryDirectory() as folder:
        async with Runtime(Path(folder) / "services.duckdb", workflows=[steps]) as runtime:
            for turn in range(rounds + 1):
                for kind, times in spent.items():
                    begun = time.perf_counter()
                    run = await runtime.start("steps", kind)
                    await run.result()
                    if turn:  # the first round warms up
                        times.append(time.perf_counter() - begun)
    return spent


def decile(times: list[float]) -> float:
    """The time that a tenth of the runs took less than."""
    return statistics.quantiles(times, n=10)[0]


def measure(rounds: int, kinds: list[str]) -> dict[str, Any]:
    """Milliseconds of a step without services, and the ratios of those with."""
    spent = asyncio.run(in_turns(rounds, kinds))
    plain = decile(spent["nothing"])
    return {
        "rounds": rounds,
        "step_ms": plain / STEPS * 1e3,
        **{f"{kind}_ratio": decile(spent[kind]) / plain for kind in kinds},
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rounds", nargs="?", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=list(KINDS))
    given = parser.parse_args()
    kinds = [given.only] if given.only else list(KINDS)
    found = measure(given.rounds, kinds)
    if given.json:
        print(json.dumps(found))
        return
    print(f"a step without services  {found['step_ms']:.3f} ms")
    for kind in kinds:
        print(f"{KINDS[kind]:<24} {found[f'{kind}_ratio']:.2f} of that  (bar: 1.20)")


if __name__ == "__main__":
    main()
