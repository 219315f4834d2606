"""What a step writes to the database is part of its result: all of it or nothing, once, and nobody comes in between."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from perdure import DuplicateDocument, MemoryLedger, RunFailed, Runtime
from perdure.errors import NotSerializable, PolicyViolation, ValueTooLarge, WorkflowError
from perdure.strict import FatalError, RetryPolicy, current_step, step, workflow
from perdure.testing import crash_everywhere

tries: list[int] = []
both = asyncio.Event()


@step
async def take_order(name: str) -> dict[str, Any]:
    database = current_step().database
    orders = database["orders"]
    key = await orders.insert_one({"customer": name, "items": []})
    await orders.update_one({"_id": key}, {"$push": {"items": "tea"}})
    await database["totals"].update_one({"_id": "all"}, {"$inc": {"orders": 1}}, upsert=True)
    seen = await orders.find({"customer": name})
    assert seen == [{"_id": key, "customer": name, "items": ["tea"]}]
    assert await database.collections() == ["orders", "totals"]
    return seen[0]


@workflow(id="order")
async def order(input: str, step: Any) -> Any:
    return await take_order(input)


@step
def take_order_in_a_thread(name: str) -> Any:
    database = current_step().blocking.database
    key = database["orders"].insert_one({"customer": name})
    database.collection("orders").update_one({"_id": key}, {"$set": {"seen": True}})
    return database["orders"].find_one({"customer": name}), database["orders"].count(), database.collections()


@workflow(id="order-in-a-thread")
async def order_in_a_thread(input: str, step: Any) -> Any:
    return await take_order_in_a_thread(input)


@step(retries=RetryPolicy(max_attempts=2, base_delay="1ms"))
async def fails_first() -> int:
    totals = current_step().database["totals"]
    await totals.update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True)
    await totals.insert_one({"attempt": current_step().attempt})
    if current_step().attempt == 1:
        raise RuntimeError("not yet")
    return await totals.count()


@workflow(id="tried-again")
async def tried_again(input: None, step: Any) -> int:
    return await fails_first()


@step
async def count_one_more() -> None:
    await current_step().database["totals"].update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True)


@workflow(id="counted")
async def counted(input: None, step: Any) -> None:
    await count_one_more()


@step(retries=RetryPolicy(max_attempts=3, base_delay="1ms"))
async def reads_then_writes() -> int:
    totals = current_step().database["totals"]
    tries.append(current_step().attempt)
    found = await totals.find_one({"_id": "all"})
    assert found is not None
    if len(tries) == 1:
        both.set()
        await asyncio.sleep(0)
        while (await current_step().database["signs"].find_one({"_id": "written"})) is None:
            await asyncio.sleep(0.001)
    await totals.replace_one({"_id": "all"}, {"n": found["n"] + 1})
    return found["n"] + 1


@workflow(id="reader")
async def reader(input: None, step: Any) -> int:
    return await reads_then_writes()


@workflow(id="reads-in-lambda")
async def reads_in_lambda(input: str, step: Any, ctx: Any) -> Any:
    await step.run("write", lambda: ctx.database["orders"].insert_one({"_id": input}))
    return await step.run("read", lambda: ctx.database["orders"].find_one({"_id": input}))


@step(retries=0)
async def registers_twice() -> None:
    customers = current_step().database["customers"]
    await customers.insert_one({"_id": "ann"})
    await customers.insert_many([{"_id": "bob"}, {"_id": "ann"}])


@workflow(id="twice")
async def twice(input: None, step: Any) -> None:
    await registers_twice()


@step(retries=0)
async def catches() -> list[Any]:
    customers = current_step().database["customers"]
    await customers.insert_one({"_id": "ann"})
    for taken in ([{"_id": "bob"}, {"_id": "ann"}], [{"_id": "eve"}, {"_id": "eve"}]):
        with suppress(DuplicateDocument):
            await customers.insert_many(taken)
    await customers.insert_one({"_id": "zoe", "n": "no number"})
    with suppress(WorkflowError):
        await customers.update_many({}, {"$inc": {"n": 1}})
    return await customers.find()


@workflow(id="catches")
async def caught(input: None, step: Any) -> list[Any]:
    return await catches()


WORKFLOWS = [
    order, order_in_a_thread, tried_again, counted, reader, reads_in_lambda, twice, caught,
]  # fmt: skip


@pytest.fixture(params=["memory", "file"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return MemoryLedger() if request.param == "memory" else tmp_path / "ledger.duckdb"


async def result_of(runtime: Runtime, workflow: str, input: Any = None) -> Any:
    return await (await runtime.start(workflow, input)).result(timeout="20s")


def test_a_step_reads_what_it_has_written_and_others_what_was_recorded(ledger: Any) -> None:
    async def main() -> None:
        async with Runtime(ledger, workflows=WORKFLOWS) as runtime:
            ann = await result_of(runtime, "order", "Ann")
            assert await runtime.database["orders"].find() == [ann]
        async with Runtime(ledger, workflows=WORKFLOWS) as runtime:
            bob, count, collections = await result_of(runtime, "order-in-a-thread", "Bob")
            assert (bob["seen"], count, collections) == (True, 2, ["orders", "totals"])
            assert [each["customer"] for each in await runtime.database["orders"].find()] == ["Ann", "Bob"]
            assert await result_of(runtime, "reads-in-lambda", "x") == {"_id": "x"}

    asyncio.run(main())


def test_an_attempt_that_fails_has_written_nothing(ledger: Any) -> None:
    async def main() -> None:
        async with Runtime(ledger, workflows=WORKFLOWS) as runtime:
            assert await result_of(runtime, "tried-again") == 2
            found = await runtime.database["totals"].find(sort="n")
            assert [(each.get("attempt"), each.get("n")) for each in found] == [(2, None), (None, 1)]
            with pytest.raises(RunFailed) as failed:
                await result_of(runtime, "twice")
            assert isinstance(failed.value.__cause__, DuplicateDocument)
            assert await runtime.database.collections() == ["totals"]

    asyncio.run(main())


def test_an_operation_that_is_refused_leaves_the_step_as_it_was_before_it(ledger: Any) -> None:
    async def main() -> None:
        async with Runtime(ledger, workflows=WORKFLOWS) as runtime:
            left = [{"_id": "ann"}, {"_id": "zoe", "n": "no number"}]
            assert await result_of(runtime, "catches") == left
            assert await runtime.database["customers"].find() == left

    asyncio.run(main())


def test_no_increment_is_lost_when_many_steps_write_one_document(ledger: Any) -> None:
    async def main() -> None:
        async with Runtime(ledger, workflows=WORKFLOWS) as runtime:
            runs = await runtime.start_many("counted", [None] * 100)
            totals = runtime.database["totals"]
            await asyncio.gather(
                *(run.result(timeout="20s") for run in runs),
                *(totals.update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True) for _ in range(20)),
            )
            assert await totals.find() == [{"_id": "all", "n": 120}]
            assert [run.attempt for run in await runtime.runs(workflow="counted", limit=None)] == [1] * 100

    asyncio.run(main())


@step
async def take_a_job() -> str | None:
    return (await current_step().database["jobs"].update_one({"status": "open"}, {"$set": {"status": "taken"}})).id


@workflow(id="take-a-job")
async def takes(input: None, step: Any) -> str | None:
    return await take_a_job()


def test_of_many_steps_that_take_the_first_open_job_each_gets_another(ledger: Any) -> None:
    async def main() -> None:
        async with Runtime(ledger, workflows=[takes]) as runtime:
            jobs = await runtime.database["jobs"].insert_many([{"status": "open"} for _ in range(20)])
            runs = await runtime.start_many("take-a-job", [None] * 22)
            taken = [await run.result(timeout="20s") for run in runs]
            assert sorted(each for each in taken if each) == jobs
            assert taken.count(None) == 2

    asyncio.run(main())


def test_a_step_whose_reading_is_outdated_when_it_writes_is_tried_again(ledger: Any) -> None:
    async def main() -> None:
        tries.clear()
        both.clear()
        async with Runtime(ledger, workflows=WORKFLOWS) as runtime:
            database = runtime.database
            await database["totals"].insert_one({"_id": "all", "n": 1})
            run = await runtime.start("reader")
            await both.wait()
            await database["totals"].update_one({"_id": "all"}, {"$inc": {"n": 10}})
            await database["signs"].insert_one({"_id": "written"})
            assert await run.result(timeout="20s") == 12
            assert tries == [1, 2]
            assert await database["totals"].find() == [{"_id": "all", "n": 12}]

    asyncio.run(main())


def test_a_body_is_told_to_move_it_into_a_step() -> None:
    async def reads_in_body(input: None, step: Any, ctx: Any) -> Any:
        return await ctx.database["orders"].find()

    with pytest.raises(PolicyViolation) as refused:
        workflow(id="reads-in-body")(reads_in_body)
    assert "current_step().database" in refused.value.findings[0].fix


def test_every_crash_leaves_the_documents_and_the_result_together() -> None:
    report = crash_everywhere(order, "Ann")
    assert report.outcome[0] == "completed"
    assert report.outcome[1]["items"] == ["tea"]
    assert crash_everywhere(counted).outcome[0] == "completed"


def test_what_can_not_be_stored_is_refused_and_nothing_is(ledger: Any) -> None:
    with Runtime(ledger) as runtime:
        orders = runtime.database["orders"]
        with pytest.raises(WorkflowError, match=r"a document is a mapping, not a list"):
            orders.insert_one([1])  # type: ignore[arg-type]
        with pytest.raises(WorkflowError, match=r"can't have the field '\$set'"):
            orders.insert_one({"$set": 1})
        with pytest.raises(WorkflowError, match="_id=5 is int") as wrong:
            orders.insert_one({"_id": 5})
        assert "str(_id)" in wrong.value.fix
        with pytest.raises(WorkflowError, match="collection"):
            runtime.database.collection("")
        with pytest.raises(NotSerializable) as refused:
            orders.insert_many([{"_id": "a"}, {"_id": "b", "callback": print}])
        assert refused.value.path == "$.callback"
        assert "document 'b' of collection 'orders'" in refused.value.where
        with pytest.raises(ValueTooLarge, match=r"9\.0 MiB") as large:
            orders.insert_one({"_id": "a", "scan": "x" * (9 << 20)})
        assert "storage" in large.value.fix
        orders.insert_one({"_id": "a"})
        with pytest.raises(WorkflowError, match="_id of document 'a' can't become 'b'"):
            orders.replace_one({"_id": "a"}, {"_id": "b"})
        with pytest.raises(WorkflowError, match="_id of document 'c' can't become 'd'"):
            orders.replace_one({"_id": "c"}, {"_id": "d"}, upsert=True)
        with pytest.raises(WorkflowError, match="limit=-1"):
            orders.find(limit=-1)
        assert orders.find() == [{"_id": "a"}]


def test_an_upsert_begins_with_what_the_filter_wants(ledger: Any) -> None:
    wanted = {"address.city": "Rome", "tags": ["new"], "age": {"$gt": 5}, "$and": [{"kind": {"$eq": {"a": 1}}}]}
    with Runtime(ledger) as runtime:
        people = runtime.database["people"]
        made = people.update_one(wanted, {"$set": {"name": "Ann", "kind.b": 2}}, upsert=True)
        assert people.find_one() == {
            "_id": made.id, "address": {"city": "Rome"}, "tags": ["new"], "kind": {"a": 1, "b": 2}, "name": "Ann",
        }  # fmt: skip
        assert wanted["$and"] == [{"kind": {"$eq": {"a": 1}}}], "the caller's own filter was changed"
        with pytest.raises(DuplicateDocument):
            people.update_one({"_id": made.id, "name": "Bob"}, {"$set": {"x": 1}}, upsert=True)


def test_documents_are_found_in_the_order_that_is_asked_for(ledger: Any) -> None:
    with Runtime(ledger) as runtime:
        things = runtime.database["things"]
        inserted = things.insert_many([{"n": n % 7, "m": -n} for n in range(3000)])
        assert [each["_id"] for each in things.find()] == inserted, "by default in the order of their insertion"
        found = things.find({"n": {"$lt": 2}}, sort=[("n", -1), ("m", 1)], limit=3, skip=1)
        assert [(each["n"], each["m"]) for each in found] == [(1, -2990), (1, -2983), (1, -2976)]
        assert [each["m"] for each in things.find(sort={"m": -1}, limit=2)] == [0, -1]
        assert things.find_one(sort=("m", 1))["m"] == -2999  # type: ignore[index]
        assert things.count({"n": 3}) == 429
        assert [each["_id"] for each in things.find({"n": 0}, after=inserted[7], limit=2)] == [
            inserted[14], inserted[21],
        ]  # fmt: skip
        named = things.find({"_id": {"$in": inserted[40:20:-1]}})
        assert [each["_id"] for each in named] == inserted[21:41]
        with pytest.raises(WorkflowError, match="says no order"):
            things.find(sort=[("n", 2)])
        things.delete_many({})
        things.insert_many([{"v": each} for each in (True, "x", None, 2, [], [5, 1], {"a": 1}, 1.5)] + [{}])
        assert [each.get("v", "nothing") for each in things.find(sort="v")] == [
            [], "nothing", None, [5, 1], 1.5, 2, "x", {"a": 1}, True,
        ]  # fmt: skip


@step(retries=0)
async def deletes_and_inserts() -> list[Any]:
    things = current_step().database["things"]
    assert await things.delete_one({"n": 1})
    assert not await things.delete_one({"n": 1})
    assert await things.delete_many({"n": {"$gte": 8}}) == 2
    await things.insert_one({"_id": "1", "n": 11})
    await things.insert_one({"_id": "95", "n": 95})
    gone = await current_step().database["lonely"].delete_many({})
    assert gone == 1
    return [
        [each["n"] for each in await things.find()],
        [each["n"] for each in await things.find(after="3", limit=4)],
        await things.count(),
        await current_step().database.collections(),
    ]


@workflow(id="deletes")
async def deletes(input: None, step: Any) -> list[Any]:
    return await deletes_and_inserts()


def test_a_search_sees_what_the_step_itself_deleted_and_inserted(ledger: Any) -> None:
    async def main() -> None:
        async with Runtime(ledger, workflows=[deletes]) as runtime:
            await runtime.database["things"].insert_many([{"_id": str(n), "n": n} for n in range(10)])
            await runtime.database["lonely"].insert_one({})
            found, page, count, collections = await result_of(runtime, "deletes")
            assert found == [0, 11, 2, 3, 4, 5, 6, 7, 95]
            assert page == [4, 5, 6, 7]
            assert (count, collections) == (9, ["things"])
            assert await runtime.database.collections() == ["things"]

    asyncio.run(main())


def test_fatal_errors_write_nothing_either(ledger: Any) -> None:
    async def gives_up() -> None:
        await current_step().database["orders"].insert_one({})
        raise FatalError("no")

    @workflow(id="gives-up")
    async def gives(input: None, step: Any) -> None:
        await step.run("gives up", gives_up)

    async def main() -> None:
        async with Runtime(ledger, workflows=[gives]) as runtime:
            with pytest.raises(RunFailed):
                await result_of(runtime, "gives-up")
            assert await runtime.database.collections() == []

    asyncio.run(main())
