"""Whatever a caller gives wrongly is answered with our error and its fix, and nothing of it is recorded."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

import perdure.strict
from perdure import (
    ChildFailed,
    DefinitionError,
    MemoryLedger,
    NotSerializable,
    PerdureError,
    Queue,
    Rate,
    RetryPolicy,
    Runtime,
)
from perdure.errors import BudgetExceeded, SandboxViolation
from perdure.strict import RunFailed, step, workflow
from perdure.testing import Simulation


@workflow(id="fulfill-order")
async def fulfill(input: int, step) -> str:
    await step.wait_for_event("paid", type="paid")
    return "done"


CALLS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "workflow's id": (lambda runtime, run: runtime.start("fulfil-order", 1), "did you mean 'fulfill-order'?"),
    "version": (lambda runtime, run: runtime.start("fulfill-order", 1, version="9"), "pass it to Runtime"),
    "no workflow": (lambda runtime, run: runtime.start(3, 1), "pass a function decorated with @workflow"),
    "input": (lambda runtime, run: runtime.start("fulfill-order", "x"), "nothing was started"),
    "tags as a list": (lambda runtime, run: runtime.start(fulfill, 1, tags=["a"]), 'tags={"tenant": "42"}'),
    "tag as a number": (lambda runtime, run: runtime.start(fulfill, 1, tags={"a": 1}), 'tags={"tenant": "42"}'),
    "delay": (lambda runtime, run: runtime.start(fulfill, 1, delay="5 minuts"), '"5m"'),
    "run_id": (lambda runtime, run: runtime.start(fulfill, 1, run_id=7), "give a text"),
    "unknown word": (lambda runtime, run: runtime.start(fulfill, 1, tag={"a": "b"}), "did you mean tags?"),
    "no argument": (lambda runtime, run: runtime.start(), "start(workflow, input=None"),
    "event's type": (lambda runtime, run: runtime.send_event(3, 1), "payment.completed"),
    "event's payload": (lambda runtime, run: runtime.send_event("paid", {"by": [print]}), "pass its name"),
    "status": (lambda runtime, run: runtime.runs(status="runing"), "did you mean 'running'?"),
    "status as a number": (lambda runtime, run: runtime.runs(status=3), "completed"),
    "limit": (lambda runtime, run: runtime.runs(limit=-1), "a whole number of at least 0"),
    "limit as a text": (lambda runtime, run: runtime.runs(limit="all"), "a whole number of at least 0"),
    "tags to look for": (lambda runtime, run: runtime.runs(tags=["a"]), 'tags={"tenant": "42"}'),
    "workflow to look for": (lambda runtime, run: runtime.runs(workflow=3), "give a text"),
    "naive moment": (lambda runtime, run: runtime.runs(since=datetime(2030, 1, 1)), "add one: datetime("),
    "patience": (lambda runtime, run: run.result(timeout="soon"), '"30s"'),
    "status to wait for": (lambda runtime, run: run.wait("done"), "completed"),
    "place of a fork": (lambda runtime, run: run.fork("paied"), "did you mean 'paid'?"),
    "no place of a fork": (lambda runtime, run: run.fork(None), "the name of a step"),
    "word of a handle": (lambda runtime, run: run.result(timout="5s"), "did you mean timeout?"),
}


@pytest.mark.parametrize(("call", "fix"), CALLS.values(), ids=CALLS)
async def test_awaiting_a_wrong_call_shows_the_fix_and_records_nothing(call: Any, fix: str) -> None:
    async with Runtime(MemoryLedger(), workflows=[fulfill], drain="1s") as runtime:
        run = await runtime.start(fulfill, 1, run_id="o-1")
        await run.wait("waiting_event")
        before = await run.history()
        with pytest.raises(PerdureError) as refused:
            await call(runtime, run)
        assert fix in refused.value.fix
        assert await run.history() == before
        assert len(await runtime.runs(limit=None)) == 1


@pytest.mark.parametrize(("call", "fix"), CALLS.values(), ids=CALLS)
def test_a_blocking_wrong_call_shows_the_same(perdure_runtime, call: Any, fix: str) -> None:
    with perdure_runtime(fulfill) as runtime:
        run = runtime.start(fulfill, 1, run_id="o-1")
        before = run.history()
        with pytest.raises(PerdureError) as refused:
            call(runtime, run)
        assert fix in refused.value.fix
        assert run.history() == before
        assert len(runtime.runs(limit=None)) == 1


DECLARATIONS: dict[str, tuple[Callable[[], Any], str]] = {
    "option of a workflow": (lambda: workflow(id="a", retry=3), "did you mean retries?"),
    "workflow without parentheses' words": (lambda: workflow("a"), "write workflow(*, id=None"),
    "option of a step": (lambda: step(retry=3), "did you mean retries?"),
    "option of a decorated step": (lambda: step(print).options(timout="1s"), "did you mean timeout?"),
    "duration": (lambda: workflow(id="a", timeout="5 minuts"), '"5m"'),
    "option of a runtime": (lambda: Runtime("x.duckdb", workflow=[fulfill]), "did you mean workflows?"),
    "no ledger": (lambda: Runtime(), "write Runtime(ledger"),
    "bodies in memory": (lambda: Runtime("x.duckdb", residents_max=-1), "at least 0"),
    "clock": (lambda: Runtime("x.duckdb", clock=3), "RuntimeClock()"),
    "half a clock": (lambda: Runtime("x.duckdb", clock=SimpleNamespace(now_us=int)), "RuntimeClock()"),
    "option of a policy": (lambda: RetryPolicy(max_attemps=3), "did you mean max_attempts?"),
    "jitter as a text": (lambda: RetryPolicy(jitter="0.1"), "a number from 0 to 1"),
    "factor as a text": (lambda: RetryPolicy(factor="2"), "a number of at least 1"),
    "factor without end": (lambda: RetryPolicy(factor=float("inf")), "a number of at least 1"),
    "option of a queue": (lambda: Queue("q", max_concurent_runs=3), "did you mean max_concurrent_runs?"),
    "no name of a queue": (lambda: Queue(), "write Queue(name"),
    "option of a rate": (lambda: Rate(3, pr="1m"), "did you mean per?"),
    "no period of a rate": (lambda: Rate(3), "write Rate(limit"),
    "one queue instead of a list": (lambda: Runtime("x.duckdb", queues=Queue("q")), "queues=[Queue("),
    "option of a simulation": (lambda: Simulation(sed=3), "did you mean seed?"),
    "queues of a simulation": (lambda: Simulation(queues=3), "queues=[Queue("),
    "limit of a simulation": (lambda: Simulation(max_concurrent_runs=0), "at least 1"),
    "drain": (lambda: Runtime("x.duckdb", drain="soon"), '"30s"'),
}


@pytest.mark.parametrize(("make", "fix"), DECLARATIONS.values(), ids=DECLARATIONS)
def test_a_wrong_declaration_shows_the_fix(make: Callable[[], Any], fix: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        make()
    assert fix in refused.value.fix


async def test_a_runtime_that_could_not_open_leaves_its_file_to_the_next(tmp_path) -> None:
    def refuse(engine: Any) -> None:
        raise ValueError("not today")

    runtime = Runtime(tmp_path / "orders.duckdb", workflows=[fulfill])
    runtime.prepare(refuse)
    with pytest.raises(ValueError, match="not today"):
        await runtime.__aenter__()
    assert not runtime.is_open
    async with Runtime(tmp_path / "orders.duckdb", workflows=[fulfill]) as second:
        assert second.is_open


def test_a_delay_that_grows_beyond_all_numbers_is_the_longest() -> None:
    for factor in (1e9, 10**9, 1e308):
        assert RetryPolicy(max_attempts=99, factor=factor, max_delay="1m").delay_us(98, 0.5) == 60_000_000


def test_the_line_of_a_wrong_call_is_named() -> None:
    with pytest.raises(DefinitionError) as refused:
        workflow(id="a", retry=3)
    assert "test_bad_input.py:" in refused.value.where


@pytest.mark.parametrize("take", [perdure.workflow, perdure.strict.workflow], ids=["lenient", "strict"])
@pytest.mark.parametrize(
    "made",
    [
        "async def body(input, step, ctx, more): ...",
        "async def body(*inputs): ...",
        "async def body(input, *, step): ...",
        "def body(input, step): ...",
    ],
)
def test_a_body_with_a_wrong_signature_is_refused(made: str, take: Any) -> None:
    namespace: dict[str, Any] = {}
    exec(made, namespace)
    with pytest.raises(DefinitionError) as refused:
        take(id="a")(namespace["body"])
    assert "(input, step, ctx)" in refused.value.fix


def failure_of(runtime: Any, definition: Any, input: Any = None) -> BaseException:
    with pytest.raises(RunFailed) as failed:
        runtime.start(definition, input).result()
    assert failed.value.__cause__ is not None
    return failed.value.__cause__


@workflow(id="asks-for-a-child")
async def asks_for_a_child(input: None, step) -> None:
    await step.invoke("ship", "fulfil-order", 1)


def test_an_unregistered_child_is_logged_at_the_start_and_named_with_its_line(perdure_runtime, caplog) -> None:
    line = asks_for_a_child.function.__code__.co_firstlineno + 2
    with perdure_runtime(asks_for_a_child, fulfill) as runtime:
        (logged,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert f"test_bad_input.py:{line}, in workflow asks-for-a-child" in logged
        assert "did you mean 'fulfill-order'?" in logged
        cause = failure_of(runtime, asks_for_a_child)
    assert isinstance(cause, ChildFailed)
    assert cause.error_type == "perdure.errors:UnknownWorkflow"
    assert f"test_bad_input.py:{line}," in cause.where
    assert "did you mean 'fulfill-order'?" in cause.fix


def test_a_registered_child_is_not_logged(perdure_runtime, caplog) -> None:
    with perdure_runtime(asks_for_a_child, perdure.strict.workflow(id="fulfil-order")(fulfill.function)):
        pass
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@workflow(id="waits-for-the-clock", max_ops=10_000)
async def waits_for_the_clock(input: None, step) -> None:
    begun = datetime.now()
    while datetime.now() == begun:
        pass


@workflow(id="works-for-long", max_ops=10_000)
async def works_for_long(input: None, step) -> None:
    datetime.now()
    while True:
        pass


def test_a_body_that_waits_for_the_clock_hears_that_time_stands_still(perdure_runtime) -> None:
    with perdure_runtime(waits_for_the_clock, works_for_long) as runtime:
        waits, works = failure_of(runtime, waits_for_the_clock), failure_of(runtime, works_for_long)
    assert isinstance(waits, BudgetExceeded)
    assert "time stands still" in waits.why
    assert "sleep_until" in waits.fix
    assert isinstance(works, BudgetExceeded)
    assert "time stands still" not in works.why


@step
async def find() -> dict[str, object]:
    return {"items": [1, {"callback": print}]}


@workflow(id="finds")
async def finds(input: None, step) -> None:
    await find()


def test_a_result_that_cant_be_recorded_is_named_with_step_and_path(perdure_runtime) -> None:
    with perdure_runtime(finds) as runtime:
        cause = failure_of(runtime, finds)
    assert isinstance(cause, NotSerializable)
    assert cause.where == "$.items[1].callback of what step 'find' returned"


@workflow(id="asks-by-name")
async def asks_by_name(input: str, step, ctx) -> object:
    return getattr(ctx if input == "ctx" else step, "runid" if input == "ctx" else "wait_for_events")


@pytest.mark.parametrize(("holder", "meant"), [("ctx", "run_id"), ("step", "wait_for_event")])
def test_a_name_that_is_made_while_the_body_runs_is_answered_too(perdure_runtime, holder: str, meant: str) -> None:
    with perdure_runtime(asks_by_name) as runtime:
        cause = failure_of(runtime, asks_by_name, holder)
    assert isinstance(cause, SandboxViolation)
    assert cause.fix == f"did you mean {meant}?"
    assert "test_bad_input.py:" in cause.where


@workflow(id="swallows")
async def swallows(input: None, step) -> str:
    try:  # noqa: SIM105  # written as people write it
        await step.sleep("grace", "1h")
    except asyncio.CancelledError:
        pass
    return "went on"


def ping() -> str:
    return "pong"


@workflow(id="misfits")
async def misfits(input: str, step) -> object:
    if input == "run without a name":
        return await step.run(ping)
    if input == "run without anything":
        return await step.run()
    if input == "map without items":
        return await step.map("all", ping)
    if input == "wait without a type":
        return await step.wait_for_event("paid")
    options = {"timout": "1s"}
    return await step.invoke("ship", "shipping", **options)


MISFITS = {
    "run without a name": "the first argument is the name",
    "run without anything": "the first argument is the name",
    "map without items": "write step.map(name, fn, items",
    "wait without a type": "write step.wait_for_event(name, *, type",
    "invoke with another word": "did you mean timeout?",
}


@pytest.mark.parametrize(("what", "fix"), MISFITS.items(), ids=MISFITS)
def test_a_call_of_step_that_does_not_fit_shows_the_fix_and_replays(perdure_runtime, what: str, fix: str) -> None:
    with perdure_runtime(misfits) as runtime:
        run = runtime.start(misfits, what)
        with pytest.raises(RunFailed) as failed:
            run.result()
        assert [entry.kind for entry in run.history()] == ["created", "failed"]
        assert run.replay().ok
    cause = failed.value.__cause__
    assert isinstance(cause, DefinitionError)
    assert fix in cause.fix
    assert cause.where.startswith("test_bad_input.py:")  # no folder of this machine is recorded


def test_a_swallowed_cancellation_is_logged_with_its_line_and_shown_by_the_status(perdure_runtime, caplog) -> None:
    with perdure_runtime(swallows) as runtime:
        run = runtime.start(swallows)
        run.wait("sleeping")
        run.cancel()
        assert run.result() == "went on"
        assert run.status().cancel_requested
        assert run.replay().ok
    (logged,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    line = swallows.function.__code__.co_firstlineno + 3
    assert f"asked to stop at test_bad_input.py:{line}, caught the CancelledError" in logged


def test_the_package_runs_as_a_command() -> None:
    shown = subprocess.run([sys.executable, "-m", "perdure", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("perdure ")
