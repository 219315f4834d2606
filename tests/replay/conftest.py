"""A recorder for each test, and the modules as they were afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from recorder import MODULE, Recorder


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    before = dict(sys.modules)
    path = list(sys.path)
    yield Recorder(tmp_path)
    for name in set(sys.modules) - set(before):
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    sys.modules.pop(MODULE, None)
    sys.path[:] = path
