"""`workflows`: what a step starts, sends and stops happens with its result, once, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from perdure import (
    DefinitionError,
    InvalidInput,
    MemoryLedger,
    NotSerializable,
    Queue,
    RunFailed,
    Runtime,
    SignalRefused,
    UnknownRun,
    UnknownWorkflow,
)
from perdure.strict import RetryPolicy, current_step, step, workflow
from perdure.testing import Simulation, crash_everywhere

DOES: dict[str, Any] = {}
LINE = Queue("line", singleton="skip")
CALM = Queue("calm", debounce="30ms")


@step(retries=0)
async def does(what: str) -> Any:
    return await DOES[what](current_step().workflows)


@step(retries=0)
def does_blocking(what: str) -> Any:
    return DOES[what](current_step().blocking.workflows)


@step(retries=RetryPolicy(max_attempts=4, base_delay="1ms"))
async def does_again(what: str) -> Any:
    return await DOES[what](current_step().workflows)


@workflow(id="one")
async def one(input: str, step) -> Any:
    return await does(input)


@workflow(id="one-blocking")
async def one_blocking(input: str, step) -> Any:
    return await does_blocking(input)


@workflow(id="one-again")
async def one_again(input: str, step) -> Any:
    return await does_again(input)


@workflow(id="other")
async def other(input: int) -> int:
    return input + 1


@workflow(id="keyed", idempotency_key="n-{n}")
async def keyed(input: dict[str, int]) -> int:
    return input["n"]


@workflow(id="waits")
async def waits(input: str, step) -> Any:
    if input == "event":
        return await step.wait_for_event("paid", type="paid")
    return await step.wait_for_signal("go")


@workflow(id="listens")
async def listens(input: str, step) -> Any:
    """Its own step talks to it."""
    await does(input)
    return [await step.wait_for_signal("go"), await step.wait_for_signal("go")]


@workflow(id="ends-at-once")
async def ends_at_once(input: str, step) -> Any:
    await does(input)


@workflow(id="in-line", queue=LINE)
async def in_line(input: int, step) -> int:
    await step.wait_for_signal("done")
    return input


@workflow(id="calmed", queue=CALM)
async def calmed(input: int) -> int:
    return input


ALL = [
    one, one_blocking, one_again, other, keyed, waits, listens, ends_at_once, in_line, calmed,
]  # fmt: skip


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    DOES.clear()


def live(test: Any, **does: Any) -> Any:
    DOES.update(does)

    async def run() -> Any:
        async with asyncio.timeout(20), Runtime(MemoryLedger(), workflows=ALL) as runtime:
            return await test(runtime)

    return asyncio.run(run())


async def outcome(runtime: Runtime, what: str, workflow: str = "one") -> Any:
    return await (await runtime.start(workflow, what)).result(timeout="20s")


async def count(runtime: Runtime, workflow: str) -> int:
    return len(await runtime.runs(workflow=workflow, limit=None))


def test_a_step_starts_runs_that_go_on_by_themselves() -> None:
    async def start(workflows: Any) -> Any:
        return [
            await workflows.start("other", 1),
            await workflows.start(other, 1),
            await workflows.start("other", 5, run_id="mine", tags={"a": "b"}, delay="1ms"),
        ]

    async def test(runtime: Runtime) -> Any:
        run_ids = await outcome(runtime, "start")
        assert len(set(run_ids)) == 3
        assert (await runtime.handle("mine").status()).tags == {"a": "b"}
        assert await runtime.handle(run_ids[0]).parent() is None
        return [await runtime.handle(run_id).result() for run_id in run_ids]

    assert live(test, start=start) == [2, 2, 6]


def test_a_plain_step_starts_runs_too() -> None:
    async def test(runtime: Runtime) -> Any:
        return await runtime.handle(await outcome(runtime, "start", "one-blocking")).result()

    assert live(test, start=lambda workflows: workflows.start("other", 1)) == 2


def test_an_attempt_that_fails_has_started_and_sent_nothing() -> None:
    tries = []

    async def start(workflows: Any) -> Any:
        tries.append(1)
        started = await workflows.start("other", 1)
        await workflows.signal("listener", "go", len(tries))
        if len(tries) < 3:
            raise ValueError("not yet")
        return started

    async def test(runtime: Runtime) -> Any:
        listener = await runtime.start("waits", "signal", run_id="listener")
        started = await outcome(runtime, "start", "one-again")
        return await runtime.handle(started).result(), await count(runtime, "other"), await listener.result()

    # The step's delays between attempts are waited for in earnest; they are half a second each at most.
    assert live(test, start=start) == (2, 1, 3)


@pytest.mark.parametrize("how", ["key", "template", "run_id"])
def test_a_key_that_is_taken_gives_the_run_that_has_it(how: str) -> None:
    given = {"key": {"idempotency_key": "k"}, "template": {}, "run_id": {"run_id": "r"}}[how]
    name, value = ("keyed", {"n": 1}) if how == "template" else ("other", 1)

    async def start(workflows: Any) -> Any:
        return await workflows.start(name, value, **given), await workflows.start(name, value, **given)

    async def test(runtime: Runtime) -> Any:
        first = await outcome(runtime, "start")
        taken = await runtime.start(name, value, **given)
        again = await outcome(runtime, "start")
        outside = await runtime.workflows.start(name, value, **given)
        return {*first, *again, taken.run_id, outside}, await count(runtime, name)

    run_ids, runs = live(test, start=start)
    assert len(run_ids) == runs == 1


def test_two_steps_that_start_under_one_key_at_once_agree_on_the_run() -> None:
    """The one that comes later finds its promise broken, is tried again, and is told the other's run."""
    both = []

    async def start(workflows: Any) -> Any:
        started = await workflows.start("other", 1, idempotency_key="k")
        both.append(started)
        while len(both) < 2:
            await asyncio.sleep(0.001)
        return started

    async def test(runtime: Runtime) -> Any:
        runs = [await runtime.start("one-again", "start") for _ in range(2)]
        return [await run.result() for run in runs], await count(runtime, "other")

    (first, second), runs = live(test, start=start)
    assert first == second
    assert runs == 1
    assert len(both) == 3


@pytest.mark.parametrize("name", ["in-line", "calmed"])
def test_a_queue_that_gives_another_run_gives_it_to_a_step_too(name: str) -> None:
    async def start(workflows: Any) -> Any:
        return await workflows.start(name, 1)

    async def test(runtime: Runtime) -> Any:
        first = await runtime.start(name, 0)
        started = await outcome(runtime, "start")
        if name == "in-line":
            await first.signal("done")
        return started == first.run_id, await first.result()

    assert live(test, start=start) == (True, 0 if name == "in-line" else 1)


def test_what_can_not_be_started_or_sent_is_refused_in_the_step() -> None:
    refused = []

    async def start(workflows: Any) -> None:
        for act, error in [
            (lambda: workflows.start("nope", 1), UnknownWorkflow),
            (lambda: workflows.start("other", "text"), InvalidInput),
            (lambda: workflows.start("other", 1, run_id=""), DefinitionError),
            (lambda: workflows.start("other", 1, run_id="taken"), DefinitionError),
            (lambda: workflows.start("other", 1, queue="nope"), DefinitionError),
            (lambda: workflows.start("other", 1, colour="red"), DefinitionError),
            (lambda: workflows.send_event("", 1), DefinitionError),
            (lambda: workflows.send_event("paid", object()), NotSerializable),
            (lambda: workflows.signal("taken", "", 1), DefinitionError),
            (lambda: workflows.signal("taken", "go", object()), NotSerializable),
            (lambda: workflows.cancel(""), DefinitionError),
        ]:
            with pytest.raises(error):
                await act()
            refused.append(error)

    async def test(runtime: Runtime) -> Any:
        await runtime.start("waits", "signal", run_id="taken")
        await outcome(runtime, "start")
        return await count(runtime, "other")

    assert live(test, start=start) == 0
    assert len(refused) == 11


def test_an_event_that_a_step_sends_wakes_those_who_wait() -> None:
    async def send(workflows: Any) -> None:
        await workflows.send_event("paid", {"cents": 5})

    async def test(runtime: Runtime) -> Any:
        run = await runtime.start("waits", "event")
        await run.wait("waiting_event")
        await outcome(runtime, "send")
        return await run.result()

    assert live(test, send=send) == {"cents": 5}


@pytest.mark.parametrize("error", [UnknownRun, SignalRefused])
def test_a_signal_that_its_run_does_not_take_fails_the_step_with_all_that_it_did(error: Any) -> None:
    async def signal(workflows: Any) -> None:
        await current_step().kv.put("a", 1)
        await workflows.start("other", 1)
        await workflows.signal("ended", "go", 1)

    async def test(runtime: Runtime) -> Any:
        if error is SignalRefused:
            await (await runtime.start("other", 1, run_id="ended")).result()
        with pytest.raises(RunFailed) as failed:
            await outcome(runtime, "signal")
        return type(failed.value.__cause__), await runtime.kv.get("a"), await count(runtime, "other")

    assert live(test, signal=signal) == (error, None, 1 if error is SignalRefused else 0)


def test_a_step_signals_a_run_that_it_starts_and_its_own() -> None:
    async def signal(workflows: Any) -> Any:
        started = await workflows.start("waits", "signal")
        await workflows.signal(started, "go", "hello")
        for number in range(2):
            await workflows.signal(current_step().run_id, "go", number)
        return started

    async def test(runtime: Runtime) -> Any:
        run = await runtime.start("listens", "signal")
        [started] = await runtime.runs(workflow="waits") or [None]
        while started is None:
            [started] = await runtime.runs(workflow="waits") or [None]
        return await run.result(), await runtime.handle(started.run_id).result()

    assert live(test, signal=signal) == ([0, 1], "hello")


def test_a_signal_to_a_run_that_the_result_itself_ends_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def signal(workflows: Any) -> None:
        await workflows.signal(current_step().run_id, "go", 1)

    async def test(runtime: Runtime) -> Any:
        await outcome(runtime, "signal", "ends-at-once")
        await runtime.idle()

    live(test, signal=signal)
    assert "was overtaken by it" in caplog.text


def test_a_step_stops_a_run_and_a_run_that_it_started_and_itself() -> None:
    async def cancel(workflows: Any) -> None:
        await workflows.cancel("waiting")
        await workflows.cancel(await workflows.start("waits", "signal", run_id="fresh"))
        await workflows.cancel(current_step().run_id)

    async def test(runtime: Runtime) -> Any:
        await runtime.start("waits", "signal", run_id="waiting")
        own = await runtime.start("listens", "cancel")
        handles = [runtime.handle("waiting"), own]
        ended = [(await handle.wait(timeout="20s")).status for handle in handles]
        return [*ended, (await runtime.handle("fresh").wait(timeout="20s")).status]

    assert live(test, cancel=cancel) == ["cancelled"] * 3


def test_platform_is_all_of_them_to_be_handed_on() -> None:
    async def bill(platform: Any) -> str:
        await platform.kv.put("billed", True)
        await platform.storage.put("bill.txt", "5 €")
        return await platform.workflows.start("other", 1)

    async def hand_on(workflows: Any) -> Any:
        return await bill(current_step().platform)

    async def test(runtime: Runtime) -> Any:
        await outcome(runtime, "hand_on")
        await bill(runtime.platform)
        return await runtime.kv.get("billed"), await count(runtime, "other")

    assert live(test, hand_on=hand_on) == (True, 2)


@step
async def writes_and_starts(number: int) -> str:
    now = current_step()
    await now.kv.increment("count")
    await now.storage.put(str(number), b"x" * number)
    return await now.workflows.start("other", number)


@workflow(id="proven")
async def proven(input: int, step) -> list[str]:
    return [await writes_and_starts(number) for number in range(input)]


def test_a_crash_at_any_commit_leaves_what_completed_once() -> None:
    def law(simulation: Simulation) -> None:
        completed = [
            entry for run in simulation.runs() for entry in run.entries()
            if entry.kind == "step_completed" and entry.name.startswith("writes_and_starts")
        ]  # fmt: skip
        count = simulation.ledger.cell("kv/default", "count")
        assert (0 if count is None else int(count.body or "")) == len(completed)
        assert len(simulation.ledger.cells("blob/default")) == len(completed)
        assert sum(run.row().workflow == "other" for run in simulation.runs()) == len(completed)

    report = crash_everywhere(proven, 3, workflows=[other], invariants=[law])
    assert report.crashes > 5


def test_a_call_from_outside_is_told_at_once_what_can_not_be_done() -> None:
    async def test(runtime: Runtime) -> Any:
        with pytest.raises(UnknownRun):
            await runtime.workflows.signal("nobody", "go")
        with pytest.raises(UnknownRun):
            await runtime.workflows.cancel("nobody")

    live(test)
