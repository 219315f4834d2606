"""What reaches a diverged run is told when it goes on, in order; the first may undo what the second answers."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Runtime
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.strict import workflow


def stopping(first: str, waits: str) -> Any:
    """A body with a task that waits, until a signal stops it; what the task missed is taken afterwards."""

    @workflow(id="stopping")
    async def body(input: None, step) -> list:
        import asyncio

        hook = step.hook("desk")

        async def wait() -> object:
            if waits == "event":
                return await step.wait_for_event("it", type="item")
            if waits == "child":
                return await step.invoke("kid", "kid", None)
            if waits == "hook":
                async for payload in hook:
                    return payload
            return await step.wait_for_signal("item")

        await step.sleep(first, "1ms")
        task = asyncio.create_task(wait())
        await step.emit("ready", None)
        await step.wait_for_signal("stop")
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            await step.emit("stopped", None)
        taken = []
        if waits == "signal":
            taken = [await step.wait_for_signal("item"), await step.wait_for_signal("item")]
        if waits == "hook":
            taken = [await wait(), await wait()]
        await step.sleep("rest", "1ms")
        return taken

    return body


@workflow(id="kid")
async def kid(input: None, step) -> str:
    return await step.wait_for_signal("go")


@pytest.mark.parametrize("waits", ["event", "signal", "hook", "child"])
async def test_what_an_earlier_word_undid_is_not_answered_and_a_message_goes_to_the_next_wait(tmp_path, waits):
    ledger = tmp_path / "l.duckdb"
    async with Runtime(ledger, workflows=[stopping("nap", waits), kid], code="today") as runtime:
        run = await runtime.start("stopping", None, run_id="r")
        async for _ in run.events():
            break
    async with Runtime(ledger, workflows=[stopping("sleep", waits), kid], code="today") as runtime:
        run = runtime.handle("r")
        await run.signal("stop", None)  # finds out that it diverged
        assert await run.status() == "diverged"
        if waits == "event":
            assert await runtime.send_event("item", {}) == 1
        elif waits == "child":
            (child,) = await run.children()
            await child.signal("go", "grown up")
            await child.result(timeout="20s")
        for number in (1, 2):
            if waits == "signal":
                await run.signal("item", number)
            elif waits == "hook":
                await runtime.resume_hook("desk", number)
    async with Runtime(ledger, workflows=[stopping("nap", waits), kid], code="today") as runtime:
        taken = await runtime.handle("r").result(timeout="20s")
    assert taken == ([1, 2] if waits in ("signal", "hook") else [])
    opened = DuckDBLedger(ledger)
    try:
        row = opened.run("r")
        assert row is not None
        assert all(received == took for received, took in row.boxes.values())
    finally:
        opened.close()
    async with Runtime(ledger, workflows=[stopping("nap", waits), kid], verify="always", code="today") as runtime:
        fork = await runtime.handle("r").fork("rest")
        assert await fork.result(timeout="20s") == taken
