"""A worker that is killed while it signals a run: every signal that it acknowledges on stdout is recorded.

Usage: signal_worker.py LEDGER FIRST LAST
"""

from __future__ import annotations

import asyncio
import sys

from perdure import Runtime
from perdure.strict import workflow


@workflow(id="collector", max_entries=100_000)
async def collector(input: int, step) -> list:
    taken: list = []
    hook = step.hook("hook")
    done = await step.wait_for_signal("item")
    while done != input:
        taken.append(done)
        if done % 5 == 0:
            await step.run(f"look {len(taken)}", abs, done)
        done = await step.wait_for_signal("item")
    payloads: list = []
    async for payload in hook:
        payloads.append(payload)
        if payload == input:
            hook.dispose()
    return [taken, payloads]


async def main() -> None:
    ledger, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    async with Runtime(ledger, workflows=[collector], residents_max=0) as runtime:
        run = await runtime.start("collector", last, run_id="r")
        print("open", flush=True)
        for number in range(first, last + 1):
            if await run.status() == "completed":
                break
            await runtime.resume_hook("hook", number)
            await run.signal("item", number)
            print(f"sent {number}", flush=True)
        await run.result(timeout="20s")
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
