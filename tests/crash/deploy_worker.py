"""A worker that is killed: runs that continue as others, that compensate in time, and that go over to other code.

Usage: deploy_worker.py FOLDER RELEASE, with release 1 or 2 of the code.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from perdure import Runtime, SignalRefused
from perdure.strict import step, workflow

RUNS = 8
CHAIN = 6
MAX_ENTRIES = 30


@step
async def undo(what: str) -> str:
    await asyncio.sleep(0.002)
    return what


@workflow(id="chain")
async def chain(input: dict, step) -> list:
    """Take signals for ever, one a run or two, whichever are there."""
    got = [*input["got"], await step.wait_for_signal("number")]
    if got[-1] is None:
        return got[:-1]
    await step.continue_as({"got": got})
    return got


@workflow(id="hurried", timeout="400ms")
async def hurried(input: int, step) -> None:
    try:
        await step.sleep("1h")
    finally:
        for number in range(3):
            await undo(f"{input}-{number}")


@workflow(id="endless", max_entries=MAX_ENTRIES)
async def endless(input: int, step) -> None:
    try:
        while True:
            await undo("again")
    finally:
        await undo("last")


if "1" in sys.argv[2:]:

    @workflow(id="moved", version="1")
    async def moved(input: int, step) -> str:
        await undo("first")
        await step.wait_for_event("go", type="go")
        return "as release 1 has it"

else:

    @workflow(id="moved", version="1")
    async def moved(input: int, step) -> str:
        await undo("first")
        await step.wait_for_event("go", type="go")
        return await undo("as release 2 has it")


WORKFLOWS = [chain, hurried, endless, moved]


async def main(folder: Path, release: str) -> None:
    async with Runtime(folder / "deploys.duckdb", workflows=WORKFLOWS) as runtime:
        for number in range(RUNS):
            await runtime.start("moved", number, run_id=f"moved-{number}")
        print("started", flush=True)
        if release == "1":
            for number in range(RUNS):
                await runtime.handle(f"moved-{number}").wait("waiting_event", timeout="60s")
            return
        await runtime.start("chain", {"got": []}, run_id="chain")
        for number in range(3):
            await runtime.start("hurried", number, run_id=f"hurried-{number}")
            await runtime.start("endless", number, run_id=f"endless-{number}")
        sent = folder / "sent"
        begin = len(sent.read_text().splitlines()) if sent.exists() else 0
        with sent.open("a") as acknowledged:
            for number in range(begin, CHAIN):
                await runtime.handle("chain").signal("number", number)
                print(number, file=acknowledged, flush=True)
                await runtime.upgrade("moved", f"moved-{number}", dry_run=False)
        await runtime.upgrade("moved", dry_run=False)
        with contextlib.suppress(SignalRefused):  # a life before this one has said so
            await runtime.handle("chain").signal("number", None)
        for run_id in ["chain", *(f"{each}-{number}" for each in ("hurried", "endless") for number in range(3))]:
            await runtime.handle(run_id).wait(timeout="60s")
        await runtime.send_event("go", {})
        for number in range(RUNS):
            await runtime.handle(f"moved-{number}").wait(timeout="60s")
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
