"""The workflow that all of these examples run: an order is charged, waits a moment, and is shipped."""

from __future__ import annotations

from pydantic import BaseModel

from perdure.strict import StepContext, step, workflow


class Order(BaseModel):
    order_id: str
    cents: int


@step
async def charge(order: Order) -> str:
    return f"charge-{order.order_id}-{order.cents}"


@step
def ship(order_id: str) -> str:
    return f"parcel-{order_id}"


@workflow(id="fulfill-order", idempotency_key="order-{order_id}")
async def fulfill_order(input: Order, step: StepContext) -> dict[str, str]:
    receipt = await charge(input)
    await step.sleep("packing", "10ms")
    return {"receipt": receipt, "parcel": await ship(input.order_id)}
