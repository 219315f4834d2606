"""Runs of every feature replay clean, finished or open; and a replay that compared less would be noticed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.machine import Machine
from perdure.replay.check import check_run

STEPS = """
import asyncio
import perdure
from perdure import RetryableError, FatalError

attempts = []

@step(retries=RetryPolicy(max_attempts=3, base_delay="1ms", jitter=0))
async def flaky(name: str) -> str:
    attempts.append(name)
    if attempts.count(name) < 3:
        raise ConnectionError("not yet")
    return name

@step(retries=0)
async def failing(name: str) -> str:
    raise ValueError(name)

@step
async def slow(name: str) -> str:
    await asyncio.sleep(60)
    return name
"""

RETRIES = (
    STEPS
    + """
@workflow(id="retries", version="1")
async def body(input: str, step) -> list:
    try:
        await failing(input)
    except ValueError as error:
        return [await flaky(input), str(error)]
"""
)

PARALLEL = (
    STEPS
    + """
@workflow(id="parallel", version="1")
async def body(input: str, step) -> list:
    async def both(name):
        first = await reserve_stock(name)
        return [first, await step.run(f"part-{name}", lambda: name)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(both(name)) for name in ("b", "c")]
    rest = await step.map("each", str, range(5), concurrency=2)
    return [task.result() for task in tasks] + rest + list(await asyncio.gather(flaky("x"), charge_card(5)))
"""
)

TIMEOUTS = (
    STEPS
    + """
@workflow(id="timeouts", version="1")
async def body(input: str, step) -> list:
    found = []
    try:
        async with asyncio.timeout(0.01):
            await slow(input)
    except TimeoutError:
        found.append("late")
    try:
        await asyncio.wait_for(slow(input), 0.01)
    except TimeoutError:
        found.append("late again")
    found.append(await step.wait_for_event("paid", type="paid", timeout="5ms"))
    await step.sleep("grace", "1ms")
    done, pending = await asyncio.wait(
        [asyncio.ensure_future(slow("a")), asyncio.ensure_future(charge_card(7))], return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return found + [task.result() for task in done]
"""
)

SEAMS = (
    STEPS
    + """
import datetime
import random
import time
import uuid

@workflow(id="seams", version="1")
async def body(input: str, step) -> list:
    before = time.time()
    await step.sleep("1ms")
    numbers = [random.random(), random.randint(1, 6), str(uuid.uuid4())]
    words = [each for each in {"a", "b", "c"}]
    return [await step.run("note", lambda: [before, numbers, words]), str(datetime.datetime.now())]
"""
)

CHILDREN = (
    STEPS
    + """
@workflow(id="parent", version="1")
async def body(input: str, step) -> list:
    child = await step.spawn("spawned", "child", 5)
    first = await step.invoke("invoked", "child", 6)
    try:
        await step.invoke("failing", "child", -1)
    except perdure.ChildFailed as error:
        return [first, await child.result(), error.error_type]

@workflow(id="child", version="1")
async def child(input: int) -> str:
    if input < 0:
        raise ValueError(input)
    return await charge_card(input)
"""
)

COMPENSATION = (
    STEPS
    + """
@workflow(id="saga", version="1")
async def body(input: str, step) -> str:
    await reserve_stock(input)
    try:
        await step.wait_for_event("paid", type="paid")
    finally:
        await step.run("release", lambda: input)
    return "paid"
"""
)

RUN_RETRIES = (
    STEPS
    + """
@workflow(id="again", version="1", retries=RetryPolicy(max_attempts=3, base_delay="1ms", jitter=0))
async def body(input: str, step, ctx) -> str:
    await reserve_stock(input)
    await asyncio.gather(flaky(input), charge_card(ctx.attempt))
    if ctx.attempt < 3:
        raise ConnectionError("the whole run again")
    return "done"
"""
)

FAILED = (
    STEPS
    + """
@workflow(id="failed", version="1")
async def body(input: str, step) -> str:
    await failing(input)
"""
)

FINISHED = {
    "retries": RETRIES, "parallel": PARALLEL, "timeouts": TIMEOUTS, "seams": SEAMS, "children": CHILDREN,
    "run-retries": RUN_RETRIES, "failed": FAILED,
}  # fmt: skip


@pytest.mark.parametrize("feature", FINISHED)
async def test_a_finished_run_replays_clean(recorder: Any, feature: str) -> None:
    entries = await recorder.record(FINISHED[feature])
    verdict = recorder.check(FINISHED[feature])
    assert verdict.ok, str(verdict.divergence)
    assert verdict.entries == len(entries) > 3


async def test_a_cancelled_run_with_compensation_replays_clean(recorder: Any) -> None:
    async def cancel(runtime: Any, handle: Any) -> None:
        await handle.wait("waiting_event", timeout="20s")
        assert await handle.cancel()

    entries = await recorder.record(COMPENSATION, act=cancel)
    assert entries[-1].kind == "cancelled"
    verdict = recorder.check(COMPENSATION)
    assert verdict.ok, str(verdict.divergence)


async def test_an_open_run_is_checked_up_to_where_it_stands(recorder: Any) -> None:
    await recorder.record(COMPENSATION, until="waiting_event")
    assert recorder.check(COMPENSATION).ok
    later = COMPENSATION.replace('"release"', '"give back"')  # after the wait, so nothing is recorded of it yet
    assert recorder.check(later).ok
    earlier = COMPENSATION.replace('type="paid"', 'type="settled"')
    divergence = recorder.diverge(earlier)
    assert divergence.cause == "argument changed"
    assert '$.type: "paid" → "settled"' in divergence.evidence


async def test_an_open_run_whose_body_now_asks_for_more_diverges(recorder: Any) -> None:
    entries = await recorder.record(COMPENSATION, until="waiting_event")
    added = COMPENSATION.replace("    try:\n", "    await charge_card(5)\n    try:\n")
    divergence = recorder.diverge(added)
    assert divergence.cause == "step added"
    assert divergence.position == entries[-1].position


async def test_a_children_s_own_runs_replay_clean_too(recorder: Any) -> None:
    await recorder.record(CHILDREN)
    module = recorder.module(CHILDREN)
    children = recorder.ledger.children("run-1")
    assert len(children) == 3
    for child in children:
        verdict = recorder.check_module(module, child.run_id)
        assert verdict.ok, str(verdict.divergence)


async def test_a_comment_or_a_docstring_is_no_change(recorder: Any) -> None:
    await recorder.record(SEAMS)
    today = SEAMS.replace("    before = time", '    """What it does."""\n    # and why\n    before = time')
    assert recorder.check(today).ok


@pytest.mark.parametrize("part", [4, 5, 8, 9], ids=["command", "name", "arguments", "shape"])
async def test_every_part_of_a_command_is_compared(recorder: Any, part: int) -> None:
    """Alter one field of one recorded command: a comparison that left it out would not notice."""
    body = SEAMS.replace("[before, numbers, words]", "(before, numbers, words)")
    entries = list(await recorder.record(body))
    index = next(entry.position for entry in entries if entry.kind == "step")
    fields = list(entries[index])
    fields[part] = {4: "0/9", 5: "other", 8: '{"args":[],"captured":{}}', 9: None}[part]
    if fields[part] == entries[index][part]:
        fields[part] = '{"t":1}'
    module = recorder.module(body)
    altered = [*entries[:index], type(entries[index])(*fields), *entries[index + 1 :]]
    row = recorder.ledger.run("run-1")
    assert recorder.check_module(module).ok
    verdict = check_run(row, module.body, altered)
    assert not verdict.ok
    assert verdict.divergence.position == index


@pytest.mark.parametrize("change", ['"note"→"remark"', "before, numbers→before", "return [await→return [1, await"])
async def test_a_replay_that_compared_nothing_would_be_noticed(
    recorder: Any, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    old, new = change.split("→")
    await recorder.record(SEAMS)
    assert not recorder.check(SEAMS.replace(old, new)).ok
    monkeypatch.setattr("perdure.core.commanding.same_command", lambda *_: True)
    monkeypatch.setattr("perdure.core.machine.same_ending", lambda *_: True)
    assert recorder.check(SEAMS.replace(old, new)).ok


async def test_checking_performs_nothing(recorder: Any) -> None:
    await recorder.record(RETRIES)
    module = recorder.module(RETRIES)
    assert recorder.check_module(module).ok
    assert module.attempts == []


async def test_a_replay_leaves_no_task_behind(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    close = Machine.close
    monkeypatch.setattr(Machine, "close", lambda self: (close(self), closed.append(len(self.loop.tasks))))
    await recorder.record(PARALLEL)
    recorder.diverge(PARALLEL.replace('f"part-{name}"', 'f"piece-{name}"'))
    assert closed
    assert set(closed) == {0}
    assert len(asyncio.all_tasks()) == 1
