"""Steps that write the same values, documents and blobs, send messages and work on them; and the laws of what is there.

A step says in its result what it did, and what it found before. Read in the order of the records, these results tell
one story in which nobody overtakes anybody: what each step found is what the one before it left. Beside that they tell
which changes handlers hear of, and what becomes of every message.

Knows services as steps use them, and the disk's records. Must not know plans.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from hashlib import sha256
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from perdure import DbChange, KvChange, current_step, on_db_change, on_kv_change
from perdure.services import cell_blobs
from perdure.storage import payload
from perdure.storage.cells import Cell
from perdure.storage.decoding import decode
from perdure.storage.entries import Entry
from perdure.storage.segments import read_record
from perdure.testing import Simulation

PLACE = "shared"  # namespace, collection, bucket and queue
DELIVERIES_MAX = 4
CHUNK_BYTES = 40  # of a blob, so that a small one has several
Did: TypeAlias = "list[Any]"  # service, key, op, before, after


class Unlucky(Exception):
    """What a step raises after it has done everything."""


# ── steps ──


async def trade(name: str, fails: int, seconds: float) -> dict[str, Any]:
    """Read and write what others do too, in some order; the first attempts fail when they have."""
    now, did = current_step(), list[Did]()
    chance = random.Random(name)
    for _ in range(chance.randrange(1, 5)):
        act = chance.choice([_count, _put_and_delete, _insert, _change, _raise, _remove, _store, _send])
        did += await act(now, chance, f"{name}#{now.attempt}")
        await asyncio.sleep(chance.choice([0, seconds]))
    if now.attempt <= fails:
        raise Unlucky(name)
    return {"did": did}


def trade_blocking(name: str, fails: int) -> dict[str, Any]:
    """The same in a plain function: each operation is just called."""
    now, did = current_step(), list[Did]()
    chance = random.Random(name)
    for _ in range(chance.randrange(1, 4)):
        act = chance.choice([_count, _put_and_delete, _insert, _change, _remove, _store, _send])
        did += _called(act(now, chance, f"{name}#{now.attempt}"))
    if now.attempt <= fails:
        raise Unlucky(name)
    return {"did": did}


async def work(name: str, fails: int, seconds: float) -> dict[str, Any]:
    """Receive messages, and do with each what chance says; the first attempts fail when they have."""
    now, did = current_step(), list[Did]()
    chance = random.Random(name)
    for message in await now.queue.receive(
        PLACE, limit=3, visibility_timeout=60, max_deliveries=DELIVERIES_MAX, wait=chance.choice([0, 100])
    ):
        await asyncio.sleep(chance.choice([0, seconds]))
        match chance.choice(["ack", "ack", "ack", "extend", "retry", "reject", "leave"]):
            case "ack":
                await message.ack()
                did.append(["queue", message.id, "ack", message.payload, None])
            case "extend":
                await message.extend(300)
                await message.ack()
                did.append(["queue", message.id, "ack", message.payload, None])
            case "retry":
                await message.retry(5)
            case "reject":
                await message.reject()
    if now.attempt <= fails:
        raise Unlucky(name)
    return {"did": did}


def _called(act: Any) -> list[Did]:
    """Run an act of which every operation is done when it is asked for."""
    try:
        act.send(None)
    except StopIteration as done:
        return list(done.value)
    raise AssertionError("an operation was not done at once")


async def _answer(given: Any) -> Any:
    """What an operation gives, in both kinds of steps."""
    return await given if hasattr(given, "__await__") else given


async def _count(now: Any, chance: random.Random, name: str) -> list[Did]:
    key = chance.choice(["count", "other"])
    count = await _answer(now.kv.namespace(PLACE).increment(key))
    return [["kv", key, "put", count - 1 or None, count]]


async def _put_and_delete(now: Any, chance: random.Random, name: str) -> list[Did]:
    kv, key = now.kv.namespace(PLACE), chance.choice(["a", "b"])
    before = await _answer(kv.get(key))
    if before is not None and chance.random() < 0.5:
        assert await _answer(kv.delete(key))
        return [["kv", key, "delete", before, None]]
    await _answer(kv.put(key, name))
    assert await _answer(kv.get(key)) == name, "a step does not see what it wrote"
    return [["kv", key, "put", before, name]]


async def _insert(now: Any, chance: random.Random, name: str) -> list[Did]:
    document = {"group": chance.choice(["x", "y"]), "n": 0, "by": name}
    made = await _answer(now.database.collection(PLACE).insert_one(document))
    return [["database", made, "insert", None, {"_id": made, **document}]]


async def _change(now: Any, chance: random.Random, name: str) -> list[Did]:
    """Change a document that was read before."""
    documents = now.database.collection(PLACE)
    found = await _answer(documents.find_one({"group": chance.choice(["x", "y"]), "n": {"$lt": 50}}))
    if found is None:
        return []
    await _answer(documents.update_one({"_id": found["_id"]}, {"$inc": {"n": 1}, "$set": {"by": name}}))
    return [["database", found["_id"], "update", found, {**found, "n": found["n"] + 1, "by": name}]]


async def _raise(now: Any, chance: random.Random, name: str) -> list[Did]:
    """Change all documents of a group, whatever they are."""
    documents = now.database.collection(PLACE)
    group = {"group": chance.choice(["x", "y"])}
    result = await _answer(documents.update_many(group, {"$inc": {"n": 1}}))
    after = await _answer(documents.find(group))
    assert len(after) == result.matched == result.modified, "a step does not see what it wrote"
    return [["database", each["_id"], "update", {**each, "n": each["n"] - 1}, each] for each in after]


async def _remove(now: Any, chance: random.Random, name: str) -> list[Did]:
    documents = now.database.collection(PLACE)
    found = await _answer(documents.find({"n": {"$gte": 2}}, sort=("n", -1), limit=1))
    if not found or not await _answer(documents.delete_one({"_id": found[0]["_id"]})):
        return []
    assert await _answer(documents.find_one({"_id": found[0]["_id"]})) is None, "a step sees what it deleted"
    return [["database", found[0]["_id"], "delete", found[0], None]]


async def _store(now: Any, chance: random.Random, name: str) -> list[Did]:
    """Write a blob, often one of several chunks, or delete it."""
    blobs, key = now.storage.bucket(PLACE), chance.choice(["small", "large"])
    before = (await _answer(blobs.info(key))).sha256 if await _answer(blobs.exists(key)) else None
    if before is not None and chance.random() < 0.3:
        assert await _answer(blobs.delete(key))
        return [["storage", key, "delete", before, None]]
    data = name.encode() * chance.choice([1, 12])
    info = await _answer(blobs.put(key, data))
    assert await _answer(blobs.get(key)) == data, "a step does not read what it wrote"
    assert info.sha256 == sha256(data).hexdigest()
    return [["storage", key, "put", before, info.sha256]]


async def _send(now: Any, chance: random.Random, name: str) -> list[Did]:
    delay = chance.choice([0, 0, 30])
    return [["queue", await _answer(now.queue.send(PLACE, name, delay=delay)), "send", None, name]]


# ── handlers ──


@on_kv_change(namespace=PLACE, id="heard-kv")
async def heard_kv(change: KvChange) -> None:
    """Hear of a value."""


@on_db_change(collection=PLACE, id="heard-db")
async def heard_db(change: DbChange) -> None:
    """Hear of a document."""


# ── drawing ──


def traded(seed: int, roots: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """In some of the lives every plan has steps beside it that trade with each other."""
    chance = random.Random(f"trade {seed}")
    if chance.random() < 0.75:
        return roots
    number = 0

    def node() -> list[Any]:
        nonlocal number
        number += 1
        fails, kind = chance.choice([0, 0, 1, 2]), chance.choice(["trade", "trade", "trade-blocking", "work"])
        # A plain function can't wait in a simulation for what another step holds: it is tried again, not for ever.
        seconds = chance.choice([0, 1, 70 if kind == "work" else 3])
        return [kind, f"{kind}{seed}.{number}", fails, seconds]

    def row() -> list[Any]:
        return ["seq", [node() for _ in range(chance.randrange(1, 4))]]

    return [(workflow, ["all", [plan, *(row() for _ in range(chance.randrange(1, 4)))]]) for workflow, plan in roots]


# ── laws ──


class Heard(NamedTuple):
    """A change as the run of a handler was told of it."""

    service: str
    key: str
    op: str
    before: Any
    after: Any


def check_trade(simulation: Simulation) -> None:
    """Read the records in order: nothing is lost, doubled or told wrong, and all is where the results say."""
    world: dict[tuple[str, str], Any] = {}
    letters = Letters()
    data, offset = simulation.disk(), 0
    while (record := read_record(data, offset)) is not None:
        found, offset = payload.read(record.payload), record.end
        did = [tuple(each) for entry in found.entries for each in _did(entry)]
        cells = [cell for cell in found.cells if cell.space.partition("/")[2] == PLACE]
        letters.follow(cells, did)
        _follow(world, did, cells)
        _check_heard(found.entries, did)
    for (service, key), value in world.items():
        cell = simulation.ledger.cell(f"{_KINDS[service]}/{PLACE}", key)
        assert (None if cell is None else _value(cell)) == value, f"{service} {key} of the ledger is not what was left"
    check_chunks(simulation)


_KINDS = {"kv": "kv", "database": "db", "storage": "blob"}


def _did(entry: Entry) -> list[Did]:
    is_ours = entry.kind == "step_completed" and (entry.body or "").startswith('{"did":')
    return list(json.loads(entry.body or "")["did"]) if is_ours else []


def _follow(world: dict[tuple[str, str], Any], did: list[Any], cells: list[Cell]) -> None:
    """What a step found is what was left before it; what it left is in its own record, and nothing else is."""
    left: dict[tuple[str, str], Any] = {}
    for service, key, op, before, after in did:
        if service in _KINDS:
            was = world.get((service, key))
            assert was == before, f"{op} of {service} {key} found {before}, and {was} was left"
            world[service, key] = left[_KINDS[service], key] = after
    written = {(cell.space.partition("/")[0], cell.key): cell for cell in cells}
    values = {name: _value(cell) for name, cell in written.items() if name[0] in _KINDS.values()}
    assert values == left, "a record has not just what the steps did whose results it has"


def _value(cell: Cell) -> Any:
    if cell.is_gone:
        return None
    value = decode(cell.body or "", cell.shape)
    return value["sha256"] if cell.space.startswith("blob/") else value


def _check_heard(entries: list[Entry], did: list[Any]) -> None:
    """Handlers are told of each change once, in the record that has it, and of one key in order."""
    heard: list[Heard] = []
    for entry in entries:
        change = decode(entry.body or "", entry.shape) if _hears(entry) else None
        if isinstance(change, KvChange):
            heard.append(Heard("kv", change.key, change.op, change.previous, change.value))
        elif isinstance(change, DbChange):
            heard.append(Heard("database", change.id, change.op, change.previous, change.document))
    wanted = [Heard(*each) for each in did if each[0] in ("kv", "database")]
    of_key = attrgetter("service", "key")
    assert sorted(heard, key=of_key) == sorted(wanted, key=of_key), f"handlers heard {heard}, and {wanted} was done"


def _hears(entry: Entry) -> bool:
    return entry.kind == "created" and entry.name in (heard_kv.id, heard_db.id)


class Letters:
    """What becomes of messages, as the records have it."""

    def __init__(self) -> None:
        self.live: dict[str, Cell] = {}
        self.dead: set[str] = set()

    def follow(self, cells: list[Cell], did: list[Any]) -> None:
        """A message comes with the result of its sender, and goes with that of who acknowledged it, or dies."""
        wrote = {cell.key: cell for cell in cells if cell.space.startswith("queue/")}
        died = {cell.key for cell in cells if cell.space.startswith("queue.dead/")}
        sent = {key: text for service, key, op, _, text in did if service == "queue" and op == "send"}
        acked = Counter(key for service, key, op, _, _ in did if service == "queue" and op == "ack")
        gone = {key for key, cell in wrote.items() if cell.is_gone}
        assert dict.fromkeys(gone - died, 1) == acked, f"{gone - died} are gone, and {acked} were acknowledged"
        assert died <= gone, "a dead letter is on its queue still"
        assert gone <= self.live.keys(), "a message went that was not there"
        assert not sent.keys() & (self.live.keys() | self.dead), "a message was sent twice"
        fresh = {key: _value(cell) for key, cell in wrote.items() if key not in self.live}
        assert fresh == sent, f"{fresh} came, and {sent} was sent"
        for key, cell in wrote.items():
            if key not in gone and key in self.live:
                assert _value(cell) == _value(self.live[key]), "a message is another one now"
                assert _deliveries(self.live[key]) <= _deliveries(cell) <= DELIVERIES_MAX, "deliveries were forgotten"
        self.live.update(wrote)
        self.dead |= died
        for key in gone:
            del self.live[key]


def _deliveries(cell: Cell) -> int:
    return int(json.loads(cell.data or b"{}")["deliveries"])


def sweep(simulation: Simulation) -> None:
    """What came to nothing is gone at the latest after a start: only a full disk keeps it until then."""
    if simulation.ledger.spaces(f"upload/{PLACE}"):
        simulation.crash()
        simulation.run()


def check_chunks(simulation: Simulation) -> None:
    """Each blob has its chunks and these its digest, and there are no others."""
    wanted: dict[str, bytes] = {}
    for cell in simulation.ledger.cells(f"blob/{PLACE}"):
        manifest = decode(cell.body or "", cell.shape)
        keys = [cell_blobs._chunk_key(manifest["upload"], index) for index in range(manifest["chunks"])]
        chunks = [simulation.ledger.cell(f"chunk/{PLACE}", key) for key in keys]
        data = b"".join(chunk.data or b"" for chunk in chunks if chunk is not None)
        assert sha256(data).hexdigest() == manifest["sha256"], f"blob {cell.key} is not what was written"
        wanted |= dict.fromkeys(keys, data)
    kept = {cell.key for cell in simulation.ledger.cells(f"chunk/{PLACE}")}
    assert kept == wanted.keys(), f"chunks of no blob stay: {kept - wanted.keys()}"
    assert not simulation.ledger.spaces(f"upload/{PLACE}"), "an upload that came to nothing stays"
