"""What a run tells: the events that it emits, and what it knows of itself."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from perdure import RunFailed, UnknownRun
from perdure.strict import DefinitionError, RunState, Runtime, workflow


def flaky(path: str) -> str:
    """Fail the first time."""
    from pathlib import Path

    if not Path(path).exists():
        Path(path).write_text("")
        raise RuntimeError("not yet")
    return "done"


@workflow(id="teller", retries=2)
async def teller(input: str, step) -> str:
    await step.emit("begun", {"input": input})
    if input:
        await step.run("flaky", flaky, input, retries=0)
    await step.wait_for_signal("go")
    await step.emit("done")
    return "told"


@workflow(id="knower", timeout="1h")
async def knower(input: str, step, ctx) -> RunState:
    import asyncio

    task = asyncio.create_task(step.wait_for_signal("other"))
    await asyncio.sleep(0)
    state = await ctx.state()
    if input == "wait":
        await step.wait_for_signal("go")
    task.cancel()
    return state


async def test_events_are_listed_so_far_and_come_one_by_one_until_the_run_ends(open_runtime):
    async with open_runtime(teller) as runtime:
        run = await runtime.start("teller", "")
        first = await run.events()
        assert [(event.type, event.payload, event.position, event.index) for event in first] == [
            ("begun", {"input": ""}, 1, 0)
        ]
        assert abs(first[0].at - datetime.now(UTC)) < timedelta(minutes=1)
        heard: list = []

        async def listen(start: int) -> None:
            async for event in run.events(start=start):
                heard.append((start, event.type))

        listeners = [asyncio.create_task(listen(start)) for start in (0, 1, 2)]
        await run.signal("go")
        await asyncio.wait_for(asyncio.gather(*listeners), 10)
        assert sorted(heard) == [(0, "begun"), (0, "done"), (1, "done")]
        assert [event.type async for event in run.events(start=1)] == ["done"]
        assert (await run.replay()).ok


async def test_a_run_that_is_tried_again_tells_each_event_once(open_runtime, tmp_path):
    async with open_runtime(teller) as runtime:
        run = await runtime.start("teller", str(tmp_path / "mark"))
        await run.signal("go")
        assert await run.result(timeout="20s") == "told"
        assert [event.type for event in await run.events()] == ["begun", "done"]
        assert (await run.replay()).ok


async def test_events_of_nobody_and_from_nowhere_are_refused(open_runtime):
    async with open_runtime(teller) as runtime:
        with pytest.raises(UnknownRun):
            await runtime.handle("nobody").events()
        for start in (-1, True, "x"):
            with pytest.raises(DefinitionError, match="start="):
                runtime.handle("nobody").events(start=start)


async def test_an_event_without_a_type_is_refused(open_runtime):
    @workflow(id="untyped")
    async def untyped(input: None, step) -> None:
        await step.emit("")

    async with open_runtime(untyped) as runtime:
        run = await runtime.start("untyped", None)
        with pytest.raises(RunFailed, match="is no event type"):
            await run.result(timeout="20s")


async def test_a_body_sees_its_own_state_and_a_replay_sees_the_same(open_runtime):
    async with open_runtime(knower, residents_max=0) as runtime:
        run = await runtime.start("knower", "wait", tags={"tenant": "42"})
        await run.signal("go")
        state = await run.result(timeout="20s")
        assert isinstance(state, RunState)
        status = await run.status()
        assert (state.run_id, state.workflow, state.version, state.attempt) == (run.run_id, "knower", "1", 1)
        assert (state.status, state.tags, state.cancel_requested) == ("running", {"tenant": "42"}, False)
        assert state.created_at == status.created_at
        assert state.timeout_at == state.created_at + timedelta(hours=1)
        assert state.entries == 2
        assert state.waits_for == (("wait_signal", "other"),)
        assert (await run.replay()).ok


def test_a_blocking_runtime_gives_events_as_a_list_and_one_by_one(tmp_path):
    with Runtime(tmp_path / "l.duckdb", workflows=[teller]) as runtime:
        run = runtime.start("teller", "")
        assert [event.type for event in run.events().so_far()] == ["begun"]
        run.signal("go")
        assert [event.type for event in run.events()] == ["begun", "done"]
        assert [event.type for event in run.events(start=1)] == ["done"]
