"""A worker owns its ledger, ends when it is told to, and loses nothing when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SLOW = """

import asyncio
import pathlib

@step
async def touch(name: str) -> str:
    with pathlib.Path(name).open("a") as file:
        file.write("x")
    await asyncio.sleep(0.2)
    return name

@workflow(id="slow", version="1")
async def slow(input: int, step) -> int:
    for index in range(input):
        await step.run(f"touch-{index}", touch, f"touched-{index}")
    return input
"""


@pytest.fixture
def worker(shop: Any) -> Iterator[Any]:
    """Start workers as processes; end what is left of them."""
    shop.module.write_text(shop.module.read_text() + SLOW)
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        program = str(Path(sys.executable).parent / "perdure")
        process = subprocess.Popen(
            [program, "run", "orders.duckdb", "-w", "orders.py", *arguments],
            cwd=shop.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def touched(shop: Any, count: int) -> None:
    """Wait until so many steps have begun."""
    end = time.monotonic() + 30
    while len(list(shop.folder.glob("touched-*"))) < count:
        assert time.monotonic() < end, "the worker did nothing"
        time.sleep(0.02)


def test_a_second_opener_is_told_who_owns_the_ledger(shop: Any, worker: Any) -> None:
    shop.start("slow", 100)
    process = worker()
    touched(shop, 1)
    for command in (
        ("runs", "orders.duckdb"),
        ("start", "orders.duckdb", "slow", "-w", "orders.py", "--input", "1"),
        ("replay-check", "orders.duckdb", "-w", "orders.py"),
    ):
        result = shop(*command)
        assert result.exit_code == 2, result.output
        assert "LedgerLocked [LEDGER101]" in result.stderr
        assert str(process.pid) in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_worker_in_order(shop: Any, worker: Any, number: int) -> None:
    shop.start("slow", 100, "--run-id", "s1")
    process = worker()
    touched(shop, 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "1 open" in out
    assert "Traceback" not in err
    shown = shop.json("show", shop.ledger, "s1")
    assert shown["status"] == "running"
    # What was at work was drained: every step that began is recorded as completed, or not yet intended.
    kinds = [entry["kind"] for entry in shown["history"]]
    assert kinds.count("step_completed") == len(list(shop.folder.glob("touched-*")))


def test_a_killed_worker_s_run_is_finished_by_the_next(shop: Any, worker: Any) -> None:
    shop.start("slow", 4, "--run-id", "s1")
    process = worker()
    touched(shop, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    next_process = worker("--until-idle")
    out, err = next_process.communicate(timeout=30)
    assert next_process.returncode == 0, err
    assert "1 completed" in out
    assert shop.json("show", shop.ledger, "s1")["history"][-1]["value"] == 4
    again = [len((shop.folder / f"touched-{index}").read_text()) for index in range(4)]
    assert sum(again) <= 5  # only the step that was cut off ran twice
    assert shop.json("verify", shop.ledger)["ok"] is True


def test_until_idle_waits_for_timers_but_not_for_events(shop: Any) -> None:
    shop.module.write_text(
        shop.module.read_text()
        + '\n@workflow(id="naps")\nasync def naps(input, step):\n    await step.sleep("nap", "300ms")\n'
    )
    shop.start("naps", 1)
    shop.start("await-payment", "o1")
    counts = shop.json("run", shop.ledger, "-w", "orders.py", "--until-idle")["counts"]
    assert counts == {"waiting_event": 1, "completed": 1}
