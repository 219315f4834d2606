"""`run.retry()`: a run that failed or was cancelled is tried again, and what it completed is kept."""

from __future__ import annotations

import pytest
from leaping import Leaping

from perdure import ChildFailed, DefinitionError, MemoryLedger, RunFailed, Runtime, UnknownRun, UnknownWorkflow
from perdure.strict import workflow

calls: list[str] = []
broken: set[str] = set()


@pytest.fixture(autouse=True)
def mended_afterwards():
    calls.clear()
    broken.clear()
    yield
    broken.clear()


def work(name: str) -> str:
    calls.append(name)
    if name in broken:
        raise ValueError(f"{name} is broken")
    return name


@workflow(id="two-steps")
async def two_steps(input: object, step) -> list:
    first = await step.run("first", work, "first")
    return [first, await step.run("second", work, "second", retries=0)]


async def fail(runtime, name: str = "two-steps", run_id: str | None = None):
    run = await runtime.start(name, None, run_id=run_id)
    with pytest.raises(RunFailed):
        await run.result(timeout="20s")
    return run


async def test_completed_steps_are_kept_and_the_failed_one_runs_again(open_runtime):
    broken.add("second")
    async with open_runtime(two_steps) as runtime:
        run = await fail(runtime)
        broken.clear()
        await run.retry()
        assert await run.result(timeout="20s") == ["first", "second"]
        status = await run.status()
        assert (status.attempt, status.error) == (2, None)
        assert calls == ["first", "second", "second"]
        assert (await run.replay()).ok


async def test_a_cancelled_run_is_retried_and_can_be_cancelled_again(open_runtime):
    @workflow(id="waits")
    async def waits(input: None, step) -> str:
        await step.run("before", work, "before")
        await step.wait_for_event("go", type="go")
        return "went"

    async with open_runtime(waits) as runtime:
        run = await runtime.start("waits", None)
        for _ in range(2):
            await run.wait("waiting_event", timeout="20s")
            assert await run.cancel()
            assert await run.wait(timeout="20s") == "cancelled"
            await run.retry()
        await run.wait("waiting_event", timeout="20s")
        await runtime.send_event("go")
        assert await run.result(timeout="20s") == "went"
        assert calls == ["before"]
        assert (await run.replay()).ok


async def test_a_run_that_was_cancelled_before_it_began_begins(open_runtime):
    async with open_runtime(two_steps) as runtime:
        run = await runtime.start("two-steps", None, delay="1h")
        await run.cancel()
        await run.retry()
        assert await run.result(timeout="20s") == ["first", "second"]
        assert (await run.replay()).ok


async def test_a_timeout_counts_anew(open_runtime):
    @workflow(id="hurried", timeout="1h")
    async def hurried(input: None, step) -> str:
        await step.wait_for_event("go", type="go")
        return "in time"

    clock = Leaping()
    async with open_runtime(hurried, clock=clock) as runtime:
        run = await runtime.start("hurried", None)
        for attempt in (1, 2):
            await run.wait("waiting_event", timeout="20s")
            clock.leap("50m")
            await runtime.send_event("look at the clock")
            assert await run.status() == "waiting_event", f"attempt {attempt} has ten minutes left"
            clock.leap("20m")
            await runtime.send_event("look at the clock")
            assert await run.wait(timeout="20s") == "failed"
            if attempt == 1:
                await run.retry()
        assert (await run.status()).error.startswith("RunTimeout")
        assert (await run.status()).attempt == 2


async def test_an_open_run_and_a_completed_one_are_refused_with_what_to_do(open_runtime):
    @workflow(id="waits")
    async def waits(input: None, step) -> None:
        await step.wait_for_event("go", type="go")

    async with open_runtime(waits, two_steps) as runtime:
        run = await runtime.start("waits", None)
        await run.wait("waiting_event", timeout="20s")
        with pytest.raises(DefinitionError, match="is waiting_event, so it can't be retried"):
            await run.retry()
        done = await runtime.start("two-steps", None)
        await done.result(timeout="20s")
        with pytest.raises(DefinitionError, match="fork it"):
            await done.retry()
        with pytest.raises(UnknownRun):
            await runtime.handle("nobody").retry()


async def test_a_version_that_nobody_registered_is_refused(open_runtime):
    broken.add("second")
    async with open_runtime(two_steps) as runtime:
        await fail(runtime, run_id="r")
    async with open_runtime(code="today") as runtime:
        with pytest.raises(UnknownWorkflow):
            await runtime.handle("r").retry()
        assert await runtime.handle("r").status() == "failed"


async def test_a_child_that_ends_in_the_batch_of_its_parents_retry_is_heard_of(open_runtime):
    @workflow(id="quick")
    async def quick(input: None, step) -> str:
        return "quick"

    @workflow(id="parent")
    async def parent(input: None, step, ctx) -> str:
        if ctx.attempt == 1:
            raise ValueError("the first attempt fails")
        return await step.invoke("child", quick, None)

    async with open_runtime(quick, parent) as runtime:
        run = await fail(runtime, "parent")
        await run.retry()
        assert await run.result(timeout="20s") == "quick"


async def test_spawned_children_that_were_stopped_with_their_parent_go_on_with_it(open_runtime):
    @workflow(id="waits")
    async def waits(input: None, step) -> str:
        await step.run("begun", work, "begun")
        await step.wait_for_event("go", type="go")
        return "went"

    @workflow(id="parent")
    async def parent(input: None, step) -> list:
        child = await step.spawn("child", waits, None)
        return [await step.run("own", work, "own", retries=0), await child.result()]

    broken.add("own")
    async with open_runtime(waits, parent) as runtime:
        run = await fail(runtime, "parent", run_id="p")
        child = runtime.handle("p-0-0")
        assert await child.wait(timeout="20s") == "cancelled"
        broken.clear()
        await run.retry()
        await child.wait("waiting_event", timeout="20s")
        await runtime.send_event("go")
        assert await run.result(timeout="20s") == ["own", "went"]
        assert (await child.status()).attempt == 2
        assert (await child.replay()).ok


async def test_a_parent_that_was_told_of_the_failure_is_not_changed(open_runtime):
    @workflow(id="parent")
    async def parent(input: None, step) -> str:
        try:
            return await step.invoke("child", two_steps, None)
        except ChildFailed:
            return "told"

    broken.add("second")
    async with open_runtime(two_steps, parent) as runtime:
        run = await runtime.start("parent", None, run_id="p")
        assert await run.result(timeout="20s") == "told"
        broken.clear()
        child = runtime.handle("p-0-0")
        await child.retry()
        assert await child.result(timeout="20s") == ["first", "second"]
        assert await run.result(timeout="20s") == "told"


def test_blocking_retry_children_and_parent():
    @workflow(id="parent")
    async def parent(input: None, step) -> list:
        return await step.invoke("child", two_steps, None)

    broken.add("second")
    with Runtime(MemoryLedger(), workflows=[two_steps, parent]) as runtime:
        run = runtime.start("parent", None, run_id="p")
        with pytest.raises(RunFailed):
            run.result("20s")
        (child,) = run.children()
        assert child.parent().run_id == "p"
        assert run.parent() is None
        broken.clear()
        run.retry()
        assert run.result("20s") == ["first", "second"]
