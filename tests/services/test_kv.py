"""`kv` as steps and applications use it, in both ledgers and in a Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any

import pytest

from perdure import DefinitionError, MemoryLedger, NotSerializable, RunFailed, Runtime, ValueTooLarge, WorkflowError
from perdure.services.kv import VALUE_BYTES_MAX
from perdure.strict import RetryPolicy, current_step, step, workflow
from perdure.testing import SimulatedClock

Open = Callable[..., AbstractAsyncContextManager[Runtime]]
ACTS: list[Any] = []  # what the steps of this test do


@pytest.fixture(autouse=True)
def forget_acts() -> Iterator[None]:
    yield
    ACTS.clear()


@step(retries=RetryPolicy(max_attempts=3, base_delay="1ms"), delivery="at_least_once")
async def act(which: int) -> Any:
    return await ACTS[which](current_step())


@step(retries=0)
def act_blocking() -> Any:
    return ACTS[0](current_step().blocking.kv)


@workflow(id="acts")
async def acts(input: int) -> Any:
    return await act(input)


@workflow(id="acts-blocking")
async def acts_blocking(input: None) -> Any:
    return await act_blocking()


async def done(runtime: Runtime, *what: Any) -> Any:
    """Have steps do this, one run each; give what the last one gave."""
    ACTS[:] = what
    runs = [await runtime.start("acts", number) for number in range(len(what))]
    return [await run.result(timeout="30s") for run in runs][-1]


# ── what belongs to a step ───────────────────────────────────────────────────────────────────────


async def test_a_step_reads_what_it_wrote_and_nobody_else_does_before_its_end(open_place: Open) -> None:
    async with open_place(acts) as runtime:
        await runtime.kv.put("a", 1)

        async def write(at: Any) -> Any:
            await at.kv.put("a", 2)
            await at.kv.put("b", {"new": True})
            await at.kv.delete("gone")
            outside = await runtime.kv.list()
            return await at.kv.get("a"), await at.kv.list(), await at.kv.keys(), outside

        inside = await done(runtime, write)
        assert inside == (2, {"a": 2, "b": {"new": True}}, ["a", "b"], {"a": 1})
        assert await runtime.kv.list() == {"a": 2, "b": {"new": True}}


async def test_a_failed_attempt_has_written_nothing_and_the_next_one_starts_afresh(open_place: Open) -> None:
    async with open_place(acts) as runtime:
        seen = []

        async def fail_twice(at: Any) -> int:
            seen.append(await at.kv.get("count"))
            count: int = await at.kv.increment("count")
            if at.attempt < 3:
                raise OSError("not yet")
            return count

        assert await done(runtime, fail_twice) == 1
        assert seen == [None, None, None]
        assert await runtime.kv.get("count") == 1


async def test_steps_that_count_at_once_lose_no_count(open_place: Open) -> None:
    async with open_place(acts) as runtime:

        async def count(at: Any) -> Any:
            return await at.kv.increment("count")

        await done(runtime, *[count] * 40)
        assert await runtime.kv.get("count") == 40


async def test_operations_of_one_step_at_once_lose_nothing(open_place: Open) -> None:
    async with open_place(acts) as runtime:

        async def count(at: Any) -> Any:
            await asyncio.gather(*[at.kv.increment("count") for _ in range(10)])
            return await at.kv.get("count")

        assert await done(runtime, count) == 10
        assert await runtime.kv.get("count") == 10


async def test_calls_from_outside_that_count_at_once_lose_no_count(open_place: Open) -> None:
    async with open_place() as runtime:
        await asyncio.gather(*[runtime.kv.increment("count", 2) for _ in range(30)])
        assert await runtime.kv.get("count") == 60


async def test_only_one_of_many_writes_what_is_absent(open_place: Open) -> None:
    async with open_place() as runtime:
        wrote = await asyncio.gather(*[runtime.kv.put("lock", n, if_absent=True) for n in range(20)])
        assert wrote.count(True) == 1
        assert await runtime.kv.get("lock") == wrote.index(True)


async def test_a_plain_def_step_just_calls(open_place: Open) -> None:
    async with open_place(acts_blocking) as runtime:
        ACTS[:] = [
            lambda kv: (kv.put("k", (1, 2)), kv.get("k"), kv.increment("n"), kv.keys(), kv.namespace("o").list())
        ]
        run = await runtime.start("acts-blocking")
        assert await run.result(timeout="30s") == (True, (1, 2), 1, ["k", "n"], {})
        assert await runtime.kv.get("k") == (1, 2)


# ── operations ───────────────────────────────────────────────────────────────────────────────────


async def test_values_come_back_as_the_types_that_they_were(open_place: Open) -> None:
    value = {"d": Decimal("1.20"), "t": (1, None), "b": b"\x00\xff", "s": {3}, "text": "ü \x00 \u2028", "n": 2**70}
    async with open_place() as runtime:
        await runtime.kv.put("v", value)
        found = await runtime.kv.get("v")
        assert found == value
        assert type(found["t"]) is tuple
        assert await runtime.kv.get("none", "there is none") == "there is none"
        await runtime.kv.put("none", None)
        assert await runtime.kv.get("none", "there is none") is None


async def test_delete_and_put_say_what_they_did(open_place: Open) -> None:
    async with open_place() as runtime:
        assert await runtime.kv.put("k", 1)
        assert not await runtime.kv.put("k", 2, if_absent=True)
        assert await runtime.kv.get("k") == 1
        assert await runtime.kv.delete("k")
        assert not await runtime.kv.delete("k")
        assert await runtime.kv.put("k", 2, if_absent=True)


async def test_update_gives_what_it_made_of_the_value_or_of_the_default(open_place: Open) -> None:
    async with open_place() as runtime:
        assert await runtime.kv.update("seen", lambda names: [*names, "ann"], []) == ["ann"]
        assert await runtime.kv.update("seen", lambda names: [*names, "bob"], []) == ["ann", "bob"]
        assert await runtime.kv.get("seen") == ["ann", "bob"]


async def test_what_raises_in_an_update_leaves_the_value(open_place: Open) -> None:
    async with open_place() as runtime:
        await runtime.kv.put("k", 1)
        with pytest.raises(ZeroDivisionError):
            await runtime.kv.update("k", lambda value: value / 0)
        assert await runtime.kv.increment("k") == 2  # and nobody holds it


async def test_increment_adds_numbers_of_a_kind(open_place: Open) -> None:
    async with open_place() as runtime:
        assert await runtime.kv.increment("n") == 1
        assert await runtime.kv.increment("n", -5) == -4
        assert await runtime.kv.increment("n", 0.5) == -3.5
        assert await runtime.kv.increment("d", Decimal("0.10")) == Decimal("0.10")
        with pytest.raises(WorkflowError, match=r"key 'd' holds Decimal, to which 0\.5 can't be added"):
            await runtime.kv.increment("d", 0.5)
        await runtime.kv.put("text", "1")
        with pytest.raises(WorkflowError, match="key 'text' holds str"):
            await runtime.kv.increment("text")
        with pytest.raises(DefinitionError, match="by='1' is no number"):
            await runtime.kv.increment("n", "1")  # type: ignore[arg-type]


async def test_lists_are_in_order_and_come_in_pages(open_place: Open) -> None:
    keys = ["a", "a:1", "a:10", "a:2", "b:1", "ü", "\U0001f600", "\uffff"]
    async with open_place() as runtime:
        for key in reversed(keys):
            await runtime.kv.put(key, key.upper())
        assert await runtime.kv.keys() == sorted(keys)
        assert await runtime.kv.list("a:") == {"a:1": "A:1", "a:10": "A:10", "a:2": "A:2"}
        assert list(await runtime.kv.list("a:")) == ["a:1", "a:10", "a:2"]
        pages, after = [], None
        while page := await runtime.kv.keys(after=after, limit=3):
            pages.append(page)
            after = page[-1]
        assert pages == [sorted(keys)[:3], sorted(keys)[3:6], sorted(keys)[6:]]
        assert await runtime.kv.keys("a:", after="a:10") == ["a:2"]
        assert await runtime.kv.keys("b", after="a:1") == ["b:1"]
        assert await runtime.kv.keys("a", after="b") == []


async def test_a_pattern_chooses_keys_and_a_limit_counts_those_chosen(open_place: Open) -> None:
    async with open_place() as runtime:
        await asyncio.gather(*[runtime.kv.put(f"inv:{n:04d}:{n % 2}", n) for n in range(30)])
        assert len(await runtime.kv.keys(pattern="inv:*:1")) == 15
        assert await runtime.kv.keys(pattern="inv:*:1", limit=2) == ["inv:0001:1", "inv:0003:1"]
        assert await runtime.kv.keys(pattern="inv:*:1", after="inv:0003:1", limit=1) == ["inv:0005:1"]
        assert await runtime.kv.keys(pattern="inv:000[13]:?") == ["inv:0001:1", "inv:0003:1"]
        assert await runtime.kv.keys(pattern="inv:0007:1") == ["inv:0007:1"]
        assert await runtime.kv.keys(pattern="*:nothing") == []


async def test_namespaces_share_nothing_whatever_they_are_called(open_place: Open) -> None:
    names = ["default", "a", "a:b", "a/b", "a%3Ab", "ü", "keys"]
    async with open_place() as runtime:
        for name in names:
            await runtime.kv.namespace(name).put("b:c", name)
            await runtime.kv.namespace(name).put("c", name)
        for name in names:
            assert await runtime.kv.namespace(name).list() == {"b:c": name, "c": name}


# ── expiry ───────────────────────────────────────────────────────────────────────────────────────


async def test_what_has_expired_is_gone_everywhere(open_runtime: Open) -> None:
    clock = SimulatedClock()
    async with open_runtime(clock=clock) as runtime:
        kv = runtime.kv
        await kv.put("short", 1, ttl="10s")
        await kv.put("long", 2, ttl="1h")
        await kv.put("ever", 3)
        clock.advance("9s")
        assert await kv.keys() == ["ever", "long", "short"]
        assert await kv.increment("short") == 2  # its expiry stays what it was
        clock.advance("1s")
        assert await kv.get("short") is None
        assert await kv.keys() == ["ever", "long"]
        assert await kv.keys(limit=2) == ["ever", "long"]
        assert not await kv.delete("short")
        assert await kv.put("short", 4, if_absent=True)
        assert await kv.update("long", lambda n: n + 1, ttl="10s") == 3
        clock.advance("10s")
        assert await kv.list() == {"ever": 3, "short": 4}


async def test_a_redis_forgets_what_has_expired(redis: Any) -> None:
    from perdure import RedisKv

    async with Runtime(MemoryLedger(), services={"kv": RedisKv(redis.url, prefix="expiry")}) as runtime:
        kv = runtime.kv
        await kv.put("short", 1, ttl="1h")
        await kv.put("ever", 3)
        assert await kv.increment("short") == 2
        assert await kv.keys() == ["ever", "short"]
        await kv.put("short", 2, ttl="20ms")
        async with asyncio.timeout(10):
            while await kv.get("short") is not None:
                await asyncio.sleep(0.01)
        assert await kv.list(limit=1) == {"ever": 3}
        assert not await kv.delete("short")
        assert await kv.put("short", 4, if_absent=True)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────


async def test_names_that_name_nothing_are_refused(open_place: Open) -> None:
    async with open_place() as runtime:
        for key, message in (
            (7, "key=7 is int, and a key is a text"), ("", "an empty key names nothing"),
            ("k" * 1025, "1,025 characters long, and may be 1,024"), ("\ud800", "lone surrogate"),
        ):  # fmt: skip
            with pytest.raises(DefinitionError, match=message):
                await runtime.kv.put(key, 1)  # type: ignore[arg-type]
            with pytest.raises(DefinitionError, match=message):
                await runtime.kv.get(key)  # type: ignore[arg-type]
        with pytest.raises(DefinitionError, match="an empty namespace"):
            runtime.kv.namespace("")
        with pytest.raises(DefinitionError, match=r"ttl='soon' can't be used"):
            await runtime.kv.put("k", 1, ttl="soon")
        with pytest.raises(DefinitionError, match="limit=0 lists nothing"):
            await runtime.kv.list(limit=0)
        with pytest.raises(DefinitionError, match="matches no key"):
            await runtime.kv.list(pattern="")
        assert await runtime.kv.list() == {}


async def test_values_that_cannot_be_kept_are_refused_with_their_place(open_place: Open) -> None:
    async with open_place() as runtime:
        with pytest.raises(NotSerializable) as refused:
            await runtime.kv.put("k", {"items": [1, print]})
        assert refused.value.path == "$.items[1]"
        assert "$.items[1] of the value of key 'k', kv namespace 'default'" in str(refused.value)
        await runtime.kv.put("fits", "x" * (VALUE_BYTES_MAX - 2))
        for too_large in ("x" * VALUE_BYTES_MAX, "ü" * (VALUE_BYTES_MAX // 2)):
            with pytest.raises(ValueTooLarge, match="is more than the 8 MiB that fit"):
                await runtime.kv.put("k", too_large)
        assert await runtime.kv.keys() == ["fits"]


async def test_a_step_that_did_not_await_a_write_fails_and_says_where(open_place: Open) -> None:
    async with open_place(acts) as runtime:

        async def forget(at: Any) -> None:
            at.kv.put("k", 1)

        with pytest.raises(RunFailed) as failed:
            await done(runtime, forget)
        assert "called Kv.put and did not await it" in str(failed.value.__cause__)
        assert "test_kv.py:" in str(failed.value.__cause__)
        assert await runtime.kv.list() == {}


@pytest.mark.parametrize("page", [{"prefix": 5}, {"after": 5}, {"limit": 0}, {"limit": "10"}, {"limit": True}])
async def test_a_page_that_lists_nothing_is_refused_by_every_service(page: dict[str, Any]) -> None:
    async with Runtime(MemoryLedger(), workflows=[acts]) as runtime:
        lists: list[Any] = [runtime.kv.list, runtime.kv.keys, runtime.storage.list]
        if "prefix" not in page:
            lists.append(lambda **given: runtime.queue.dead_letters("emails", **given))
        if "after" in page:
            lists.append(lambda **given: runtime.database["orders"].find(**given))
        for listing in lists:
            with pytest.raises(DefinitionError, match=next(iter(page))):
                await listing(**page)
