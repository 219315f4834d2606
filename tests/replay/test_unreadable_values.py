"""A recorded value that today's classes can't read stops its own run as diverged, and nothing else."""

from __future__ import annotations

from typing import Any

from perdure import Runtime

BODY = """
from pydantic import BaseModel

class Order(BaseModel):
    sku: str

@workflow(id="waits", version="1")
async def waits(input: Order, step) -> str:
    await step.wait_for_event("paid", type="paid")
    return input.sku

@workflow(id="plain", version="1")
async def plain(input: str, step) -> str:
    await step.wait_for_event("paid", type="paid")
    return input
"""


async def test_a_class_that_is_gone_stops_only_the_runs_that_need_it(recorder: Any) -> None:
    async with Runtime(recorder.ledger, workflows=recorder.module(BODY)) as runtime:
        for workflow, value in (("waits", {"sku": "A1"}), ("plain", "A1")):
            handle = await runtime.start(workflow, value, run_id=workflow)
            await handle.wait("waiting_event", timeout="20s")

    async with Runtime(recorder.ledger, workflows=recorder.module(BODY.replace("Order", "Purchase"))) as runtime:
        await runtime.send_event("paid", {})
        assert await runtime.handle("plain").result(timeout="20s") == "A1"
        status = await runtime.handle("waits").wait("diverged", timeout="20s")
        assert "Order" in (status.error or "")

    # With the class back, the run takes the event that came meanwhile, and ends.
    async with Runtime(recorder.ledger, workflows=recorder.module(BODY)) as runtime:
        assert await runtime.handle("waits").wait("completed", timeout="20s") == "completed"
