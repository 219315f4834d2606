"""Many runs started at once, and answers that come in bursts."""

from __future__ import annotations

import asyncio
import gc
import os

import pytest

from perdure import InvalidInput, MemoryLedger, NotSerializable, Runtime
from perdure.client.starts import RUNS_PER_BATCH
from perdure.engine.clock import SystemClock
from perdure.strict import DefinitionError, UnknownWorkflow, workflow

MANY = 2 * RUNS_PER_BATCH + 7


@workflow(id="doubles")
async def doubles(input: int) -> int:
    return 2 * input


@workflow(id="takes-anything")
async def takes_anything(input) -> None:
    """Nothing is checked but that it can be written down."""


@workflow(id="keyed", idempotency_key="order-{order}")
async def keyed(input: dict, step) -> None:
    await step.wait_for_event("paid", type="paid", match={"order": input["order"]})


@workflow(id="waits")
async def waits(input: int, step) -> int:
    paid = await step.wait_for_event("paid", type="paid", match={"order": input})
    return paid["cents"]


async def test_every_input_gets_its_run_in_order_and_progress_is_told(open_runtime):
    async with open_runtime(doubles) as runtime:
        told: list[tuple[int, int]] = []
        runs = await runtime.start_many(
            "doubles", range(MANY), tags={"of": "many"}, progress=lambda *now: told.append(now)
        )
        assert told == [(RUNS_PER_BATCH, MANY), (2 * RUNS_PER_BATCH, MANY), (MANY, MANY)]
        assert await asyncio.gather(*[run.result(timeout="20s") for run in runs]) == [2 * n for n in range(MANY)]
        assert len(await runtime.runs(tags={"of": "many"}, limit=None)) == MANY


@pytest.mark.parametrize("place", [0, RUNS_PER_BATCH + 3])
async def test_a_bad_input_is_named_by_its_index_and_nothing_starts(open_runtime, place):
    async with open_runtime(doubles, takes_anything, keyed) as runtime:
        inputs: list[object] = list(range(MANY))
        inputs[place] = "many"
        with pytest.raises(InvalidInput, match=rf"inputs\[{place}\]: the input does not fit"):
            await runtime.start_many("doubles", inputs)
        inputs[place] = lambda: None
        with pytest.raises(NotSerializable, match=rf"inputs\[{place}\]: ") as unwritable:
            await runtime.start_many("takes-anything", inputs)
        assert unwritable.value.path == "$"
        orders: list[dict[str, int]] = [{"order": number} for number in range(MANY)]
        orders[place] = {"number": 1}
        with pytest.raises(InvalidInput, match=rf"inputs\[{place}\]: "):
            await runtime.start_many("keyed", orders)
        assert await runtime.runs() == []


async def test_the_same_ids_and_keys_are_the_same_runs(open_runtime):
    async with open_runtime(keyed, waits) as runtime:
        ids = [f"run-{number}" for number in range(5)]
        first = await runtime.start_many(waits, range(5), run_ids=ids)
        again = await runtime.start_many(waits, range(5), run_ids=ids)
        assert [run.run_id for run in first] == ids == [run.run_id for run in again]
        keys = ["a", "b", "a"]
        by_key = await runtime.start_many(waits, [1, 2, 1], idempotency_keys=keys)
        assert by_key[0].run_id == by_key[2].run_id != by_key[1].run_id
        assert (await runtime.start(waits, 1, idempotency_key="b")).run_id == by_key[1].run_id
        by_template = await runtime.start_many(keyed, [{"order": 1}, {"order": 2}, {"order": 1}])
        assert by_template[0].run_id == by_template[2].run_id != by_template[1].run_id
        assert len(await runtime.runs(limit=None)) == 5 + 2 + 2


async def test_an_id_of_another_workflow_is_named_by_its_index(open_runtime):
    async with open_runtime(doubles, waits) as runtime:
        await runtime.start(waits, 1, run_id="theirs")
        with pytest.raises(DefinitionError, match=r"inputs\[1\]: run_id 'theirs' belongs to"):
            await runtime.start_many(doubles, [1, 2, 3], run_ids=["mine", "theirs", "never"])
        assert {run.run_id for run in await runtime.runs()} == {"theirs", "mine"}


async def test_what_is_no_list_is_refused():
    async with Runtime(MemoryLedger(), workflows=[doubles]) as runtime:
        for inputs in ("12", {"a": 1}, 7):
            with pytest.raises(DefinitionError, match="is not a list"):
                await runtime.start_many("doubles", inputs)
        with pytest.raises(DefinitionError, match="run_ids has 1 for 2 inputs"):
            await runtime.start_many("doubles", [1, 2], run_ids=["one"])
        with pytest.raises(DefinitionError, match="idempotency_key='' can't be used"):
            await runtime.start_many("doubles", [1], idempotency_keys=[""])
        with pytest.raises(UnknownWorkflow):
            await runtime.start_many("triples", [1])
        assert await runtime.start_many("doubles", []) == []


async def test_delayed_and_queued_starts_wait_all_of_them(open_runtime):
    async with open_runtime(doubles) as runtime:
        runs = await runtime.start_many(doubles, iter([1, 2, 3]), delay="1h")
        assert [await run.status() for run in runs] == ["queued"] * 3


def test_it_blocks_where_one_is_blocking():
    with Runtime(MemoryLedger(), workflows=[doubles]) as runtime:
        assert [run.result() for run in runtime.start_many(doubles, [1, 2, 3])] == [2, 4, 6]


async def test_others_are_served_in_between():
    async with Runtime(MemoryLedger(), workflows=[doubles, waits]) as runtime:
        begun: list[int] = []
        many = asyncio.create_task(
            runtime.start_many(waits, range(4 * RUNS_PER_BATCH), progress=lambda done, total: begun.append(done))
        )
        while not begun:
            await asyncio.sleep(0)
        await runtime.start(doubles, 1)
        assert begun[-1] < 4 * RUNS_PER_BATCH
        await many


async def test_a_caller_that_is_gone_gets_nothing_and_keeps_nobody_from_theirs():
    async with Runtime(MemoryLedger(), workflows=[doubles]) as runtime:
        asked = [asyncio.create_task(runtime.start(doubles, number)) for number in range(50)]
        await asyncio.sleep(0)
        for task in asked[::2]:
            task.cancel()
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended[::2])
        assert [await each.result() for each in ended[1::2]] == [2 * number for number in range(1, 50, 2)]


def test_a_loop_that_was_closed_keeps_nobody_from_their_answers():
    runtime = Runtime(MemoryLedger(), workflows=[doubles])
    with runtime as blocking:
        lost = asyncio.new_event_loop()
        asked = runtime._opened.thread

        async def ask_and_leave() -> None:
            asked.ask(lambda engine, batch: None)

        lost.run_until_complete(ask_and_leave())
        lost.close()
        assert blocking.start(doubles, 4).result() == 8


async def test_a_parked_body_leaves_nothing_to_the_garbage_collector():
    async with Runtime(MemoryLedger(), workflows=[waits], residents_max=0) as runtime:
        await runtime.start_many(waits, range(20))
        gc.collect()
        gc.disable()
        try:
            await runtime.start_many(waits, range(100, 200))
            found = gc.collect()
        finally:
            gc.enable()
        assert found < 100  # a hundred bodies of some sixty objects each left over 6,000


def test_ids_are_of_their_form_sort_by_time_and_differ_on_both_sides_of_a_fork():
    clock = SystemClock()
    ids = [clock.new_run_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(each) == 26 and set(each) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ") for each in ids)
    assert [each[:10] for each in ids] == sorted(each[:10] for each in ids)
    if not hasattr(os, "fork"):
        return
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(theirs, clock.new_run_id()[10:].encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert clock.new_run_id()[10:] != os.read(ours, 100).decode()
    os.close(ours)
    os.close(theirs)
