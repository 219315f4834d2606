"""`kv` and `queue` in a Redis: what is written once, whatever dies when, and what others there may do."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis_server import RedisServer

from perdure import (
    DefinitionError,
    MemoryLedger,
    RedisKv,
    RedisQueue,
    RetryPolicy,
    RunFailed,
    Runtime,
    ServiceFailed,
    WriteConflict,
    on_kv_change,
)
from perdure.strict import current_step, step, workflow

ACTS: list[Any] = []  # what the step of this test does
SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def forget_acts() -> Iterator[None]:
    yield
    ACTS.clear()
    SEEN.clear()


@step(retries=RetryPolicy(max_attempts=12, base_delay="100ms", factor=1))
async def act() -> Any:
    return await ACTS[0](current_step())


@workflow(id="acts")
async def acts(input: None) -> Any:
    return await act()


@step(delivery="at_most_once")  # else a conflict would be tried again for half a minute
async def once() -> None:
    await ACTS[0](current_step())


@workflow(id="acts-once")
async def acts_once(input: None) -> None:
    await once()


@workflow(id="acts-again", retries=3)
async def acts_again(input: None, step, ctx) -> Any:
    if ctx.attempt == 1:
        await step.run("first", lambda: ctx.kv.put("first", True))
        raise OSError("another way")
    await step.run("second", lambda: ctx.kv.put("second", True))
    return await step.run("read", lambda: ctx.kv.keys())


@on_kv_change(key_pattern="watched:*")
async def see(change: Any) -> None:
    SEEN.append((change.key, change.op, change.value, change.previous))


async def done(runtime: Runtime, what: Any) -> Any:
    """Have a step do this; give what it gave."""
    ACTS[:] = [what]
    return await (await runtime.start("acts")).result(timeout="60s")


class AnswerLost(RedisKv):
    """A Redis whose connection breaks after it has written, so that nobody hears of it."""

    lost = 0

    async def write(self, *args: Any, for_good: bool, **options: Any) -> Any:
        written = await super().write(*args, for_good=for_good, **options)
        if for_good and self.lost < 2:
            self.lost += 1
            raise ServiceFailed("the connection broke.")
        return written


async def test_a_step_whose_write_was_not_heard_of_writes_once_and_gives_what_it_gave(redis: RedisServer) -> None:
    place = AnswerLost(redis.url, prefix="answer-lost")
    async with (
        Runtime(MemoryLedger(), services={"kv": RedisKv(redis.url, prefix="answer-lost")}) as other,
        Runtime(MemoryLedger(), workflows=[acts, see], services={"kv": place}) as runtime,
    ):
        await runtime.kv.put("old", 10)
        gave = []

        async def count(at: Any) -> Any:
            new = await at.kv.increment("old"), await at.kv.increment("new"), await at.kv.put("one", 1, if_absent=True)
            await at.kv.put("watched:a", new[0])
            gave.append((new, await at.kv.list()))
            if at.attempt == 2:
                await other.kv.increment("old", 100)
            return new

        assert await done(runtime, count) == (11, 1, True)
        assert place.lost == 1  # the second attempt saw that all was written, and wrote nothing
        assert len(gave) == 2
        assert gave[0] == gave[1]
        assert await runtime.kv.list() == {"new": 1, "old": 111, "one": 1, "watched:a": 11}
        await runtime.idle()
        assert SEEN == [("watched:a", "put", 11, None)]


class AnswerOfQueueLost(RedisQueue):
    """The same for messages."""

    lost = 0

    async def write(self, *args: Any, for_good: bool, **options: Any) -> Any:
        written = await super().write(*args, for_good=for_good, **options)
        if for_good and self.lost < 1:
            self.lost += 1
            raise ServiceFailed("the connection broke.")
        return written


async def test_a_step_that_only_sends_does_not_send_twice_what_was_not_heard_of(redis: RedisServer) -> None:
    place = AnswerOfQueueLost(redis.url, prefix="sends-once")
    async with Runtime(MemoryLedger(), workflows=[acts], services={"queue": place}) as runtime:
        assert await done(runtime, lambda at: at.queue.send("jobs", at.attempt))
        assert place.lost == 1
        assert [message.payload for message in await runtime.queue.receive("jobs", limit=5)] == [1]


async def test_a_redis_that_dies_in_the_middle_of_a_step_doubles_nothing(tmp_path: Path, redis: RedisServer) -> None:
    own = RedisServer(tmp_path)
    own.start()
    try:
        services = {"kv": RedisKv(own.url), "queue": RedisQueue(own.url)}
        async with Runtime(MemoryLedger(), workflows=[acts], services=services) as runtime:
            attempts = []

            async def work(at: Any) -> Any:
                attempts.append(at.attempt)
                count = await at.kv.increment("count")
                await at.queue.send("jobs", count)
                if at.attempt == 1:
                    await asyncio.to_thread(own.kill)
                if at.attempt == 2:
                    raise AssertionError("it can't get here: there is no server to count on")
                return count

            running = asyncio.ensure_future(done(runtime, work))
            while len(attempts) < 2:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(own.start)
            assert await running == 1
            assert len(attempts) >= 3
            assert await runtime.kv.get("count") == 1
            assert [message.payload for message in await runtime.queue.receive("jobs", limit=5)] == [1]
    finally:
        own.kill()


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_a_process_killed_around_its_writes_leaves_each_of_them_once(
    when: str, tmp_path: Path, redis: RedisServer
) -> None:
    def life(strikes: str) -> subprocess.CompletedProcess[str]:
        worker = Path(__file__).parent / "redis_worker.py"
        args = [sys.executable, str(worker), str(tmp_path / "ledger.duckdb"), redis.url, f"killed-{when}", strikes]
        return subprocess.run(args, capture_output=True, text=True, timeout=60, check=False)

    assert life(when).returncode == -9
    second = life("never")
    assert (second.stdout.strip(), second.stderr) == ("(1, [1])", "")

    async def left() -> tuple[Any, list[Any]]:
        services = {
            "kv": RedisKv(redis.url, prefix=f"killed-{when}"),
            "queue": RedisQueue(redis.url, prefix=f"killed-{when}"),
        }
        async with Runtime(MemoryLedger(), services=services) as runtime:
            return await runtime.kv.list(), [each.payload for each in await runtime.queue.receive("jobs", limit=5)]

    assert asyncio.run(left()) == ({"count": 1, "seen": [1]}, [1])


async def test_a_run_that_takes_another_way_in_its_next_attempt_writes_there_too(redis: RedisServer) -> None:
    services = {"kv": RedisKv(redis.url, prefix="another-way")}
    async with Runtime(MemoryLedger(), workflows=[acts_again], services=services) as runtime:
        run = await runtime.start("acts-again")
        assert await run.result(timeout="30s") == ["first", "second"]


async def test_processes_that_share_a_redis_lose_no_count(redis: RedisServer) -> None:
    def shared() -> Runtime:
        return Runtime(MemoryLedger(), services={"kv": RedisKv(redis.url, prefix="shared")})

    async with shared() as one, shared() as other:
        await asyncio.gather(*[each.kv.increment("count") for each in (one, other) for _ in range(40)])
        assert await one.kv.get("count") == 80
        wrote = await asyncio.gather(*[each.kv.put("lock", 1, if_absent=True) for each in (one, other)])
        assert sorted(wrote) == [False, True]


async def test_a_step_is_tried_again_when_another_process_wrote_what_it_had_read(redis: RedisServer) -> None:
    async with (
        Runtime(MemoryLedger(), services={"kv": RedisKv(redis.url, prefix="conflict")}) as other,
        Runtime(MemoryLedger(), workflows=[acts], services={"kv": RedisKv(redis.url, prefix="conflict")}) as runtime,
    ):
        await other.kv.put("stock", 5)

        async def take_one(at: Any) -> Any:
            stock = await at.kv.get("stock")
            if at.attempt == 1:
                await other.kv.put("stock", 1)
            await at.kv.put("stock", stock - 1)
            return at.attempt

        assert await done(runtime, take_one) == 2
        assert await other.kv.get("stock") == 0

        async def overwrite(at: Any) -> Any:
            await at.kv.put("stock", "mine")
            await other.kv.put("stock", "theirs")
            return at.attempt

        assert await done(runtime, overwrite) == 1  # it depends on nothing, so the last one wins
        assert await other.kv.get("stock") == "mine"


async def test_a_conflict_says_what_was_written_and_where(redis: RedisServer) -> None:
    async with (
        Runtime(MemoryLedger(), services={"kv": RedisKv(redis.url, prefix="told")}) as other,
        Runtime(MemoryLedger(), workflows=[acts_once], services={"kv": RedisKv(redis.url, prefix="told")}) as runtime,
    ):

        async def collide(at: Any) -> None:
            await at.kv.increment("k")
            await other.kv.put("k", 1)

        ACTS[:] = [collide]
        with pytest.raises(RunFailed) as failed:
            await (await runtime.start("acts-once")).result(timeout="30s")
        told = str(failed.value.__cause__)
        assert isinstance(failed.value.__cause__, WriteConflict)
        assert "kv/default, key 'k' was written by somebody else after step 'once' of run" in told
        assert f"RedisKv('{redis.url}')" in told
        assert await other.kv.get("k") == 1


async def test_consumers_of_several_processes_get_each_message_once(redis: RedisServer) -> None:
    def shared() -> Runtime:
        return Runtime(MemoryLedger(), services={"queue": RedisQueue(redis.url, prefix="consumers")})

    got: list[int] = []

    async def consume(runtime: Runtime) -> None:
        while messages := await runtime.queue.receive("jobs", limit=2):
            for message in messages:
                got.append(message.payload)
                await message.ack()

    async with shared() as one, shared() as two, shared() as three:
        await asyncio.gather(*[one.queue.send("jobs", number) for number in range(60)])
        await asyncio.gather(*[consume(each) for each in (one, two, three)])
    assert sorted(got) == list(range(60))


async def test_a_consumer_hears_of_what_another_process_sends(redis: RedisServer) -> None:
    def shared() -> Runtime:
        return Runtime(MemoryLedger(), services={"queue": RedisQueue(redis.url, prefix="heard")})

    async with shared() as one, shared() as other:
        waiting = asyncio.create_task(one.queue.receive("jobs", wait="30s"))
        await asyncio.sleep(0)
        await other.queue.send("jobs", "hello")
        assert [message.payload for message in await waiting] == ["hello"]


async def test_a_value_can_be_read_by_other_programs(redis: RedisServer) -> None:
    from redis.asyncio import Redis

    async with Runtime(MemoryLedger(), services={"kv": RedisKv(redis.url, prefix="app")}) as runtime:
        await runtime.kv.namespace("users").put("ann", {"age": 7})
    client = Redis.from_url(redis.url)
    assert await client.hget("app:kv/users:ann", "body") == b'{"age":7}'  # type: ignore[misc]
    await client.aclose()


async def test_a_redis_that_is_not_there_is_named_without_its_password() -> None:
    place = RedisKv("redis://user:secret@127.0.0.1:1/0?socket_timeout=1")
    assert "secret" not in repr(place)
    async with Runtime(MemoryLedger(), services={"kv": place}) as runtime:
        with pytest.raises(ServiceFailed) as failed:
            await runtime.kv.get("k")
    assert failed.value.where == "redis://127.0.0.1:1/0"
    assert "secret" not in str(failed.value)


def test_what_is_no_redis_is_refused_at_once() -> None:
    for url in ("localhost:6379", "http://localhost", "redis://:secret@localhost:port", None):
        with pytest.raises(DefinitionError, match="is no URL of a Redis") as refused:
            RedisKv(url)  # type: ignore[arg-type]
        assert "secret" not in str(refused.value)
    with pytest.raises(DefinitionError, match="prefix='' can't begin a name"):
        RedisKv("redis://localhost", prefix="")
    with pytest.raises(DefinitionError, match="does not fit") as refused:
        Runtime(MemoryLedger(), services={"queue": RedisKv("redis://localhost")})
    assert refused.value.fix == "give it as 'kv'"
    with pytest.raises(DefinitionError, match="names no service that can be kept elsewhere"):
        Runtime(MemoryLedger(), services={"kvs": RedisKv("redis://localhost")})
