"""Record a run with one body, then check its history against another one of the same module, id and version."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from perdure import Divergence, MemoryLedger, Runtime
from perdure.declare.discovery import find_workflows
from perdure.declare.registry import Registry
from perdure.replay.check import Verdict
from perdure.replay.survey import Code, Survey
from perdure.storage.entries import Entry

MODULE = "orders"

HEAD = """\
from perdure.strict import step, workflow, RetryPolicy

ONCE = RetryPolicy(max_attempts=1)

@step
async def quote(sku: str) -> dict:
    return {"sku": sku, "cents": 1250}

@step
async def charge_card(cents: int) -> str:
    return f"charge-{cents}"

@step
async def reserve_stock(sku: str) -> str:
    return f"stock-{sku}"

@step
async def send_receipt(charge: str) -> None:
    return None

"""

_libraries = itertools.count(1)
Act = Callable[[Runtime, Any], Awaitable[None]]


class Recorder:
    """Histories of one ledger, and the modules that are tried against them.

    Attributes:
        head: what every module begins with.
    """

    head = HEAD

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = MemoryLedger()
        self._versions = 0

    def module(self, source: str, *, head: str = HEAD) -> ModuleType:
        """Import a version of the module; each lies in a folder of its own, under the same name."""
        self._versions += 1
        folder = self.folder / str(self._versions)
        folder.mkdir()
        file = folder / f"{MODULE}.py"
        file.write_text(head + textwrap.dedent(source), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(MODULE, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[MODULE] = module
        spec.loader.exec_module(module)
        return module

    async def record(
        self,
        source: str,
        input: Any = "A1",
        *,
        head: str = HEAD,
        act: Act | None = None,
        until: str | tuple[str, ...] = ("completed", "failed", "cancelled"),
        run_id: str = "run-1",
    ) -> list[Entry]:
        """Run the module's workflow until it has a status; give the entries."""
        module = self.module(source, head=head)
        async with Runtime(self.ledger, workflows=module, drain="1s") as runtime:
            handle = await runtime.start(find_workflows(module)[0].id, input, run_id=run_id)
            if act is not None:
                await act(runtime, handle)
            await handle.wait(until, timeout="20s")
        return self.entries(run_id)

    def entries(self, run_id: str = "run-1") -> list[Entry]:
        """What is recorded of a run."""
        row = self.ledger.run(run_id)
        assert row is not None
        return self.ledger.entries(row.run)

    def check(self, source: str, *, head: str = HEAD, run_id: str = "run-1", code: Code = "today") -> Verdict:
        """Check the recorded run against another version of the module."""
        return self.check_module(self.module(source, head=head), run_id, code)

    def survey(self, module: ModuleType, code: Code = "today") -> Survey:
        """Survey the ledger with a module."""
        return Survey(self.ledger, Registry(find_workflows(module)), name="orders.duckdb", code=code)

    def check_module(self, module: ModuleType, run_id: str = "run-1", code: Code = "today") -> Verdict:
        """Check the recorded run against a module."""
        row = self.ledger.run(run_id)
        assert row is not None
        finding = self.survey(module, code).check(row)
        assert isinstance(finding, Verdict), finding
        return finding

    def library(self, monkeypatch: pytest.MonkeyPatch, source: str) -> ModuleType:
        """Make a library that a body may vouch for; of an own name each time, because vouching is for the process."""
        folder = self.folder / "site-packages"
        folder.mkdir()
        name = f"depot_{next(_libraries)}"
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(str(folder))
        return importlib.import_module(name)

    def diverge(self, source: str, *, head: str = HEAD) -> Divergence:
        """Check and expect a divergence."""
        divergence = self.check(source, head=head).divergence
        assert divergence is not None, "it replayed, though the body changed"
        return divergence
