"""What starts runs and can't is kept as a dead letter, and a retry takes it up once what was missing is back."""

from __future__ import annotations

import sys
import types
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from perdure import MemoryLedger, Runtime
from perdure.engine.happened import happened, happened_as_recorded
from perdure.errors import ValueUnreadable
from perdure.services.effects import Change
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.encoding import decode, encode
from perdure.strict import DbChange, KvChange, Queue, Schedule, on_event, on_kv_change, workflow
from perdure.testing import Simulation


@on_kv_change(namespace="parts")
async def seen(change: KvChange) -> list[str]:
    return [change.key, type(change.value).__name__, str(change.value), str(change.previous)]


def shop_with_parts() -> Any:
    """A module with a class that a deploy can take away."""

    class Part(BaseModel):
        number: int

    module = types.ModuleType("parts_of_a_shop")
    Part.__module__, Part.__qualname__ = module.__name__, "Part"
    module.Part = Part  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    return module


@pytest.fixture
def shop() -> Any:
    yield shop_with_parts()
    sys.modules.pop("parts_of_a_shop", None)


@pytest.mark.parametrize("in_a_file", [False, True])
async def test_a_change_of_a_value_whose_class_is_gone_is_a_dead_letter_until_the_class_is_back(
    shop: Any, tmp_path: Path, in_a_file: bool
) -> None:
    ledger = DuckDBLedger(tmp_path / "shop.duckdb") if in_a_file else MemoryLedger()
    async with Runtime(ledger, workflows=[]) as runtime:
        await runtime.kv.namespace("parts").put("a", shop.Part(number=1))
    del sys.modules["parts_of_a_shop"]
    async with Runtime(ledger, workflows=[seen]) as runtime:
        await runtime.kv.namespace("parts").put("a", "other")  # its previous value can't be read
        [dead] = await runtime.runs(workflow="seen")
        assert dead.status == "failed"
        assert "parts_of_a_shop" in (dead.error or "")
        with pytest.raises(ValueUnreadable, match="parts_of_a_shop"):
            await runtime.handle(dead.run_id).retry()
        assert (await runtime.handle(dead.run_id).status()).status == "failed"
        created, failure = await runtime.handle(dead.run_id).history()
        assert isinstance(created.value, ValueUnreadable)
        assert created.value.recorded_type.startswith("parts_of_a_shop:")
        assert '"other"' in (created.text or "")
        assert "parts_of_a_shop" in failure.value
        assert await runtime.kv.namespace("parts").get("a") == "other"
        sys.modules["parts_of_a_shop"] = shop
        await runtime.handle(dead.run_id).retry()
        assert await runtime.handle(dead.run_id).result(timeout="20s") == ["a", "str", "other", "number=1"]
    if in_a_file:
        ledger.close()  # type: ignore[union-attr]


VALUES = [None, 5, 10**30, "text", (1, 2), {"a": (1,), "b": [datetime(2030, 1, 1, tzinfo=UTC)]}, {1: 2}, [], "x" * 99]


@pytest.mark.parametrize("service", ["kv", "database"])
def test_a_change_that_is_written_down_unread_reads_back_as_one_that_was_read(service: str) -> None:
    for value in VALUES:
        for previous in VALUES:
            now, before = (None if each is None else encode(each) for each in (value, previous))
            change = Change(service, 'a "place"', "k\n", "put" if service == "kv" else "update", now, before)
            told = happened(change)
            assert isinstance(told, KvChange if service == "kv" else DbChange)
            assert decode(*happened_as_recorded(change)) == told


@on_event("go", queue=Queue("by-customer"), key="{payload[customer]}")
async def queued(payload: dict) -> str:
    return payload["id"]


async def test_a_reaction_whose_key_can_t_be_filled_is_a_dead_letter_with_its_payload() -> None:
    async with Runtime(MemoryLedger(), workflows=[queued]) as runtime:
        [run_id] = (await runtime.send_event("go", {"id": "a"})).started
        assert "customer" in ((await runtime.handle(run_id).status()).error or "")
        assert (await runtime.handle(run_id).history())[0].value.payload == {"id": "a"}


@workflow(id="hourly", trigger=Schedule("0 * * * *"))
async def hourly() -> str:
    return "done"


@workflow(id="stranger")
async def stranger() -> None: ...


def test_a_tick_whose_id_a_run_of_another_workflow_has_gets_a_run_all_the_same_and_only_one() -> None:
    with Simulation(hourly, stranger, start_at="2030-01-01T00:00:00Z") as world:
        world.advance("1s")
        for hour in (1, 2):
            world.start("stranger", run_id=f"hourly:schedule:20300101T0{hour}0000Z")
        world.start("stranger", run_id="hourly:schedule:20300101T020000Z~2")
        world.advance("150m")
        world.clock.jump(-7200)  # the ticks come again
        world.crash()
        world.advance("3h")
        mine = [run for run in world.runs() if run.status().workflow == "hourly"]
        ids = ["20300101T010000Z~2", "20300101T020000Z~3", "20300101T030000Z"]
        assert sorted(run.run_id for run in mine) == [f"hourly:schedule:{each}" for each in ids]
        assert {run.result() for run in mine} == {"done"}
        first, last = 1893456000_000_000, 1893456000_000_000 + 3 * 3_600_000_000
        page = world.ask(lambda engine, batch: engine.schedules.backfill("hourly", first, last, 100, batch))
        assert page == (0, None)  # nor does a backfill start them again
