"""`services = {…}` beside workflows: every command that runs their steps keeps services where it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from perdure.cli.main import app

STORES = """
from perdure import FsspecStorage
services = {"storage": FsspecStorage("file://" + FOLDER)}
"""
REPORTS = """
from perdure.strict import current_step, step, workflow

@step
async def write(name: str) -> None:
    await current_step().storage.put(name, b"text")

@workflow(id="report")
async def report(input: str) -> None:
    await write(input)
"""


def perdure(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text.replace("FOLDER", repr(str(Path.cwd() / "blobs"))), encoding="utf-8")


def files() -> list[str]:
    return [file.name for file in Path("blobs").rglob("*") if file.is_file() and file.read_bytes() == b"text"]


def test_a_worker_and_a_command_that_runs_steps_keep_services_where_the_module_says() -> None:
    write("kept.py", STORES + REPORTS)
    started = perdure("start", "l.duckdb", "report", "-w", "kept.py", "--input", '"a.txt"', "--wait")
    assert started.exit_code == 0, started.output
    first = files()
    assert first
    assert perdure("start", "l.duckdb", "report", "-w", "kept.py", "--input", '"b.txt"').exit_code == 0
    command = [sys.executable, "-m", "perdure", "run", "l.duckdb", "-w", "kept.py", "--until-idle"]
    worked = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "storage is kept by FsspecStorage(" in worked.stdout + worked.stderr
    assert len(files()) == 2 * len(first)
    assert json.loads(perdure("sql", "l.duckdb", "SELECT count(*) AS n FROM blobs", "--json").stdout) == [{"n": 0}]


def test_in_a_folder_any_module_may_say_it() -> None:
    write("many/stores.py", STORES)
    write("many/reports.py", REPORTS)
    started = perdure("start", "l.duckdb", "report", "-w", "many", "--input", '"a.txt"', "--wait")
    assert started.exit_code == 0, started.output
    assert files()


def test_two_modules_that_say_otherwise_are_refused_with_both_places() -> None:
    write("twice/first_store.py", STORES)
    write("twice/second_store.py", STORES + REPORTS)
    refused = perdure("run", "l.duckdb", "-w", "twice", "--until-idle")
    assert refused.exit_code == 2
    assert "two modules of workflows say where 'storage' is kept" in refused.output
    assert "twice/first_store.py and twice/second_store.py" in refused.output
    assert "from first_store import services" in refused.output


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('services = {"kv": "redis://localhost"}', "it is no back end of a service"),
        ('services = {"stroage": FsspecStorage("memory://")}', "did you mean storage?"),
        ('services = [FsspecStorage("memory://")]', "is no mapping"),
        ('services = FsspecStorage("memory://")', "is no mapping"),
    ],
)
def test_what_says_nothing_that_can_be_used_is_refused_with_its_place(line: str, said: str) -> None:
    write("wrong.py", f"from perdure import FsspecStorage\n{line}\n{REPORTS}")
    for command in (["list", "wrong.py"], ["run", "l.duckdb", "-w", "wrong.py", "--until-idle"]):
        refused = perdure(*command)
        assert refused.exit_code == 2
        assert said in refused.output
        assert "wrong.py" in refused.output


def test_a_name_that_is_something_else_is_left_alone() -> None:
    write("harmless.py", "import json as services\n" + REPORTS.replace("await write(input)", "pass"))
    assert perdure("start", "l.duckdb", "report", "-w", "harmless.py", "--input", '""', "--wait").exit_code == 0
