"""Every operation of every service, each done by a step, with what has to be there before and what is seen after.

Each is written once, for both kinds of steps: `do` awaits what gives an awaitable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

CHUNK_BYTES = 1_000  # while these are tried
LARGE = bytes(range(256)) * 10  # several of them
Act = Callable[[Any, Callable[[Any], Awaitable[Any]]], Awaitable[Any]]  # of services, and what waits for an operation


class Operation(NamedTuple):
    """One operation: `before` is a step of its own, then `act` is done; what it gives is compared."""

    act: Act
    before: Act | None = None
    hides: bool = False  # whether a message may be out of sight for a while because its receiver died


async def put_values(at: Any, do: Any) -> None:
    for key in ("a", "b"):
        await do(at.kv.put(key, [key]))
    await do(at.kv.put("n", 1, ttl="1h"))


async def put_documents(at: Any, do: Any) -> None:
    documents = [{"_id": f"d{number}", "group": number % 2, "n": number} for number in range(4)]
    await do(at.database["docs"].insert_many(documents))


async def put_blobs(at: Any, do: Any) -> None:
    await do(at.storage.put("small", b"abc"))
    await do(at.storage.put("large", LARGE))


async def send_messages(at: Any, do: Any) -> None:
    for key in ("m1", "m2"):
        await do(at.queue.send("jobs", key, key=key))


async def bury_messages(at: Any, do: Any) -> None:
    await send_messages(at, do)
    for message in await do(at.queue.receive("jobs", limit=2)):
        await do(message.reject("bad"))


def of(path: str, *args: Any, before: Act | None = None, **options: Any) -> Operation:
    """An operation that gives what can be compared."""

    async def act(at: Any, do: Any) -> Any:
        place = at
        for name in path.split("."):
            place = place["docs"] if name == "docs" else getattr(place, name)
        return plain(await do(place(*args, **options)))

    return Operation(act, before)


def plain(given: Any) -> Any:
    """What is the same in every life: no times."""
    if isinstance(given, (list, tuple)):
        return [plain(each) for each in given]
    return {"name": given.name, "sha256": given.sha256} if hasattr(given, "sha256") else given


def with_message(act: Callable[[Any, Any], Awaitable[Any]]) -> Operation:
    """Something that is made of a message once it is received."""

    async def received(at: Any, do: Any) -> Any:
        for message in await do(at.queue.receive("jobs", visibility_timeout="1m", max_deliveries=9)):
            await act(message, do)
            return message.id
        return None

    return Operation(received, send_messages, hides=True)


async def dead_letters(at: Any, do: Any) -> list[Any]:
    return [[letter.id, letter.reason] for letter in await do(at.queue.dead_letters("jobs"))]


async def streamed(at: Any, do: Any) -> int:
    pieces = at.storage.stream("large")
    if hasattr(do, "blocks"):
        return sum(len(data) for data in pieces)
    return sum([len(data) async for data in pieces])


async def signalled(at: Any, do: Any) -> Any:
    run_id = await do(at.workflows.start("listens"))
    return await do(at.workflows.signal(run_id, "go", {"n": 1}))


async def cancelled(at: Any, do: Any) -> Any:
    return await do(at.workflows.cancel(await do(at.workflows.start("listens"))))


async def everything(at: Any, do: Any) -> Any:
    services = at.platform
    await put_values(services, do)
    await put_documents(services, do)
    await put_blobs(services, do)
    await send_messages(services, do)
    return await do(services.workflows.start("greeted", "all"))


OPERATIONS: dict[str, Operation] = {
    "kv.get": of("kv.get", "a", before=put_values),
    "kv.put": of("kv.put", "a", 1, if_absent=True),
    "kv.update": of("kv.update", "a", lambda found: [*found, 1], before=put_values),
    "kv.increment": of("kv.increment", "n", 5, before=put_values),
    "kv.delete": of("kv.delete", "a", before=put_values),
    "kv.list": of("kv.list", pattern="?", limit=2, before=put_values),
    "kv.keys": of("kv.keys", before=put_values),
    "database.insert_one": of("database.docs.insert_one", {"_id": "d9", "n": 9}),
    "database.insert_many": of("database.docs.insert_many", [{"_id": "d8"}, {"_id": "d9"}]),
    "database.update_one": of("database.docs.update_one", {"n": {"$gte": 2}}, {"$inc": {"n": 1}}, before=put_documents),
    "database.update_one upsert": of("database.docs.update_one", {"_id": "new"}, {"$inc": {"n": 1}}, upsert=True),
    "database.update_many": of("database.docs.update_many", {"group": 1}, {"$set": {"n": 0}}, before=put_documents),
    "database.replace_one": of("database.docs.replace_one", {"_id": "d1"}, {"new": True}, before=put_documents),
    "database.delete_one": of("database.docs.delete_one", {"group": 0}, before=put_documents),
    "database.delete_many": of("database.docs.delete_many", {"group": 0}, before=put_documents),
    "database.find_one": of("database.docs.find_one", {"n": {"$gt": 1}}, before=put_documents),
    "database.find": of("database.docs.find", {"group": 1}, sort=("n", -1), before=put_documents),
    "database.count": of("database.docs.count", {"group": 1}, before=put_documents),
    "database.collections": of("database.collections", before=put_documents),
    "storage.put": of("storage.put", "new", b"abc"),
    "storage.put large": of("storage.put", "small", LARGE, before=put_blobs),
    "storage.get": of("storage.get", "large", before=put_blobs),
    "storage.stream": Operation(streamed, put_blobs),
    "storage.info": of("storage.info", "small", before=put_blobs),
    "storage.exists": of("storage.exists", "small", before=put_blobs),
    "storage.list": of("storage.list", before=put_blobs),
    "storage.buckets": of("storage.buckets", before=put_blobs),
    "storage.delete": of("storage.delete", "large", before=put_blobs),
    "storage.copy": of("storage.copy", "large", "copied", before=put_blobs),
    "queue.send": of("queue.send", "jobs", 1, delay="5s", key="sent"),
    "queue.receive": with_message(lambda message, do: do_nothing()),
    "queue.ack": with_message(lambda message, do: do(message.ack())),
    "queue.retry": with_message(lambda message, do: do(message.retry("5s"))),
    "queue.reject": with_message(lambda message, do: do(message.reject("bad"))),
    "queue.extend": with_message(lambda message, do: do(message.extend("5m"))),
    "queue.dead_letters": Operation(dead_letters, bury_messages, hides=True),
    "queue.redrive": Operation(of("queue.redrive", "jobs").act, bury_messages, hides=True),
    "queue.discard": Operation(of("queue.discard", "jobs").act, bury_messages, hides=True),
    "workflows.start": of("workflows.start", "greeted", "you"),
    "workflows.send_event": of("workflows.send_event", "greeting", {"n": 1}, event_id="e1"),
    "workflows.signal": Operation(signalled),
    "workflows.cancel": Operation(cancelled),
    "platform": Operation(everything),
}


async def do_nothing() -> None:
    """What is made of a message that is only received."""
