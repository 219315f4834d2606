"""A worker that is killed while its steps write values, documents, blobs and messages, and start runs.

Usage: services_worker.py LEDGER RUNS
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from perdure import Runtime
from perdure.strict import current_step, step, workflow

BIG = bytes(range(256)) * 5_000  # more than a chunk


class Unlucky(Exception):
    """What a step raises after it has written everything."""


@step(retries=3)
async def write(number: int) -> dict[str, Any]:
    now = current_step()
    key = f"{number}-{os.urandom(6).hex()}"  # another one each time, so that what an attempt left behind is seen
    await now.kv.increment("count")
    await now.kv.put(key, number)
    await now.storage.put(key, BIG + key.encode())
    await now.database.collection("made").insert_one({"_id": key, "number": number})
    message = await now.queue.send("made", key)
    started = await now.workflows.start("started", key)
    await now.storage.put("shared", BIG + key.encode())
    if number % 3 == 0 and now.attempt == 1:
        raise Unlucky(key)
    return {"key": key, "message": message, "started": started}


@step(retries=3)
def write_blocking(number: int) -> dict[str, Any]:
    now = current_step()
    services = now.blocking
    key = f"{number}-{os.urandom(6).hex()}"
    services.storage.put(key, (BIG[start : start + 100_000] for start in range(0, len(BIG), 100_000)))
    services.kv.put(key, number)
    services.database.collection("made").insert_one({"_id": key, "number": number})
    message = services.queue.send("made", key)
    started = services.workflows.start("started", key)
    if number % 4 == 0 and now.attempt == 1:
        raise Unlucky(key)
    return {"key": key, "message": message, "started": started}


@workflow(id="started")
async def started(input: str, step) -> str:
    return input


@workflow(id="writes")
async def writes(input: int, step) -> list[Any]:
    return [await write(input), await write_blocking(input), await write(input + 1000)]


async def main(ledger: str, runs: int) -> None:
    async with Runtime(ledger, workflows=[writes, started]) as runtime:
        handles = []
        for number in range(runs):
            handles.append(await runtime.start("writes", number, run_id=f"run-{number}"))
            print(f"started run-{number}", flush=True)
        for handle in handles:
            await handle.result(timeout="60s")
        await runtime.idle()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
