"""What a background task of a body raises is logged once, when the run ends, unless somebody asked for it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from perdure.strict import step, workflow


@step(retries=0)
async def fail(what: str) -> None:
    raise KeyError(what)


@workflow(id="careless")
async def careless(input: str, step) -> str:
    async def behind() -> None:
        await fail(input)

    asyncio.create_task(behind(), name="billing")  # noqa: RUF006  # the loop keeps it, and nobody awaits it
    await step.sleep("while", "1h")
    return "done"


@workflow(id="careful")
async def careful(input: str, step) -> str:
    task = asyncio.create_task(fail(input))
    await step.sleep("while", "1h")
    try:
        await task
    except KeyError:
        return "heard"
    return "done"


@workflow(id="cancelling")
async def cancelling(input: str, step) -> str:
    task = asyncio.create_task(step.sleep("long", "1d"))
    await step.sleep("while", "1h")
    task.cancel()
    return "done"


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.name, record.getMessage()) for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("residents_max", [0, 100])
def test_an_exception_that_nobody_awaited_is_logged_once(
    perdure_runtime, perdure_clock, caplog, residents_max: int
) -> None:
    with perdure_runtime(careless, residents_max=residents_max) as runtime:
        run = runtime.start(careless, "no card")
        perdure_clock.advance("1h")
        assert run.result() == "done"
        assert run.replay().ok
    assert logged(caplog) == [("perdure.run.careless", "billing failed, and nobody awaited it: KeyError('no card')")]


def test_what_was_awaited_or_cancelled_is_not_logged(perdure_runtime, perdure_clock, caplog) -> None:
    with perdure_runtime(careful, cancelling) as runtime:
        runs = [runtime.start(each, "x") for each in (careful, cancelling)]
        perdure_clock.advance("1h")
        assert [run.result() for run in runs] == ["heard", "done"]
    assert logged(caplog) == []
