"""A worker stops in order: steps at work may finish within a limit, a second signal leaves at once, and what is cut off
is said."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Running

from perdure.cli import stopping
from perdure.cli.stopping import Stop, leave_after

FLOWS = """
import asyncio, pathlib, time
from perdure.strict import StepInterrupted, step, workflow

def go_on() -> bool:
    return pathlib.Path("go-on").exists()

@step
async def waits(text: str) -> str:
    print("at work", flush=True)
    while not go_on():
        await asyncio.sleep(0.01)
    return text

@step
def blocks(text: str) -> str:
    print("at work", flush=True)
    while not go_on():
        time.sleep(0.01)
    return text

@step
async def blocks_the_loop(text: str) -> str:
    print("at work", flush=True)
    while not go_on():
        time.sleep(0.01)
    return text

@step
async def clings(text: str) -> str:
    print("at work", flush=True)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

@step(delivery="at_most_once")
async def once(text: str) -> str:
    print("at work", flush=True)
    while not go_on():
        await asyncio.sleep(0.01)
    return text

@workflow(id="works")
async def works(input: str, step) -> str:
    fn = {"waits": waits, "blocks": blocks, "blocks-the-loop": blocks_the_loop, "clings": clings, "once": once}[input]
    try:
        await step.run("first", fn, input, delivery="at_most_once" if input == "once" else "at_least_once")
    except StepInterrupted:
        return "interrupted"
    return await step.run("second", lambda: "second is done")
"""

Start = Callable[..., Running]


@pytest.fixture
def start(shop: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a run and a worker that has begun with its first step."""
    monkeypatch.setitem(sys.modules, "workflows", None)  # put back as it was, after the test
    del sys.modules["workflows"]
    (shop.folder / "workflows.py").write_text(FLOWS)
    started: list[Running] = []

    def begin(step: str, *options: str) -> Running:
        shop.ok("start", "x.duckdb", "works", "--input", json.dumps(step), "--run-id", "r1")
        worker = Running(shop.folder, "perdure", "run", "x.duckdb", *options)
        started.append(worker)
        worker.until("at work")
        return worker

    yield begin
    for worker in started:
        worker.close()


def history(shop: Any) -> list[str]:
    return [entry["kind"] for entry in shop.json("show", "x.duckdb", "r1")["history"]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", ["waits", "blocks"])
def test_steps_at_work_finish_and_no_other_begins(shop: Any, start: Start, step: str, number: int) -> None:
    worker = start(step, "--drain", "30s")
    worker.process.send_signal(number)
    said = worker.until("Stopping. 1 step at work may finish within 30s")
    assert ("Ctrl-C again" in said) == (number == signal.SIGINT)
    (shop.folder / "go-on").touch()
    assert worker.ended() == 0
    assert worker.lines[-1] == "1 running  (1 open)"
    assert "cut off" not in worker.text
    assert history(shop)[-2:] == ["step_completed", "step"]  # its result is recorded, and the next one's intent
    assert shop.json("run", "x.duckdb", "--until-idle")["counts"] == {"completed": 1}


@pytest.mark.parametrize("step", ["waits", "blocks", "clings"])
def test_what_is_at_work_after_the_limit_is_cut_off_and_named(shop: Any, start: Start, step: str) -> None:
    worker = start(step, "--drain", "100ms")
    worker.process.send_signal(signal.SIGTERM)
    worker.until("Closing cut off steps that were still at work: first of run r1. They run again at the next start.")
    assert worker.ended() == 3
    assert history(shop)[-1] == "step"


def test_a_step_that_blocks_the_loop_does_not_hold_up_the_limit_for_ever(shop: Any, start: Start) -> None:
    worker = start("blocks-the-loop", "--drain", "100ms")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.ended() == 3
    assert history(shop)[-1] == "step"


def test_an_at_most_once_step_that_is_cut_off_is_said_not_to_run_again(shop: Any, start: Start) -> None:
    worker = start("once", "--drain", "100ms")
    worker.process.send_signal(signal.SIGTERM)
    worker.until("their bodies get StepInterrupted at the next start")
    assert worker.ended() == 3
    shop.ok("run", "x.duckdb", "--until-idle")
    assert shop.json("show", "x.duckdb", "r1")["history"][-1]["value"] == "interrupted"


@pytest.mark.parametrize("step", ["waits", "blocks"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(shop: Any, start: Start, step: str, number: int) -> None:
    worker = start(step, "--drain", "10m")
    worker.process.send_signal(number)
    worker.until("Stopping.")
    worker.process.send_signal(number)
    assert worker.ended() == 128 + number
    assert "first of run r1. They run again at the next start." in worker.text
    assert "Traceback" not in worker.text
    assert history(shop)[-1] == "step"


def test_a_signal_that_comes_with_its_echo_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`timeout`, and wrappers that pass on what the whole group has got, send two at once."""
    monkeypatch.setattr(stopping, "_NOTICED_WITHIN_S", 60.0)  # what is not "at once" would be the third, which kills
    monkeypatch.setattr(stopping, "_AT_ONCE_WITHIN_S", 3600.0)

    async def main() -> None:
        stop = Stop(60, 3)
        with stop.by_signals():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            await stop.asked.wait()
            await asyncio.sleep(0)
            assert not stop.at_once.is_set()
            signal.raise_signal(signal.SIGTERM)
            await stop.at_once.wait()

    asyncio.run(main())


def test_a_second_signal_counts_while_a_step_blocks_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_AT_ONCE_WITHIN_S", 3600.0)  # after which it ends this process

    async def main() -> None:
        stop = Stop(60, 3)
        with stop.by_signals():
            signal.raise_signal(signal.SIGTERM)
            blocked_until = time.monotonic() + 0.11
            while time.monotonic() < blocked_until:
                pass
            signal.raise_signal(signal.SIGTERM)
            await stop.at_once.wait()

    asyncio.run(main())


def test_machines_are_told_what_was_cut_off(shop: Any, start: Start) -> None:
    worker = start("waits", "--drain", "100ms", "--log", "json")
    worker.process.send_signal(signal.SIGTERM)
    stopping = json.loads(worker.until("worker_stopping"))
    assert (stopping["at_work"], stopping["signal"]) == (1, signal.SIGTERM)
    stopped = json.loads(worker.until("worker_stopped"))
    assert stopped["cut_off"] == [{"run_id": "r1", "step": "first", "attempt": 1, "runs_again": True}]
    assert stopped["exit_code"] == worker.ended() == 3


def test_leaving_can_be_taken_back_and_else_comes() -> None:
    before = set(threading.enumerate())
    take_back = leave_after(3600, 5)  # no less: if it came first, it would end this process and all tests in it
    (timer,) = set(threading.enumerate()) - before
    take_back()
    timer.join(30)
    assert not timer.is_alive()
    script = (
        "from perdure.cli.stopping import leave_after\nleave_after(0, 5)\nimport threading\nthreading.Event().wait()"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 5


def test_an_application_sees_what_closing_cut_off(tmp_path: Path) -> None:
    from perdure import MemoryLedger, Runtime, workflow

    begun = asyncio.Event()

    async def slow() -> None:
        begun.set()
        await asyncio.Event().wait()

    @workflow(id="slow")
    async def body(input: None, step: Any) -> None:
        await step.run("slow", slow)

    async def main() -> None:
        async with Runtime(MemoryLedger(), workflows=[body], drain="50ms") as runtime:
            run = await runtime.start(body, run_id="r1")
            await begun.wait()
            await runtime.drain()
            assert [str(each) for each in runtime.cut_off] == ["slow of run r1"]
            assert runtime.cut_off[0].runs_again
            assert await run.status() == "running"  # it still answers
            await runtime.drain()  # once is enough
        assert len(runtime.cut_off) == 1

    asyncio.run(main())
