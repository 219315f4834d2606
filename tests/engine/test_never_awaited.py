"""What a body asks for and never awaits fails the run by name, on every replay, and what is taken back does not."""

from __future__ import annotations

import asyncio
import gc
import logging
import warnings

import pytest

from perdure import NeverAwaited
from perdure.strict import RunFailed, step, workflow


@step(retries=0)
async def charge(cents: int) -> int:
    return cents


@workflow(id="forgets-a-step", retries=3)
async def forgets_a_step(input: str, step) -> str:
    first = step.run("first", charge, 1)  # the line that is named
    await step.sleep("while", "1h")
    return "done" if first else "never"


@workflow(id="forgets-a-call")
async def forgets_a_call(input: str, step) -> list[int]:
    calls = [charge(cents) for cents in range(3)]
    return [await calls[0], await calls[2]]


@workflow(id="forgets-a-sleep")
async def forgets_a_sleep(input: str, step) -> str:
    grace = step.sleep("grace", "1h")
    return "done" if grace else "never"


@workflow(id="forgets-the-first-of-many")
async def forgets_the_first_of_many(input: str, step) -> int:
    lost = charge(0)
    total = sum([await charge(cents) for cents in range(200)])
    return total if lost else 0


@workflow(id="gives-back")
async def gives_back(input: str, step) -> object:
    return step.run("first", charge, 1)


@workflow(id="leaves-a-task")
async def leaves_a_task(input: str, step) -> str:
    asyncio.create_task(step.run("first", charge, 1))  # noqa: RUF006
    return "done"


@workflow(id="pays-twice")
async def pays_twice(input: str, step) -> int:
    return await charge(1) + await charge(2)


@workflow(id="leaves-a-child")
async def leaves_a_child(input: str, step) -> str:
    asyncio.create_task(step.invoke("first", pays_twice, "x"))  # noqa: RUF006
    return "done"


@workflow(id="leaves-a-group")
async def leaves_a_group(input: str, step) -> str:
    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(step.run("first", charge, 1))
            group.create_task(step.run("second", charge, 2))

    asyncio.create_task(both())  # noqa: RUF006
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return "done"


@workflow(id="takes-back")
async def takes_back(input: str, step) -> str:
    unwanted = step.run("unwanted", charge, 1)
    unwanted.close()
    task = asyncio.create_task(step.run("cancelled", charge, 2))
    task.cancel()
    late = asyncio.create_task(step.sleep("late", "1d"))
    begun = asyncio.create_task(step.run("begun", charge, 3))
    await asyncio.sleep(0)
    begun.cancel()
    late.cancel()
    return "done"


@workflow(id="races")
async def races(input: str, step) -> str:
    slow = asyncio.create_task(step.run("slow", asyncio.sleep, 30))
    quick = asyncio.create_task(step.run("quick", charge, 7))
    done, _ = await asyncio.wait([slow, quick], return_when=asyncio.FIRST_COMPLETED)
    return "quick" if quick in done else "slow"


@workflow(id="keeps-a-ticker")
async def keeps_a_ticker(input: str, step) -> str:
    async def tick() -> None:
        while True:
            await step.sleep("1h")

    asyncio.create_task(tick())  # noqa: RUF006
    return str(await charge(5))


@pytest.mark.parametrize("residents_max", [0, 100])
@pytest.mark.parametrize(
    ("definition", "name"),
    [
        (forgets_a_step, "first"),
        (forgets_a_call, "charge"),
        (forgets_a_sleep, "grace"),
        (gives_back, "first"),
        (forgets_the_first_of_many, "charge"),
    ],
    ids=["step", "decorated", "sleep", "returned", "many"],
)
def test_a_call_that_nobody_awaited_fails_the_run_for_good(
    perdure_runtime, perdure_clock, definition, name: str, residents_max: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Python's own complaint would come from the garbage collector
        with perdure_runtime(definition, residents_max=residents_max) as runtime:
            run = runtime.start(definition, "x")
            perdure_clock.advance("1h")
            with pytest.raises(RunFailed) as failed:
                run.result()
            assert run.status().attempt == 1
            assert run.replay().ok
        gc.collect()
    cause = failed.value.__cause__
    assert isinstance(cause, NeverAwaited)
    assert f"{name!r} and never awaited it" in cause.message


def test_the_line_that_asked_is_named(perdure_runtime, perdure_clock) -> None:
    with perdure_runtime(forgets_a_step) as runtime:
        run = runtime.start(forgets_a_step, "x")
        perdure_clock.advance("1h")
        with pytest.raises(RunFailed) as failed:
            run.result()
    line = forgets_a_step.function.__code__.co_firstlineno + 2
    assert f"test_never_awaited.py:{line}," in failed.value.__cause__.where


@pytest.mark.parametrize("definition", [leaves_a_task, leaves_a_group, leaves_a_child], ids=["task", "group", "child"])
def test_a_task_at_work_that_nobody_awaited_fails_the_run(perdure_runtime, definition) -> None:
    with perdure_runtime(definition, pays_twice) as runtime:
        run = runtime.start(definition, "x")
        with pytest.raises(RunFailed) as failed:
            run.result()
        assert run.replay().ok
    cause = failed.value.__cause__
    assert isinstance(cause, NeverAwaited)
    assert "still at work on 'first'" in cause.message
    assert "test_never_awaited.py:" in cause.where


@pytest.mark.parametrize(
    ("definition", "output"),
    [(takes_back, "done"), (races, "quick"), (keeps_a_ticker, "5")],
    ids=["taken back", "race", "ticker"],
)
def test_what_is_taken_back_or_loses_nothing_may_stay_behind(perdure_runtime, definition, output: str) -> None:
    with perdure_runtime(definition) as runtime:
        run = runtime.start(definition, "x")
        assert run.result() == output
        assert run.replay().ok


def test_a_history_that_was_recorded_as_completed_still_replays(perdure_runtime, monkeypatch) -> None:
    """Releases before this one let such a body complete."""
    with perdure_runtime(leaves_a_task) as runtime:
        with monkeypatch.context() as patched:
            patched.setattr("perdure.core.machine.neglected", lambda *_: None)
            run = runtime.start(leaves_a_task, "x")
            assert run.result() == "done"
        assert run.replay().ok


def test_nothing_is_logged_of_a_body_that_neglects_nothing(perdure_runtime, caplog) -> None:
    with perdure_runtime(takes_back) as runtime:
        runtime.start(takes_back, "x").result()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
