"""Streams: what steps write is there in order, is read while they work, and is refused when nobody can have it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from perdure import (
    Chunk,
    DefinitionError,
    MemoryLedger,
    NotSerializable,
    RetryPolicy,
    RunFailed,
    Runtime,
    SandboxViolation,
    Stream,
    UnknownRun,
    WorkflowError,
    current_step,
)
from perdure.storage import entries as kinds
from perdure.strict import workflow

FAST = RetryPolicy(max_attempts=2, base_delay="1ms", jitter=0)
opened: dict[str, threading.Event] = {}
go_on: dict[str, asyncio.Event] = {}
kept: dict[str, Any] = {}


@dataclass
class Line:
    text: str
    parts: tuple[int, ...]


async def write_some(stream: Stream, first: int, count: int) -> int:
    for number in range(first, first + count):
        await stream.write(number)
    return count


def write_in_a_thread(count: int) -> int:
    stream = current_step().stream("logs")
    for number in range(count):
        stream.write(number)
    return count


@workflow(id="talks")
async def talks(input: int, step, ctx) -> int:
    return await step.run("talk", write_some, step.stream(), 0, input)


@workflow(id="talks-in-a-thread")
async def talks_in_a_thread(input: int, step, ctx) -> int:
    return await step.run("talk", write_in_a_thread, input)


async def test_chunks_are_read_in_order_with_their_step_and_offset(open_runtime: Callable[..., Any]) -> None:
    async with open_runtime(talks) as runtime:
        run = await runtime.start("talks", 5)
        assert await run.result(timeout="20s") == 5
        assert [value async for value in run.stream()] == [0, 1, 2, 3, 4]
        assert await run.stream(start=3) == [3, 4]
        assert await run.stream("nobody wrote this") == []
        chunks = [chunk async for chunk in run.stream(start=4).chunks()]
        assert chunks == [Chunk(4, 4, "talk", 1, chunks[0].at)]
        assert (await run.status()).streams == {"default": 5}
        if not isinstance(runtime._opened.ledger, MemoryLedger):  # which answers no SQL
            rows = runtime.sql("SELECT name, status, result FROM steps").rows
            assert rows == (("talk", "completed", 5),), "a chunk was taken for an answer of its step"
        assert (await run.replay()).ok


async def test_a_synchronous_step_writes_thousands_in_order(open_runtime: Callable[..., Any]) -> None:
    async with open_runtime(talks_in_a_thread) as runtime:
        run = await runtime.start("talks-in-a-thread", 2_000)
        assert await run.result(timeout="30s") == 2_000
        assert await run.stream("logs") == list(range(2_000))
        assert await run.stream("logs", start=1_990) == list(range(1_990, 2_000))
        entries = [entry.kind for entry in await run.history()]
        assert entries[-2:] == ["step_completed", "completed"], "a chunk came after its step's outcome"
        assert (await run.replay()).ok


@workflow(id="waits-to-go-on")
async def waits_to_go_on(input: None, step, ctx) -> str:
    return await step.run("slow", write_and_wait, step.stream("logs"))


async def write_and_wait(stream: Stream) -> str:
    for word in ("one", "two", "three"):
        await stream.write(word)
        await go_on[word].wait()
    return "done"


async def test_a_reader_gets_each_chunk_while_the_step_works(open_runtime: Callable[..., Any]) -> None:
    for word in ("one", "two", "three"):
        go_on[word] = asyncio.Event()
    async with open_runtime(waits_to_go_on) as runtime:
        run = await runtime.start("waits-to-go-on")
        got = []
        async with asyncio.timeout(10):
            async for word in run.stream("logs"):
                got.append(word)
                assert await run.status() == "running"
                go_on[word].set()
        assert got == ["one", "two", "three"]
        assert await run.result(timeout="20s") == "done"


@workflow(id="closes")
async def closes(input: None, step, ctx) -> None:
    await step.run("talk", write_and_close, step.stream("logs"))
    await step.wait_for_event("go", type="go")


async def write_and_close(stream: Stream) -> None:
    stream.write("last")
    await stream.close()


async def test_a_closed_stream_ends_its_readers_while_the_run_goes_on(open_runtime: Callable[..., Any]) -> None:
    async with open_runtime(closes) as runtime:
        run = await runtime.start("closes")
        async with asyncio.timeout(10):
            assert [word async for word in run.stream("logs")] == ["last"]
        assert await run.status() == "waiting_event"
        await runtime.send_event("go")
        await run.result(timeout="20s")
        assert [word async for word in run.stream("logs", start=1)] == []


@workflow(id="writes-after-closing")
async def writes_after_closing(input: bool, step, ctx) -> str:
    stream = step.stream("logs")
    await step.run("first", write_and_close, stream)
    try:
        await step.run("second", write_once, stream, input, retries=0)
    except WorkflowError as error:
        return error.message
    return "written"


async def write_once(stream: Stream, awaited: bool) -> str:
    durable = stream.write("more")
    if awaited:
        await durable
    return "the step did not hear of it"


@pytest.mark.parametrize("awaited", [True, False])
async def test_a_write_to_a_closed_stream_fails_the_step_awaited_or_not(
    open_runtime: Callable[..., Any], awaited: bool
) -> None:
    async with open_runtime(writes_after_closing) as runtime:
        run = await runtime.start("writes-after-closing", awaited)
        assert await run.result(timeout="20s") == "stream 'logs' takes no more chunks."
        assert await run.stream("logs") == ["last"]


@workflow(id="closes-and-fails")
async def closes_and_fails(input: None, step, ctx) -> None:
    await step.run("talk", close_and_fail_once, retries=FAST)


def close_and_fail_once() -> None:
    stream = current_step().stream()
    stream.write(f"attempt {current_step().attempt}")
    stream.close()
    if current_step().attempt == 1:
        raise ConnectionError("the first attempt fails after it closed the stream")


async def test_an_attempt_that_fails_has_closed_nothing_and_the_next_one_writes_again(
    open_runtime: Callable[..., Any],
) -> None:
    async with open_runtime(closes_and_fails) as runtime:
        run = await runtime.start("closes-and-fails")
        await run.result(timeout="20s")
        chunks = [chunk async for chunk in run.stream().chunks()]
        assert [(chunk.value, chunk.attempt) for chunk in chunks] == [("attempt 1", 1), ("attempt 2", 2)]
        history = [entry.kind for entry in await run.history()]
        assert history.count(kinds.STREAM_CLOSED) == 1
        assert history.index(kinds.STREAM_CLOSED) == history.index(kinds.STEP_COMPLETED) - 1


async def refused_writes() -> list[str]:
    """What is said to writes that nobody can have."""
    stream = current_step().stream()
    errors = []
    for wrong in (object(), {"deep": [lambda: None]}):
        try:
            stream.write(wrong)
        except NotSerializable as error:
            errors.append(error.path)
    try:
        await Stream("no-such-run", "logs").write("lost")
    except UnknownRun as error:
        errors.append(error.message)
    try:
        current_step().stream("")
    except DefinitionError as error:
        errors.append(error.message)
    return errors


@workflow(id="refused")
async def refused(input: None, step, ctx) -> list:
    return await step.run("refused", refused_writes)


async def test_what_nobody_can_have_is_refused_at_once() -> None:
    async with Runtime(MemoryLedger(), workflows=[refused]) as runtime:
        run = await runtime.start("refused")
        assert await run.result(timeout="20s") == [
            "$",
            "$.deep[0]",
            "the ledger has no run 'no-such-run', to whose stream 'logs' a step wrote.",
            "namespace='' names no stream.",
        ]
        assert "stream_written" not in [entry.kind for entry in await run.history()]


def write_and_leave_a_thread() -> None:
    stream = current_step().stream()
    stream.write("in time")
    kept["write"] = stream
    kept["context"] = __import__("contextvars").copy_context()


@workflow(id="leaves-a-thread")
async def leaves_a_thread(input: None, step, ctx) -> None:
    await step.run("talk", write_and_leave_a_thread)
    await step.wait_for_event("go", type="go")


async def test_a_write_after_the_attempt_is_refused() -> None:
    async with Runtime(MemoryLedger(), workflows=[leaves_a_thread]) as runtime:
        run = await runtime.start("leaves-a-thread")
        await run.wait("waiting_event", timeout="20s")
        with pytest.raises(WorkflowError, match="after its attempt was over"):
            kept["context"].run(kept["write"].write, "too late")
        assert await run.stream() == ["in time"]


async def test_a_write_outside_of_a_step_is_refused() -> None:
    with pytest.raises(WorkflowError, match="outside of a step"):
        Stream("run").write(1)
    with pytest.raises(WorkflowError, match="is for writing"):
        list(Stream("run"))


@workflow(id="misuses")
async def misuses(input: str, step, ctx) -> str:
    stream = step.stream("logs")
    if input == "write":
        stream.write(1)
    elif input == "close":
        stream.close()
    else:
        async for _ in stream:
            pass
    return "nothing happened"


@pytest.mark.parametrize("how", ["write", "close", "read"])
async def test_a_body_neither_writes_nor_reads_streams(how: str) -> None:
    async with Runtime(MemoryLedger(), workflows=[misuses]) as runtime:
        run = await runtime.start("misuses", how)
        with pytest.raises(RunFailed) as failed:
            await run.result(timeout="20s")
        assert isinstance(failed.value.__cause__, SandboxViolation)
        assert f"stream.{how} was called in a body" in str(failed.value.__cause__)
        assert "await step.run" in failed.value.__cause__.fix


@workflow(id="child-talks")
async def child_talks(input: Stream, step, ctx) -> str:
    await step.run("talk", write_some, input, 10, 3)
    return ctx.run_id


@workflow(id="parent-listens")
async def parent_listens(input: None, step, ctx) -> list:
    stream = step.stream("family")
    below = await step.invoke("below", child_talks, stream)
    await step.run("own", write_some, stream, 20, 2)
    return [below, stream]


@pytest.mark.parametrize("residents_max", [256, 0])
async def test_a_childs_step_writes_to_its_parents_stream(open_runtime: Callable[..., Any], residents_max: int) -> None:
    async with open_runtime(child_talks, parent_listens, residents_max=residents_max) as runtime:
        run = await runtime.start("parent-listens")
        below, stream = await run.result(timeout="20s")
        assert stream == Stream(run.run_id, "family")
        assert await run.stream("family") == [10, 11, 12, 20, 21]
        written = [entry for entry in await run.history() if entry.kind == "stream_written"]
        assert [entry.detail.get("writer") for entry in written] == [below] * 3 + [None] * 2
        assert (await run.replay()).ok
        assert (await runtime.handle(below).replay()).ok


async def write_lossless(stream: Stream) -> None:
    await stream.write(Line("a", (1, 2)))


@workflow(id="lossless")
async def lossless(input: None, step, ctx) -> None:
    await step.run("talk", write_lossless, step.stream())


async def test_a_chunk_comes_back_as_the_value_that_was_written(open_runtime: Callable[..., Any]) -> None:
    async with open_runtime(lossless) as runtime:
        run = await runtime.start("lossless")
        await run.result(timeout="20s")
        assert await run.stream() == [Line("a", (1, 2))]


async def test_a_wrong_start_and_an_unknown_run_are_refused() -> None:
    async with Runtime(MemoryLedger(), workflows=[talks]) as runtime:
        handle = runtime.handle("nobody")
        for start in (-1, True, "3"):
            with pytest.raises(DefinitionError, match="can't be used"):
                handle.stream(start=start)
        with pytest.raises(UnknownRun, match="'nobody'"):
            await handle.stream()
        with pytest.raises(UnknownRun, match="'nobody'"):
            async for _ in handle.stream():
                pass


def test_blocking_readers_iterate_too() -> None:
    with Runtime(MemoryLedger(), workflows=[talks]) as runtime:
        run = runtime.start("talks", 3)
        assert list(run.stream(start=1)) == [1, 2]
        assert [chunk.offset for chunk in run.stream().chunks()] == [0, 1, 2]
        assert run.stream().so_far() == [0, 1, 2]


@workflow(id="fork-talks")
async def fork_talks(input: None, step, ctx) -> None:
    stream = step.stream()
    await step.run("first", write_some, stream, 0, 2)
    await step.run("second", write_some, stream, 2, 2)


async def test_a_fork_takes_over_the_chunks_before_the_cut_and_writes_its_own(open_runtime: Callable[..., Any]) -> None:
    async with open_runtime(fork_talks) as runtime:
        run = await runtime.start("fork-talks")
        await run.result(timeout="20s")
        fork = await run.fork(at="second")
        await fork.result(timeout="20s")
        assert await fork.stream() == [0, 1, 2, 3]
        assert await run.stream() == [0, 1, 2, 3], "the fork wrote to the run that it comes from"
        assert (await fork.replay()).ok


@workflow(id="too-much", max_entries=20)
async def too_much(input: None, step, ctx) -> None:
    await step.run("talk", write_some, step.stream(), 0, 100)


async def test_chunks_count_as_entries_of_the_run() -> None:
    async with Runtime(MemoryLedger(), workflows=[too_much]) as runtime:
        run = await runtime.start("too-much")
        with pytest.raises(RunFailed, match="max_entries"):
            await run.result(timeout="20s")
        assert len(await run.stream()) == 18
