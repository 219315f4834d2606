"""A command that does one thing and is gone leaves the rest to a worker: ticks, queues, and what was cut off."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from perdure import Runtime
from perdure.cli.main import app
from perdure.declare.discovery import find_workflows
from perdure.testing.clock import SimulatedClock

JOBS = """
import asyncio
from pathlib import Path
from perdure.strict import Queue, Schedule, workflow, step

ONE = Queue("one", max_concurrent_runs=1)

@workflow(id="secondly", trigger=Schedule("* * * * * *"))
async def secondly() -> None: ...

@workflow(id="line", queue=ONE)
async def line(input: str, step) -> str:
    return str(await step.wait_for_event("go", type="go"))

@step
async def work(name: str) -> str:
    path = Path(__file__).with_name("calls")
    path.write_text((path.read_text() if path.exists() else "") + name)
    if path.read_text() == name:
        await asyncio.sleep(60)
    return name

@workflow(id="cut-off")
async def cut_off() -> str:
    return await work("x")

@workflow(id="later")
async def later() -> None: ...
"""


async def fill(calls: Path) -> None:
    clock = SimulatedClock("2020-01-01T00:00:00Z")  # whoever opens it now has missed some ticks
    async with Runtime("jobs.duckdb", workflows=find_workflows("workflows.py"), drain=0, clock=clock) as runtime:
        await runtime.start("line", "a", run_id="first")
        await runtime.start("line", "b", run_id="second")
        await runtime.start("later", run_id="delayed", delay="1h")
        await runtime.start("cut-off", run_id="interrupted")
        while not calls.exists():
            await asyncio.sleep(0)
        await runtime.handle("first").wait("waiting_event", timeout="20s")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger with missed ticks, a run that waits for another, one that was cut off, one whose time has come."""
    (tmp_path / "workflows.py").write_text(JOBS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    asyncio.run(fill(tmp_path / "calls"))
    return tmp_path


def perdure(*arguments: str, exits: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exits, result.output
    return str(result.output)


def statuses() -> dict[str, Any]:
    return {each["run_id"]: each["status"] for each in json.loads(perdure("runs", "jobs.duckdb", "--json"))}


LEFT = {"second": "queued", "delayed": "queued", "interrupted": "running"}


@pytest.mark.parametrize(
    ("command", "first"),
    [
        (["cancel", "jobs.duckdb", "first"], "cancelled"),
        (["cancel", "jobs.duckdb", "--workflow", "later", "--status", "failed"], "waiting_event"),
        (["retry", "jobs.duckdb", "--all"], "waiting_event"),
        (["signal", "jobs.duckdb", "first", "hello"], "waiting_event"),
        (["send", "jobs.duckdb", "go", "--payload", "{}"], "completed"),
        (["schedules", "pause", "jobs.duckdb", "secondly"], "waiting_event"),
    ],
)
def test_it_starts_no_tick_begins_no_queued_run_and_resumes_nothing(
    folder: Path, command: list[str], first: str
) -> None:
    perdure(*command)
    assert statuses() == {"first": first, **LEFT}
    assert (folder / "calls").read_text() == "x"  # the step that was cut off was not called again


def test_what_it_started_itself_is_worked_on_for_a_moment(folder: Path) -> None:
    perdure("fork", "jobs.duckdb", "interrupted", "--at", "0", "--run-id", "forked")
    assert statuses() == {"first": "waiting_event", "forked": "completed", **LEFT}


def test_a_run_that_is_taken_to_its_end_may_begin_on_a_queue_and_no_tick_is_started_beside_it(folder: Path) -> None:
    perdure("start", "jobs.duckdb", "later", "--run-id", "mine", "--wait")
    found = statuses()
    assert found["mine"] == "completed"
    assert not [run for run in found if run.startswith("secondly")]


def test_a_schedule_in_another_process_is_changed_there_and_the_error_says_how(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "from perdure import Runtime\nwith Runtime('jobs.duckdb'):\n    print('open', flush=True)\n    input()\n"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        told = perdure("schedules", "pause", "jobs.duckdb", "secondly", exits=2)
        owner.communicate("\n", timeout=30)
    assert f"process {owner.pid} has it open, and only that one can change a schedule" in told
    assert f"kill {owner.pid}; its runs are parked and go on" in told
    assert "await runtime.pause_schedule('secondly')" in told
