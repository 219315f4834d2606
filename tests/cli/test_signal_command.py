"""`perdure signal`, as a user types it: a name that nothing waits for is kept, and the terminal says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perdure.cli.main import app

MODULE = """
from perdure.strict import workflow

@workflow(id="approval")
async def approval(input: None, step) -> object:
    return await step.wait_for_signal("approved")
"""


def perdure(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_misspelt_signal_is_kept_and_the_terminal_says_that_nothing_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("approvals.py").write_text(MODULE, encoding="utf-8")
    perdure("start", "l.duckdb", "approval", "-w", "approvals.py", "--run-id", "r1")
    said = perdure("signal", "l.duckdb", "r1", "aproved", "-w", "approvals.py", "--payload", "1")
    assert said.startswith("r1 has the signal aproved, keeps it until something waits for it, and is ")
    assert "signal    aproved, 1 kept that nobody has taken" in perdure("show", "l.duckdb", "r1")
    assert json.loads(perdure("show", "l.duckdb", "r1", "--json"))["signals"] == {"aproved": 1}
