"""Steps: what is recorded, retried, timed out, and given to the body."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from dataclasses import dataclass

import pytest

from perdure import (
    FatalError,
    NotSerializable,
    RetryableError,
    RetryPolicy,
    RunFailed,
    SandboxViolation,
    StepFailed,
    StepTimeout,
    current_step,
)
from perdure.strict import step, workflow

FAST = RetryPolicy(max_attempts=3, base_delay="1ms", jitter=0)
calls: list[object] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


class CardDeclined(Exception):
    def __init__(self, card: str, cents: int) -> None:
        super().__init__(card, cents)
        self.card = card
        self.cents = cents


@dataclass
class Item:
    sku: str
    amounts: tuple[int, ...]


@step
async def double(number: int) -> int:
    calls.append(("double", number))
    return number * 2


@step
def double_in_thread(number: int) -> tuple[int, bool]:
    return number * 2, threading.current_thread() is threading.main_thread()


def triple(number: int) -> int:
    calls.append(("triple", number))
    return number * 3


async def flaky(name: str, failures: int) -> int:
    calls.append(name)
    if calls.count(name) <= failures:
        raise RuntimeError(f"attempt {calls.count(name)}")
    return calls.count(name)


async def test_step_results_come_back_and_are_recorded(open_runtime):
    @workflow(id="sum")
    async def body(input: int, step, ctx) -> list:
        first = await double(input)
        second = await step.run("triple", triple, first)
        third = await step.run("lambda", lambda: triple(second))
        inner = await step.run("partial", functools.partial(triple, number=third))
        return [first, second, third, inner]

    async with open_runtime(body) as runtime:
        run = await runtime.start("sum", 1)
        assert await run.result(timeout="20s") == [2, 6, 18, 54]
        kinds = [(entry.kind, entry.name) for entry in await run.history()]
    assert kinds == [
        ("created", "sum"),
        ("step", "double"), ("step_completed", "double"),
        ("step", "triple"), ("step_completed", "triple"),
        ("step", "lambda"), ("step_completed", "lambda"),
        ("step", "partial"), ("step_completed", "partial"),
        ("completed", ""),
    ]  # fmt: skip
    assert calls == [("double", 1), ("triple", 2), ("triple", 6), ("triple", 18)]


async def test_a_sync_step_runs_in_a_worker_thread(open_runtime):
    @workflow(id="threaded")
    async def body(input: int):
        return await double_in_thread(input)

    async with open_runtime(body) as runtime:
        run = await runtime.start("threaded", 4)
        assert await run.result(timeout="20s") == (8, False)


async def test_a_second_call_of_a_decorated_step_is_numbered(open_runtime):
    @workflow(id="numbered")
    async def body(input: int):
        await double(1)
        await double(2)
        await double.options(name="again")(3)
        return

    async with open_runtime(body) as runtime:
        run = await runtime.start("numbered", 0)
        await run.result(timeout="20s")
        names = [entry.name for entry in await run.history() if entry.kind == "step"]
    assert names == ["double", "double#2", "again"]


async def test_a_step_is_retried_and_its_attempts_are_recorded(open_runtime):
    @workflow(id="retried")
    async def body(input: str, step):
        return await step.run("flaky", flaky, input, 2, retries=FAST)

    async with open_runtime(body) as runtime:
        run = await runtime.start("retried", "x")
        assert await run.result(timeout="20s") == 3
        entries = [(entry.kind, entry.attempt) for entry in await run.history() if entry.name == "flaky"]
    assert entries == [
        ("step", 0), ("step_retrying", 1), ("step_started", 2), ("step_retrying", 2), ("step_started", 3),
        ("step_completed", 3),
    ]  # fmt: skip


async def test_the_original_exception_class_is_raised_in_the_body_after_the_last_attempt(open_runtime):
    async def decline(card: str, cents: int) -> None:
        calls.append("declined")
        raise CardDeclined(card, cents)

    @workflow(id="declined")
    async def body(input: str, step):
        try:
            await step.run("charge", decline, input, 42, retries=FAST)
        except CardDeclined as error:
            return [error.card, error.cents, error.step_name, error.attempts, "decline" in error.traceback_text]

    async with open_runtime(body) as runtime:
        run = await runtime.start("declined", "visa")
        assert await run.result(timeout="20s") == ["visa", 42, "charge", 3, True]
    assert len(calls) == 3


async def test_an_exception_class_that_cannot_be_rebuilt_becomes_step_failed(open_runtime):
    async def fail() -> None:
        class Local(Exception):
            pass

        raise Local("here")

    @workflow(id="local")
    async def body(input: None, step):
        try:
            await step.run("local", fail, retries=0)
        except StepFailed as error:
            return [error.step_name, error.attempts, error.error_type]

    async with open_runtime(body) as runtime:
        run = await runtime.start("local", None)
        name, attempts, error_type = await run.result(timeout="20s")
    assert (name, attempts) == ("local", 1)
    assert error_type.endswith("Local")


async def test_a_fatal_error_ends_a_step_at_once(open_runtime):
    async def fail() -> None:
        calls.append("fail")
        raise FatalError("no use")

    @workflow(id="fatal")
    async def body(input: None, step):
        await step.run("fatal", fail, retries=5)

    async with open_runtime(body) as runtime:
        run = await runtime.start("fatal", None)
        with pytest.raises(RunFailed, match="no use"):
            await run.result(timeout="20s")
    assert calls == ["fail"]


async def test_a_retryable_error_sets_its_own_delay(open_runtime):
    async def fail() -> str:
        calls.append(time.monotonic())
        if len(calls) == 1:
            raise RetryableError("busy", delay="80ms")
        return "ok"

    @workflow(id="retryable")
    async def body(input: None, step):
        return await step.run("busy", fail, retries=RetryPolicy(max_attempts=2, base_delay="1h", max_delay="1h"))

    async with open_runtime(body) as runtime:
        run = await runtime.start("retryable", None)
        assert await run.result(timeout="20s") == "ok"
    assert calls[1] - calls[0] >= 0.08


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_step_that_takes_too_long_raises_step_timeout(open_runtime, kind):
    stop = threading.Event()

    async def slow() -> None:
        await asyncio.sleep(30)

    def slow_in_thread() -> None:
        stop.wait(30)

    fn = slow if kind == "async" else slow_in_thread

    @workflow(id="slow")
    async def body(input: None, step):
        try:
            await step.run("slow", fn, timeout="50ms", retries=0)
        except StepTimeout as error:
            return str(error).splitlines()[0]

    async with open_runtime(body) as runtime:
        run = await runtime.start("slow", None)
        assert "longer than its timeout of 50ms" in await run.result(timeout="20s")
    stop.set()


async def test_a_result_without_an_encoding_fails_the_step_with_its_path(open_runtime):
    async def give() -> dict:
        return {"items": [1, {"callback": lambda: None}]}

    @workflow(id="unencodable")
    async def body(input: None, step):
        try:
            await step.run("give", give)
        except NotSerializable as error:
            return error.path

    async with open_runtime(body) as runtime:
        run = await runtime.start("unencodable", None)
        assert await run.result(timeout="20s") == "$.items[1].callback"


async def test_an_argument_without_an_encoding_is_refused_before_the_step_is_recorded(open_runtime):
    @workflow(id="bad-argument")
    async def body(input: None, step):
        await step.run("triple", triple, [step])

    async with open_runtime(body) as runtime:
        run = await runtime.start("bad-argument", None)
        with pytest.raises(RunFailed, match=r"\$\[0\]"):
            await run.result(timeout="20s")
        assert [entry.kind for entry in await run.history()] == ["created", "failed"]


async def test_on_error_is_called_once_after_the_last_attempt(open_runtime):
    @workflow(id="on-error")
    async def body(input: None, step):
        try:
            await step.run("f", flaky, "f", 9, retries=FAST, on_error=lambda error: calls.append(str(error)))
        except RuntimeError:
            return "handled"

    async with open_runtime(body) as runtime:
        run = await runtime.start("on-error", None)
        assert await run.result(timeout="20s") == "handled"
    assert calls == ["f", "f", "f", "attempt 3"]


async def test_a_body_gets_the_decoded_value_not_the_steps_own_object(open_runtime):
    kept: list[Item] = []

    async def give() -> Item:
        kept.append(Item("a", (1, 2)))
        return kept[0]

    async def take(item: Item) -> str:
        item.sku = "changed by the step"
        return item.sku

    @workflow(id="by-value")
    async def body(input: None, step):
        item = await step.run("give", give)
        await step.run("take", take, item)
        return [item.sku, item.amounts]

    async with open_runtime(body) as runtime:
        run = await runtime.start("by-value", None)
        assert await run.result(timeout="20s") == ["a", (1, 2)]


async def test_a_closure_gets_copies_of_what_it_captured(open_runtime):
    @workflow(id="captured")
    async def body(input: None, step):
        numbers = [1, 2]
        await step.run("mutate", lambda: numbers.append(3))
        return numbers

    async with open_runtime(body) as runtime:
        run = await runtime.start("captured", None)
        assert await run.result(timeout="20s") == [1, 2]


async def test_current_step_tells_its_name_attempt_and_a_stable_key(open_runtime):
    async def look() -> None:
        now = current_step()
        calls.append((now.run_id, now.name, now.attempt, now.idempotency_key, now.deadline is not None))
        if now.attempt == 1:
            raise RuntimeError("once more")

    @workflow(id="looking")
    async def body(input: None, step):
        await step.run("look", look, retries=FAST, timeout="5s")

    async with open_runtime(body) as runtime:
        run = await runtime.start("looking", None, run_id="r1")
        await run.result(timeout="20s")
    assert calls == [("r1", "look", 1, "r1:0/0", True), ("r1", "look", 2, "r1:0/0", True)]


async def test_a_name_used_twice_names_both_lines_and_a_way_out(open_runtime):
    @workflow(id="twice")
    async def body(input: None, step):
        await step.run("same", triple, 1)
        await step.run("same", triple, 2)

    async with open_runtime(body) as runtime:
        run = await runtime.start("twice", None)
        with pytest.raises(RunFailed) as caught:
            await run.result(timeout="20s")
    cause = caught.value.__cause__
    assert type(cause).__name__ == "DuplicateStepName"
    assert str(cause).count("test_steps.py:") == 2
    assert "counter" in str(cause)


async def test_handing_over_a_call_instead_of_a_function_says_so(open_runtime):
    @workflow(id="called")
    async def body(input: None, step):
        await step.run("double", double(3))

    async with open_runtime(body) as runtime:
        run = await runtime.start("called", None)
        with pytest.raises(RunFailed) as caught:
            await run.result(timeout="20s")
    assert isinstance(caught.value.__cause__, SandboxViolation)
    assert "pass the function and its arguments" in str(caught.value.__cause__)


async def test_map_keeps_order_and_its_limit(open_runtime):
    at_work: list[int] = []
    most: list[int] = [0]

    async def work(number: int) -> int:
        at_work.append(number)
        most[0] = max(most[0], len(at_work))
        await asyncio.sleep(0.005 * (5 - number))
        at_work.remove(number)
        return number * number

    @workflow(id="map")
    async def body(input: None, step):
        return await step.map("square", work, range(5), concurrency=2)

    async with open_runtime(body) as runtime:
        run = await runtime.start("map", None)
        assert await run.result(timeout="20s") == [0, 1, 4, 9, 16]
    assert most[0] == 2


async def test_parallel_cancels_the_others_when_one_fails(open_runtime):
    cancelled = asyncio.Event()

    async def wait_forever() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    @workflow(id="parallel")
    async def body(input: None, step):
        try:
            await step.parallel([step.run("long", wait_forever), step.run("bad", flaky, "bad", 9, retries=0)])
        except RuntimeError as error:
            return str(error)

    async with open_runtime(body) as runtime:
        run = await runtime.start("parallel", None)
        assert await run.result(timeout="20s") == "attempt 1"
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_an_at_most_once_step_is_not_retried_unless_asked(open_runtime):
    @workflow(id="at-most-once")
    async def body(input: None, step):
        try:
            await step.run("once", flaky, "once", 9, delivery="at_most_once")
        except RuntimeError:
            return await step.run("again", flaky, "again", 1, delivery="at_most_once", retries=FAST)

    async with open_runtime(body) as runtime:
        run = await runtime.start("at-most-once", None)
        assert await run.result(timeout="20s") == 2
    assert calls == ["once", "again", "again"]


@step(delivery="at_most_once")
async def post_once(name: str) -> None:
    calls.append(name)
    raise ConnectionError("the answer was lost")


@step(timeout="20ms", retries=0)
async def hurry(name: str) -> None:
    await asyncio.sleep(30)


async def test_a_decorated_step_keeps_its_options_where_a_call_says_nothing_of_them(open_runtime):
    async def tried(awaitable):
        try:
            await awaitable
        except (ConnectionError, StepTimeout) as error:
            return type(error).__name__

    @workflow(id="posts")
    async def posts(input: None, step) -> list:
        return [
            await tried(step.run("run", post_once, "run", timeout="1m")),
            await tried(step.map("map", post_once, ["map"], timeout="1m")),
            await tried(step.run("asked", post_once, "asked", retries=FAST)),
            await tried(step.run("hurried", hurry, "hurried", heartbeat_timeout="1m")),
        ]

    async with open_runtime(posts) as runtime:
        run = await runtime.start(posts)
        assert await run.result(timeout="20s") == ["ConnectionError"] * 3 + ["StepTimeout"]
        assert calls == ["run", "map", "asked", "asked", "asked"]
