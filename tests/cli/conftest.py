"""A folder with a module of workflows and a ledger, and the commands in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from forked import run_apart
from typer.testing import CliRunner

from perdure.cli.main import app

ORDERS = """\
from pydantic import BaseModel
from perdure.strict import workflow, step

class Order(BaseModel):
    order_id: str
    cents: int

@step
async def charge_card(order: Order) -> str:
    return f"charge-{order.order_id}"

@workflow(id="fulfill-order", version="1")
async def fulfill_order(input: Order, step) -> dict:
    charge = await charge_card(input)
    return {"outcome": "done", "charge": charge}

@workflow(id="await-payment", version="2")
async def await_payment(input: str, step) -> str:
    paid = await step.wait_for_event("paid", type="payment.completed", match={"order_id": input})
    return paid["by"]

@workflow(id="fails", version="1")
async def fails(input: str) -> str:
    raise ValueError(input)
"""


@dataclass
class Shop:
    """The folder, and commands run in it."""

    folder: Path
    ledger: Path
    module: Path

    def __call__(self, *arguments: str, input: str | None = None) -> Any:
        """Run `perdure …` in this process."""
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)

    def ok(self, *arguments: str, input: str | None = None) -> str:
        """Run a command that must succeed; give what it printed."""
        result = self(*arguments, input=input)
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    def json(self, *arguments: str) -> Any:
        """Run a command with --json; give what it printed, parsed."""
        return json.loads(self.ok(*arguments, "--json"))

    def start(self, workflow: str = "fulfill-order", value: object = None, *arguments: str) -> Any:
        """Start a run to its end; give what was printed."""
        given = json.dumps({"order_id": "o1", "cents": 5} if value is None else value)
        return self.ok("start", self.ledger, workflow, "-w", self.module, "--input", given, *arguments)

    def rewrite(self, old: str, new: str) -> None:
        """Change the module; the next command imports it anew."""
        text = self.module.read_text(encoding="utf-8")
        assert old in text
        self.module.write_text(text.replace(old, new), encoding="utf-8")
        sys.modules.pop("orders", None)

    def process(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a process of its own."""
        environment = {**os.environ, "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
        if "--jobs" not in command:  # what starts processes itself is started as a shell does it
            code, output, errors = run_apart(self.folder, [str(word) for word in command], environment)
            return subprocess.CompletedProcess(command, code, output, errors)
        program = Path(sys.executable).parent / command[0]
        return subprocess.run(
            [str(program), *map(str, command[1:])],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """An empty shop, and the current folder in it."""
    module = tmp_path / "orders.py"
    module.write_text(ORDERS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    # A module that is rewritten within a second must not come back from its bytecode.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "orders", raising=False)
    return Shop(tmp_path, Path("orders.duckdb"), module)


@pytest.fixture(scope="session")
def two_ended_runs_and_an_open_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded ledger, to be copied."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "orders.py").write_text(ORDERS, encoding="utf-8")
    source = f"""
import asyncio, sys
sys.path.insert(0, {str(folder)!r})
import orders
from perdure import Runtime

async def main():
    async with Runtime({str(folder / "orders.duckdb")!r}, workflows=orders) as runtime:
        for run_id, cents in (("r1", 5), ("r2", 7)):
            order = {{"order_id": run_id, "cents": cents}}
            await (await runtime.start("fulfill-order", order, run_id=run_id)).result()
        handle = await runtime.start("await-payment", "o1", run_id="w1")
        await handle.wait("waiting_event", timeout="30s")

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", source], check=True, timeout=60)
    return folder / "orders.duckdb"


@pytest.fixture
def recorded(shop: Shop, two_ended_runs_and_an_open_one: Path) -> Shop:
    """A shop with two ended runs, r1 and r2, and an open one, w1."""
    shutil.copy(two_ended_runs_and_an_open_one, shop.ledger)
    return shop
