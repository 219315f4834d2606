"""A cancelled run whose compensation is cut by `kill -9` finishes it after the restart; so does a chain of runs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from perdure import Runtime, current_step
from perdure.strict import workflow


def undo(folder: str) -> str:
    """Cut short on the first call: it waits to be killed."""
    with Path(folder, f"undo-{current_step().idempotency_key.replace('/', '-')}").open("a") as effects:
        effects.write("x")
    while not Path(folder, "killed").exists():
        time.sleep(0.005)
    return "undone"


@workflow(id="saga")
async def saga(input: str, step) -> None:
    try:
        await step.wait_for_event("go", type="go")
    finally:
        await step.run("undo", undo, input)


@workflow(id="chain")
async def chain(input: list, step) -> int:
    folder, number = input
    if number == 2:
        await step.run("undo", undo, folder)
    if number < 4:
        await step.continue_as([folder, number + 1])
    return number


async def begin(folder: str) -> None:
    async with Runtime(Path(folder, "l.duckdb"), workflows=[saga, chain]) as runtime:
        run = await runtime.start("saga", folder, run_id="s")
        await run.wait("waiting_event")
        await run.cancel()
        await runtime.start("chain", [folder, 1], run_id="c")
        await asyncio.sleep(60)


def test_compensation_and_a_chain_that_were_cut_by_a_kill_finish_after_the_restart(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, __file__, str(tmp_path)])
    deadline = time.monotonic() + 30
    while len(list(tmp_path.glob("undo-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / "killed").touch()

    async def finish() -> None:
        async with Runtime(tmp_path / "l.duckdb", workflows=[saga, chain]) as runtime:
            assert await runtime.handle("s").wait(timeout="20s") == "cancelled"
            assert await runtime.handle("c").result(timeout="20s") == 4
            assert {run.run_id for run in await runtime.runs()} == {"s", "c", "c+2", "c+3", "c+4"}
            for run in await runtime.runs():
                assert (await runtime.handle(run.run_id).replay()).ok

    asyncio.run(finish())
    assert [file.read_text() for file in tmp_path.glob("undo-*")] == ["xx", "xx"]


if __name__ == "__main__":
    try:
        asyncio.run(begin(sys.argv[1]))
    finally:
        os._exit(1)
