"""Events and changes start what wants them, in their own commit; what can't start is kept, and can be retried."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from perdure import MemoryLedger, Runtime
from perdure.errors import DefinitionError, InvalidInput, NotSerializable, RunFailed, ValueTooLarge
from perdure.strict import (
    DbChange,
    Event,
    KvChange,
    ReceivedEvent,
    current_step,
    on_db_change,
    on_event,
    on_kv_change,
    workflow,
)
from perdure.testing import Simulation


class Order(BaseModel):
    order_id: str
    cents: int = 0


@workflow(id="take", trigger=Event("order.placed"))
async def take(input: Order) -> str:
    return input.order_id


@workflow(id="rich", trigger=Event("order.placed", match={"currency": "EUR"}))
async def rich(input: dict) -> int:
    return input["cents"]


@workflow(id="eu", trigger=Event("order.placed", resource="eu", namespace="shop"))
async def eu(input: dict) -> str:
    return "eu"


@workflow(id="waits")
async def waits(input: None, step) -> Any:
    return await step.wait_for_event("placed", type="order.placed", match={"order_id": "o1"})


@on_event("order.placed", retries=0)
async def note(payload: dict, event: ReceivedEvent) -> str | None:
    await current_step().kv.namespace("orders").put(f"order:{payload['order_id']}", payload)
    return event.id


@on_kv_change(namespace="orders", key_pattern="order:*")
async def noted(change: KvChange) -> list:
    return [change.op, change.key, change.value, change.previous]


@on_kv_change(namespace="orders", op="delete")
async def forgotten(change: KvChange) -> Any:
    return change.previous


@on_db_change(collection="stock", op="update")
async def restocked(change: DbChange) -> list:
    return [change.id, change.previous["left"], change.document["left"]]


ALL = [take, rich, eu, waits, note, noted, forgotten, restocked]


@pytest.fixture(params=["memory", "duckdb"])
def new_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    memory = MemoryLedger()
    return lambda: memory if request.param == "memory" else tmp_path / "events.duckdb"


async def outcomes(runtime: Runtime) -> dict[str, list[Any]]:
    """By workflow, the results of its runs, oldest first; of a failed one its error."""
    await runtime.idle()
    found: dict[str, list[Any]] = {}
    for status in reversed(await runtime.runs(limit=None)):
        run = runtime.handle(status.run_id)
        result = await run.result(timeout="20s") if status.status == "completed" else status.error or status.status
        found.setdefault(status.workflow, []).append(result)
    return found


async def test_an_event_wakes_who_waits_and_starts_what_it_triggers(new_ledger: Any) -> None:
    async with Runtime(new_ledger(), workflows=ALL) as runtime:
        waiting = await runtime.start(waits)
        await waiting.wait("waiting_event", timeout="20s")
        receipt = await runtime.send_event("order.placed", {"order_id": "o1", "cents": 7}, event_id="e1")
        assert (receipt, receipt.woken, len(receipt.started), receipt.is_duplicate) == (1, 1, 2, False)
        found = await outcomes(runtime)
        assert found == {
            "waits": [{"order_id": "o1", "cents": 7}],
            "take": ["o1"],
            "note": ["e1"],
            "noted": [["put", "order:o1", {"order_id": "o1", "cents": 7}, None]],
        }
        statuses = await runtime.runs(limit=None)
        assert all([(await runtime.handle(each.run_id).replay()).ok for each in statuses])


async def test_filters_see_resource_namespace_and_payload(new_ledger: Any) -> None:
    async with Runtime(new_ledger(), workflows=[take, rich, eu]) as runtime:
        payload = {"order_id": "o2", "cents": 9, "currency": "EUR"}
        assert len((await runtime.send_event("order.placed", payload)).started) == 2
        assert len((await runtime.send_event("order.placed", payload, resource="eu")).started) == 2
        receipt = await runtime.send_event("order.placed", payload, resource="eu", namespace="shop")
        assert len(receipt.started) == 3
        assert (await runtime.send_event("order.paid", payload)).started == ()
        assert await outcomes(runtime) == {"take": ["o2"] * 3, "rich": [9] * 3, "eu": ["eu"]}


async def test_the_same_event_id_does_nothing_again_also_under_races_and_after_a_restart(new_ledger: Any) -> None:
    ledger = new_ledger()
    async with Runtime(ledger, workflows=[take]) as runtime:
        sends = [runtime.send_event("order.placed", {"order_id": "o3"}, event_id="e3") for _ in range(20)]
        receipts = await asyncio.gather(*sends)
        assert sum(len(each.started) for each in receipts) == 1
        assert sum(each.is_duplicate for each in receipts) == 19
        assert (await runtime.send_event("order.placed", {"order_id": "o4"}, event_id="e4")).started != ()
    async with Runtime(ledger, workflows=[take]) as runtime:
        again = await runtime.send_event("order.placed", {"order_id": "o3"}, event_id="e3")
        assert again.is_duplicate
        assert again.started == ()
        assert not (await runtime.send_event("order.closed", {}, event_id="e3")).is_duplicate
        assert await outcomes(runtime) == {"take": ["o3", "o4"]}


async def test_a_payload_that_does_not_fit_is_kept_as_a_failed_run_and_stops_nobody_else(new_ledger: Any) -> None:
    ledger = new_ledger()
    async with Runtime(ledger, workflows=[take, rich]) as runtime:
        receipt = await runtime.send_event("order.placed", {"currency": "EUR", "cents": 3})
        assert len(receipt.started) == 2
        found = await outcomes(runtime)
        assert found["rich"] == [3]
        assert found["take"][0].startswith("InvalidInput: the input does not fit workflow 'take': order_id")
        failed = runtime.handle(receipt.started[0])
        with pytest.raises(RunFailed) as raised:
            await failed.result(timeout="20s")
        assert isinstance(raised.value.__cause__, InvalidInput)
        assert (await failed.replay()).ok
        rows = runtime.sql("SELECT run_id, kind, source, status FROM triggered WHERE status = 'failed'").rows
        assert rows == ((failed.run_id, "event", "order.placed", "failed"),)
        with pytest.raises(InvalidInput, match="order_id"):
            await failed.retry()
        assert (await failed.status()).status == "failed"

    @workflow(id="take", trigger=Event("order.placed"))
    async def forgiving(input: dict) -> str:
        return input.get("order_id", "nobody's")

    async with Runtime(ledger, workflows=[forgiving], code="today") as runtime:
        again = runtime.handle(failed.run_id)
        await again.retry()
        assert await again.result(timeout="20s") == "nobody's"
        assert (await again.replay()).ok


async def test_a_retried_run_gets_its_input_as_it_is_validated_then(new_ledger: Any) -> None:
    ledger = new_ledger()

    @workflow(id="later", trigger=Event("x"))
    async def strict(input: list[str]) -> int: ...

    async with Runtime(ledger, workflows=[strict]) as runtime:
        (run_id,) = (await runtime.send_event("x", {"order_id": "o9", "cents": 5})).started

    @workflow(id="later", trigger=Event("x"))
    async def mended(input: Order) -> int:
        return input.cents

    async with Runtime(ledger, workflows=[mended], code="today") as runtime:
        await runtime.handle(run_id).retry()
        assert await runtime.handle(run_id).result(timeout="20s") == 5
        assert (await runtime.handle(run_id).replay()).ok


async def test_a_reaction_that_failed_for_good_is_a_dead_letter_and_can_be_brought_back(new_ledger: Any) -> None:
    broken = [True]

    @on_event("x", retries=0, id="fragile")
    def fragile(payload: int) -> int:
        if broken:
            raise ConnectionError("down")
        return payload

    async with Runtime(new_ledger(), workflows=[fragile]) as runtime:
        (run_id,) = (await runtime.send_event("x", 5)).started
        assert await outcomes(runtime) == {"fragile": ["ConnectionError: down"]}
        assert runtime.sql("SELECT run_id FROM triggered WHERE status = 'failed'").rows == ((run_id,),)
        broken.clear()
        await runtime.handle(run_id).retry()
        assert await runtime.handle(run_id).result(timeout="20s") == 5


async def test_what_can_t_be_sent_reaches_nobody(new_ledger: Any) -> None:
    async with Runtime(new_ledger(), workflows=[take]) as runtime:
        with pytest.raises(ValueTooLarge, match=r"4 MiB"):
            await runtime.send_event("order.placed", "x" * 5_000_000)
        with pytest.raises(NotSerializable):
            await runtime.send_event("order.placed", object())
        with pytest.raises(DefinitionError, match="colon"):
            await runtime.send_event(":hook", None)
        with pytest.raises(DefinitionError, match="event_id"):
            await runtime.send_event("order.placed", {}, event_id="")
        with pytest.raises(DefinitionError, match="did you mean event_id"):
            await runtime.send_event("order.placed", {}, eventid="e")  # type: ignore[call-arg]
        assert await runtime.runs() == []


async def test_changes_start_what_wants_them_with_what_was_there_before(new_ledger: Any) -> None:
    async with Runtime(new_ledger(), workflows=ALL) as runtime:
        orders = runtime.kv.namespace("orders")
        await orders.put("order:1", 1)
        await orders.put("order:1", 2)
        await orders.put("other:1", 3)
        await orders.delete("order:1")
        await runtime.kv.put("order:1", 4)
        await runtime.database.collection("stock").insert_one({"_id": "s1", "left": 5})
        await runtime.database.collection("stock").update_one({"_id": "s1"}, {"$inc": {"left": -2}})
        found = await outcomes(runtime)
        assert sorted(found["noted"]) == [
            ["delete", "order:1", None, 2],
            ["put", "order:1", 1, None],
            ["put", "order:1", 2, 1],
        ]
        assert found["forgotten"] == [2]
        assert found["restocked"] == [["s1", 5, 3]]


async def test_a_step_that_fails_changes_nothing_and_starts_nothing(new_ledger: Any) -> None:
    @workflow(id="half")
    async def half(input: None, step) -> None:
        await step.run("write", write, retries=0)

    async def write() -> None:
        step = current_step()
        await step.kv.namespace("orders").put("order:9", 9)
        await step.workflows.send_event("order.placed", {"order_id": "o9"})
        raise ValueError("after all")

    async with Runtime(new_ledger(), workflows=[half, take, noted]) as runtime:
        run = await runtime.start(half)
        with pytest.raises(RunFailed):
            await run.result(timeout="20s")
        assert set(await outcomes(runtime)) == {"half"}


@pytest.mark.parametrize("seed", range(12))
def test_an_event_s_runs_are_there_once_whatever_crashes(seed: int) -> None:
    """A crash at any commit: the sender asks again under its event_id, and all runs are there, once."""
    from perdure.testing import Crash

    faults = [Crash(seed // 2 + 1, when=("before", "after")[seed % 2])]
    with Simulation(*ALL, seed=seed, faults=faults) as world:
        world.send_event("order.placed", {"order_id": "o1", "currency": "EUR", "cents": 1}, event_id="e1")
        world.run()
        counted: dict[str, int] = {}
        for run in world.runs():
            counted[run.status().workflow] = counted.get(run.status().workflow, 0) + 1
        assert counted == {"take": 1, "rich": 1, "note": 1, "noted": 1}
