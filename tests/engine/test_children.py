"""Children: invoked, spawned, failed, cancelled; and parents that go on across restarts."""

from __future__ import annotations

import pytest

from perdure import ChildCancelled, ChildFailed, RunCancelled, StepTimeout
from perdure.strict import workflow


@workflow(id="child")
async def child(input: dict, step, ctx) -> dict:
    if input.get("fail"):
        raise ValueError("child says no")
    if input.get("wait"):
        await step.wait_for_event("go", type=input["wait"])
    return {"parent": ctx.parent_run_id, "got": input["n"]}


@workflow(id="invoker")
async def invoker(input: dict, step, ctx) -> object:
    try:
        return await step.invoke("call", child, input, timeout=input.get("timeout"))
    except ChildFailed as error:
        return ["failed", error.error_type, str(error.__cause__)]
    except ChildCancelled as error:
        return ["cancelled", error.child_run_id]
    except StepTimeout:
        return ["timeout"]


async def test_an_invoked_child_gives_its_output(open_runtime):
    async with open_runtime(invoker, child) as runtime:
        run = await runtime.start("invoker", {"n": 1}, run_id="p")
        assert await run.result(timeout="20s") == {"parent": "p", "got": 1}
        assert (await run.replay()).ok


async def test_a_failed_child_raises_child_failed_with_its_cause(open_runtime):
    async with open_runtime(invoker, child) as runtime:
        run = await runtime.start("invoker", {"n": 1, "fail": True})
        assert await run.result(timeout="20s") == ["failed", "builtins:ValueError", "child says no"]


async def test_an_unknown_child_workflow_is_a_failed_child(open_runtime):
    async with open_runtime(invoker) as runtime:
        run = await runtime.start("invoker", {"n": 1})
        result = await run.result(timeout="20s")
        assert result[:2] == ["failed", "perdure.errors:UnknownWorkflow"]


async def test_a_cancelled_child_raises_child_cancelled(open_runtime):
    async with open_runtime(invoker, child) as runtime:
        run = await runtime.start("invoker", {"n": 1, "wait": "w"}, run_id="p")
        kid = runtime.handle("p-0-0")
        await kid.wait("waiting_event", timeout="20s")
        await kid.cancel()
        assert await run.result(timeout="20s") == ["cancelled", "p-0-0"]


async def test_a_child_that_takes_too_long_is_cancelled(open_runtime):
    async with open_runtime(invoker, child) as runtime:
        run = await runtime.start("invoker", {"n": 1, "wait": "w", "timeout": "30ms"}, run_id="p")
        assert await run.result(timeout="20s") == ["timeout"]
        assert await runtime.handle("p-0-0").wait(timeout="20s") == "cancelled"


async def test_cancelling_a_parent_cancels_its_children_but_not_abandoned_ones(open_runtime):
    @workflow(id="parent")
    async def parent(input: None, step, ctx):
        await step.spawn("kept", child, {"n": 1, "wait": "w"}, on_parent_close="abandon")
        await step.spawn("spawned", child, {"n": 2, "wait": "w"})
        await step.invoke("invoked", child, {"n": 3, "wait": "w"})

    async with open_runtime(parent, child) as runtime:
        run = await runtime.start("parent", None, run_id="p")
        invoked = runtime.handle("p-0-2")
        await invoked.wait("waiting_event", timeout="20s")
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result(timeout="20s")
        assert await invoked.wait(timeout="20s") == "cancelled"
        assert await runtime.handle("p-0-1").wait(timeout="20s") == "cancelled"
        assert await runtime.handle("p-0-0").status() == "waiting_event"


async def test_a_spawned_child_goes_on_beside_its_parent(open_runtime):
    @workflow(id="spawner")
    async def spawner(input: None, step, ctx):
        first = await step.spawn("first", "child", {"n": 1, "wait": "w"})
        second = await step.spawn("second", "child", {"n": 2})
        got = await second.result()
        await first.cancel()
        try:
            await first.result()
        except ChildCancelled:
            return [got["got"], "cancelled"]

    async with open_runtime(spawner, child) as runtime:
        run = await runtime.start("spawner", None)
        assert await run.result(timeout="20s") == [2, "cancelled"]
        assert (await run.replay()).ok


async def test_a_parent_waits_for_its_child_across_a_restart(open_runtime):
    async with open_runtime(invoker, child) as runtime:
        await runtime.start("invoker", {"n": 1, "wait": "w"}, run_id="p")
        await runtime.handle("p-0-0").wait("waiting_event", timeout="20s")
    async with open_runtime(invoker, child) as runtime:
        assert await runtime.send_event("w") == 1
        assert await runtime.handle("p").result(timeout="20s") == {"parent": "p", "got": 1}


async def test_a_failed_parent_stops_its_children_but_not_abandoned_ones(open_runtime):
    @workflow(id="parent")
    async def parent(input: None, step, ctx):
        await step.spawn("kept", child, {"n": 1, "wait": "w"}, on_parent_close="abandon")
        await step.spawn("spawned", child, {"n": 2, "wait": "w"})
        await step.wait_for_event("fail", type="fail")
        raise ValueError("the parent fails")

    async with open_runtime(parent, child) as runtime:
        run = await runtime.start("parent", None, run_id="p")
        for name in ("p", "p-0-0", "p-0-1"):
            await runtime.handle(name).wait("waiting_event", timeout="20s")
        await runtime.send_event("fail")
        assert await run.wait(timeout="20s") == "failed"
        assert await runtime.handle("p-0-1").wait(timeout="20s") == "cancelled"
        assert await runtime.handle("p-0-0").status() == "waiting_event"


async def test_a_child_spawned_in_the_breath_in_which_its_parent_fails_is_stopped(open_runtime):
    @workflow(id="parent")
    async def parent(input: None, step, ctx):
        await step.spawn("spawned", child, {"n": 2, "wait": "w"})
        raise ValueError("the parent fails")

    async with open_runtime(parent, child) as runtime:
        run = await runtime.start("parent", None, run_id="p")
        assert await run.wait(timeout="20s") == "failed"
        assert await runtime.handle("p-0-0").wait(timeout="20s") == "cancelled"


async def test_a_parent_that_will_be_tried_again_or_completes_lets_its_children_go_on(open_runtime):
    @workflow(id="parent", retries=1)
    async def parent(input: None, step, ctx):
        spawned = await step.spawn("spawned", child, {"n": 2, "wait": "w"})
        if ctx.attempt == 1:
            raise ValueError("the first attempt fails")
        return spawned.run_id

    async with open_runtime(parent, child) as runtime:
        run = await runtime.start("parent", None, run_id="p")
        assert await run.result(timeout="30s") == "p-0-0"
        assert await runtime.handle("p-0-0").status() == "waiting_event"
        assert [each.run_id for each in await run.children()] == ["p-0-0"]
        assert await run.parent() is None
