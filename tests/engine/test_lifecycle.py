"""A run's life: started once, retried, cancelled, restarted, listed."""

from __future__ import annotations

import asyncio
import sys
import threading
import typing

import pytest
from leaping import Leaping
from pydantic import BaseModel

from perdure import (
    DefinitionError,
    FatalError,
    InvalidInput,
    NotSerializable,
    RetryPolicy,
    RunCancelled,
    RunFailed,
    Runtime,
    UnknownRun,
    UnknownWorkflow,
)
from perdure.engine.thread import EngineThread
from perdure.strict import step, workflow

FAST = RetryPolicy(max_attempts=3, base_delay="1ms", jitter=0)
calls: list[object] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


class Order(BaseModel):
    order_id: str
    cents: int = 100


@step(retries=0)
async def note(what: str) -> str:
    calls.append(what)
    return what


@step(retries=0)
async def fail_times(what: str, times: int) -> str:
    calls.append(what)
    if calls.count(what) <= times:
        raise RuntimeError(f"{what} failed")
    return what


@workflow(id="simple", idempotency_key="order-{order_id}")
async def simple(input: Order, step, ctx) -> str:
    return await note(input.order_id)


@workflow(id="long")
async def long(input: None, step, ctx) -> str:
    try:
        await note("begin")
        await step.sleep("long", "1h")
    finally:
        await note("compensate")
    return "never"


async def test_the_same_run_id_is_the_same_run_also_under_races(open_runtime):
    async with open_runtime(simple) as runtime:
        handles = await asyncio.gather(*[runtime.start("simple", {"order_id": "a"}, run_id="r") for _ in range(10)])
        assert {handle.run_id for handle in handles} == {"r"}
        await handles[0].result(timeout="20s")
        again = await runtime.start("simple", {"order_id": "a"}, run_id="r")
        assert await again.result(timeout="20s") == "a"
    assert calls == ["a"]


async def test_the_same_idempotency_key_is_the_same_run_also_after_a_restart(open_runtime):
    async with open_runtime(simple) as runtime:
        handles = await asyncio.gather(
            *[runtime.start("simple", {"order_id": "a"}, idempotency_key="k") for _ in range(10)]
        )
        assert len({handle.run_id for handle in handles}) == 1
        await handles[0].result(timeout="20s")
    async with open_runtime(simple) as runtime:
        again = await runtime.start("simple", {"order_id": "b"}, idempotency_key="k")
        assert again.run_id == handles[0].run_id


async def test_a_template_makes_the_idempotency_key(open_runtime):
    async with open_runtime(simple) as runtime:
        first = await runtime.start("simple", {"order_id": "a"})
        second = await runtime.start("simple", Order(order_id="a"))
        third = await runtime.start("simple", {"order_id": "b"})
        assert first.run_id == second.run_id != third.run_id
        assert (await first.status()).idempotency_key == "order-a"


async def test_a_wrong_input_starts_nothing(open_runtime):
    async with open_runtime(simple, long) as runtime:
        with pytest.raises(InvalidInput, match="cents"):
            await runtime.start("simple", {"order_id": "a", "cents": "many"})
        with pytest.raises(UnknownWorkflow, match="registered are: long, simple"):
            await runtime.start("smiple", {})
        with pytest.raises((NotSerializable, InvalidInput)):
            await runtime.start("long", object())
        with pytest.raises(DefinitionError, match="not text"):
            await runtime.start("simple", {"order_id": "a"}, tags={"n": 1})
        assert await runtime.runs() == []


class Place(typing.TypedDict):
    city: str


@workflow(id="placed")
async def placed(input: Place, step) -> int:
    return input["city"]


async def test_a_typed_dict_is_validated_or_its_successor_named(open_runtime):
    async with open_runtime(placed) as runtime:
        if sys.version_info < (3, 12):  # pydantic can't read the standard library's before
            with pytest.raises(DefinitionError) as refused:
                await runtime.start(placed, {"city": "Oslo"})
            assert "typing_extensions" in refused.value.fix
            return
        with pytest.raises(InvalidInput, match="city: Field required"):
            await runtime.start(placed, {})
        run = await runtime.start(placed, {"city": "Oslo"})
        with pytest.raises(RunFailed, match="output: Input should be a valid integer"):
            await run.result()


async def test_an_unknown_run_is_an_error_of_its_own(open_runtime):
    async with open_runtime(simple) as runtime:
        for call in (runtime.handle("x").status, runtime.handle("x").result, runtime.handle("x").cancel):
            with pytest.raises(UnknownRun, match="'x'"):
                await call()


async def test_a_run_is_retried_and_keeps_the_steps_that_completed(open_runtime):
    @workflow(id="retried", retries=FAST)
    async def body(input: None, step, ctx):
        first = await note("first")
        second = await fail_times("second", 2)
        return [first, second, ctx.attempt]

    async with open_runtime(body) as runtime:
        run = await runtime.start("retried", None)
        assert await run.result(timeout="20s") == ["first", "second", 3]
        kinds = [entry.kind for entry in await run.history()]
        assert kinds.count("restarted") == 2
        assert (await run.replay()).ok
    assert calls == ["first", "second", "second", "second"]


async def test_a_run_out_of_attempts_fails_with_the_bodys_own_exception(open_runtime):
    @workflow(id="hopeless", retries=RetryPolicy(max_attempts=2, base_delay="1ms"))
    async def body(input: None, step, ctx):
        await fail_times("x", 99)

    async with open_runtime(body) as runtime:
        run = await runtime.start("hopeless", None)
        with pytest.raises(RunFailed, match="x failed") as caught:
            await run.result(timeout="20s")
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert (await run.status()).attempt == 2


async def test_a_fatal_error_is_not_retried(open_runtime):
    @workflow(id="fatal", retries=5)
    async def body(input: None, step, ctx):
        await note("once")
        raise FatalError("stop")

    async with open_runtime(body) as runtime:
        run = await runtime.start("fatal", None)
        with pytest.raises(RunFailed, match="stop"):
            await run.result(timeout="20s")
        assert (await run.status()).attempt == 1


async def test_waiting_for_the_next_attempt_shows_and_survives_a_restart(open_runtime):
    @workflow(id="patient", retries=RetryPolicy(max_attempts=2, base_delay="300ms", jitter=0))
    async def body(input: None, step, ctx):
        return await fail_times("y", 1)

    async with open_runtime(body) as runtime:
        run = await runtime.start("patient", None, run_id="r")
        status = await run.wait("awaiting_retry", timeout="20s")
        assert "y failed" in status.error
    async with open_runtime(body) as runtime:
        assert await runtime.handle("r").result(timeout="20s") == "y"


async def test_cancelling_runs_the_compensation(open_runtime):
    async with open_runtime(long) as runtime:
        run = await runtime.start("long", None)
        await run.wait("sleeping", timeout="20s")
        assert await run.cancel() is True
        with pytest.raises(RunCancelled):
            await run.result(timeout="20s")
        assert await run.status() == "cancelled"
        assert await run.cancel() is False
        assert (await run.replay()).ok
    assert calls == ["begin", "compensate"]


async def test_cancelling_a_queued_run_never_runs_its_body(open_runtime):
    async with open_runtime(long) as runtime:
        run = await runtime.start("long", None, delay="1h")
        assert await run.cancel() is True
        assert await run.status() == "cancelled"
        assert (await run.replay()).ok
    assert calls == []


async def test_compensation_that_was_cut_off_goes_on_after_a_restart(open_runtime):
    gate = asyncio.Event()

    async def slow_compensation() -> str:
        calls.append("compensating")
        await gate.wait()
        return "compensated"

    @workflow(id="cut-off")
    async def body(input: None, step, ctx):
        try:
            await step.sleep("long", "1h")
        finally:
            await step.run("compensate", slow_compensation)

    async with open_runtime(body, drain="10ms") as runtime:
        run = await runtime.start("cut-off", None, run_id="r")
        await run.wait("sleeping", timeout="20s")
        await run.cancel()
        while "compensating" not in calls:
            await asyncio.sleep(0.001)
    gate.set()
    async with open_runtime(body) as runtime:
        with pytest.raises(RunCancelled):
            await runtime.handle("r").result(timeout="20s")
    assert calls == ["compensating", "compensating"]


async def test_a_body_may_catch_its_cancellation(open_runtime):
    @workflow(id="stubborn")
    async def body(input: None, step, ctx):
        import asyncio

        try:
            await step.sleep("long", "1h")
        except asyncio.CancelledError:
            return "kept going"

    async with open_runtime(body) as runtime:
        run = await runtime.start("stubborn", None)
        await run.wait("sleeping", timeout="20s")
        await run.cancel()
        assert await run.result(timeout="20s") == "kept going"


async def test_a_step_at_work_when_the_runtime_closes_runs_again_at_the_next_start(open_runtime):
    gate = asyncio.Event()

    async def slow() -> str:
        calls.append("slow")
        await gate.wait()
        return "done"

    @workflow(id="resumed")
    async def body(input: None, step, ctx):
        first = await note("first")
        return [first, await step.run("slow", slow)]

    async with open_runtime(body, drain="10ms") as runtime:
        await runtime.start("resumed", None, run_id="r")
        while "slow" not in calls:
            await asyncio.sleep(0.001)
    gate.set()
    async with open_runtime(body) as runtime:
        assert await runtime.handle("r").result(timeout="20s") == ["first", "done"]
    assert calls == ["first", "slow", "slow"]


async def test_an_at_most_once_step_that_was_cut_off_is_not_run_again(open_runtime):
    from perdure import StepInterrupted

    gate = asyncio.Event()

    async def slow() -> str:
        calls.append("slow")
        await gate.wait()
        return "done"

    @workflow(id="once")
    async def body(input: None, step, ctx):
        try:
            return await step.run("slow", slow, delivery="at_most_once")
        except StepInterrupted as error:
            return error.step_name

    async with open_runtime(body, drain="10ms") as runtime:
        await runtime.start("once", None, run_id="r")
        while "slow" not in calls:
            await asyncio.sleep(0.001)
    async with open_runtime(body) as runtime:
        assert await runtime.handle("r").result(timeout="20s") == "slow"
    assert calls == ["slow"]


async def test_runs_are_listed_newest_first_and_filtered(open_runtime):
    async with open_runtime(simple, long) as runtime:
        done = await runtime.start("simple", {"order_id": "a"}, tags={"tenant": "1"})
        await done.result(timeout="20s")
        waiting = await runtime.start("long", None, tags={"tenant": "2"})
        await waiting.wait("sleeping", timeout="20s")
        assert [status.run_id for status in await runtime.runs()] == [waiting.run_id, done.run_id]
        assert [status.run_id for status in await runtime.runs(status="completed")] == [done.run_id]
        assert [status.run_id for status in await runtime.runs(workflow="long", tags={"tenant": "2"})] == [
            waiting.run_id
        ]
        assert await runtime.runs(tags={"tenant": "3"}) == []
        assert len(await runtime.runs(limit=1)) == 1
        with pytest.raises(DefinitionError, match="no status"):
            await runtime.runs(status="done")


async def test_log_and_print_do_not_repeat_on_replay(open_runtime, capsys, caplog):
    @workflow(id="talking")
    async def body(input: None, step, ctx):
        print("hello", ctx.run_id)
        ctx.log.warning("before", number=1)
        await note("x")
        ctx.log.warning("between")
        await step.sleep("nap", "1h")
        print("bye")

    clock = Leaping()
    with caplog.at_level("INFO", logger="perdure.run"):
        async with open_runtime(body, clock=clock) as runtime:
            run = await runtime.start("talking", None, run_id="r")
            await run.wait("sleeping", timeout="20s")
        clock.leap("2h")
        async with open_runtime(body, clock=clock) as runtime:
            await runtime.handle("r").result(timeout="20s")
            await runtime.handle("r").replay()
    assert capsys.readouterr().out == "hello r\nbye\n"
    messages = [
        (record.getMessage(), record.run_id) for record in caplog.records if record.name == "perdure.run.talking"
    ]
    assert messages == [("before number=1", "r"), ("between", "r")]


async def test_a_changed_body_stops_as_diverged_loses_nothing_and_goes_on_once_mended(open_runtime):
    def make(name: str):
        @workflow(id="changed")
        async def body(input: None, step, ctx):
            first = await step.run(name, note.function, "first")
            event = await step.wait_for_event("go", type="go")
            return [first, event]

        return body

    from perdure import Divergence

    async with open_runtime(make("one")) as runtime:
        run = await runtime.start("changed", None, run_id="r")
        await run.wait("waiting_event", timeout="20s")
    async with open_runtime(make("two")) as runtime:
        run = runtime.handle("r")
        assert await runtime.send_event("go", 7) == 1
        status = await run.status()
        assert status == "diverged"
        assert "two" in status.error
        with pytest.raises(Divergence):
            await run.result(timeout="20s")
    async with open_runtime(make("one")) as runtime:
        assert await runtime.handle("r").result(timeout="20s") == ["first", 7]
        assert (await runtime.handle("r").replay()).ok


def test_blocking_use_has_the_same_methods(open_runtime, tmp_path):
    from perdure import Runtime

    with Runtime(tmp_path / "blocking.duckdb", workflows=[simple, long]) as runtime:
        run = runtime.start("simple", {"order_id": "z"})
        assert run.result(timeout="20s") == "z"
        assert run.status() == "completed"
        assert run.replay().ok
        assert next(entry.kind for entry in run.history()) == "created"
        other = runtime.start("long", None)
        other.wait("sleeping", timeout="20s")
        assert other.cancel() is True
        assert {status.run_id for status in runtime.runs()} == {run.run_id, other.run_id}
        rows = runtime.sql("SELECT name, result FROM steps WHERE run_id = ?", [run.run_id]).rows
        assert rows == (("note", "z"),)


async def test_a_runtime_that_is_cancelled_again_while_it_closes_still_gives_its_ledger_back(tmp_path, monkeypatch):
    stop, is_stopping, may_stop = EngineThread.stop, threading.Event(), threading.Event()

    def stop_late(self):
        is_stopping.set()
        may_stop.wait(20)
        stop(self)

    monkeypatch.setattr(EngineThread, "stop", stop_late)

    async def opened() -> None:
        async with Runtime(tmp_path / "a.duckdb", workflows=[simple]):
            pass

    closing = asyncio.create_task(opened())
    await asyncio.to_thread(is_stopping.wait, 20)
    for _ in range(2):
        closing.cancel()
        await asyncio.sleep(0)
    assert not closing.done()
    may_stop.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    async with Runtime(tmp_path / "a.duckdb", workflows=[simple]) as runtime:
        assert await runtime.runs() == []
