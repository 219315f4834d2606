"""Shared by all tests: asynchronous tests run on a fresh loop, and a runtime can be had on either ledger."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests with asyncio.run; no plugin is needed for more."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(params=["memory", "duckdb"])
def open_runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """Open a runtime on a ledger that stays during the test: `async with open_runtime(workflows) as runtime`."""
    from perdure import MemoryLedger, Runtime

    ledger: Any = MemoryLedger() if request.param == "memory" else tmp_path / "ledger.duckdb"

    @asynccontextmanager
    async def opened(*workflows: object, **options: Any) -> AsyncIterator[Runtime]:
        async with Runtime(ledger, workflows=list(workflows), **{"drain": "1s", **options}) as runtime:
            yield runtime

    return opened
