"""`queue` as steps and applications use it, in both ledgers and in a Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from perdure import (
    DefinitionError,
    Message,
    MessageLost,
    NotSerializable,
    PerdureError,
    RunFailed,
    Runtime,
    ValueTooLarge,
)
from perdure.strict import RetryPolicy, current_step, step, workflow
from perdure.testing import SimulatedClock

Open = Callable[..., AbstractAsyncContextManager[Runtime]]
Clocked = Callable[..., AbstractAsyncContextManager[tuple[Runtime, SimulatedClock]]]
ACTS: list[Any] = []  # what the step of this test does


@pytest.fixture(autouse=True)
def forget_acts() -> Iterator[None]:
    yield
    ACTS.clear()


@pytest.fixture
def clocked(open_place: Open) -> Clocked:
    """A runtime whose time the test moves; it begins now, since a Redis has a clock of its own."""

    @asynccontextmanager
    async def opened(*workflows: object) -> AsyncIterator[tuple[Runtime, SimulatedClock]]:
        clock = SimulatedClock(datetime.now(UTC))
        async with open_place(*workflows, clock=clock) as runtime:
            yield runtime, clock

    return opened


@step(retries=RetryPolicy(max_attempts=2, base_delay="1ms"))
async def act() -> Any:
    return await ACTS[0](current_step())


@workflow(id="acts")
async def acts(input: None) -> Any:
    return await act()


async def done(runtime: Runtime, what: Any) -> Any:
    """Have a step do this; give what it gave."""
    ACTS[:] = [what]
    return await (await runtime.start("acts")).result(timeout="30s")


async def done_in_time(runtime: Runtime, clock: SimulatedClock, what: Any) -> Any:
    """The same while time goes on, so that it is tried again."""
    result = asyncio.ensure_future(done(runtime, what))
    while not result.done():
        clock.advance("100ms")
        await asyncio.sleep(0.005)
    return await result


async def received(runtime: Runtime, **options: Any) -> list[Any]:
    """Receive and acknowledge all that is in sight; give the payloads."""
    payloads = []
    while messages := await runtime.queue.receive("jobs", limit=3, **options):
        for message in messages:
            payloads.append(message.payload)
            await message.ack()
    return payloads


# ── outside of steps ─────────────────────────────────────────────────────────────────────────────


async def test_messages_come_in_the_order_in_which_they_were_sent(open_place: Open) -> None:
    async with open_place() as runtime:
        for number in range(10):
            await runtime.queue.send("jobs", number)
        await runtime.queue.send("other", "not this one")
        assert await received(runtime) == list(range(10))
        assert await runtime.queue.receive("jobs") == []


async def test_a_message_is_hidden_until_its_visibility_timeout_has_passed(clocked: Clocked) -> None:
    async with clocked() as (runtime, clock):
        id = await runtime.queue.send("jobs", {"n": (1, 2)})
        [first] = await runtime.queue.receive("jobs", visibility_timeout="10s")
        assert (first.id, first.payload, first.deliveries) == (id, {"n": (1, 2)}, 1)
        assert (first.visible_at - first.sent_at).total_seconds() == 10
        assert await runtime.queue.receive("jobs") == []
        clock.advance("10s")
        [second] = await runtime.queue.receive("jobs")
        assert (second.id, second.deliveries) == (id, 2)
        with pytest.raises(MessageLost, match="not this receiver's any more"):
            await first.ack()
        with pytest.raises(MessageLost):
            await first.extend("1m")
        await second.ack()
        clock.advance("1d")
        assert await runtime.queue.receive("jobs") == []
        with pytest.raises(MessageLost):
            await second.ack()


async def test_a_receiver_may_keep_a_message_for_longer(clocked: Clocked) -> None:
    async with clocked() as (runtime, clock):
        await runtime.queue.send("jobs", 1)
        [message] = await runtime.queue.receive("jobs", visibility_timeout="10s")
        clock.advance("9s")
        await message.extend("10s")
        clock.advance("9s")
        assert await runtime.queue.receive("jobs") == []
        await message.ack()
        clock.advance("1m")
        assert await runtime.queue.receive("jobs") == []


async def test_a_message_given_back_comes_after_its_delay(clocked: Clocked) -> None:
    async with clocked() as (runtime, clock):
        await runtime.queue.send("jobs", 1)
        [message] = await runtime.queue.receive("jobs")
        await message.retry("5s")
        assert await runtime.queue.receive("jobs") == []
        clock.advance("5s")
        [message] = await runtime.queue.receive("jobs")
        assert message.deliveries == 2
        await message.retry()
        assert [each.deliveries for each in await runtime.queue.receive("jobs")] == [3]


async def test_delayed_messages_come_when_they_are_due(clocked: Clocked) -> None:
    async with clocked() as (runtime, clock):
        await runtime.queue.send("jobs", "late", delay="10s")
        await runtime.queue.send("jobs", "soon", delay="1s")
        assert await received(runtime) == []
        clock.advance("1s")
        assert await received(runtime) == ["soon"]
        clock.advance("9s")
        assert await received(runtime) == ["late"]


async def test_what_is_never_acknowledged_becomes_a_dead_letter(clocked: Clocked) -> None:
    async with clocked() as (runtime, clock):
        id = await runtime.queue.send("jobs", "poison")
        for delivery in (1, 2):
            [message] = await runtime.queue.receive("jobs", visibility_timeout="1s", max_deliveries=2)
            assert message.deliveries == delivery
            clock.advance("1s")
        await runtime.queue.send("jobs", "good")
        assert [each.payload for each in await runtime.queue.receive("jobs", max_deliveries=2)] == ["good"]
        [letter] = await runtime.queue.dead_letters("jobs")
        assert (letter.id, letter.payload, letter.deliveries) == (id, "poison", 2)
        assert letter.reason == "delivered too often"
        assert letter.died_at == clock.now
        assert await runtime.queue.redrive("jobs") == 1
        assert await runtime.queue.dead_letters("jobs") == []
        [message] = await runtime.queue.receive("jobs")
        assert (message.payload, message.deliveries) == ("poison", 1)


async def test_dead_letters_are_listed_in_pages_driven_back_and_discarded(open_place: Open) -> None:
    async with open_place() as runtime:
        for name in "abcd":
            await runtime.queue.send("jobs", name, key=name)
        for message in await runtime.queue.receive("jobs", limit=4, max_deliveries=1):
            if message.id == "a":
                await message.retry(reason="no address")  # it was delivered as often as it may be
            else:
                await message.reject("no such customer")
        first = await runtime.queue.dead_letters("jobs", limit=3)
        assert [letter.id for letter in first] == ["a", "b", "c"]
        assert [letter.reason for letter in first] == ["no address", "no such customer", "no such customer"]
        assert [letter.id for letter in await runtime.queue.dead_letters("jobs", after="c")] == ["d"]
        assert await runtime.queue.discard("jobs", "b") == 1
        assert await runtime.queue.discard("jobs", ["b", "nobody"]) == 0
        assert await runtime.queue.redrive("jobs", ["c", "b"]) == 1
        await runtime.queue.send("jobs", "a again", key="a")
        assert await runtime.queue.redrive("jobs", "a") == 0  # its place is taken
        assert await received(runtime) == ["c", "a again"]
        assert await runtime.queue.discard("jobs") == 2


async def test_a_key_is_on_the_queue_once(open_place: Open) -> None:
    async with open_place() as runtime:
        sent = await asyncio.gather(*[runtime.queue.send("jobs", n, key="invoice-7") for n in range(5)])
        assert set(sent) == {"invoice-7"}
        [message] = await runtime.queue.receive("jobs", limit=5)
        await runtime.queue.send("jobs", "while it is hidden", key="invoice-7")
        await message.ack()
        assert await runtime.queue.receive("jobs") == []
        await runtime.queue.send("jobs", "anew", key="invoice-7")
        assert await received(runtime) == ["anew"]


async def test_many_receivers_at_once_get_each_message_once(open_place: Open) -> None:
    async with open_place() as runtime:
        await asyncio.gather(*[runtime.queue.send("jobs", number) for number in range(60)])
        parts = await asyncio.gather(*[received(runtime) for _ in range(8)])
        assert sorted(payload for part in parts for payload in part) == list(range(60))


async def test_a_consumer_waits_for_messages_and_ends_with_the_runtime(open_place: Open) -> None:
    got: list[Any] = []

    async def consume(runtime: Runtime) -> None:
        async for message in runtime.queue.consume("jobs"):
            await message.ack()
            got.append(message.payload)

    async with open_place() as runtime:
        consumers = [asyncio.create_task(consume(runtime)) for _ in range(2)]
        async with asyncio.timeout(20):
            for number in range(5):
                await runtime.queue.send("jobs", number, delay="30ms" if number % 2 else None)
                while len(got) <= number:
                    await asyncio.sleep(0.001)
    async with asyncio.timeout(20):
        await asyncio.gather(*consumers)
    assert got == [0, 1, 2, 3, 4]


async def test_a_receiver_waits_no_longer_than_it_said(open_place: Open) -> None:
    async with open_place() as runtime:
        begun = asyncio.get_running_loop().time()
        assert await runtime.queue.receive("jobs", wait="60ms") == []
        assert asyncio.get_running_loop().time() - begun >= 0.06
        waiting = asyncio.create_task(runtime.queue.receive("jobs", wait="20s"))
        await runtime.queue.send("jobs", 1)
        assert [message.payload for message in await waiting] == [1]


def test_messages_without_asyncio(tmp_path: Any) -> None:
    with Runtime(tmp_path / "ledger.duckdb") as runtime:
        runtime.queue.send("jobs", 1)
        runtime.queue.send("jobs", 2)
        runtime.queue.send("jobs", 3)
        [message] = runtime.queue.receive("jobs")
        message.extend("5m")
        message.ack()
        for message in runtime.queue.consume("jobs"):
            if message.payload == 3:
                message.reject()
                break
            message.ack()
        assert [letter.payload for letter in runtime.queue.dead_letters("jobs")] == [3]


async def test_what_cannot_be_sent_or_received_is_refused(open_place: Open) -> None:
    async with open_place() as runtime:
        with pytest.raises(NotSerializable, match="has no lossless encoding"):
            await runtime.queue.send("jobs", {"f": print})
        with pytest.raises(ValueTooLarge, match="is more than the 1 MiB that fit"):
            await runtime.queue.send("jobs", "x" * (1 << 20))
        with pytest.raises(DefinitionError, match="an empty queue names nothing"):
            await runtime.queue.send("", 1)
        with pytest.raises(DefinitionError, match="limit=0 can't be used"):
            await runtime.queue.receive("jobs", limit=0)
        with pytest.raises(DefinitionError, match="visibility_timeout=0 hides nothing"):
            await runtime.queue.receive("jobs", visibility_timeout=0)
        with pytest.raises(DefinitionError, match="max_deliveries=True can't be used"):
            await runtime.queue.receive("jobs", max_deliveries=True)
        assert await runtime.queue.receive("jobs") == []


# ── in steps ─────────────────────────────────────────────────────────────────────────────────────


async def test_what_a_step_sends_is_sent_when_it_is_completed_and_once(open_place: Open) -> None:
    async with open_place(acts) as runtime:

        async def send(at: Any) -> Any:
            ids = [await at.queue.send("jobs", number) for number in range(3)]
            assert await runtime.queue.receive("jobs") == []
            if at.attempt == 1:
                raise OSError("again")
            return ids

        ids = await done(runtime, send)
        messages = await runtime.queue.receive("jobs", limit=10)
        assert [message.id for message in messages] == ids
        assert [message.payload for message in messages] == [0, 1, 2]


async def test_a_step_has_a_message_acknowledged_with_its_result(clocked: Clocked) -> None:
    async with clocked(acts) as (runtime, clock):
        await runtime.queue.send("jobs", 1)
        held: list[Message] = []

        async def work(at: Any) -> Any:
            [message] = await at.queue.receive("jobs", visibility_timeout="10s")
            held.append(message)
            await message.ack()
            await at.kv.increment("worked")
            assert await runtime.queue.receive("jobs") == []
            return message.payload

        assert await done(runtime, work) == 1
        clock.advance("1h")
        assert await runtime.queue.receive("jobs") == []
        assert await runtime.kv.get("worked") == 1


async def test_a_message_comes_back_when_the_step_that_acknowledged_it_fails(clocked: Clocked) -> None:
    async with clocked(acts) as (runtime, clock):
        await runtime.queue.send("jobs", 1)

        async def fail(at: Any) -> Any:
            for message in await at.queue.receive("jobs", visibility_timeout="30d"):
                await message.ack()
            raise OSError("no")

        with pytest.raises(RunFailed):
            await done_in_time(runtime, clock, fail)
        assert await runtime.queue.receive("jobs") == []
        clock.advance("30d")
        assert [message.deliveries for message in await runtime.queue.receive("jobs")] == [2]


async def test_a_step_that_kept_a_message_too_long_does_not_complete_with_it(clocked: Clocked) -> None:
    async with clocked(acts) as (runtime, clock):
        await runtime.queue.send("jobs", 1)

        async def dawdle(at: Any) -> Any:
            messages = await at.queue.receive("jobs", visibility_timeout="10s")
            if not messages:
                return "nothing left"
            clock.advance("10s")
            [other] = await runtime.queue.receive("jobs", visibility_timeout="1h")
            await at.kv.increment("worked")
            await messages[0].ack()
            return other.payload

        assert await done_in_time(runtime, clock, dawdle) == "nothing left"
        assert await runtime.kv.get("worked") is None


async def test_a_receiver_passes_over_what_a_step_is_about_to_acknowledge(open_runtime: Open) -> None:
    clock = SimulatedClock()
    async with open_runtime(acts, clock=clock) as runtime:
        await runtime.queue.send("jobs", "first")
        await runtime.queue.send("jobs", "second")

        async def work(at: Any) -> Any:
            [message] = await at.queue.receive("jobs", visibility_timeout="10s")
            await message.ack()
            clock.advance("10s")  # it would be in sight again
            return message.payload, [each.payload for each in await runtime.queue.receive("jobs", limit=5)]

        assert await done(runtime, work) == ("first", ["second"])


async def test_nothing_is_done_for_callers_of_a_closed_runtime(open_place: Open) -> None:
    async with open_place() as runtime:
        queue, kv = runtime.queue, runtime.kv
        await queue.send("jobs", 1)
        [message] = await queue.receive("jobs")
    for late in (lambda: queue.send("jobs", 2), lambda: queue.receive("jobs"), lambda: kv.get("k")):
        with pytest.raises(PerdureError, match="the runtime is closed"):
            await late()
    with pytest.raises(PerdureError, match="the runtime is closed"):
        await message.ack()


@step(retries=0)
async def tell(attempt: int) -> Any:
    return await current_step().queue.send("told", attempt), await current_step().workflows.start("acts", None)


@workflow(id="tells", retries=RetryPolicy(max_attempts=3, base_delay="1ms"))
async def tells(input: None, step: Any, ctx: Any) -> Any:
    told = await tell(ctx.attempt)
    if ctx.attempt < 3:
        raise ValueError("once more")
    return told


async def test_what_a_later_attempt_of_a_run_sends_takes_no_earlier_message_s_place(open_place: Open) -> None:
    ACTS.append(lambda at: asyncio.sleep(0))
    async with open_place(tells, acts) as runtime:
        run = await runtime.start("tells")
        _, started = await run.result(timeout="20s")
        messages = await runtime.queue.receive("told", limit=10)
        assert sorted(message.payload for message in messages) == [1, 2, 3]
        assert started.startswith(f"{run.run_id}-0-")  # wherever services keep what they keep
        assert "/" not in started
        assert ":" not in started
