"""A project of a user's: workflows, a ledger, and pytest run in it as from a shell."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from forked import run

from perdure import Runtime
from perdure.replay.history_file import write_history
from perdure.testing import RuntimeClock

ORDERS = """\
from perdure.strict import step, workflow

@step
async def charge_card(order_id: str) -> str:
    return f"charge-{order_id}"

@workflow(id="fulfill-order")
async def fulfill_order(input: str, step) -> str:
    charge = await charge_card(input)
    await step.sleep("grace", "1d")
    return charge

@workflow(id="ping", version="7")
async def ping(input: int) -> int:
    return input
"""


@dataclass
class Project:
    """A folder, and pytest in it."""

    folder: Path

    def pytest(self, *arguments: str) -> tuple[int, str]:
        """Run pytest; give its exit code and what it printed."""
        # On a build server pytest repeats whole messages in its summary; what these tests read is what a person reads.
        outer = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}
        environment = {**outer, "COLUMNS": "120", "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": ""}
        return run(self.folder, ["pytest", "-p", "no:hypothesispytest", *arguments], environment)

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def rewrite(self, old: str, new: str) -> None:
        """Change the workflows."""
        assert old in ORDERS
        self.write("orders.py", ORDERS.replace(old, new))


@pytest.fixture(scope="session")
def recorded_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Workflows, a ledger with three runs, and the history of one of them; to be copied."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "orders.py").write_text(ORDERS, encoding="utf-8")
    path = list(sys.path)
    clock = RuntimeClock()
    runtime = Runtime(folder / "orders.duckdb", workflows=[str(folder / "orders.py")], clock=clock)
    clock.drive(runtime)
    with runtime as opened:
        for run_id in ("o1", "o2"):
            opened.start("fulfill-order", run_id, run_id=run_id)
        clock.advance("1d")
        opened.start("ping", 3, run_id="p1").wait()
        opened.start("fulfill-order", "o3", run_id="o3")
        clock.settle()
        (folder / "histories").mkdir()
        with (folder / "histories/o1.history.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            write_history(opened.handle("o1").recorded(), file)
    sys.modules.pop("orders")
    sys.path[:] = path
    return folder


@pytest.fixture
def project(recorded_project: Path, tmp_path: Path) -> Project:
    """A copy of it."""
    shutil.copytree(recorded_project, tmp_path / "project")
    return Project(tmp_path / "project")
