"""Every operation of every service, in both kinds of steps, with a crash before, in and after each commit."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from operations import CHUNK_BYTES, OPERATIONS, plain

from perdure.services import cell_blobs
from perdure.services.database import Collection, Database
from perdure.services.kv import Kv
from perdure.services.message import Message
from perdure.services.queue import MessageQueues
from perdure.services.storage import Storage
from perdure.services.workflows import Workflows
from perdure.strict import current_step, step, workflow
from perdure.testing import Simulation, crash_everywhere

SERVICES = {"kv": [Kv], "database": [Collection, Database], "storage": [Storage], "queue": [MessageQueues, Message],
            "workflows": [Workflows]}  # fmt: skip
#: They give another place, or are made of an operation that is in the list.
NO_OPERATIONS = {"kv.namespace", "database.collection", "storage.bucket", "queue.consume"}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_blobs, "CHUNK_BYTES", CHUNK_BYTES)


async def awaited(given: Any) -> Any:
    """Wait for an operation."""
    return await given


class Called:
    """For operations that are done when they are called."""

    blocks = True

    async def __call__(self, given: Any) -> Any:
        return given


def done(act: Any) -> Any:
    """Run what never waits."""
    try:
        act.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("an operation was not done at once")


@step(retries=3)
async def prepare(name: str) -> None:
    before = OPERATIONS[name].before
    if before is not None:
        await before(current_step(), awaited)


@step(retries=3)
async def perform(name: str) -> Any:
    operation = OPERATIONS[name]
    result = await operation.act(current_step(), awaited)
    if operation.hides:
        await current_step().kv.put("did", result)
        return None
    return result


@step(retries=3)
def perform_blocking(name: str) -> Any:
    operation, at = OPERATIONS[name], current_step().blocking
    result = done(operation.act(at, Called()))
    if operation.hides:
        at.kv.put("did", result)
        return None
    return result


@step(retries=3)
def look(name: str) -> Any:
    at = current_step().blocking
    found = [at.database["docs"].find(), plain(at.storage.list()), [each.id for each in at.queue.dead_letters("jobs")]]
    return None if OPERATIONS[name].hides else [at.kv.list(), *found]


@workflow(id="operates")
async def operates(input: list[Any]) -> Any:
    name, blocks = input
    await prepare(name)
    result = await (perform_blocking(name) if blocks else perform(name))
    return [result, await look(name)]


@workflow(id="greeted")
async def greeted(input: str) -> str:
    return input


@workflow(id="listens")
async def listens(input: None, step) -> Any:
    return await step.wait_for_signal("go", timeout="1h")


def loses_no_message(simulation: Simulation) -> bool:
    """Each message is in sight, dead, or gone with the record of the step that said so."""
    ledger = simulation.ledger
    if ledger.cell("kv/default", "did") is None:
        return True
    (name, _) = json.loads(simulation.runs()[0].entries()[0].body or "")
    did = json.loads(ledger.cell("kv/default", "did").body or "")  # type: ignore[union-attr]  # it is there
    live = {cell.key for cell in ledger.cells("queue/jobs")}
    dead = {cell.key for cell in ledger.cells("queue.dead/jobs")}
    sent = {"m1", "m2"}
    match name:
        case "queue.ack":
            return (live, dead) == (sent - {did}, set())
        case "queue.reject":
            return (live, dead) == (sent - {did}, {did} - {None})
        case "queue.discard":
            return live | dead <= sent and len(live | dead) == 2 - did
    return live | dead == sent and not live & dead


@pytest.mark.parametrize("blocks", [False, True], ids=["async def", "def"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_crash_at_any_commit_leaves_what_the_operation_did_once(name: str, blocks: bool) -> None:
    report = crash_everywhere(operates, [name, blocks], invariants=[loses_no_message], workflows=[greeted, listens])
    assert report.outcome[0] == "completed", report.outcome
    assert report.crashes >= 12


def test_every_operation_is_in_the_list() -> None:
    listed = {name.partition(" ")[0] for name in OPERATIONS} | NO_OPERATIONS
    there = {
        f"{service}.{name}"
        for service, classes in SERVICES.items()
        for each in classes
        for name, _ in inspect.getmembers(each, inspect.isfunction)
        if not name.startswith("_")
    }
    assert there - listed == set()
    assert listed - there == {"platform"}
