"""`perdure cancel` and `perdure retry` on several runs, and what `show` says of families and chains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perdure.cli.main import app

WORKFLOWS = """
from pathlib import Path
from perdure.strict import workflow

def work(broken):
    if Path(broken).exists():
        raise ValueError("still broken")
    return "done"

@workflow(id="flaky")
async def flaky(input: str, step) -> str:
    return await step.run("work", work, input, retries=0)

@workflow(id="waits")
async def waits(input: object, step) -> None:
    await step.wait_for_event("go", type="go")

@workflow(id="parent")
async def parent(input: object, step) -> None:
    await step.invoke("child", "waits", None)

@workflow(id="loop")
async def loop(input: int, step) -> int:
    if input < 2:
        await step.continue_as(input + 1)
    return input
"""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a command on a ledger of its own; gives its output."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flows.py").write_text(WORKFLOWS)
    (tmp_path / "broken").touch()
    runner = CliRunner()

    def run(command: str, *arguments: str, exit_code: int = 0) -> str:
        result = runner.invoke(app, [command, "l.duckdb", *arguments])
        assert result.exit_code == exit_code, result.output
        return result.output

    def start(workflow: str, run_id: str, value: object = None) -> None:
        run("start", workflow, "-w", "flows.py", "--input", json.dumps(value), "--run-id", run_id)
        run("run", "-w", "flows.py", "--until-idle")

    run.start = start
    return run


def statuses(shell) -> dict[str, str]:
    return {each["run_id"]: each["status"] for each in json.loads(shell("runs", "--json"))}


def test_failed_runs_are_retried_by_name_and_by_filter(shell, tmp_path):
    for number in range(3):
        shell.start("flaky", f"r{number}", str(tmp_path / "broken"))
    (tmp_path / "broken").unlink()
    assert "Run r0 is tried again; it is completed." in shell("retry", "r0", "-w", "flows.py")
    assert json.loads(shell("retry", "--workflow", "flaky", "-w", "flows.py", "--json")) == {"retried": 2}
    assert set(statuses(shell).values()) == {"completed"}
    assert "has completed" in shell("retry", "r0", "-w", "flows.py", exit_code=2)


def test_open_runs_are_cancelled_by_name_and_by_filter(shell):
    for number in range(3):
        shell.start("waits", f"r{number}")
    told = json.loads(shell("cancel", "r0", "r1", "-w", "flows.py", "--json"))
    assert [(each["run_id"], each["cancelled"]) for each in told] == [("r0", True), ("r1", True)]
    assert "1 run was asked to stop." in shell("cancel", "--all", "-w", "flows.py")
    assert set(statuses(shell).values()) == {"cancelled"}


def test_without_a_run_or_a_filter_nothing_is_done(shell):
    shell.start("waits", "r0")
    assert "say --all" in shell("cancel", "-w", "flows.py", exit_code=2)
    assert "both runs and a filter" in shell("cancel", "r0", "--all", "-w", "flows.py", exit_code=2)
    assert "no run 'nobody'" in shell("cancel", "r0", "nobody", "-w", "flows.py", exit_code=2)
    assert set(statuses(shell).values()) == {"waiting_event"}


def test_show_tells_children_parents_and_chains(shell):
    shell.start("parent", "p")
    assert "child     p-0-0, waiting_event" in shell("show", "p")
    assert "parent    p" in shell("show", "p-0-0")
    assert json.loads(shell("show", "p", "--json"))["children"] == ["p-0-0"]
    shell.start("loop", "a", 1)
    assert "goes on   as a+2" in shell("show", "a")
    assert "continues a" in shell("show", "a+2")


def test_fork_takes_another_input_and_given_results(shell, tmp_path):
    shell.start("flaky", "r", str(tmp_path / "broken"))
    given = shell("fork", "r", "--at", "work", "-w", "flows.py", "--result", 'work="given"', "--wait")
    assert json.loads(given) == "given"
    other = shell("fork", "r", "--at", "0", "-w", "flows.py", "--input", '"no/such/file"', "--wait")
    assert json.loads(other) == "done"
    assert "is no result" in shell("fork", "r", "--at", "work", "-w", "flows.py", "--result", "work", exit_code=2)
