"""One ledger, and one release of the code after the other, each under the same module's name."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from perdure import Runtime
from perdure.client.handle import RunHandle

HEAD = """\
from pydantic import BaseModel

from perdure.strict import RetryPolicy, step, workflow


class Order(BaseModel):
    sku: str
    cents: int


@step(retries=RetryPolicy(max_attempts=3, base_delay="1ms"))
async def reserve(order: Order) -> str:
    return f"stock-{order.sku}"


@step(retries=RetryPolicy(max_attempts=3, base_delay="1ms"))
async def charge(cents: int) -> str:
    return f"charge-{cents}"


"""

BODY = """
@workflow(id="checkout", version="1")
async def checkout(input: Order, step) -> str:
    stock = await reserve(input)
    await step.wait_for_event("go", type="go")
    paid = await charge(input.cents)
    return f"{stock} {paid}"
"""
ORDER = {"sku": "A1", "cents": 1250}
OUTCOME = "stock-A1 charge-1250"


class Deploys:
    """The releases of one test."""

    def __init__(self, folder: Path, ledger: Any) -> None:
        self.folder = folder
        self.ledger = ledger
        self.modules: set[str] = set()
        self._releases = 0

    def release(self, body: str = BODY, *, head: str = HEAD, module: str = "orders") -> ModuleType:
        """Import a release, as a new process would find it."""
        self._releases += 1
        folder = self.folder / f"release{self._releases}"
        folder.mkdir()
        file = folder / f"{module}.py"
        file.write_text(head + textwrap.dedent(body), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(module, file)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[module] = made
        self.modules.add(module)
        spec.loader.exec_module(made)
        return made

    def remove(self, module: str = "orders") -> None:
        """Deploy without a module: no process can import it any more."""
        del sys.modules[module]
        importlib.invalidate_caches()

    @asynccontextmanager
    async def live(self, *workflows: object, **options: Any) -> AsyncIterator[Runtime]:
        """Run a release: its modules or definitions are registered."""
        async with Runtime(self.ledger, workflows=list(workflows), **{"drain": "1s", **options}) as runtime:
            yield runtime

    async def begin(self, body: str = BODY, *, head: str = HEAD, status: str = "waiting_event") -> None:
        """Start the run `r` on a release, and stop when it has a status."""
        async with self.live(self.release(body, head=head)) as runtime:
            run = await runtime.start("checkout", ORDER, run_id="r")
            await run.wait(status, timeout="20s")

    async def finish(self, *workflows: object, **options: Any) -> Any:
        """Go on with the run `r` on the release that is imported now, and send what it waits for; its output."""
        async with self.live(*workflows, **options) as runtime:
            await runtime.send_event("go")
            return await runtime.handle("r").result(timeout="20s")

    async def stopped(self, *workflows: object, **options: Any) -> str:
        """The same, for a run that stops as diverged: its report."""
        async with self.live(*workflows, **options) as runtime:
            await runtime.send_event("go")
            run = runtime.handle("r")
            await run.wait("diverged", timeout="20s")
            return await report(run)


async def report(run: RunHandle) -> str:
    """The newest report of a run that has diverged; read as it is kept, because classes may be gone."""
    row = await run._row()
    entries = await run._runtime.ask(lambda engine, batch: engine.ledger.entries(row.run))
    notes = [entry for entry in entries if entry.kind == "diverged"]
    return str(json.loads(notes[-1].detail or "")["report"])
