"""Order fulfilment: charge, ship through a child workflow, wait days for the delivery, else have support decide.

The news of a delivery is a signal: it is kept if it comes before the order waits for it. An order that hears nothing in
time opens a support ticket and waits for whoever answers it, for as long as that takes.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Literal

import shop
from pydantic import BaseModel

from perdure.strict import FatalError, Runtime, StepContext, current_step, step, workflow


class Order(BaseModel):
    order_id: str
    sku: str
    cents: int
    deliver_within: str = "10d"


class Parcel(BaseModel):
    tracking: str
    pickup: str


class Delivery(BaseModel):
    signed_by: str


class Decision(BaseModel):
    """What support decides about a parcel that never came."""

    do: Literal["refund", "ship-again"]
    by: str


class OutOfStock(FatalError):
    """The shelf is empty; asking again would not help."""


# ── steps: each hands its key on, so that an attempt that is made again does nothing twice ───────


@step
def reserve(order: Order) -> str:
    reserved = shop.reserve(current_step().idempotency_key, order.order_id, order.sku)
    if reserved is None:
        raise OutOfStock(f"no {order.sku} left")
    return reserved


@step
def charge(order: Order) -> str:
    return shop.do(current_step().idempotency_key, "charged", order.order_id, str(order.cents))


@step
def refund(order: Order) -> str:
    return shop.do(current_step().idempotency_key, "refunded", order.order_id, str(order.cents))


@step
def print_label(order: Order) -> str:
    return shop.do(current_step().idempotency_key, "labelled", order.order_id)


@step
def book_pickup(order: Order) -> str:
    return shop.do(current_step().idempotency_key, "pickup", order.order_id)


@step
def open_ticket(order: Order, parcel: Parcel) -> str:
    return shop.do(current_step().idempotency_key, "ticket", order.order_id, f"where is {parcel.tracking}?")


# ── workflows ────────────────────────────────────────────────────────────────────────────────────


@workflow(id="ship-parcel")
async def ship_parcel(input: Order) -> Parcel:
    """Hand one parcel to the carrier."""
    tracking, pickup = await asyncio.gather(print_label(input), book_pickup(input))
    return Parcel(tracking=tracking, pickup=pickup)


@workflow(id="fulfil-order", idempotency_key="order-{order_id}")
async def fulfil_order(input: Order, step: StepContext) -> str:
    """Fulfil one order; give what became of it."""
    await reserve(input)
    await charge(input)
    for attempt in range(1, 3):
        parcel = await step.invoke(f"ship {attempt}", ship_parcel, input, timeout="1d")
        delivery = await step.wait_for_signal("delivered", timeout=input.deliver_within, schema=Delivery)
        if delivery is not None:
            return f"{input.order_id}: delivered, signed by {delivery.signed_by}"
        ticket = await open_ticket(input, parcel)
        await step.emit("parcel-late", {"order_id": input.order_id, "ticket": ticket})
        decision = await step.wait_for_signal("decided", schema=Decision)
        if decision.do == "refund":
            break
    await refund(input)
    return f"{input.order_id}: refunded by {decision.by} after {ticket}"


def main() -> None:
    """Play two orders: one arrives, one is lost on the way."""
    play = secrets.token_hex(2)  # so that it can be played again: a number is one order, for ever
    with Runtime("order_fulfilment.duckdb", workflows=[fulfil_order, ship_parcel]) as runtime:
        mug = runtime.start(fulfil_order, Order(order_id=f"mug-{play}", sku="MUG", cents=1250))
        lamp = runtime.start(fulfil_order, Order(order_id=f"lamp-{play}", sku="LAMP", cents=4900, deliver_within="1s"))

        mug.signal("delivered", Delivery(signed_by="Ada"))
        print(mug.result(timeout="30s"))

        for news in lamp.events():
            print(f"lamp-{play}: {news.type}, {news.payload['ticket']}")
            lamp.signal("decided", Decision(do="refund", by="Bob"))
        print(lamp.result(timeout="30s"))
        for order_id in (f"mug-{play}", f"lamp-{play}"):
            print(f"{order_id} in the books:", ", ".join(shop.done(order_id)))


if __name__ == "__main__":
    main()
