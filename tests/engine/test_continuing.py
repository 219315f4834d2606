"""`step.continue_as`: a run ends and another one goes on, for callers, parents and keys as if it were the same."""

from __future__ import annotations

import asyncio

import pytest

from perdure import ChildCancelled, ChildFailed, InvalidInput, Queue, RunCancelled, RunFailed, RunTimeout, UnknownRun
from perdure.strict import workflow


@workflow(id="loop")
async def loop(input: dict, step) -> list:
    """Count up to `until`, a run for each number; then do what `last` says."""
    number = input["number"]
    await step.run("work", lambda: number)
    if number < input["until"]:
        await step.continue_as({**input, "number": number + 1})
    if input.get("last") == "wait":
        await step.wait_for_event("go", type="go")
    if input.get("last") == "fail":
        raise ValueError("the last one fails")
    return ["counted", number]


async def chain(runtime, first: str) -> list[str]:
    """The run_ids of a chain, from the first on."""
    found = [first]
    while (status := await runtime.handle(found[-1]).status()).continued_as is not None:
        following = await runtime.handle(status.continued_as).status()
        assert following.continued_from == found[-1]
        found.append(following.run_id)
    return found


async def waits(runtime, run_id: str):
    """Wait until there is such a run, and it waits for an event."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await runtime.handle(run_id).wait("waiting_event")
            except UnknownRun:
                await asyncio.sleep(0.001)


async def test_the_result_is_that_of_the_last_run_of_the_chain(open_runtime):
    async with open_runtime(loop) as runtime:
        run = await runtime.start("loop", {"number": 1, "until": 4}, run_id="a", tags={"tenant": "42"})
        assert await run.result(timeout="20s") == ["counted", 4]
        assert await chain(runtime, "a") == ["a", "a+2", "a+3", "a+4"]
        for run_id in ("a", "a+2", "a+3", "a+4"):
            status = await runtime.handle(run_id).status()
            assert (status, status.tags) == ("completed", {"tenant": "42"})
            assert (await runtime.handle(run_id).replay()).ok


async def test_waiting_for_the_end_follows_the_chain_and_waiting_for_a_status_does_not(open_runtime):
    async with open_runtime(loop) as runtime:
        run = await runtime.start("loop", {"number": 1, "until": 2, "last": "wait"}, run_id="a")
        assert (await run.wait("completed", timeout="20s")).run_id == "a"
        with pytest.raises(RunTimeout):
            await run.wait(timeout="20ms")
        await waits(runtime, "a+2")
        await runtime.send_event("go")
        assert (await run.wait(timeout="20s")).run_id == "a+2"


async def test_the_failure_of_the_last_run_is_that_of_the_chain(open_runtime):
    async with open_runtime(loop) as runtime:
        run = await runtime.start("loop", {"number": 1, "until": 3, "last": "fail"}, run_id="a")
        with pytest.raises(RunFailed) as failed:
            await run.result(timeout="20s")
        assert failed.value.run_id == "a+3"


async def test_a_cancel_goes_to_the_newest_run_of_the_chain(open_runtime):
    async with open_runtime(loop) as runtime:
        run = await runtime.start("loop", {"number": 1, "until": 3, "last": "wait"}, run_id="a")
        await waits(runtime, "a+3")
        assert await run.cancel()
        with pytest.raises(RunCancelled) as cancelled:
            await run.result(timeout="20s")
        assert cancelled.value.run_id == "a+3"
        assert not await run.cancel()


async def test_the_key_of_a_chain_finds_its_newest_run_and_starts_no_other(open_runtime):
    async with open_runtime(loop) as runtime:
        started = {"number": 1, "until": 2, "last": "wait"}
        await runtime.start("loop", started, run_id="a", idempotency_key="k")
        await waits(runtime, "a+2")
        again = await runtime.start("loop", started, idempotency_key="k")
        assert again.run_id == "a+2"
        assert len(await runtime.runs()) == 2


async def test_an_id_that_a_stranger_has_is_left_to_it(open_runtime):
    async with open_runtime(loop) as runtime:
        await (await runtime.start("loop", {"number": 9, "until": 9}, run_id="a+2")).result(timeout="20s")
        run = await runtime.start("loop", {"number": 1, "until": 3}, run_id="a")
        assert await run.result(timeout="20s") == ["counted", 3]
        assert await chain(runtime, "a") == ["a", "a+2~2", "a+3"]
        assert await runtime.handle("a+2").result(timeout="20s") == ["counted", 9]
        assert (await run.replay()).ok


async def test_an_input_that_does_not_fit_is_told_to_the_body_which_goes_on(open_runtime):
    @workflow(id="picky")
    async def picky(input: int, step) -> str:
        try:
            await step.continue_as("no number")
        except InvalidInput:
            return "told"

    async with open_runtime(picky) as runtime:
        run = await runtime.start("picky", 1)
        assert await run.result(timeout="20s") == "told"
        assert len(await runtime.runs()) == 1


async def test_finally_runs_with_its_steps_and_except_exception_lets_it_pass(open_runtime):
    @workflow(id="careful")
    async def careful(input: int, step) -> str:
        try:
            if input == 1:
                await step.continue_as(2)
        except Exception:  # noqa: BLE001  # this is what must let it pass
            return "swallowed"
        finally:
            await step.run("tidy", lambda: "tidied")
        return "second"

    async with open_runtime(careful) as runtime:
        run = await runtime.start("careful", 1, run_id="a")
        assert await run.result(timeout="20s") == "second"
        assert [entry.kind for entry in await run.history()] == ["created", "step", "step_completed", "continued"]
        assert (await run.replay()).ok


async def test_swallowed_it_counts_for_nothing(open_runtime):
    @workflow(id="swallows")
    async def swallows(input: int, step) -> str:
        await asyncio.gather(step.continue_as(2), return_exceptions=True)
        return "stays"

    async with open_runtime(swallows) as runtime:
        assert await (await runtime.start("swallows", 1)).result(timeout="20s") == "stays"
        assert len(await runtime.runs()) == 1


@pytest.mark.parametrize("way", ["gather", "group"])
async def test_it_leaves_through_gather_and_through_a_task_group(open_runtime, way):
    @workflow(id="inside")
    async def inside(input: dict, step) -> object:
        if input.get("second"):
            return "second"
        if input["way"] == "gather":
            await asyncio.gather(step.continue_as({"second": True}), step.sleep("1h"))
        async with asyncio.TaskGroup() as group:
            group.create_task(step.continue_as({"second": True}))
            group.create_task(step.sleep("1h"))
        return "never"

    async with open_runtime(inside) as runtime:
        run = await runtime.start("inside", {"way": way})
        assert await run.result(timeout="20s") == "second"
        assert (await run.replay()).ok


async def test_a_run_that_was_asked_to_stop_does_not_go_on_as_another(open_runtime):
    @workflow(id="stubborn")
    async def stubborn(input: int, step) -> str:
        try:
            await step.wait_for_event("go", type="go")
        finally:
            await step.continue_as(input + 1)

    async with open_runtime(stubborn) as runtime:
        run = await runtime.start("stubborn", 1)
        await run.wait("waiting_event", timeout="20s")
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result(timeout="20s")
        assert len(await runtime.runs()) == 1
        assert (await run.replay()).ok


async def test_a_loop_that_waits_for_nothing_lets_others_have_their_turn(open_runtime):
    @workflow(id="hot")
    async def hot(input: int, step) -> str:
        await step.continue_as(input + 1)

    async with open_runtime(hot, loop) as runtime:
        run = await runtime.start("hot", 1, run_id="hot")
        other = await runtime.start("loop", {"number": 1, "until": 1})
        assert await other.result(timeout="20s") == ["counted", 1]
        while not await run.cancel():
            pass
        with pytest.raises(RunCancelled):
            await run.result(timeout="20s")


async def test_a_parent_waits_for_the_end_of_its_childs_chain(open_runtime):
    @workflow(id="parent")
    async def parent(input: None, step) -> list:
        child = await step.spawn("spawned", "loop", {"number": 1, "until": 3})
        invoked = await step.invoke("invoked", "loop", {"number": 1, "until": 4})
        return [invoked, await child.result()]

    async with open_runtime(loop, parent) as runtime:
        run = await runtime.start("parent", None, run_id="p")
        assert await run.result(timeout="20s") == [["counted", 4], ["counted", 3]]
        children = {child.run_id for child in await run.children()}
        assert children == {"p-0-0", "p-0-0+2", "p-0-0+3", "p-0-1", "p-0-1+2", "p-0-1+3", "p-0-1+4"}
        assert (await runtime.handle("p-0-1+3").parent()).run_id == "p"
        assert (await run.replay()).ok


async def test_a_parent_hears_of_the_failure_and_the_cancel_of_the_last_run_of_a_chain(open_runtime):
    @workflow(id="parent")
    async def parent(input: str, step) -> str:
        try:
            return await step.invoke("child", "loop", {"number": 1, "until": 3, "last": input})
        except (ChildFailed, ChildCancelled) as error:
            return type(error).__name__

    async with open_runtime(loop, parent) as runtime:
        failed = await runtime.start("parent", "fail")
        assert await failed.result(timeout="20s") == "ChildFailed"
        cancelled = await runtime.start("parent", "wait", run_id="p")
        await waits(runtime, "p-0-0+3")
        await runtime.handle("p-0-0").cancel()
        assert await cancelled.result(timeout="20s") == "ChildCancelled"


async def test_a_cancelled_parent_stops_the_newest_run_of_its_childs_chain(open_runtime):
    @workflow(id="parent")
    async def parent(input: None, step) -> object:
        return await step.invoke("child", "loop", {"number": 1, "until": 3, "last": "wait"})

    async with open_runtime(loop, parent) as runtime:
        run = await runtime.start("parent", None, run_id="p")
        await waits(runtime, "p-0-0+3")
        await run.cancel()
        assert await runtime.handle("p-0-0+3").wait(timeout="20s") == "cancelled"


async def test_a_chain_goes_on_after_a_restart_and_its_parent_hears_of_the_end(open_runtime):
    @workflow(id="parent")
    async def parent(input: None, step) -> object:
        return await step.invoke("child", "loop", {"number": 1, "until": 3, "last": "wait"})

    async with open_runtime(loop, parent) as runtime:
        await runtime.start("parent", None, run_id="p")
        await waits(runtime, "p-0-0+3")
    async with open_runtime(loop, parent) as runtime:
        await runtime.send_event("go")
        assert await runtime.handle("p").result(timeout="20s") == ["counted", 3]


async def test_the_next_run_takes_the_newest_code_that_its_input_fits(open_runtime):
    @workflow(id="evolving", version="1")
    async def first(input: int, step) -> str:
        await step.wait_for_event("go", type="go")
        await step.continue_as(input + 1)

    @workflow(id="evolving", version="2")
    async def second(input: int, step) -> str:
        return f"second got {input}"

    @workflow(id="evolving", version="3")
    async def unfitting(input: list, step) -> str:
        return "never"

    async with open_runtime(first) as runtime:
        run = await runtime.start("evolving", 1, run_id="a")
        await run.wait("waiting_event", timeout="20s")
    async with open_runtime(first, second) as runtime:
        await runtime.send_event("go")
        assert await runtime.handle("a").result(timeout="20s") == "second got 2"
        await runtime.start("evolving", 5, version="1", run_id="b")
        await runtime.handle("b").wait("waiting_event", timeout="20s")
    async with open_runtime(first, second, unfitting) as runtime:
        await runtime.send_event("go")
        following = await waits(runtime, "b+2")
        assert following.version == "1"


async def test_a_fork_of_a_chain_is_a_chain_of_its_own(open_runtime):
    async with open_runtime(loop) as runtime:
        await (await runtime.start("loop", {"number": 1, "until": 3}, run_id="a")).result(timeout="20s")
        fork = await runtime.handle("a+2").fork("work", run_id="f")
        assert await fork.result(timeout="20s") == ["counted", 3]
        assert await chain(runtime, "f") == ["f", "f+2"]
        assert (await fork.status()).continued_from is None


async def test_signals_that_nobody_took_are_carried_over_in_order(open_runtime):
    @workflow(id="takes-two")
    async def takes_two(input: list, step) -> list:
        """Take two signals a run, and go on as another one until a signal says stop."""
        taken = [*input, await step.wait_for_signal("item"), await step.wait_for_signal("item")]
        if "stop" not in taken:
            await step.run("pause", lambda: None)
            await step.continue_as(taken)
        return taken

    async with open_runtime(takes_two) as runtime:
        run = await runtime.start("takes-two", [], run_id="a")
        sent = [str(number) for number in range(7)] + ["stop"]
        await asyncio.gather(*[run.signal("item", each) for each in sent])
        assert await run.result(timeout="20s") == sent
        found = await chain(runtime, "a")
        assert len(found) == 4
        for run_id in found:
            assert (await runtime.handle(run_id).replay()).ok


async def test_a_signal_to_a_run_that_continued_goes_to_the_newest(open_runtime):
    @workflow(id="waits-at-three")
    async def waits_at_three(input: int, step) -> object:
        if input < 3:
            await step.continue_as(input + 1)
        return await step.wait_for_signal("go")

    async with open_runtime(waits_at_three) as runtime:
        run = await runtime.start("waits-at-three", 1, run_id="a")
        await waits(runtime, "a+3")
        await run.signal("go", "went")
        assert await run.result(timeout="20s") == "went"


async def test_a_chain_stays_on_its_queue_and_carries_its_signals_there(open_runtime):
    @workflow(id="queued")
    async def queued(input: int, step) -> object:
        await step.sleep("5ms")
        if input < 3:
            await step.continue_as(input + 1)
        return await step.wait_for_signal("go")

    async with open_runtime(queued, queues=[Queue("q", max_concurrent_runs=1)]) as runtime:
        run = await runtime.start("queued", 1, run_id="a", queue="q")
        await run.signal("go", "went")
        assert await run.result(timeout="20s") == "went"
        assert await chain(runtime, "a") == ["a", "a+2", "a+3"]
        kinds = [entry.kind for entry in await runtime.handle("a+3").history()]
        assert kinds[:3] == ["created", "signal_received", "began"]


@pytest.mark.parametrize("on_parent_close", ["cancel", "abandon"])
async def test_the_next_run_of_a_child_is_abandoned_or_stopped_as_the_first_was_to_be(open_runtime, on_parent_close):
    @workflow(id="parent")
    async def parent(input: str, step) -> None:
        await step.spawn("child", loop, {"number": 1, "until": 2, "last": "wait"}, on_parent_close=input)
        await step.wait_for_event("never", type="never")

    async with open_runtime(parent, loop) as runtime:
        run = await runtime.start("parent", on_parent_close, run_id="p")
        await waits(runtime, "p-0-0+2")
        await run.cancel()
        assert await run.wait(timeout="20s") == "cancelled"
        left = await runtime.handle("p-0-0+2").status()
        assert left == ("cancelled" if on_parent_close == "cancel" else "waiting_event")
