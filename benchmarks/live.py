"""What live verification costs production: W2 with `verify="always"` against `"off"`, in turn, as JSON.

Each wave is 200 runs of 10 steps at once, wave after wave, so that verification always has more to do than it gets to.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import workflows

from perdure import Runtime

Verify = Literal["off", "always"]
ROUNDS = 7
WAVES = 4


async def steps_per_s(path: Path, verify: Verify) -> tuple[float, int]:
    """Four waves on a ledger: steps per second, and how many runs were verified meanwhile."""
    async with Runtime(path, workflows=[workflows.sequential], verify=verify, drain=0) as runtime:
        begun = time.perf_counter()
        for _ in range(WAVES):
            runs = await asyncio.gather(*[runtime.start("sequential", 10) for _ in range(200)])
            await asyncio.gather(*[run.result() for run in runs])
        rate = WAVES * 2000 / (time.perf_counter() - begun)
        return rate, runtime.sql("SELECT count(*) FROM verdicts").rows[0][0]


def main() -> None:
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    rates: dict[Verify, list[float]] = {"off": [], "always": []}
    verified = 0
    with tempfile.TemporaryDirectory(dir=".") as name:
        for number in range(-1, rounds):  # the first round warms up
            order: tuple[Verify, ...] = ("off", "always") if number % 2 else ("always", "off")
            for verify in order:
                rate, count = asyncio.run(steps_per_s(Path(name) / f"{verify}{number}.duckdb", verify))
                if number >= 0:
                    rates[verify].append(rate)
                    verified += count
    ratios = [always / off for off, always in zip(rates["off"], rates["always"], strict=True)]
    print(
        json.dumps(
            {
                "w2_steps_per_s": statistics.median(rates["off"]),
                "w2_verified_steps_per_s": statistics.median(rates["always"]),
                "verified_ratio": statistics.median(ratios),
                "verified_share": verified / (rounds * WAVES * 200),
            }
        )
    )


if __name__ == "__main__":
    main()
