"""What a step calls that is durable at once never waits for the step, and takes nothing when the step is over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from perdure import MemoryLedger, MessageLost, RunFailed, Runtime, WorkflowError
from perdure.strict import current_step, step, workflow

DOES: dict[str, Any] = {}  # what the steps of a test do


@step(retries=0, timeout="10s")
async def does(what: str) -> Any:
    return await DOES[what]()


@step(retries=0, timeout="10s")
def does_blocking(what: str) -> Any:
    return DOES[what]()


@step(retries=0, timeout="100ms")
def does_too_long(what: str) -> Any:
    return DOES[what]()


@workflow(id="one")
async def one(input: str, step) -> Any:
    return await does(input)


@workflow(id="one-blocking")
async def one_blocking(input: str, step) -> Any:
    return await does_blocking(input)


@workflow(id="one-too-long")
async def one_too_long(input: str, step) -> Any:
    return await does_too_long(input)


async def done(runtime: Runtime, work: Any, workflow: Any = one) -> Any:
    """What a step gives that does this; what waits for itself would pass its timeout."""
    DOES["it"] = work
    run = await runtime.start(workflow, "it")
    return await run.result(timeout="30s")


async def test_a_call_from_outside_in_a_step_is_told_that_it_would_wait_for_that_step(open_place: Callable) -> None:
    async with open_place(one) as runtime:

        async def work() -> str:
            await current_step().kv.put("k", "the step's")
            with pytest.raises(WorkflowError, match="that would wait for the step to end") as refused:
                await runtime.kv.put("k", "at once")
            assert "current_step().kv" in refused.value.fix
            await runtime.kv.put("other", "at once")
            return "went on"

        assert await done(runtime, work) == "went on"
        assert await runtime.kv.list() == {"k": "the step's", "other": "at once"}


async def test_so_is_one_in_a_plain_def() -> None:
    async with Runtime(MemoryLedger(), workflows=[one_blocking]) as runtime:

        def work() -> str:
            current_step().blocking.kv.put("k", 1)
            with pytest.raises(WorkflowError, match="that would wait for the step to end"):
                runtime.kv.put("k", 2)
            return "went on"

        assert await done(runtime, work, one_blocking) == "went on"


async def test_a_message_that_a_step_has_acknowledged_can_not_be_kept_for_longer(open_place: Callable) -> None:
    async with open_place(one) as runtime:

        async def work() -> str:
            [message] = await current_step().queue.receive("mail")
            await message.ack()
            with pytest.raises(MessageLost):
                await message.extend("1m")
            return "went on"

        await runtime.queue.send("mail", "hello")
        assert await done(runtime, work) == "went on"


async def test_keeping_a_message_and_acknowledging_it_at_once_lose_nothing(open_place: Callable) -> None:
    async with open_place(one) as runtime:

        async def work() -> int:
            messages = await current_step().queue.receive("mail", limit=20)
            for message in messages:
                await asyncio.gather(message.extend("1m"), message.extend("2m"), message.ack())
            return len(messages)

        for number in range(20):
            await runtime.queue.send("mail", number)
        assert await done(runtime, work) == 20


async def test_a_message_is_acknowledged_in_whatever_moment_its_keeping_is_cancelled(open_place: Callable) -> None:
    async with open_place(one) as runtime:

        async def work() -> int:
            messages = await current_step().queue.receive("mail", limit=60)
            for moments, message in enumerate(messages):
                keeping = asyncio.ensure_future(message.extend("1m"))
                for _ in range(moments):
                    await asyncio.sleep(0)
                keeping.cancel()
                await message.ack()
            return len(messages)

        for number in range(60):
            await runtime.queue.send("mail", number)
        assert await done(runtime, work) == 60


async def test_a_task_that_outlives_its_step_takes_no_message(open_place: Callable) -> None:
    tasks: list[asyncio.Task[Any]] = []
    async with open_place(one) as runtime:

        async def work() -> str:
            queue = current_step().queue
            tasks.append(asyncio.ensure_future(queue.receive("mail", wait="1m")))
            await asyncio.sleep(0.05)
            return "left it"

        assert await done(runtime, work) == "left it"
        async with asyncio.timeout(20):
            with pytest.raises(WorkflowError, match="after its attempt was over"):
                await tasks[0]
        await runtime.queue.send("mail", "hello")
        [message] = await runtime.queue.receive("mail")
        assert message.deliveries == 1


async def test_a_thread_that_outlives_its_step_is_woken_and_takes_no_message(open_place: Callable) -> None:
    told: list[BaseException] = []
    is_told = threading.Event()
    async with open_place(one_too_long) as runtime:

        def work() -> None:
            try:
                current_step().blocking.queue.receive("mail", wait="1h")
            except WorkflowError as error:
                told.append(error)
            is_told.set()

        with pytest.raises(RunFailed, match="took longer than its timeout"):
            await done(runtime, work, one_too_long)
        assert await asyncio.to_thread(is_told.wait, 20)
        assert "after its attempt was over" in str(told[0])
        await runtime.queue.send("mail", "hello")
        [message] = await runtime.queue.receive("mail")
        assert message.deliveries == 1
