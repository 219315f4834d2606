"""A recorded ledger to tamper with: recorded once, copied for each test."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from forger import record_ledger


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "shop.duckdb"
    asyncio.run(record_ledger(path))
    return path


@pytest.fixture
def path(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(recorded, tmp_path / "shop.duckdb"))
