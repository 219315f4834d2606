"""A worker verifies when it is told to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from perdure.cli.main import app

MODULE = """
from perdure.strict import step, workflow

@step
async def double(number: int) -> int:
    return 2 * number

@workflow(id="doubles")
async def doubles(input: int) -> int:
    return await double(input)
"""


def perdure(*arguments: object) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def shop(tmp_path: Path) -> tuple[Path, Path]:
    module, ledger = tmp_path / "doubling.py", tmp_path / "doubling.duckdb"
    module.write_text(MODULE, encoding="utf-8")
    done = perdure("start", ledger, "doubles", "-w", module, "--input", "4", "--run-id", "r", "--wait")
    assert done.exit_code == 0, done.output
    return ledger, module


def verdicts(ledger: Path) -> list[Any]:
    found: list[Any] = json.loads(perdure("sql", ledger, "SELECT run_id, ok FROM verdicts", "--json").stdout)
    return found


def test_a_worker_verifies_what_has_ended(shop: tuple[Path, Path], tmp_path: Path) -> None:
    ledger, module = shop
    kept = shutil.copy(ledger, tmp_path / "kept.duckdb")
    done = perdure("run", ledger, "-w", module, "--until-idle")
    assert done.exit_code == 0, done.output
    assert verdicts(ledger) == []
    for path, share in ((ledger, "always"), (Path(kept), "1.0")):
        done = perdure("run", path, "-w", module, "--until-idle", "--verify", share)
        assert done.exit_code == 0, done.output
        assert verdicts(path) == [{"run_id": "r", "ok": True}]
    assert "verdict   replays" in perdure("show", ledger, "r").stdout


@pytest.mark.parametrize("wrong", ["often", "0", "2", "nan", ""])
def test_a_worker_refuses_what_is_no_share(wrong: str, shop: tuple[Path, Path]) -> None:
    ledger, module = shop
    done = perdure("run", ledger, "-w", module, "--until-idle", "--verify", wrong)
    assert done.exit_code == 2
    assert "0.01" in done.stderr
