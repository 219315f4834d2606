"""What a type checker knows of steps, bodies and handles; it must refuse the lines marked `# E: …`, and no other.

Read by check.py, never run.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, assert_type

from perdure import Context, RunHandle, Runtime, StepContext, step, workflow


@dataclass
class Approval:
    by: str


@step
def price(sku: str, pieces: int = 1) -> float:
    return 9.5 * pieces


@step
async def ship(sku: str) -> str:
    return "parcel-" + sku


@step(retries=3, timeout="30s")
def charge(cents: int) -> bool:
    return cents > 0


@step(retries=3)
async def refund(cents: int) -> bool:
    return cents > 0


class Shop:
    @step
    def open(self, day: str) -> int:
        return len(day)

    @staticmethod
    @step
    def close(day: str) -> int:
        return len(day)


def plain(sku: str, pieces: int = 1, *, fast: bool = False) -> int:
    return pieces


async def later(sku: str) -> bytes:
    return sku.encode()


@workflow(id="typed")
async def typed(input: str, step: StepContext, ctx: Context) -> int:
    assert_type(await price(input), float)
    assert_type(await price(input, pieces=2), float)
    assert_type(await ship(input), str)
    assert_type(await charge(5), bool)
    assert_type(await refund(5), bool)
    assert_type(await charge.options(timeout="5s")(5), bool)
    assert_type(await Shop().open("monday"), int)
    assert_type(await Shop.open(Shop(), "monday"), int)
    assert_type(await Shop.close("monday"), int)
    await price(5)  # E: arg-type
    await charge("5")  # E: arg-type
    assert_type(await step.run("a", plain, input), int)
    assert_type(await step.run("b", plain, input, 2), int)
    assert_type(await step.run("c", later, input), bytes)
    assert_type(await step.run("d", price, input), float)
    assert_type(await step.run("e", ship, input), str)
    assert_type(await step.run("f", lambda: plain(input, fast=True)), int)
    assert_type(await step.run("g", Shop().open, "monday"), int)
    return 1


async def outside_of_a_body() -> None:
    assert_type(price.function("a"), float)
    assert_type(await ship.function("a"), str)
    assert_type(asyncio.run(refund.function(5)), bool)
    assert_type(Shop.open.function(Shop(), "monday"), int)
    price("a").is_integer()  # E: attr-defined
    price.function(5)  # E: arg-type


@workflow(id="asking")
async def asking(input: str, step: StepContext) -> bool:
    assert_type(await step.hook(input), Any)
    assert_type(await step.hook(input, schema=Approval), Approval)
    assert_type(await step.hook(input, schema=Approval, timeout="3d"), Approval | None)
    assert_type([each async for each in step.hook(input, schema=Approval)], list[Approval])
    assert_type(await step.wait_for_signal("approval", schema=Approval), Approval)
    assert_type(await step.wait_for_signal("approval", timeout="3d", schema=Approval), Approval | None)
    assert_type(await step.wait_for_signal("approval"), Any)
    assert_type(await step.wait_until(lambda: True), bool)
    late: str = (await step.wait_for_signal("approval", timeout="3d", schema=Approval)).by  # E: union-attr
    return bool(late)


@workflow(id="parent")
async def parent(input: str, step: StepContext) -> str:
    assert_type(await step.invoke("child", typed, input), int)
    child = await step.spawn("other", typed, input)
    assert_type(await child.result(), int)
    by_id: dict[str, str] = await step.invoke("third", "typed", input)
    assert_type(await step.map("prices", price, ["a", "b"]), list[float])
    assert_type(await step.map("parcels", ship, ["a", "b"]), list[str])
    assert_type(await step.parallel([ship("a"), ship("b")]), list[str])
    first, second = await asyncio.gather(ship("a"), price("b"))
    assert_type(first, str)
    assert_type(second, float)
    await step.run("wrong", price, 5)  # E: arg-type
    await step.map("wrong", price, [5])  # E: arg-type
    return by_id["x"]


async def application() -> None:
    async with Runtime("orders.duckdb", workflows=[typed]) as runtime:
        run = await runtime.start(typed, "a")
        assert_type(await run.result(), int)
        assert_type(await (await runtime.start("typed", "a")).result(), Any)
        assert_type([await each.result() for each in await runtime.start_many(parent, ["a"])], list[str])
    with Runtime("orders.duckdb", workflows=[typed]) as blocking:
        assert_type(blocking.start(typed, "a").result(), int)


def shown(run: RunHandle) -> str:
    return run.run_id
