"""A process that dies in the middle of a step's end, and goes on at its next start.

Usage: python redis_worker.py LEDGER URL PREFIX WHEN
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from perdure import RedisKv, RedisQueue, Runtime
from perdure.strict import current_step, step, workflow

_, LEDGER, URL, PREFIX, WHEN = sys.argv
# WHEN: "before", "after" (the write of kv), "between" (kv and queue), or "never"


class Struck(RedisKv):
    """One whose process dies around a step's write."""

    async def write(self, *args: Any, for_good: bool, **options: Any) -> Any:
        if for_good and WHEN == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        written = await super().write(*args, for_good=for_good, **options)
        if for_good and WHEN == "between":
            os.kill(os.getpid(), signal.SIGKILL)
        return written


class StruckQueue(RedisQueue):
    """The same, after both have written."""

    async def write(self, *args: Any, for_good: bool, **options: Any) -> Any:
        written = await super().write(*args, for_good=for_good, **options)
        if for_good and WHEN == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return written


@step
async def work() -> tuple[int, list[int]]:
    at = current_step()
    count = await at.kv.increment("count")
    await at.kv.put("seen", [*await at.kv.get("seen", []), count])
    await at.queue.send("jobs", count)
    return count, await at.kv.get("seen")


@workflow(id="works")
async def works(input: None) -> tuple[int, list[int]]:
    return await work()


async def main() -> None:
    """Start the run, or go on with it."""
    services = {"kv": Struck(URL, prefix=PREFIX), "queue": StruckQueue(URL, prefix=PREFIX)}
    async with Runtime(LEDGER, workflows=[works], services=services) as runtime:
        run = await runtime.start("works", run_id="r-1")
        print(await run.result(timeout="30s"))


if __name__ == "__main__":
    asyncio.run(main())
