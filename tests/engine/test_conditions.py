"""Conditions: `wait_until` looks again after each thing that reaches the run, and goes on as soon as it holds."""

from __future__ import annotations

import pytest

from perdure import RunFailed
from perdure.strict import workflow


@workflow(id="votes")
async def votes(input: int, step) -> list:
    import asyncio

    taken: list = []

    async def collect() -> None:
        while True:
            taken.append(await step.wait_for_signal("vote"))

    collector = asyncio.create_task(collect())
    await step.wait_until(lambda: len(taken) >= input)
    collector.cancel()
    return taken


async def test_a_condition_that_holds_at_once_records_nothing(open_runtime):
    @workflow(id="at-once")
    async def at_once(input: int, step) -> bool:
        return await step.wait_until(lambda: input > 0)

    async with open_runtime(at_once) as runtime:
        run = await runtime.start("at-once", 1)
        assert await run.result(timeout="20s") is True
        assert [entry.kind for entry in await run.history()] == ["created", "completed"]


async def test_a_parked_run_goes_on_when_its_condition_holds_and_shows_its_line_before(open_runtime):
    async with open_runtime(votes, residents_max=0) as runtime:
        run = await runtime.start("votes", 3)
        waits = {each.kind: each for each in (await run.status()).waits_for}
        line = votes.function.__code__.co_firstlineno + 11
        assert waits["wait_until"].site == f"test_conditions.py:{line}"
        assert await run.status() == "waiting_event"
        for number in range(3):
            await run.signal("vote", number)
        assert await run.result(timeout="20s") == [0, 1, 2]
        assert (await run.replay()).ok


async def test_a_condition_that_never_holds_times_out_and_gives_false(open_runtime):
    @workflow(id="never")
    async def never(input: None, step) -> bool:
        return await step.wait_until(lambda: False, timeout="30ms")

    async with open_runtime(never) as runtime:
        run = await runtime.start("never", None)
        assert await run.result(timeout="20s") is False
        assert (await run.replay()).ok


async def test_one_condition_that_holds_makes_others_hold_at_once(open_runtime):
    @workflow(id="chain")
    async def chain(input: int, step) -> list:
        import asyncio

        said: list = []

        async def one(number: int) -> None:
            await step.wait_until(lambda: len(said) == number)
            said.append(number)

        tasks = [asyncio.create_task(one(number)) for number in reversed(range(1, input))]
        await step.sleep("1ms")
        said.append(0)
        await asyncio.gather(*tasks)
        return said

    async with open_runtime(chain) as runtime:
        run = await runtime.start("chain", 6)
        assert await run.result(timeout="20s") == list(range(6))
        assert (await run.replay()).ok


async def test_a_step_that_completes_has_conditions_looked_at_also_on_replay(open_runtime):
    """The replay's shortcut for sequential steps must not pass over a condition."""

    @workflow(id="worker")
    async def worker(input: int, step) -> list:
        import asyncio

        done: list = []
        seen: list = []

        async def watch() -> None:
            await step.wait_until(lambda: len(done) >= 2)
            seen.append(list(done))
            await step.run("seen", str, len(done))

        task = asyncio.create_task(watch())
        for number in range(input):
            done.append(await step.run(f"work {number}", abs, number))
        await task
        return seen

    async with open_runtime(worker) as runtime:
        run = await runtime.start("worker", 5)
        assert await run.result(timeout="20s") == [[0, 1]]
        assert (await run.replay()).ok


async def test_what_the_condition_raises_is_raised_in_the_body(open_runtime):
    @workflow(id="raising")
    async def raising(input: None, step) -> str:
        import asyncio

        values: list = []

        async def fill() -> None:
            await step.sleep("1ms")
            values.append({})

        task = asyncio.create_task(fill())
        try:
            await step.wait_until(lambda: values and values[0]["missing"])
        except KeyError:
            await task
            return "raised"

    async with open_runtime(raising) as runtime:
        run = await runtime.start("raising", None)
        assert await run.result(timeout="20s") == "raised"
        assert (await run.replay()).ok


async def test_what_is_no_condition_is_refused_with_the_fix(open_runtime):
    @workflow(id="wrong")
    async def wrong(input: str, step) -> None:
        async def waits() -> bool:
            await step.sleep("1ms")
            return True

        if input == "async":
            await step.wait_until(waits)
        elif input == "awaitable":
            await step.wait_until(lambda: step.sleep("1ms"))
        else:
            await step.wait_until(len(input) > 3)

    async with open_runtime(wrong) as runtime:
        for what, message in [
            ("async", "gives something to await"),
            ("awaitable", "gives something to await"),
            ("", "takes a function, not False"),
        ]:
            run = await runtime.start("wrong", what)
            with pytest.raises(RunFailed, match=message):
                await run.result(timeout="20s")


async def test_a_condition_given_up_by_a_timeout_of_the_body_is_dropped(open_runtime):
    @workflow(id="outer")
    async def outer(input: None, step) -> str:
        import asyncio

        try:
            async with asyncio.timeout(0.02):
                await step.wait_until(lambda: False)
        except TimeoutError:
            return "given up"

    async with open_runtime(outer) as runtime:
        run = await runtime.start("outer", None)
        assert await run.result(timeout="20s") == "given up"
        kinds = [entry.kind for entry in await run.history()]
        assert kinds.count("dropped") == 1
        assert (await run.replay()).ok


async def test_a_cancelled_run_leaves_its_condition(open_runtime):
    async with open_runtime(votes) as runtime:
        run = await runtime.start("votes", 3)
        assert await run.cancel()
        assert await run.wait(timeout="20s") == "cancelled"
        assert (await run.replay()).ok
