"""What happens at the same instant, on a full disk, and while closing: the cases that a quiet day never shows."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel

from perdure import (
    DefinitionError,
    LedgerFull,
    MemoryLedger,
    PerdureError,
    RetryPolicy,
    RunCancelled,
    RunFailed,
    Runtime,
    SandboxViolation,
)
from perdure.strict import step, workflow


class Disk(MemoryLedger):
    """A ledger whose disk can be full."""

    full = False
    refused = 0

    def append(self, entries: Any, definitions: Any = (), cells: Any = ()) -> None:
        """Append, or say that there is no room."""
        if self.full:
            self.refused += 1
            raise LedgerFull("no room.")
        super().append(entries, definitions, cells)


@contextmanager
def one_batch(runtime: Runtime) -> Iterator[None]:
    """What is asked inside is handled as one batch afterwards."""
    reached, go_on = threading.Event(), threading.Event()

    def hold(engine: Any, batch: Any) -> None:
        reached.set()
        assert go_on.wait(10)

    assert runtime._opened is not None
    runtime._opened.thread.call(hold)
    assert reached.wait(10)
    try:
        yield
    finally:
        go_on.set()


async def soon(*tasks: asyncio.Task[Any]) -> None:
    """Let tasks get as far as their first question to the engine."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


gate = threading.Event()


def through_the_gate() -> str:
    assert gate.wait(10)
    return "through"


@pytest.fixture(autouse=True)
def closed_gate() -> Iterator[None]:
    """The gate is closed when a test begins, and lets everybody go when it ends."""
    gate.clear()
    yield
    gate.set()


@workflow(id="gated")
async def gated(input: None, step) -> str:
    return await step.run("gate", through_the_gate)


@workflow(id="waiter")
async def waiter(input: str, step) -> object:
    return await step.wait_for_event("go", type=input)


# ── a full disk ──────────────────────────────────────────────────────────────────────────────────


async def test_an_outcome_that_found_the_disk_full_is_recorded_when_there_is_room() -> None:
    disk = Disk()
    async with Runtime(disk, workflows=[gated], drain="1s") as runtime:
        run = await runtime.start(gated)
        disk.full = True
        gate.set()
        while not disk.refused:
            await asyncio.sleep(0.005)
        disk.full = False
        assert await run.result(timeout="20s") == "through"


async def test_who_waits_for_a_run_outlives_a_full_disk() -> None:
    disk = Disk()
    async with Runtime(disk, workflows=[waiter], drain="1s") as runtime:
        run = await runtime.start(waiter, "go")
        await run.wait("waiting_event", timeout="20s")
        disk.full = True
        with one_batch(runtime):
            waiting = asyncio.create_task(run.result())
            sending = asyncio.create_task(runtime.send_event("go", 1))
            await soon(waiting, sending)
        with pytest.raises(LedgerFull):
            await sending
        disk.full = False
        assert await runtime.send_event("go", 2) == 1
        assert await asyncio.wait_for(waiting, 10) == 2


# ── one batch ────────────────────────────────────────────────────────────────────────────────────


@workflow(id="first")
async def first(input: None, step) -> str:
    waiting = asyncio.ensure_future(step.wait_for_event("go", type="go"))
    await step.run("gate", through_the_gate)
    return f"over {waiting.done()}"


async def test_an_event_and_the_end_of_its_run_in_one_batch(open_runtime) -> None:
    async with open_runtime(first, waiter) as runtime:
        run = await runtime.start(first)
        with one_batch(runtime):
            gate.set()
            while not runtime._opened.thread._inbox.qsize():  # the step's outcome is there
                await asyncio.sleep(0.005)
            sending = asyncio.create_task(runtime.send_event("go"))
            await soon(sending)
        assert await run.result(timeout="20s") == "over False"
        assert await sending == 0
        assert (await run.replay()).ok
        assert await (await runtime.start(waiter, "x")).wait("waiting_event", timeout="20s")  # the engine lives


@step(retries=0)
def gate_and_fail() -> None:
    assert gate.wait(10)
    raise RuntimeError("down")


@workflow(id="again", retries=RetryPolicy(max_attempts=2, base_delay="1h", jitter=0))
async def again(input: None, step) -> None:
    await gate_and_fail()


async def test_a_cancellation_in_the_batch_of_a_failed_attempt_is_not_lost(open_runtime) -> None:
    async with open_runtime(again) as runtime:
        run = await runtime.start(again)
        with one_batch(runtime):
            gate.set()
            while not runtime._opened.thread._inbox.qsize():
                await asyncio.sleep(0.005)
            cancelling = asyncio.create_task(run.cancel())
            await soon(cancelling)
        assert await cancelling
        with pytest.raises(RunCancelled):
            await run.result(timeout="20s")


# ── parents and children ─────────────────────────────────────────────────────────────────────────


@workflow(id="spawner", retries=RetryPolicy(max_attempts=2, base_delay="1h", jitter=0))
async def spawner(input: None, step) -> None:
    await step.spawn("kid", waiter, "never")
    raise RuntimeError("down")


async def test_cancelling_a_parent_between_two_attempts_cancels_its_children(open_runtime) -> None:
    async with open_runtime(spawner, waiter) as runtime:
        run = await runtime.start(spawner, run_id="p")
        await run.wait("awaiting_retry", timeout="20s")
        assert await run.cancel()
        assert await runtime.handle("p-0-0").wait(timeout="20s") == "cancelled"


@workflow(id="late-spawner")
async def late_spawner(input: None, step) -> None:
    await step.run("gate", through_the_gate)
    await step.spawn("kid", waiter, "never")
    await step.sleep("1h")


async def test_a_child_that_is_spawned_in_the_batch_of_the_cancellation_is_cancelled(open_runtime) -> None:
    async with open_runtime(late_spawner, waiter) as runtime:
        run = await runtime.start(late_spawner, run_id="p")
        with one_batch(runtime):
            gate.set()
            while not runtime._opened.thread._inbox.qsize():
                await asyncio.sleep(0.005)
            cancelling = asyncio.create_task(run.cancel())
            await soon(cancelling)
        assert await cancelling
        assert await run.wait(timeout="20s") == "cancelled"
        assert await runtime.handle("p-0-1").wait(timeout="20s") == "cancelled"


# ── steps and bodies that go astray ──────────────────────────────────────────────────────────────


async def cancels_itself() -> None:
    raise asyncio.CancelledError


@workflow(id="self-cancelling")
async def self_cancelling(input: None, step) -> str:
    try:
        await step.run("direct", cancels_itself, retries=0)
    except RuntimeError as error:
        first = type(error).__name__
    try:
        await step.run("behind-a-lambda", lambda: cancels_itself(), retries=0)
    except RuntimeError as error:
        return f"{first} {type(error).__name__}"
    return "no error"


async def test_a_step_that_cancels_itself_fails_however_it_is_called(open_runtime) -> None:
    async with open_runtime(self_cancelling) as runtime:
        run = await runtime.start(self_cancelling)
        assert await run.result(timeout="20s") == "RuntimeError RuntimeError"


@workflow(id="leaving")
async def leaving(input: None, step) -> None:
    raise SystemExit(3)


async def test_a_body_that_wants_to_exit_takes_no_other_run_along(open_runtime) -> None:
    async with open_runtime(leaving, waiter) as runtime:
        run = await runtime.start(leaving)
        with pytest.raises(RunFailed):
            await run.result(timeout="20s")
        assert await (await runtime.start(waiter, "x")).wait("waiting_event", timeout="20s")


@pytest.mark.parametrize("given", ["run_id", "idempotency_key", "tags", "event", "payload", "input"])
async def test_a_text_that_no_ledger_can_keep_is_its_caller_s_error_alone(open_runtime, given: str) -> None:
    odd = "lone \ud800 surrogate"
    async with open_runtime(waiter) as runtime:
        run = await runtime.start(waiter, "go")
        calls = {
            "run_id": lambda: runtime.start(waiter, "x", run_id=odd),
            "idempotency_key": lambda: runtime.start(waiter, "x", idempotency_key=odd),
            "tags": lambda: runtime.start(waiter, "x", tags={"a": odd}),
            "event": lambda: runtime.send_event(odd, 1),
            "payload": lambda: runtime.send_event("go", odd),
            "input": lambda: runtime.start(waiter, odd),
        }
        if given in ("payload", "input"):
            await calls[given]()  # values are escaped; what the body does with this input is the run's own error
        else:
            with pytest.raises(DefinitionError, match="lone surrogate"):
                await calls[given]()
        assert await (await runtime.start(waiter, "y")).wait("waiting_event", timeout="20s")
        assert await run.wait(timeout="20s") == "completed" if given == "payload" else await run.cancel()


@workflow(id="oddly-named")
async def oddly_named(input: str, step) -> str:
    return await step.run(input, str, 1)


@pytest.mark.parametrize("body", [waiter, oddly_named], ids=lambda body: body.id)
async def test_a_name_that_no_ledger_can_keep_fails_its_run_alone(open_runtime, body) -> None:
    async with open_runtime(body, waiter) as runtime:
        with pytest.raises(RunFailed, match="lone surrogate"):
            await (await runtime.start(body, "odd \ud800")).result(timeout="20s")
        assert await (await runtime.start(waiter, "y")).wait("waiting_event", timeout="20s")


# ── closing ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_on_the_way_while_closing_is_answered(open_runtime) -> None:
    async with open_runtime(waiter) as runtime:
        thread = runtime._opened.thread
        with one_batch(runtime):
            questions = [thread.call(lambda engine, batch: "answer") for _ in range(3)]
            stopping = threading.Thread(target=thread.stop)
            stopping.start()
            while not thread._stopping:
                await asyncio.sleep(0.001)
            while thread._inbox.qsize() < 4:
                await asyncio.sleep(0.001)
        stopping.join(10)
        for question in questions:
            assert question.done()


async def test_a_close_that_is_interrupted_still_gives_the_ledger_back(tmp_path) -> None:
    path = tmp_path / "ledger.duckdb"
    runtime = Runtime(path, workflows=[gated], drain="60s")
    await runtime.__aenter__()
    await runtime.start(gated)
    closing = asyncio.create_task(runtime.close())
    await asyncio.sleep(0.05)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    async with Runtime(path, workflows=[gated], drain=0) as again:
        assert len(await again.runs()) == 1


async def test_an_outcome_that_comes_after_the_patience_of_closing_harms_nothing(
    open_runtime, caplog, monkeypatch
) -> None:
    @workflow(id="twice")
    async def twice(input: None, step) -> str:
        await step.run("gate", through_the_gate)
        return await step.run("once", str, 1, delivery="at_most_once")

    async with open_runtime(twice, drain=0) as runtime:
        await runtime.start(twice, run_id="t")
        thread, performers = runtime._opened.thread, runtime._opened.performers
        close = performers.close

        async def close_and_let_go() -> None:
            await close()
            gate.set()
            for _ in range(100):
                if thread._thread.is_alive() and not thread._inbox.qsize():
                    await asyncio.sleep(0.005)

        monkeypatch.setattr(performers, "close", close_and_let_go)
    assert "bug of Perdure" not in caplog.text


def test_a_blocking_runtime_says_that_it_was_closed() -> None:
    with Runtime(MemoryLedger(), workflows=[waiter]) as runtime:
        run = runtime.start(waiter, "x")
    for call in (run.status, runtime.runs):
        with pytest.raises(PerdureError, match="not open"):
            call()


# ── what bodies show ─────────────────────────────────────────────────────────────────────────────


@workflow(id="printing")
async def printing(input: None, step) -> str:
    print("hello")
    return "done"


async def test_a_closed_pipe_does_not_stop_the_engine(open_runtime, monkeypatch) -> None:
    class Pipe:
        def write(self, text: str) -> int:
            raise BrokenPipeError

    async with open_runtime(printing) as runtime:
        with monkeypatch.context() as closed:
            closed.setattr(sys, "stdout", Pipe())
            assert await (await runtime.start(printing)).result(timeout="20s") == "done"
        assert await (await runtime.start(printing)).result(timeout="20s") == "done"


# ── the same place twice ─────────────────────────────────────────────────────────────────────────


class Slow:
    """A step that takes its time to be cancelled, the first time."""

    started = 0
    cancelled = 0

    def __init__(self) -> None:
        self.may_end = asyncio.Event()


slow: Slow


async def be_slow() -> None:
    slow.started += 1
    try:
        await asyncio.Event().wait()
    finally:
        slow.cancelled += 1
        if slow.cancelled == 1:
            await slow.may_end.wait()


async def wait_for_slow() -> None:
    while slow.started <= slow.cancelled:
        await asyncio.sleep(0.002)


async def fail_once() -> None:
    await wait_for_slow()
    if slow.started == 1:
        raise RuntimeError("down")


@workflow(id="both", retries=RetryPolicy(max_attempts=2, base_delay="1ms", jitter=0))
async def both(input: None, step) -> None:
    running = asyncio.ensure_future(step.run("slow", be_slow))
    await step.run("fail-once", fail_once, retries=0)
    await running


async def test_a_step_that_is_slow_to_stop_does_not_shield_the_next_attempt_s(open_runtime) -> None:
    global slow
    slow = Slow()
    async with open_runtime(both) as runtime:
        run = await runtime.start(both)
        while slow.started < 2:
            await asyncio.sleep(0.002)
        slow.may_end.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await run.cancel()
        assert await run.wait(timeout="20s") == "cancelled"
        async with asyncio.timeout(5):
            while slow.cancelled < 2:
                await asyncio.sleep(0.002)


async def test_a_step_that_starts_a_step_is_told_what_to_do(open_runtime):
    @workflow(id="nested")
    async def body(input: None, step):
        async def outer() -> int:
            return await step.run("inner", abs, -1)

        await step.run("outer", outer, retries=0)

    async with open_runtime(body) as runtime:
        run = await runtime.start("nested", None)
        with pytest.raises(RunFailed, match="outside of the body"):
            await run.result(timeout="20s")


def test_a_ledger_that_is_none_is_refused_with_the_fix():
    with pytest.raises(DefinitionError, match="neither a path nor a ledger"):
        Runtime(None)  # type: ignore[arg-type]


class Peeking(BaseModel):
    path: Annotated[Path, AfterValidator(Path.read_text)]  # a library's inside, where the policy does not look


@pytest.mark.parametrize("swallow", [False, True])
async def test_what_the_audit_hook_stops_fails_the_run_also_on_replay(open_runtime, swallow, tmp_path):
    (tmp_path / "there").write_text("x")

    @workflow(id="peeking")
    async def body(input: list, step) -> str:
        path, swallow = input
        try:
            Peeking(path=path)
        except Exception:
            if not swallow:
                raise
        await step.run("never", abs, -1)
        return "done"

    async with open_runtime(body) as runtime:
        run = await runtime.start("peeking", [str(tmp_path / "there"), swallow])
        with pytest.raises(RunFailed) as caught:
            await run.result(timeout="20s")
        assert isinstance(caught.value.__cause__, SandboxViolation)
        assert await run.status() == "failed"
        assert (await run.replay()).ok
