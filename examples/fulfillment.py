"""Fulfilment of an order, as durable workflows: reserve, charge, wait for the money, ship; or undo it all.

The two bodies at the end run in the sandbox and are replayed after a crash. The steps before them are ordinary Python:
they talk to the shop over HTTP, may fail, and are tried again.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from pydantic import BaseModel, Field

from perdure.strict import (
    ChildFailed,
    Context,
    FatalError,
    RetryPolicy,
    StepContext,
    StepInterrupted,
    current_step,
    step,
    workflow,
)

GRACE_PERIOD = "200ms"  # a day in real life
PAYMENT_TIMEOUT = "6s"  # three days in real life
PATIENT = RetryPolicy(max_attempts=6, base_delay="50ms", max_delay="1s")


class Order(BaseModel):
    order_id: str
    customer: str
    sku: str
    quantity: int = Field(gt=0)
    unit_price_cents: int = Field(gt=0)
    country: str

    @property
    def cents(self) -> int:
        return self.quantity * self.unit_price_cents


class Charge(BaseModel):
    charge_id: str
    cents: int
    country: str


class Parcel(BaseModel):
    tracking: str
    pickup: str


class Outcome(BaseModel):
    order_id: str
    status: Literal["shipped", "out-of-stock", "card-declined", "payment-timeout", "undeliverable"]
    tracking: str | None = None
    receipt: Literal["sent", "unknown"] | None = None


# ── steps: ordinary Python, run outside the sandbox, their results recorded ──────────────────────


class OutOfStock(FatalError):
    """The warehouse has too few; asking again would not help, so it is fatal to its step."""


class CardDeclined(FatalError):
    """The bank said no."""


class AddressRefused(FatalError):
    """The carrier does not deliver there."""


REFUSALS: dict[int, type[FatalError]] = {409: OutOfStock, 402: CardDeclined, 422: AddressRefused}


def ask_shop(path: str, **question: object) -> Any:
    """POST to the shop under the step's idempotency key: the same one on every attempt, also after a crash."""
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": current_step().idempotency_key,
        "User-Agent": f"worker/{os.getpid()}",
    }
    request = Request(os.environ["SHOP_URL"] + path, json.dumps(question).encode(), headers)
    try:
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except HTTPError as error:
        with error:
            refusal = REFUSALS.get(error.code)
            if refusal is None:
                raise  # 503 and the like: the step is tried again
            raise refusal(json.load(error)["reason"]) from None


@step(retries=PATIENT)
def reserve_stock(order: Order) -> str:
    answer = ask_shop("/stock/reserve", order_id=order.order_id, sku=order.sku, quantity=order.quantity)
    return str(answer["reservation_id"])


@step(retries=PATIENT)
def release_stock(reservation_id: str) -> None:
    ask_shop("/stock/release", reservation_id=reservation_id)


@step(retries=PATIENT)
def charge_card(order: Order) -> Charge:
    answer = ask_shop("/cards/charge", order_id=order.order_id, customer=order.customer, cents=order.cents)
    return Charge(charge_id=answer["charge_id"], cents=order.cents, country=order.country)


@step(retries=PATIENT)
def refund_card(charge_id: str) -> None:
    ask_shop("/cards/refund", charge_id=charge_id)


@step(retries=0, delivery="at_most_once")
def send_receipt(order: Order, tracking: str) -> None:
    ask_shop("/mail/receipt", order_id=order.order_id, to=order.customer, tracking=tracking)


@step(retries=PATIENT)
def check_address(order: Order) -> None:
    ask_shop("/carrier/check", order_id=order.order_id, country=order.country)


@step(retries=PATIENT)
def print_label(order: Order) -> str:
    return str(ask_shop("/carrier/label", order_id=order.order_id)["tracking"])


@step(retries=PATIENT)
def book_pickup(order: Order) -> str:
    return str(ask_shop("/carrier/pickup", order_id=order.order_id)["pickup"])


# ── workflows: run in the sandbox, replayed after a crash ────────────────────────────────────────


@workflow(id="ship-order", version="1")
async def ship_order(input: Order, step: StepContext) -> Parcel:
    """Have one parcel fetched: a label and a pickup, both at once."""
    await step.run("check-address", check_address, input)
    tracking, pickup = await asyncio.gather(
        step.run("print-label", print_label, input),
        step.run("book-pickup", book_pickup, input),
    )
    return Parcel(tracking=tracking, pickup=pickup)


@workflow(id="fulfill-order", version="1", timeout="1h", idempotency_key="{order_id}")
async def fulfill_order(input: Order, step: StepContext, ctx: Context) -> Outcome:
    """Fulfil one order. What can't be finished is undone in reverse order; so is what is cancelled."""
    undo: list[tuple[str, Callable[[str], Awaitable[None]], str]] = []
    try:
        reservation_id = await step.run("reserve-stock", reserve_stock, input)
        undo.append(("release-stock", release_stock, reservation_id))

        charge = await step.run("charge-card", charge_card, input)
        undo.append(("refund-card", refund_card, charge.charge_id))

        await step.sleep("grace-period", GRACE_PERIOD)
        payment = await step.wait_for_event(
            "payment", type="payment.confirmed", match={"order_id": input.order_id}, timeout=PAYMENT_TIMEOUT
        )
        if payment is None:
            ctx.log.warning("the payment never came", order_id=input.order_id)
            return Outcome(order_id=input.order_id, status="payment-timeout")

        parcel: Parcel = await step.invoke("ship", ship_order, input, timeout="10m")
        undo.clear()
    except OutOfStock:
        return Outcome(order_id=input.order_id, status="out-of-stock")
    except CardDeclined as declined:
        ctx.log.info("the card was declined", order_id=input.order_id, reason=declined.message)
        return Outcome(order_id=input.order_id, status="card-declined")
    except ChildFailed as failed:
        ctx.log.warning("the parcel can't be sent", order_id=input.order_id, reason=failed.message)
        return Outcome(order_id=input.order_id, status="undeliverable")
    finally:
        for name, compensate, what in reversed(undo):
            await step.run(name, compensate, what)

    try:
        await step.run("send-receipt", send_receipt, input, parcel.tracking)
        receipt: Literal["sent", "unknown"] = "sent"
    except StepInterrupted:
        receipt = "unknown"  # the worker died while it was sending: better no mail than two
    ctx.log.info("shipped", order_id=input.order_id, tracking=parcel.tracking)
    return Outcome(order_id=input.order_id, status="shipped", tracking=parcel.tracking, receipt=receipt)
