"""A worker that is killed while its steps write: it acknowledges every chunk that is durable on stdout.

Usage: stream_worker.py LEDGER RUNS
"""

from __future__ import annotations

import asyncio
import sys

from perdure import Runtime, Stream, current_step
from perdure.strict import workflow

CHUNKS = 30


async def trickle(stream: Stream) -> int:
    """Write one durable chunk after the other, going on where the last heartbeat says."""
    begun = current_step().last_heartbeat or 0
    for number in range(CHUNKS):
        offset = await acknowledged(stream, [begun, number])
        current_step().heartbeat(begun + 1)
        print(f"chunk {stream.run_id} {offset} {begun} {number}", flush=True)
        await asyncio.sleep(0.001)
    await stream.close()
    return CHUNKS


async def acknowledged(stream: Stream, chunk: list[int]) -> str:
    """Write a chunk and wait until it is durable."""
    await stream.write(chunk)
    return stream.namespace


def pour(count: int) -> int:
    """Write without waiting."""
    stream = current_step().stream("poured")
    for number in range(count):
        stream.write(number)
    return count


@workflow(id="writer")
async def writer(input: int, step, ctx) -> list:
    poured = await step.run("pour", pour, input)
    return [poured, await step.run("trickle", trickle, step.stream("trickled"))]


async def main() -> None:
    ledger, count = sys.argv[1:]
    async with Runtime(ledger, workflows=[writer]) as runtime:
        runs = [await runtime.start("writer", 100, run_id=f"run-{number}") for number in range(int(count))]
        print("all started", flush=True)
        for run in runs:
            await run.result(timeout="60s")
    print("all done", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
