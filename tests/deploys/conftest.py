"""Deploys for each test, on either ledger, and the modules as they were afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed import Deploys

from perdure import MemoryLedger


@pytest.fixture(params=["memory", "duckdb"])
def deploys(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deploys]:
    ledger: Any = MemoryLedger() if request.param == "memory" else tmp_path / "orders.duckdb"
    before, path = set(sys.modules), list(sys.path)
    made = Deploys(tmp_path, ledger)
    yield made
    for name in {*made.modules, *(set(sys.modules) - before)}:
        if str(tmp_path) in str(getattr(sys.modules.get(name), "__file__", "")):
            del sys.modules[name]
    sys.path[:] = path
