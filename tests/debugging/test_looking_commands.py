"""`perdure show --at -w`, `perdure diff` and `perdure fork`, as a user types them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from perdure.cli.main import app

SHOP = """\
import asyncio
from perdure.strict import workflow, step

@step(retries=0)
async def charge(what: str) -> str:
    return f"charged {what}"

@workflow(id="shop", version="1")
async def shop(input: dict, step) -> str:
    async def one(name):
        doubled = name * 2
        return await step.run(f"pick-{name}", charge, doubled)
    paid = await charge(input["who"])
    picked = await asyncio.gather(one("a"), one("b"))
    if input.get("waits"):
        await step.wait_for_event("go", type="go")
    return paid
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs r1 and r2, completed, and w1, which waits."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "looked_at.py").write_text(SHOP, encoding="utf-8")
    record = """
        import asyncio, looked_at
        from perdure import Runtime

        async def main():
            async with Runtime("shop.duckdb", workflows=looked_at) as runtime:
                for run_id, value in (("r1", {"who": "ann"}), ("r2", {"who": "bob"})):
                    await (await runtime.start("shop", value, run_id=run_id)).result("30s")
                waiting = await runtime.start("shop", {"who": "cyd", "waits": True}, run_id="w1")
                await waiting.wait("waiting_event", timeout="30s")

        asyncio.run(main())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(record)], cwd=folder, check=True, timeout=60)
    return folder


@pytest.fixture
def perdure(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `perdure …` in a copy of the folder."""
    for name in ("shop.duckdb", "looked_at.py"):
        shutil.copy(recorded / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "looked_at", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda command, *arguments: CliRunner().invoke(app, [command, "shop.duckdb", *arguments])


def test_show_tells_each_branchs_line_and_variables(perdure):
    shown = perdure("show", "r1", "--at", "pick-b", "-w", "looked_at.py")
    assert shown.exit_code == 0, shown.output
    assert "body      waits for other branches" in shown.stdout
    assert "body      branch 0.2 waits for step pick-b, entry 4" in shown.stdout
    assert '→   12          return await step.run(f"pick-{name}", charge, doubled)' in shown.stdout
    assert "doubled = 'bb'" in shown.stdout
    assert "paid = 'charged ann'" in shown.stdout


def test_show_without_workflows_shows_the_entry_and_how_to_see_more(perdure):
    shown = perdure("show", "r1", "--at", "3")
    assert "entry 3 of" in shown.stdout
    assert "perdure show shop.duckdb r1 --at 3 -w MODULE" in shown.stderr
    assert "body      " not in shown.stdout


def test_show_gives_programs_the_stacks(perdure):
    shown = json.loads(perdure("show", "w1", "--at", "go", "-w", "looked_at.py", "--json").stdout)
    (stack,) = shown["stacks"]
    assert (stack["branch"], stack["waits_for"], shown["ending"]) == ("0", "wait_event go", None)
    (frame,) = stack["frames"]
    assert frame["source"] == 'await step.wait_for_event("go", type="go")'
    assert frame["variables"]["picked"] == "['charged aa', 'charged bb']"


def test_show_with_workflows_wants_a_place(perdure):
    refused = perdure("show", "r1", "-w", "looked_at.py")
    assert refused.exit_code == 2
    assert "--workflows is for --at" in refused.stderr


def test_diff_tells_what_differs_and_leaves_out_what_does_not(perdure):
    shown = perdure("diff", "r1", "r2")
    assert shown.exit_code == 1
    assert 'argument $[0]: "ann" → "bob"; result $: "charged ann" → "charged bob"' in shown.stdout
    assert "input $.who" in shown.stdout
    assert "… 2 equal" in shown.stdout
    assert "pick-a" not in shown.stdout
    assert "r1 and r2 differ in 1 of 3 commands." in shown.stdout


def test_diff_of_the_same_and_of_another_ledger(perdure, tmp_path):
    shutil.copy(tmp_path / "shop.duckdb", tmp_path / "old.duckdb")
    shown = perdure("diff", "r1", "r1", "--other", "old.duckdb")
    assert (shown.exit_code, shown.stdout.strip()) == (0, "r1 and r1 did the same: 3 commands, all equal.")
    unknown = perdure("diff", "r1", "r9")
    assert unknown.exit_code == 2
    assert "no run 'r9'" in unknown.stderr


def test_diff_gives_programs_every_difference(perdure):
    found = json.loads(perdure("diff", "r1", "w1", "--json").stdout)
    assert found["equal"] is False
    assert [(each["name"], each["in"]) for each in found["differences"]] == [("charge", "both"), ("go", "b")]
    assert found["differences"][0]["arguments"] == [{"path": "$[0]", "a": '"ann"', "b": '"cyd"'}]
    assert {fact["name"] for fact in found["facts"]} >= {"input", "status"}


def test_fork_runs_on_from_a_step_and_shows_where_it_comes_from(perdure):
    shown = perdure(
        "fork", "r1", "--at", "pick-a", "-w", "looked_at.py", "--run-id", "f1", "--tag", "why=again", "--wait"
    )
    assert (shown.exit_code, json.loads(shown.stdout)) == (0, "charged ann")
    status = json.loads(perdure("show", "f1", "--json").stdout)
    assert (status["forked_from"], status["tags"], status["status"]) == ("r1", {"why": "again"}, "completed")
    assert "forked    from r1" in perdure("show", "f1").stdout
    assert perdure("diff", "r1", "f1").exit_code == 0
    assert perdure("verify").exit_code == 0
    assert perdure("replay-check", "-w", "looked_at.py", "--all").exit_code == 0


def test_fork_of_an_open_run_leaves_it_to_a_worker_where_it_waits(perdure):
    shown = perdure("fork", "w1", "--at", "0", "-w", "looked_at.py", "--run-id", "f1")
    assert "Run f1, forked from w1 at 0, is waiting_event." in shown.stdout
    again = json.loads(perdure("fork", "w1", "--at", "0", "-w", "looked_at.py", "--run-id", "f1", "--json").stdout)
    assert (again["run_id"], again["forked_from"]) == ("f1", "w1")


def test_fork_at_an_unknown_step_names_the_known_ones(perdure):
    refused = perdure("fork", "r1", "--at", "pick-c", "-w", "looked_at.py")
    assert refused.exit_code == 2
    assert "it asked for: charge, pick-a, pick-b" in refused.stderr
    assert "did you mean 'pick-a'?" in refused.stderr or "did you mean 'pick-b'?" in refused.stderr
