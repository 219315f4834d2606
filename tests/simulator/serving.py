"""Steps that write to every service, start runs and send events, and the law of what is there of them.

The law reads the disk's records: what a step wrote is in the very record that has its result, and nothing else is.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from perdure import current_step
from perdure.storage import payload
from perdure.storage.cells import Cell
from perdure.storage.entries import Entry
from perdure.storage.segments import read_record
from perdure.strict import workflow
from perdure.testing import Simulation

PLACE = "sim"  # namespace, collection, bucket and queue
COUNT = "count"  # the one key that all asynchronous steps write


class Unlucky(Exception):
    """What a step raises after it has written everything."""


async def serve(name: str, fails: int, seconds: float) -> dict[str, Any]:
    """Write everywhere, also what others write; the first attempts fail when they have."""
    now = current_step()
    key = _key()
    await now.kv.namespace(PLACE).put(key, [name, now.attempt])
    message = await now.queue.send(PLACE, key)
    await asyncio.sleep(seconds)
    await now.kv.namespace(PLACE).increment(COUNT)
    await now.database.collection(PLACE).insert_one({"_id": key, "name": name})
    await asyncio.sleep(seconds)
    await now.storage.bucket(PLACE).put(key, name)
    started = await now.workflows.start("served", name)
    await now.workflows.send_event(f"{name}.served", {"for": name})
    assert await now.kv.namespace(PLACE).get(key) == [name, now.attempt], "a step does not see what it wrote"
    if now.attempt <= fails:
        raise Unlucky(name)
    return {"served": key, "started": started, "message": message, "counts": 1}


def serve_blocking(name: str, fails: int) -> dict[str, Any]:
    """Write everywhere under keys of its own."""
    now = current_step()
    key = _key()
    services = now.blocking
    services.kv.namespace(PLACE).put(key, [name, now.attempt])
    services.database.collection(PLACE).insert_one({"_id": key, "name": name})
    services.storage.bucket(PLACE).put(key, name)
    message = services.queue.send(PLACE, key)
    started = services.workflows.start("served", name)
    if now.attempt <= fails:
        raise Unlucky(name)
    return {"served": key, "started": started, "message": message, "counts": 0}


def _key() -> str:
    """A key that no other attempt has: one that is abandoned may hold its own for long."""
    return f"{current_step().idempotency_key}#{current_step().kv._scope.backing.new_version():x}"


@workflow(id="served", version="1")
async def served(input: str) -> str:
    """Be there."""
    return input


# ── laws ──


class Served(NamedTuple):
    """What a step says that it wrote, when its result is recorded."""

    served: str
    started: str
    message: str
    counts: int


def check_services(simulation: Simulation) -> None:
    """Every record has what the steps wrote whose results it has, once, and nothing else; so has the ledger."""
    count = 0
    kept: dict[tuple[str, str], Cell] = {}
    for number, (entries, cells) in enumerate(_records(simulation)):
        results = [each for each in map(_result, entries) if each is not None]
        started = [json.loads(each.detail or "{}")["run_id"] for each in entries if _starts(each)]
        assert sorted(started) == sorted(each.started for each in results), f"record {number} starts {started}"
        found = _by_space(cells)
        keys = sorted(each.served for each in results)
        count += sum(each.counts for each in results)
        counted = [COUNT] if any(each.counts for each in results) else []
        assert sorted(found.pop(f"kv/{PLACE}", [])) == sorted(keys + counted), f"record {number}: kv"
        assert sorted(found.pop(f"blob/{PLACE}", [])) == keys, f"record {number}: storage"
        assert len(found.pop(f"db/{PLACE}", [])) == len(keys), f"record {number}: database"
        assert sorted(found.pop(f"queue/{PLACE}", [])) == sorted(each.message for each in results), f"{number}: queue"
        assert len(found.pop(f"chunk/{PLACE}", [])) == len(keys), f"record {number}: chunks"
        kept.update({(cell.space, cell.key): cell for cell in cells})
        if count:
            assert kept[f"kv/{PLACE}", COUNT].body == str(count), f"record {number}: not every step counted once"
    for (space, key), cell in kept.items():
        there = None if cell.is_gone else cell
        assert simulation.ledger.cell(space, key) == there, f"{space} {key}: disk and ledger differ"


def _records(simulation: Simulation) -> Iterator[tuple[list[Entry], list[Cell]]]:
    data, offset = simulation.disk(), 0
    while (record := read_record(data, offset)) is not None:
        found = payload.read(record.payload)
        yield found.entries, found.cells
        offset = record.end


def _result(entry: Entry) -> Served | None:
    if entry.kind != "step_completed" or not (entry.body or "").startswith('{"served":'):
        return None
    return Served(**json.loads(entry.body or ""))


def _starts(entry: Entry) -> bool:
    return entry.kind == "created" and entry.name == "served"


def _by_space(cells: list[Cell]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for cell in cells:
        found[cell.space].append(cell.key)
    return found
