"""A Redis and a PostgreSQL that go away at every moment of a step: it is tried again, and nothing is there twice.

Between them and their clients is a wire that the test cuts before each request, or between the request and its answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import postgres_server
import pytest
from faulty_wire import Way, Wire

from perdure import MemoryLedger, PostgresDatabase, RedisKv, RedisQueue, RetryPolicy, RunFailed, Runtime, ServiceFailed
from perdure.strict import current_step, step, workflow

DOES: list[Callable[[], Any]] = []  # before and after what the step does
TRIES: list[int] = []


async def count_in_redis() -> Any:
    now = current_step()
    count = await now.kv.increment("count")
    await now.kv.put("seen", [*await now.kv.get("seen", []), count])
    await now.queue.send("jobs", count)
    return count


async def count_in_postgres() -> Any:
    database = current_step().database
    await database["counts"].update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True)
    found = await database["counts"].find_one({"_id": "all"})
    await database["seen"].insert_one({"count": found["n"] if found else None})
    return found["n"] if found else None


@step(retries=RetryPolicy(max_attempts=8, base_delay="10ms", factor=1))
async def act(where: str) -> Any:
    TRIES.append(current_step().attempt)
    before, after = DOES
    before()
    result = await (count_in_redis() if where == "redis" else count_in_postgres())
    after()
    return result


@step(retries=0, timeout="300ms")
async def hurry(where: str) -> Any:
    return await (count_in_redis() if where == "redis" else count_in_postgres())


@workflow(id="counts-there")
async def counts_there(input: str) -> Any:
    return await act(input)


@workflow(id="hurries-there")
async def hurries_there(input: str) -> Any:
    return await hurry(input)


def nothing() -> None:
    """Done before and after."""


@pytest.fixture(autouse=True)
def forget() -> None:
    TRIES.clear()
    DOES[:] = [nothing, nothing]


class Place:
    """A server, and the wire to it."""

    def __init__(self, where: str, port: int) -> None:
        self.where = where
        self.wire = Wire(port)
        self._names = 0

    def services(self, name: str, timeout_s: float = 5) -> dict[str, Any]:
        """New back ends of the runtime, whose values have a place of their own."""
        port = self.wire.port
        if self.where == "redis":
            url = f"redis://:@127.0.0.1:{port}/0?socket_timeout={timeout_s}&socket_connect_timeout={timeout_s}"
            return {"kv": RedisKv(url, prefix=name), "queue": RedisQueue(url, prefix=name)}
        url = f"postgresql://perdure:secret@127.0.0.1:{port}/postgres?connect_timeout=2"
        return {"database": PostgresDatabase(url, schema=name, timeout=timeout_s)}

    @asynccontextmanager
    async def runtime(self, name: str, timeout_s: float = 5) -> AsyncIterator[Runtime]:
        async with Runtime(
            MemoryLedger(), workflows=[counts_there, hurries_there], services=self.services(name, timeout_s), drain="1s"
        ) as runtime:
            yield runtime

    async def look(self, runtime: Runtime) -> None:
        """Use each of its connections."""
        if self.where == "redis":
            await runtime.kv.get("count")
            await runtime.queue.dead_letters("jobs")
        else:
            await runtime.database["counts"].count()

    async def kept(self, runtime: Runtime) -> Any:
        """What is there: how far it counted, and what was written beside it."""
        if self.where == "redis":
            jobs = [message.payload for message in await runtime.queue.receive("jobs", limit=9)]
            return await runtime.kv.get("count"), await runtime.kv.get("seen"), jobs
        counts = [each["n"] for each in await runtime.database["counts"].find()]
        return counts, [each["count"] for each in await runtime.database["seen"].find()]


@pytest.fixture(scope="module")
def postgres() -> Iterator[postgres_server.PostgresServer]:
    if missing := postgres_server.missing():
        pytest.skip(missing)
    with postgres_server.running() as server:
        yield server


@pytest.fixture(params=["redis", "postgres"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    place = Place(request.param, request.getfixturevalue(request.param).port)
    yield place
    place.wire.close()


def once(place: Place) -> Any:
    return (1, [1], [1]) if place.where == "redis" else ([1], [1])


@pytest.mark.parametrize("way", ["cut before", "cut after"])
@pytest.mark.parametrize("is_connected", [True, False], ids=["connected", "connecting"])
async def test_whichever_request_is_cut_off_the_step_happens_once(place: Place, way: Way, is_connected: bool) -> None:
    cuts = 0
    for request in range(60):
        name = f"cut_{way[4]}{is_connected:d}_{request}"
        async with place.runtime(name) as runtime:
            if is_connected:
                await place.look(runtime)
            place.wire.cut(way, request)
            run = await runtime.start(counts_there, place.where)
            assert await run.result(timeout="20s") == 1
            was_cut = place.wire.way == "open"
            place.wire.way = "open"
            assert await place.kept(runtime) == once(place), f"request {request}"
        if not was_cut:
            break
        cuts += 1
    assert cuts >= 4


@pytest.mark.parametrize("way", ["cut before", "cut after"])
async def test_a_server_that_is_down_until_the_next_attempt_has_it_once(place: Place, way: Way) -> None:
    """As above, with nobody to connect to again within the attempt: what was cut off is the attempt."""

    def back() -> None:
        if current_step().attempt > 1:
            place.wire.way = "open"

    DOES[0] = back
    tried_again = 0
    for request in range(60):
        async with place.runtime(f"down_{way[4]}_{request}") as runtime:
            await place.look(runtime)
            TRIES.clear()
            place.wire.cut(way, request, then="refuses")
            run = await runtime.start(counts_there, place.where)
            assert await run.result(timeout="20s") == 1
            was_cut = place.wire.cuts > 0
            place.wire.way = "open"
            assert await place.kept(runtime) == once(place), f"request {request}"
            tried_again += len(TRIES) > 1
        if not was_cut:
            break
        place.wire.cuts = 0
    assert tried_again >= 2


async def test_a_server_that_never_answers_fails_the_step_which_is_tried_again(place: Place) -> None:
    def back() -> None:
        if current_step().attempt == 2:
            place.wire.way = "open"

    def die() -> None:
        if current_step().attempt == 1:
            place.wire.way = "dead"  # so that what the step wrote is asked to be written, and nobody answers

    DOES[:] = [back, die]
    async with place.runtime("never_answers", timeout_s=1) as runtime:
        run = await runtime.start(counts_there, place.where)
        assert await run.result(timeout="20s") == 1
        assert TRIES[:2] == [1, 2]  # a server that is busy may let a third one come
        assert await place.kept(runtime) == once(place)


@pytest.mark.parametrize("is_connected", [True, False], ids=["connected", "connecting"])
async def test_a_server_that_never_answers_is_named_without_its_password(place: Place, is_connected: bool) -> None:
    async with place.runtime(f"named_{is_connected:d}", timeout_s=0.3) as runtime:
        if is_connected:
            await place.look(runtime)
        place.wire.way = "dead"
        began = time.monotonic()
        with pytest.raises(ServiceFailed) as failed:
            await place.look(runtime)
        assert time.monotonic() - began < 8
        assert f"127.0.0.1:{place.wire.port}" in failed.value.message
        assert "secret" not in str(failed.value)
        assert "a step is tried again as its retries= say" in failed.value.fix


async def test_the_time_of_a_step_ends_though_its_server_never_answers(place: Place) -> None:
    async with place.runtime("in_time", timeout_s=60) as runtime:
        await place.look(runtime)
        place.wire.way = "dead"
        began = time.monotonic()
        with pytest.raises(RunFailed, match="took longer than its timeout"):
            await (await runtime.start(hurries_there, place.where)).result(timeout="20s")
        assert time.monotonic() - began < 30, "who gives up must not wait for a server that is not there"


async def test_an_answer_that_nobody_waited_for_is_nobody_else_s(place: Place) -> None:
    async with place.runtime("whose_answer") as runtime:
        await (await runtime.start(counts_there, place.where)).result(timeout="20s")
        place.wire.way = "late"
        for _ in range(3):
            asking = asyncio.ensure_future(place.look(runtime))
            while not place.wire.held:
                await asyncio.sleep(0.005)
            asking.cancel()
            await asyncio.wait({asking})
            assert asking.cancelled()
            place.wire.held = 0
        place.wire.way = "open"
        assert await place.kept(runtime) == once(place)
