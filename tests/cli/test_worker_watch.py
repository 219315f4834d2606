"""`perdure run --watch`: changed code is taken up by itself, and code that can't be used changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Running

from perdure.cli.reloading import in_children

FLOWS = """
import asyncio, pathlib
from names import GREETING
from perdure.strict import step, workflow

@step
async def waits() -> str:
    print("step begins", flush=True)
    while not pathlib.Path("go-on").exists():
        await asyncio.sleep(0.01)
    return GREETING

@workflow(id="greet")
async def greet(input: str, step) -> list:
    first = "old body"
    return [first, await waits()]
"""


@pytest.fixture
def folder(shop: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("workflows", "names"):
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    (shop.folder / "workflows.py").write_text(FLOWS)
    (shop.folder / "names.py").write_text("GREETING = 'old step'\n")
    return Path(shop.folder)


@pytest.fixture
def watching(folder: Path) -> Iterator[Any]:
    """Start a worker that watches."""
    started: list[Running] = []

    def begin(*options: str) -> Running:
        started.append(Running(folder, "perdure", "run", "x.duckdb", "--watch", *options))
        return started[-1]

    yield begin
    for worker in started:
        worker.close()


def stopped(worker: Running) -> int:
    worker.process.terminate()
    return worker.ended()


def test_open_runs_go_on_with_their_body_and_new_steps_and_new_runs_get_the_new_body(
    shop: Any, folder: Path, watching: Any
) -> None:
    shop.ok("start", "x.duckdb", "greet", "--input", '""', "--run-id", "open")
    worker = watching("--drain", "50ms")
    worker.until("step begins")
    pid = worker.process.pid
    (folder / "workflows.py").write_text(FLOWS.replace("old body", "new body"))
    assert worker.until("changed.") == "workflows.py changed."
    assert "greet v1" in worker.until(" → ")
    worker.until("open runs go on with the code that they started with")
    worker.until("Beginning anew.")
    assert f"process {pid}," in worker.until("perdure ")  # it has become a fresh one, and is still the same
    worker.until("step begins")
    (folder / "names.py").write_text("GREETING = 'new step'\n")
    worker.until("names.py changed.")
    worker.until("no body did")
    worker.until("step begins")
    (folder / "go-on").touch()
    worker.until("completed in")
    assert stopped(worker) == 0
    assert shop.json("show", "x.duckdb", "open")["history"][-1]["value"] == ["old body", "new step"]
    done = shop.process("perdure", "start", "x.duckdb", "greet", "--input", '""', "--wait")
    assert json.loads(done.stdout.removeprefix("step begins\n")) == ["new body", "new step"]


def test_code_that_can_t_be_used_is_told_and_the_old_goes_on(shop: Any, folder: Path, watching: Any) -> None:
    shop.ok("start", "x.duckdb", "greet", "--input", '""', "--run-id", "r1")
    worker = watching()
    worker.until("step begins")
    (folder / "workflows.py").write_text(FLOWS.replace('"old body"', "open('x')"))
    worker.until("workflows.py changed and can't be used. The code from before goes on.")
    worker.until("PolicyViolation [BOX101]")
    worker.until("workflows.py:15:13: open can't be used in a body")
    (folder / "workflows.py").write_text(FLOWS + "def broken(:\n")
    worker.until("SyntaxError")
    (folder / "go-on").touch()
    worker.until("completed in")  # it was never interrupted
    assert "Beginning anew" not in worker.text
    (folder / "workflows.py").write_text(FLOWS + "\n@workflow(id='more')\nasync def more(input: str) -> None: ...\n")
    worker.until("more v1  is new: ")
    worker.until("with 2 workflows")
    assert stopped(worker) == 0
    assert shop.json("show", "x.duckdb", "r1")["history"][-1]["value"] == ["old body", "old step"]


def test_a_worker_that_begins_with_broken_code_waits_for_its_mending(folder: Path, watching: Any) -> None:
    (folder / "names.py").write_text("GREETING = \n")
    worker = watching("--log", "json")
    worker.until("names.py:1")
    worker.until("Waiting for a change.")
    (folder / "names.py").write_text("GREETING = 'mended'\n")
    assert json.loads(worker.until("worker_reloading"))["files"] == ["names.py"]
    assert json.loads(worker.until("worker_started"))["workflows"][0]["id"] == "greet"
    assert stopped(worker) == 0
    assert json.loads(worker.lines[-1])["event"] == "worker_stopped"  # stdout is still the one that it was


def test_a_worker_goes_on_when_its_code_is_deleted_or_has_no_workflows_any_more(folder: Path, watching: Any) -> None:
    worker = watching()
    worker.until("with 1 workflow")
    (folder / "workflows.py").unlink()
    worker.until("workflows.py changed and can't be used. The code from before goes on.")
    (folder / "workflows.py").write_text("x = 1\n")
    worker.until("No workflows in workflows.py.")
    (folder / "workflows.py").write_text(FLOWS.replace('id="greet"', 'id="welcome"'))
    worker.until("greet v1  is gone")
    worker.until("welcome  1")
    assert stopped(worker) == 0


def test_a_worker_that_begins_where_nothing_is_waits_for_the_first_workflow(folder: Path, watching: Any) -> None:
    (folder / "workflows.py").unlink()
    worker = watching()
    worker.until("there are no workflows here")
    worker.until("Waiting for a change.")
    (folder / "workflows.py").write_text("def broken(:\n")
    worker.until("workflows.py changed and can't be used. Still waiting for a change.")
    (folder / "workflows.py").write_text(FLOWS)
    worker.until("with 1 workflow")
    assert stopped(worker) == 0


def test_where_a_process_can_t_become_another_one_a_parent_starts_children_anew(tmp_path: Path) -> None:
    script = "import os, pathlib, sys\nassert os.environ['PERDURE_WATCHING_PARENT']\nfile = pathlib.Path('count')\n"
    script += "n = len(file.read_text()) if file.exists() else 0\nfile.write_text('x' * (n + 1))\n"
    script += "sys.exit(75 if n < 2 else 9)\n"
    (tmp_path / "child.py").write_text(script)
    parent = "import sys\nfrom perdure.cli.reloading import in_children\n"
    parent += "sys.exit(in_children([sys.executable, 'child.py']))"
    done = subprocess.run([sys.executable, "-c", parent], cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 9
    assert (tmp_path / "count").read_text() == "xxx"
    assert in_children([sys.executable, "-c", "pass"]) == 0
