"""`perdure resume`, as a user types it: it answers the hook of a token, and says when there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from perdure.cli.main import app

MODULE = """
from pydantic import BaseModel
from perdure.strict import workflow

class Answer(BaseModel):
    yes: bool

@workflow(id="approval")
async def approval(input: str, step) -> bool:
    return (await step.hook(input, schema=Answer)).yes
"""


def perdure(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(autouse=True)
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run r1 that waits for its hook approval:7."""
    monkeypatch.chdir(tmp_path)
    Path("workflows.py").write_text(MODULE, encoding="utf-8")
    started = perdure("start", "l.duckdb", "approval", "--input", '"approval:7"', "--run-id", "r1")
    assert started.exit_code == 0, started.output
    subprocess.run([sys.executable, "-m", "perdure", "run", "l.duckdb", "--until-idle", "--quiet"], check=True)


def test_it_answers_a_hook() -> None:
    answered = perdure("resume", "l.duckdb", "approval:7", "--payload", '{"yes": true}')
    assert answered.stdout == "r1 has the payload for approval:7, and is completed.\n"
    shown = json.loads(perdure("show", "l.duckdb", "r1", "--json").stdout)
    assert shown["status"] == "completed"


def test_it_says_for_programs_whose_hook_it_was() -> None:
    answered = perdure("resume", "l.duckdb", "approval:7", "-p", '{"yes": false}', "--json")
    assert json.loads(answered.stdout) == {"run_id": "r1", "token": "approval:7", "status": "completed"}


@pytest.mark.parametrize(
    ("token", "payload", "said"),
    [
        ("approval:8", '{"yes": true}', "no open hook has the token 'approval:8'"),
        ("approval:7", '{"yes": "perhaps"}', "refused the payload"),
        ("approval:7", "yes", "--payload is no JSON"),
    ],
)
def test_what_no_hook_takes_is_refused_and_the_run_waits_on(token: str, payload: str, said: str) -> None:
    refused = perdure("resume", "l.duckdb", token, "--payload", payload)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert said in refused.stderr
    assert json.loads(perdure("show", "l.duckdb", "r1", "--json").stdout)["status"] == "waiting_event"
