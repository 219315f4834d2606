"""What a step wrote is part of its result: seen by the step, by nobody else before the end, by nobody if it fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from leaping import Leaping

from perdure import LedgerFull, MemoryLedger, RunFailed, Runtime, WorkflowError, WriteConflict
from perdure.declare.registry import Registry
from perdure.engine.attempts import Outcome
from perdure.engine.clock import SystemClock
from perdure.engine.engine import Engine
from perdure.engine.performers import ThreadedPerformers
from perdure.engine.thread import EngineThread
from perdure.errors import PerdureError
from perdure.services.effects import Effects
from perdure.storage.encoding import encode
from perdure.strict import RetryPolicy, current_step, step, workflow

DOES: dict[str, Any] = {}  # what the steps of a test do


@step(retries=0)
async def does(what: str) -> Any:
    return await DOES[what]()


@step(retries=0)
def does_blocking(what: str) -> Any:
    return DOES[what]()


@step(retries=0, timeout="1s")  # enough for a write on a busy machine
def does_blocking_in_time(what: str) -> Any:
    return DOES[what]()


@step(retries=RetryPolicy(max_attempts=4, base_delay="1ms"))
async def does_again(what: str) -> Any:
    return await DOES[what]()


@workflow(id="one")
async def one(input: str, step) -> Any:
    return await does(input)


@workflow(id="one-blocking")
async def one_blocking(input: str, step) -> Any:
    return await does_blocking(input)


@workflow(id="one-in-time")
async def one_in_time(input: str, step) -> Any:
    return await does_blocking_in_time(input)


@workflow(id="one-again")
async def one_again(input: str, step) -> Any:
    return await does_again(input)


ALL = [one, one_blocking, one_in_time, one_again]


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    DOES.clear()


def live(test: Any, ledger: Any = None, **options: Any) -> Any:
    async def run() -> Any:
        async with (
            asyncio.timeout(60),
            Runtime(ledger or MemoryLedger(), workflows=ALL, **{"drain": "1s", **options}) as runtime,
        ):
            return await test(runtime)

    return asyncio.run(run())


async def outcome(runtime: Runtime, what: str, workflow: str = "one") -> Any:
    return await (await runtime.start(workflow, what)).result(timeout="20s")


def test_nobody_sees_what_a_step_wrote_before_its_result_is_recorded() -> None:
    async def test(runtime: Runtime) -> Any:
        written, may_end = asyncio.Event(), asyncio.Event()

        async def write() -> Any:
            await current_step().kv.put("a", 1)
            written.set()
            await may_end.wait()
            return await current_step().kv.get("a")

        DOES["write"] = write
        run = await runtime.start("one", "write")
        await written.wait()
        before = await runtime.kv.get("a")
        may_end.set()
        return before, await run.result(), await runtime.kv.get("a")

    assert live(test) == (None, 1, 1)


def test_a_second_step_that_writes_the_same_waits_and_reads_what_the_first_left() -> None:
    async def test(runtime: Runtime) -> Any:
        written, may_end = asyncio.Event(), asyncio.Event()

        async def first() -> None:
            await current_step().kv.update("n", lambda n: n + 1, 0)
            written.set()
            await may_end.wait()

        async def second() -> Any:
            return await current_step().kv.update("n", lambda n: n + 10, 0)

        DOES.update(first=first, second=second)
        one = await runtime.start("one", "first")
        await written.wait()
        other = await runtime.start("one", "second")
        outside = asyncio.create_task(runtime.kv.update("n", lambda n: n + 100, 0))
        await other.wait("running")
        may_end.set()
        await one.result()
        await other.result()
        await outside
        return await runtime.kv.get("n")

    assert live(test) == 111


def test_what_was_read_and_changed_meanwhile_is_a_conflict_and_the_step_is_tried_again() -> None:
    async def test(runtime: Runtime) -> Any:
        tries: list[int] = []

        async def write() -> Any:
            kv = current_step().kv
            seen = await kv.get("n", 0)
            tries.append(seen)
            if len(tries) == 1:
                await runtime.kv.put("n", 5)
            await kv.update("n", lambda n: n + 1, 0)
            return seen

        DOES["write"] = write
        return await outcome(runtime, "write", "one-again"), tries, await runtime.kv.get("n")

    assert live(test) == (5, [0, 5], 6)


def test_a_cell_that_expired_after_it_was_read_is_a_conflict_but_one_long_gone_is_not() -> None:
    async def test(runtime: Runtime) -> Any:
        seen = []

        async def write() -> Any:
            kv = current_step().kv
            seen.append(await kv.get("a"))
            clock.leap("2h")
            try:
                await kv.update("a", lambda value: (value, "new"), None)
            except WriteConflict:
                seen.append("conflict")
                raise

        DOES["write"] = write
        await runtime.kv.put("a", "old", ttl="1h")
        await outcome(runtime, "write")
        return seen, await runtime.kv.get("a")

    clock = Leaping()
    assert live(test, clock=clock) == (["old", "conflict", None], (None, "new"))


@pytest.mark.parametrize("through", ["gather", "task group", "threads", "another loop"])
def test_what_a_step_writes_from_tasks_threads_and_loops_that_it_waits_for_is_its_own(through: str) -> None:
    async def put(kv: Any, number: int) -> None:
        await kv.put(str(number), number)

    async def write() -> Any:
        kv = current_step().kv
        if through == "gather":
            await asyncio.gather(*[kv.put(str(number), number) for number in range(5)])
        elif through == "task group":
            async with asyncio.TaskGroup() as group:
                for number in range(5):
                    group.create_task(kv.put(str(number), number))
        elif through == "threads":
            await asyncio.gather(*[asyncio.to_thread(kv.put, str(number), number) for number in range(5)])
        else:
            for number in range(5):
                await asyncio.to_thread(asyncio.run, put(kv, number))
        return list((await kv.list()).values())

    async def test(runtime: Runtime) -> Any:
        DOES["write"] = write
        return await outcome(runtime, "write"), list((await runtime.kv.list()).values())

    assert live(test) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])


def test_a_plain_step_just_calls_and_so_do_threads_of_it() -> None:
    def write() -> Any:
        kv = current_step().blocking.kv
        thread = threading.Thread(target=kv.put, args=("a", 1))
        thread.start()
        thread.join()
        return current_step().kv.get("a"), kv.get("a")

    async def test(runtime: Runtime) -> Any:
        DOES["write"] = write
        return await outcome(runtime, "write", "one-blocking"), await runtime.kv.get("a")

    assert live(test) == ((1, 1), 1)


async def _unawaited() -> None:
    current_step().kv.put("a", 1)  # type: ignore[unused-coroutine]  # that is the point


async def _task_not_begun() -> None:
    asyncio.get_running_loop().create_task(current_step().kv.put("a", 1)).add_done_callback(_heard)


async def _task_that_waits() -> None:
    task = asyncio.create_task(current_step().kv.put("held", 1))
    task.add_done_callback(_heard)
    for _ in range(5):
        await asyncio.sleep(0)


def _heard(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


@pytest.mark.parametrize("write", [_unawaited, _task_not_begun, _task_that_waits])
def test_a_write_that_nobody_waits_for_fails_the_step(write: Any) -> None:
    async def test(runtime: Runtime) -> Any:
        held, may_end = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            await current_step().kv.put("held", 0)
            held.set()
            await may_end.wait()

        DOES.update(write=write, hold=hold)
        holder = await runtime.start("one", "hold")
        await held.wait()
        with pytest.raises(RunFailed) as failed:
            await outcome(runtime, "write")
        may_end.set()
        await holder.result()
        return str(failed.value.__cause__), await runtime.kv.list()

    message, kept = live(test)
    assert "did not await it" in message or "returned while something of it still used a service" in message
    assert kept == {"held": 0}


@pytest.mark.parametrize("has_used_it", [True, False], ids=["used before", "first used late"])
def test_an_abandoned_attempt_that_writes_late_is_refused_and_holds_nothing(has_used_it: bool) -> None:
    """A plain step past its timeout goes on in its thread: nobody can stop it."""
    may_write, refused = threading.Event(), []

    def late() -> None:
        step = current_step()
        if has_used_it:
            step.blocking.kv.put("early", 1)
        may_write.wait(60)
        for use in (lambda: step.blocking.kv.put("late", 1), lambda: step.kv.get("late")):
            try:
                use()
            except WorkflowError as error:
                refused.append(str(error))
        done.set()

    done = threading.Event()

    async def test(runtime: Runtime) -> Any:
        DOES["late"] = late
        with pytest.raises(RunFailed):
            await outcome(runtime, "late", "one-in-time")
        may_write.set()
        assert await asyncio.to_thread(done.wait, 60)
        async with asyncio.timeout(20):
            await runtime.kv.put("late", "free")
            await runtime.kv.put("early", "free")
        return await runtime.kv.list()

    assert live(test) == {"early": "free", "late": "free"}
    assert len(refused) == 2
    assert all("after its attempt was over" in message for message in refused)


def test_a_service_kept_beyond_its_step_is_refused() -> None:
    kept: list[Any] = []

    async def keep() -> None:
        kept.append(current_step().kv)
        await kept[0].put("a", 1)

    async def use() -> Any:
        with pytest.raises(WorkflowError, match="after its attempt was over"):
            await kept[0].put("a", 2)
        return await current_step().kv.get("a")

    async def test(runtime: Runtime) -> Any:
        DOES.update(keep=keep, use=use)
        await outcome(runtime, "keep")
        return await outcome(runtime, "use")

    assert live(test) == 1


def test_a_step_of_a_cancelled_run_has_written_nothing_and_holds_nothing() -> None:
    async def test(runtime: Runtime) -> Any:
        written = asyncio.Event()

        async def write() -> None:
            await current_step().kv.put("a", 1)
            written.set()
            await asyncio.sleep(60)

        DOES["write"] = write
        run = await runtime.start("one", "write")
        await written.wait()
        await run.cancel()
        await run.wait()
        async with asyncio.timeout(5):
            return await runtime.kv.update("a", lambda value: [value], None)

    assert live(test) == [None]


def test_a_plain_step_of_a_cancelled_run_goes_on_in_its_thread_and_holds_nothing() -> None:
    may_end, ended = threading.Event(), threading.Event()
    refused = []

    async def test(runtime: Runtime) -> Any:
        written = asyncio.Event()
        loop = asyncio.get_running_loop()

        def write() -> None:
            kv = current_step().blocking.kv
            kv.put("a", 1)
            loop.call_soon_threadsafe(written.set)
            may_end.wait(10)
            try:
                kv.put("b", 1)
            except WorkflowError as error:
                refused.append(error)
            ended.set()

        DOES["write"] = write
        run = await runtime.start("one-blocking", "write")
        await written.wait()
        await run.cancel()
        await run.wait()
        async with asyncio.timeout(5):
            await runtime.kv.update("a", lambda value: [value], None)
        may_end.set()
        await asyncio.to_thread(ended.wait, 10)
        return await runtime.kv.list()

    assert live(test) == {"a": [None]}
    assert len(refused) == 1


def test_what_on_error_would_write_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async def tell(error: BaseException) -> None:
        await current_step().kv.put("told", str(error))

    @step(retries=0, on_error=tell)
    async def fails() -> None:
        await current_step().kv.put("a", 1)
        raise ValueError("no")

    @workflow(id="fails")
    async def failing(input: None) -> None:
        await fails()

    async def run() -> Any:
        async with Runtime(MemoryLedger(), workflows=[failing]) as runtime:
            await (await runtime.start("fails")).wait(timeout="20s")
            return await runtime.kv.list()

    assert asyncio.run(run()) == {}
    assert "on_error of step 'fails' raised" in caplog.text
    assert "after its attempt was over" in caplog.text


def test_a_blocking_call_on_the_runtimes_own_loop_is_refused_with_the_fix() -> None:
    async def write() -> None:
        current_step().blocking.kv.put("a", 1)

    async def test(runtime: Runtime) -> None:
        DOES["write"] = write
        with pytest.raises(RunFailed) as failed:
            await outcome(runtime, "write")
        assert isinstance(failed.value.__cause__, PerdureError)
        assert "would wait for itself" in str(failed.value.__cause__)

    live(test)


class FullNowAndThen(MemoryLedger):
    """A ledger whose disk is full at some appends."""

    def __init__(self) -> None:
        super().__init__()
        self.full = 0

    def append(self, entries: Any, definitions: Any = (), cells: Any = ()) -> None:
        if self.full and any(entry.kind == "step_completed" for entry in entries):
            self.full -= 1
            raise LedgerFull("there is no room on the disk.")
        super().append(entries, definitions, cells)


def test_what_a_full_disk_refused_is_written_once_when_there_is_room() -> None:
    ledger = FullNowAndThen()

    async def write() -> Any:
        await current_step().kv.update("n", lambda n: n + 1, 0)
        return await current_step().workflows.start("one", "other")

    async def other() -> Any:
        return await current_step().kv.update("n", lambda n: n + 10, 0)

    async def test(runtime: Runtime) -> Any:
        DOES.update(write=write, other=other)
        ledger.full = 2
        started = await outcome(runtime, "write")
        await runtime.handle(started).result(timeout="20s")
        return await runtime.kv.get("n"), len(await runtime.runs())

    assert live(test, ledger) == (11, 2)


def test_a_call_from_outside_that_a_full_disk_refuses_has_written_nothing_and_holds_nothing() -> None:
    class Full(MemoryLedger):
        full = True

        def append(self, entries: Any, definitions: Any = (), cells: Any = ()) -> None:
            if cells and self.full:
                raise LedgerFull("there is no room on the disk.")
            super().append(entries, definitions, cells)

    ledger = Full()

    async def test(runtime: Runtime) -> Any:
        with pytest.raises(LedgerFull):
            await runtime.kv.put("a", 1)
        ledger.full = False
        return await runtime.kv.put("a", 2, if_absent=True), await runtime.kv.get("a")

    assert live(test, ledger) == (True, 2)


def test_a_call_from_outside_that_is_cancelled_while_it_waits_leaves_the_line() -> None:
    async def test(runtime: Runtime) -> Any:
        written, may_end = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            await current_step().kv.put("a", 1)
            written.set()
            await may_end.wait()

        DOES["hold"] = hold
        run = await runtime.start("one", "hold")
        await written.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(runtime.kv.put("a", 2), 0.02)
        may_end.set()
        await run.result()
        return await runtime.kv.get("a")

    assert live(test) == 1


def test_many_operations_of_one_step_are_not_all_remembered() -> None:
    async def write() -> int:
        kv = current_step().kv
        for number in range(2_000):
            await kv.get(str(number))
        return len(kv._scope._begun)

    async def test(runtime: Runtime) -> Any:
        DOES["write"] = write
        return await outcome(runtime, "write")

    assert live(test) < 600


def test_who_waits_for_what_a_step_holds_that_closing_cut_off_is_told_so() -> None:
    async def test() -> None:
        written, may_end = threading.Event(), threading.Event()

        def hold() -> None:
            current_step().blocking.kv.put("a", 1)
            written.set()
            may_end.wait(20)

        DOES["hold"] = hold
        runtime = Runtime(MemoryLedger(), workflows=ALL, drain="0s")
        try:
            async with asyncio.timeout(15), runtime:
                await runtime.start("one-blocking", "hold")
                await asyncio.to_thread(written.wait, 10)
                waiting = asyncio.create_task(runtime.kv.put("a", 2))
                await asyncio.sleep(0)  # it has asked, and stands in the line
            with pytest.raises(PerdureError, match="closed"):
                await asyncio.wait_for(waiting, 5)
        finally:
            may_end.set()

    asyncio.run(test())


def test_an_outcome_that_comes_when_the_engine_has_stopped_holds_nothing() -> None:
    async def test() -> list[str]:
        over: list[str] = []

        def outcome(name: str) -> Outcome:
            effects = Effects((), {}, (), lambda: over.append(name))
            return Outcome(1, "0:1", 1, 1, "completed", encode(None), effects=effects)

        def make(thread: EngineThread) -> Engine:
            runs_nothing = ThreadedPerformers(loop, thread.report, thread.tell, clock.now_us, None)  # type: ignore[arg-type]
            return Engine(MemoryLedger(), Registry([]), clock, runs_nothing)

        loop, clock = asyncio.get_running_loop(), SystemClock()
        thread = EngineThread(make)
        thread.report(outcome("before it began"))
        thread.stop()
        thread.report(outcome("afterwards"))
        return over

    assert asyncio.run(test()) == ["before it began", "afterwards"]
