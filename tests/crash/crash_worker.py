"""A worker that is killed: it starts runs, acknowledges each on stdout, and writes every effect to a file.

Usage: crash_worker.py LEDGER EFFECTS RUNS
"""

from __future__ import annotations

import asyncio
import os
import sys

from perdure import Runtime, StepInterrupted, current_step
from perdure.strict import step, workflow

EFFECTS = sys.argv[2] if __name__ == "__main__" else os.devnull


def effect(value: object) -> object:
    """Leave a trace that survives a kill: one line, one write."""
    now = current_step()
    line = f"{now.idempotency_key} {now.name} {now.attempt}\n".encode()
    handle = os.open(EFFECTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, line)
    os.close(handle)
    return value


@step
async def asynchronous(value: int) -> int:
    effect(value)
    await asyncio.sleep(0)
    return value + 1


@step
def threaded(value: int) -> dict:
    effect(value)
    return {"value": value, "big": 2**70, "order": {"z": 1, "a": 2}}


@workflow(id="child")
async def child(input: int, step) -> int:
    return await asynchronous(input)


@workflow(id="crashed")
async def crashed(input: int, step, ctx) -> list:
    import asyncio
    import random

    first = await asynchronous(input)
    several = await asyncio.gather(*[threaded(first + index) for index in range(3)])
    await step.sleep("nap", "5ms")
    try:
        once = await step.run("once", effect, 7, delivery="at_most_once")
    except StepInterrupted:
        once = 7
    event = await step.wait_for_event("go", type="go", match={"n": input})
    below = await step.invoke("child", child, first)
    drawn = random.randint(0, 10**9)
    last = await step.run("last", effect, drawn)
    return [first, several, once, event, below, last == drawn]


async def main() -> None:
    ledger, _, count = sys.argv[1:]
    async with Runtime(ledger, workflows=[crashed, child]) as runtime:
        handles = []
        for number in range(int(count)):
            handles.append(await runtime.start("crashed", number, run_id=f"run-{number}"))
            print(f"started run-{number}", flush=True)
        ended: set[str] = set()
        while len(ended) < len(handles):
            for number, handle in enumerate(handles):
                if handle.run_id in ended:
                    continue
                status = await handle.status()
                if status == "waiting_event":
                    await runtime.send_event("go", {"n": number})
                elif status in ("completed", "failed", "cancelled", "diverged"):
                    ended.add(handle.run_id)
                    print(f"ended {handle.run_id} {status}", flush=True)
            await asyncio.sleep(0.001)
    print("all done", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
