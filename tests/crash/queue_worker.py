"""A worker that is killed while its runs wait on a queue: each start is acknowledged on stdout.

Usage: queue_worker.py LEDGER RUNS
"""

from __future__ import annotations

import asyncio
import sys

from perdure import Queue, Runtime
from perdure.strict import step, workflow

QUEUE = Queue("line", max_concurrent_runs=3, max_concurrent_runs_per_key=1, max_concurrent_steps=2)


@step
async def worked(number: int) -> int:
    await asyncio.sleep(0.003)
    return number


@workflow(id="queued", queue=QUEUE, key="{key}")
async def queued(input: dict[str, int], step) -> int:
    first = await worked(input["number"])
    await step.sleep("2ms")
    return first + await worked(input["number"])


async def main(ledger: str, runs: int) -> None:
    async with Runtime(ledger, workflows=[queued]) as runtime:
        handles = []
        for number in range(runs):
            handles.append(await runtime.start("queued", {"number": number, "key": number % 4}, run_id=f"run-{number}"))
            print(f"started run-{number}", flush=True)
        for handle in handles:
            await handle.result(timeout="60s")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
