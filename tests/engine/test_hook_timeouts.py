"""A hook with a timeout: what its body gets when nobody calls, and what whoever calls late is told."""

from __future__ import annotations

import pytest

from perdure import HookRefused
from perdure.strict import Runtime, workflow
from perdure.testing import Simulation, crash_everywhere


@workflow(id="asks")
async def asks(input: str, step) -> list:
    hook = step.hook(input, timeout="3d")
    return [await hook, hook.timed_out]


@workflow(id="listens")
async def listens(input: str, step) -> list:
    hook = step.hook(input, timeout="1h")
    heard = [payload async for payload in hook]
    return [heard, hook.timed_out]


@workflow(id="insists")
async def insists(input: str, step) -> str:
    hook = step.hook(input, timeout="1m")
    await hook
    try:
        await hook
    except Exception as error:  # noqa: BLE001  # what it says of the reason is asserted
        return str(error.why)
    return "gave another"


@workflow(id="asks-again")
async def asks_again(input: str, step) -> list:
    first = await step.hook(input, timeout="1h")
    second = await step.hook(input, timeout="1h")
    return [first, second]


@workflow(id="tries-again", retries=1)
async def tries_again(input: str, step, ctx) -> list:
    answer = await step.hook(input, timeout="1h")
    if ctx.attempt == 1:
        raise RuntimeError("once more")
    return [answer, ctx.attempt]


def test_an_await_gives_none_after_its_timeout_and_closes_the_hook():
    with Simulation(asks, seed=1) as simulation:
        run = simulation.start("asks", "approval:1")
        simulation.advance("2d")
        assert run.status().hooks == ("approval:1",)
        simulation.run()
        assert run.result() == [None, True]
        with pytest.raises(HookRefused, match="no open hook has the token"):
            simulation.resume_hook("approval:1", "late")
        kinds = [entry.kind for entry in run.history()]
        assert kinds[-4:] == ["wait_hook", "wait_timed_out", "hook_closed", "completed"]


def test_a_payload_in_time_is_no_timeout_also_when_it_is_none():
    with Simulation(asks, seed=1) as simulation:
        run = simulation.start("asks", "approval:1")
        simulation.advance("2d")
        simulation.resume_hook("approval:1", None)
        simulation.run()
        assert run.result() == [None, False]


def test_the_timeout_is_of_each_wait_when_a_hook_is_iterated():
    with Simulation(listens, seed=1) as simulation:
        run = simulation.start("listens", "lines")
        for number in range(3):
            simulation.advance("50m")
            simulation.resume_hook("lines", number)
        simulation.run()
        assert run.result() == [[0, 1, 2], True]


def test_a_hook_that_timed_out_says_so_when_it_is_awaited_again():
    with Simulation(insists, seed=1) as simulation:
        run = simulation.start("insists", "approval:1")
        simulation.run()
        assert "its timeout passed" in run.result()


def test_its_token_is_free_for_the_next_hook():
    with Simulation(asks_again, seed=1) as simulation:
        run = simulation.start("asks-again", "approval:1")
        simulation.advance("90m")
        simulation.resume_hook("approval:1", "in time")
        simulation.run()
        assert run.result() == [None, "in time"]


def test_a_timeout_that_passed_is_not_waited_for_again_by_the_next_attempt():
    with Simulation(tries_again, seed=1) as simulation:
        run = simulation.start("tries-again", "approval:1")
        simulation.run()
        assert run.result() == [None, 2]


@pytest.mark.parametrize("body", [asks, listens, asks_again, tries_again])
def test_a_crash_at_any_commit_changes_nothing(body):
    assert crash_everywhere(body, "approval:1").outcome[0] == "completed"


async def test_it_passes_on_the_real_clock_also_over_a_restart(tmp_path):
    @workflow(id="short")
    async def short(input: str, step) -> list:
        hook = step.hook(input, timeout="200ms")
        return [await hook, hook.timed_out]

    async with Runtime(tmp_path / "l.duckdb", workflows=[short], residents_max=0) as runtime:
        run_id = (await runtime.start("short", "approval:1")).run_id
    async with Runtime(tmp_path / "l.duckdb", workflows=[short], residents_max=0) as runtime:
        run = runtime.handle(run_id)
        assert await run.result(timeout="20s") == [None, True]
        assert (await run.replay()).ok
        with pytest.raises(HookRefused, match="no open hook has the token"):
            await runtime.resume_hook("approval:1", "late")
