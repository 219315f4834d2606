"""The workflows whose histories release 0.1 left behind. They never change: what they recorded must replay for ever."""

from __future__ import annotations

import asyncio
import random
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum

from pydantic import BaseModel

from perdure.strict import ChildCancelled, ChildFailed, FatalError, RetryPolicy, current_step, step, workflow


class Size(Enum):
    """A value that JSON doesn't have."""

    SMALL = "s"
    LARGE = "l"


class Order(BaseModel):
    """An input."""

    order_id: str
    cents: int
    items: list[str]


@dataclass
class Parcel:
    """A result."""

    weight: Decimal
    size: Size


class CardDeclined(FatalError):
    """Raised by a step, caught in a body."""


@step
async def charge_card(order: Order) -> dict:
    return {"token": f"tok-{order.order_id}", "cents": order.cents, "at": datetime(2030, 1, 1, 12, tzinfo=UTC)}


@step(retries=RetryPolicy(max_attempts=3, backoff="fixed", base_delay="1m", jitter=0))
async def reserve_stock(item: str) -> str:
    if current_step().attempt < 3:
        raise ConnectionError(f"no answer about {item}")
    return f"stock of {item}"


@step(retries=0)
async def decline() -> None:
    raise CardDeclined("insufficient funds")


@step
def pack(items: list) -> Parcel:
    return Parcel(Decimal("1.50") * len(items), Size.LARGE)


def every_kind_of_value() -> dict:
    return {
        "big": 10**40,
        "float": 0.1,
        "text": 'naïve "quotes"\n✓',
        "bytes": b"\x00\xff",
        "tuple": (1, "two", None),
        "set": {3, 1, 2},
        "keys": {1: "one", 2: "two"},
        "uuid": uuid.UUID(int=7),
        "date": date(2030, 1, 31),
        "delta": timedelta(days=1, seconds=2),
        "nested": [{"deep": [[], {}, [True, False]]}],
    }


async def note(text: object) -> object:
    return text


@workflow(id="ship")
async def ship(input: dict, step) -> dict:
    await step.sleep("loading", "2h")
    return {"tracking": f"T-{input['order_id']}"}


@workflow(id="lost-parcel")
async def lost_parcel(input: str) -> None:
    raise ValueError(f"{input} fell off the lorry")


@workflow(id="wait-for-ever")
async def wait_for_ever(input: str, step) -> None:
    await step.wait_for_event("never", type="never.happens", match={"id": input})


@workflow(id="fulfill-order", version="1")
async def fulfill_order(input: Order, step, ctx) -> dict:
    charge = await charge_card(input)
    stock = await asyncio.gather(*(reserve_stock(item) for item in input.items))
    try:
        await decline()
    except CardDeclined as declined:
        await step.run("declined", note, str(declined.message))
    parcel = await pack(input.items)
    values = await step.run("values", every_kind_of_value)
    await step.run("values again", note, values)
    label = await step.run("label", lambda: f"{charge['token']} {parcel.size.name}")
    paid = await step.wait_for_event("paid", type="payment.completed", match={"order_id": input.order_id})
    missed = await step.wait_for_event("missed", type="never.happens", timeout="1d")
    shipped = await step.invoke("ship", "ship", {"order_id": input.order_id})
    return {
        "label": label, "stock": list(stock), "paid": paid["by"], "missed": missed, "tracking": shipped["tracking"],
        "weight": parcel.weight, "attempt": ctx.attempt,
    }  # fmt: skip


@workflow(id="family")
async def family(input: str, step) -> list:
    seen = []
    try:
        await step.invoke("lost", "lost-parcel", input)
    except ChildFailed as failed:
        seen.append(failed.error_type)
    child = await step.spawn("ship", "ship", {"order_id": input})
    waiting = await step.spawn("wait", "wait-for-ever", input)
    seen.append((await child.result())["tracking"])
    await waiting.cancel()
    try:
        await waiting.result()
    except ChildCancelled:
        seen.append("cancelled")
    return seen


@workflow(id="at-once")
async def at_once(input: int, step) -> dict:
    """Branches, time and chance: what replays only because it is the ledger's."""
    order = []

    async def branch(number: int) -> None:
        await asyncio.sleep((number * 7) % 5)
        order.append(await step.run(f"branch-{number}", note, [number, random.randrange(1000)]))

    async with asyncio.TaskGroup() as group:
        for number in range(input):
            group.create_task(branch(number))
    patience = "enough"
    try:
        async with asyncio.timeout(60):
            await step.sleep("too long", "1h")
    except TimeoutError:
        patience = "lost"
    numbers = await step.map("square", lambda number: number * number, range(3), concurrency=2)
    return {
        "order": order, "patience": patience, "numbers": numbers, "now": datetime.now(UTC), "id": str(uuid.uuid4()),
        "letters": list({"c", "a", "b"}),
    }  # fmt: skip


@workflow(id="third-time-lucky", retries=RetryPolicy(max_attempts=3, backoff="fixed", base_delay="1h", jitter=0))
async def third_time_lucky(input: str, step, ctx) -> str:
    first = await step.run("first", note, input)
    await step.sleep("pause", "1m")
    if ctx.attempt < 3:
        raise RuntimeError(f"attempt {ctx.attempt}")
    return await step.run("second", note, f"{first} at last")


@workflow(id="undo", timeout="30d")
async def undo(input: str, step) -> None:
    await step.run("reserve", note, input)
    try:
        await step.wait_for_event("go", type="go")
    finally:
        await step.run("release", note, input)


@workflow(id="approve")
async def approve(input: str, step) -> str:
    approval = await step.wait_for_event("approval", type="approved", match={"id": input})
    return await step.run("file", note, f"{input} by {approval['by']}")


@workflow(id="sleepy")
async def sleepy(input: str, step) -> str:
    await step.run("lie down", note, input)
    await step.sleep("long", "365d")
    return "awake"
