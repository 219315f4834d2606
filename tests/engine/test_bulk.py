"""Many runs at once: cancelled and retried by a filter, a few a batch."""

from __future__ import annotations

import asyncio

import pytest

from perdure import MemoryLedger, Runtime
from perdure.storage.columns import Columns
from perdure.strict import workflow

mended: set[str] = set()


def work(name: str) -> str:
    if name not in mended:
        raise ValueError("not yet")
    return name


@workflow(id="waits")
async def waits(input: None, step) -> None:
    await step.wait_for_event("go", type="go")


@workflow(id="flaky")
async def flaky(input: None, step) -> str:
    return await step.run("work", work, "work", retries=0)


@workflow(id="parent")
async def parent(input: None, step) -> None:
    await step.invoke("child", waits, None)


@pytest.fixture(autouse=True)
def broken_again():
    mended.clear()
    yield
    mended.clear()


async def started(runtime, name: str, count: int, status: str, **options) -> list:
    runs = await asyncio.gather(*[runtime.start(name, None, **options) for _ in range(count)])
    await asyncio.gather(*[run.wait(status, timeout="20s") for run in runs])
    return runs


async def test_cancel_runs_stops_what_the_filter_finds_and_nothing_else(open_runtime):
    async with open_runtime(waits) as runtime:
        mine = await started(runtime, "waits", 120, "waiting_event", tags={"tenant": "mine"})
        (other,) = await started(runtime, "waits", 1, "waiting_event", tags={"tenant": "other"})
        told: list[tuple[int, int]] = []
        number = await runtime.cancel_runs(tags={"tenant": "mine"}, progress=lambda *now: told.append(now))
        assert number == 120
        assert told == [(50, 120), (100, 120), (120, 120)]
        assert {await run.wait(timeout="20s") for run in mine} == {"cancelled"}
        assert await other.status() == "waiting_event"
        assert await runtime.cancel_runs(tags={"tenant": "mine"}) == 0
        assert await runtime.cancel_runs(status="completed") == 0


async def test_retry_runs_retries_the_failed_ones_and_cancelled_ones_only_when_asked(open_runtime):
    async with open_runtime(flaky, waits) as runtime:
        failed = await started(runtime, "flaky", 60, "failed")
        await started(runtime, "waits", 3, "waiting_event")
        await runtime.cancel_runs(workflow="waits")
        mended.add("work")
        assert await runtime.retry_runs() == 60
        for run in failed:
            assert await run.result(timeout="20s") == "work"
        assert await runtime.retry_runs() == 0
        assert await runtime.retry_runs(workflow="waits", status="cancelled") == 3
        assert len(await runtime.runs(workflow="waits", status="waiting_event")) == 3


async def test_parents_and_their_children_are_cancelled_by_one_filter(open_runtime):
    async with open_runtime(waits, parent) as runtime:
        parents = [await runtime.start("parent", None, run_id=f"p{number}") for number in range(5)]
        for run in parents:
            await runtime.handle(f"{run.run_id}-0-0").wait("waiting_event", timeout="20s")
        assert await runtime.cancel_runs() == 10
        for run in await runtime.runs(limit=None):
            assert await runtime.handle(run.run_id).wait(timeout="20s") == "cancelled"


async def test_runs_of_a_version_that_nobody_registered_are_left_as_they_are(open_runtime):
    async with open_runtime(flaky, waits) as runtime:
        await started(runtime, "flaky", 2, "failed")
    async with open_runtime(waits, code="today") as runtime:
        assert await runtime.retry_runs() == 0
        assert {str(run) for run in await runtime.runs()} == {"failed"}


async def test_runs_that_are_cancelled_after_a_restart_are_read_by_the_batch_and_not_one_by_one(tmp_path, monkeypatch):
    async with Runtime(tmp_path / "many.duckdb", workflows=[waits]) as runtime:
        await started(runtime, "waits", 60, "waiting_event")
    async with Runtime(tmp_path / "many.duckdb", workflows=[waits]) as runtime:
        asked: list[object] = []
        for name in ("run", "numbered", "entries"):  # of one run each
            one = getattr(Columns, name)
            monkeypatch.setattr(Columns, name, lambda *given, one=one: asked.append(given[1]) or one(*given))
        assert await runtime.cancel_runs(workflow="waits") == 60
    # One question for each is left: whether what its body dropped was a child.
    assert len(asked) <= 60 + 4, len(asked)


def test_blocking_bulk():
    with Runtime(MemoryLedger(), workflows=[flaky]) as runtime:
        run = runtime.start("flaky")
        run.wait(timeout="20s")
        mended.add("work")
        told: list[tuple[int, int]] = []
        assert runtime.retry_runs(workflow="flaky", progress=lambda *now: told.append(now)) == 1
        assert run.result("20s") == "work"
        assert told == [(1, 1)]
        assert runtime.cancel_runs() == 0
