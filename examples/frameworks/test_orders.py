"""Perdure in pytest: a fixture of one's own, and the plugin's, whose clock jumps over sleeps.

Run it: pytest test_orders.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from orders import fulfill_order

from perdure import BlockingRuntime, Runtime
from perdure.testing import RuntimeClock, RuntimeFactory

ORDER = {"order_id": "o1", "cents": 4200}


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[BlockingRuntime]:
    with Runtime(tmp_path / "orders.duckdb", workflows=[fulfill_order]) as runtime:
        yield runtime


def test_an_order_is_shipped(runtime: BlockingRuntime) -> None:
    assert runtime.start(fulfill_order, ORDER).result(timeout="10s")["parcel"] == "parcel-o1"


def test_the_same_order_is_the_same_run(runtime: BlockingRuntime) -> None:
    assert runtime.start(fulfill_order, ORDER).run_id == runtime.start(fulfill_order, ORDER).run_id


def test_packing_takes_a_moment(perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock) -> None:
    """With the plugin's fixtures, whose time stands still until a test moves it."""
    with perdure_runtime(fulfill_order) as runtime:
        run = runtime.start(fulfill_order, ORDER)
        perdure_clock.advance(0)
        assert run.status() == "sleeping"
        perdure_clock.advance("10ms")
        assert run.status() == "completed"
        assert run.replay()
