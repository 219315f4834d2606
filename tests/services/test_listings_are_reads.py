"""What a step found by listing or searching counts as read: who changes it before the step does is not overwritten."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure import MemoryLedger, Runtime
from perdure.strict import current_step, step, workflow

DOES: dict[str, Callable[[], Awaitable[Any]]] = {}


@step(retries=3)
async def does(what: str) -> Any:
    return await DOES[what]()


@workflow(id="reads-lists")
async def reads_lists(input: str) -> Any:
    return await does(input)


async def outcome(runtime: Runtime, what: Callable[[], Awaitable[Any]]) -> Any:
    DOES["it"] = what
    return await (await runtime.start(reads_lists, "it")).result(timeout="20s")


@pytest.mark.parametrize("query", [{"customer": "ann"}, {}, {"total": {"$lt": 100}}])
async def test_a_document_that_was_found_and_changed_meanwhile_is_not_overwritten(query: dict[str, Any]) -> None:
    async with Runtime(MemoryLedger(), workflows=[reads_lists]) as runtime:
        orders = runtime.database["orders"]
        await orders.insert_one({"_id": "o1", "customer": "ann", "total": 1})

        async def add() -> int:
            mine, now = current_step().database["orders"], current_step()
            (found,) = await mine.find(query)
            if now.attempt == 1:
                await orders.update_one({"_id": "o1"}, {"$inc": {"total": 10}})
            await mine.update_one({"_id": "o1"}, {"$set": {"total": found["total"] + 1}})
            return now.attempt

        assert await outcome(runtime, add) == 2
        assert await orders.find_one() == {"_id": "o1", "customer": "ann", "total": 12}


async def test_what_was_looked_at_and_does_not_match_conflicts_with_nothing() -> None:
    async with Runtime(MemoryLedger(), workflows=[reads_lists]) as runtime:
        orders = runtime.database["orders"]
        await orders.insert_many([{"_id": "o1", "customer": "ann"}, {"_id": "o2", "customer": "bob"}])

        async def change() -> int:
            mine = current_step().database["orders"]
            assert await mine.find({"customer": "ann"}) == [{"_id": "o1", "customer": "ann"}]
            await orders.update_one({"_id": "o2"}, {"$set": {"paid": True}})
            await mine.update_one({"_id": "o2"}, {"$set": {"sent": True}})
            return current_step().attempt

        assert await outcome(runtime, change) == 1
        assert await orders.find_one({"_id": "o2"}) == {"_id": "o2", "customer": "bob", "paid": True, "sent": True}


async def test_updates_by_a_filter_never_conflict_with_what_came_meanwhile() -> None:
    async with Runtime(MemoryLedger(), workflows=[reads_lists]) as runtime:
        orders = runtime.database["orders"]
        await orders.insert_one({"_id": "o1", "customer": "ann", "n": 0})

        async def count() -> int:
            mine = current_step().database["orders"]
            await orders.update_one({"customer": "ann"}, {"$inc": {"n": 1}})
            await mine.update_one({"customer": "ann"}, {"$inc": {"n": 1}})
            return current_step().attempt

        assert await outcome(runtime, count) == 1
        assert await orders.find_one({}) == {"_id": "o1", "customer": "ann", "n": 2}


async def test_a_value_that_was_listed_and_written_meanwhile_is_not_overwritten(open_place: Callable[..., Any]) -> None:
    async with open_place(reads_lists) as runtime:
        await runtime.kv.put("stock:mug", 5)

        async def take_one() -> int:
            kv = current_step().kv
            stock = await kv.list("stock:")
            if current_step().attempt == 1:
                await runtime.kv.put("stock:mug", 3)
            await kv.put("stock:mug", stock["stock:mug"] - 1)
            return current_step().attempt

        assert await outcome(runtime, take_one) == 2
        assert await runtime.kv.get("stock:mug") == 2


async def test_a_step_that_lists_what_it_wrote_itself_meets_no_conflict(open_place: Callable[..., Any]) -> None:
    async with open_place(reads_lists) as runtime:

        async def write() -> int:
            kv = current_step().kv
            await kv.put("a", 1)
            assert await kv.list() == {"a": 1}
            await kv.put("a", 2)
            return current_step().attempt

        assert await outcome(runtime, write) == 1
        assert await runtime.kv.get("a") == 2
