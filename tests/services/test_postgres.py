"""Documents in a PostgreSQL: written once whatever dies in between, and never over what others wrote."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import postgres_server
import pytest
from postgres_server import PostgresServer

from perdure import MemoryLedger, RunFailed, Runtime
from perdure.errors import DefinitionError, ServiceFailed, WorkflowError, WriteConflict
from perdure.storage.cells import Cell
from perdure.strict import current_step, step, workflow

pytestmark = pytest.mark.skipif(postgres_server.missing() is not None, reason=postgres_server.missing() or "")

if postgres_server.missing() is None:
    import psycopg

    from perdure.services.postgres import PostgresDatabase


@pytest.fixture(scope="module")
def shared() -> Iterator[PostgresServer]:
    with postgres_server.running() as server:
        yield server


@pytest.fixture
def server(shared: PostgresServer) -> PostgresServer:
    ask(shared, "DROP SCHEMA IF EXISTS perdure CASCADE")
    return shared


def ask(server: PostgresServer, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


def runtime_on(back_end: Any, *workflows: Any, ledger: Any = None) -> Runtime:
    return Runtime(ledger or MemoryLedger(), workflows=workflows, services={"database": back_end})


@step(retries=5)
async def count_it(number: int) -> list[Any]:
    database = current_step().database
    made = await database["orders"].insert_one({"number": number})
    await database["named"].insert_one({"_id": f"order {number}"})
    await database["totals"].update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True)
    totals = await database["totals"].find()
    return [made, totals[0]["n"], await database["orders"].count()]


@workflow(id="count")
async def count(input: int, step: Any) -> list[Any]:
    return await count_it(input)


def test_a_write_whose_answer_is_lost_is_written_once_and_seen_as_before(server: PostgresServer) -> None:
    class LosesAnswers(PostgresDatabase):
        lost = False

        async def write(self, cells: Sequence[Cell], expected: Mapping[Any, int], under: str, **how: Any) -> Any:
            written = await super().write(cells, expected, under, **how)
            if not self.lost:
                self.lost = True
                raise ServiceFailed("the answer was lost.")
            return written

    async def main() -> None:
        async with runtime_on(LosesAnswers(server.url), count) as runtime:
            run = await runtime.start("count", 1)
            made, total, orders = await run.result(timeout="60s")
            history = await run.history()
            assert [each.kind for each in history].count("step_retrying") == 1
            assert (total, orders) == (1, 1)
            assert await runtime.database["orders"].find() == [{"_id": made, "number": 1}]
            assert await runtime.database["totals"].find() == [{"_id": "all", "n": 1}]

    asyncio.run(main())


def test_increments_of_several_processes_are_all_counted(server: PostgresServer) -> None:
    async def main() -> None:
        async with (
            runtime_on(PostgresDatabase(server.url), count) as one,
            runtime_on(PostgresDatabase(server.url), count) as other,
        ):
            totals = [runtime.database["totals"] for runtime in (one, other)]
            await asyncio.gather(
                *(totals[n % 2].update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True) for n in range(60))
            )
            assert await totals[0].find() == [{"_id": "all", "n": 60}]

    asyncio.run(main())


def test_an_upsert_that_another_process_overtakes_updates_what_that_one_inserted(server: PostgresServer) -> None:
    class Overtaken(PostgresDatabase):
        looks = 0

        async def cell(self, space: str, key: str) -> Cell | None:
            found = await super().cell(space, key)
            self.looks += 1
            if self.looks == 1:
                async with runtime_on(PostgresDatabase(server.url)) as other:
                    await other.database["totals"].insert_one({"_id": "all", "n": 10})
            return found

    async def main() -> None:
        back_end = Overtaken(server.url)
        async with runtime_on(back_end) as runtime:
            totals = runtime.database["totals"]
            updated = await totals.update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True)
            assert (updated.matched, updated.inserted) == (1, False)
            assert await totals.find() == [{"_id": "all", "n": 11}]
            assert back_end.looks > 2

    asyncio.run(main())


tries: list[int] = []


def test_a_step_that_another_process_overtakes_is_tried_again_on_what_is_there_now(server: PostgresServer) -> None:
    other = PostgresDatabase(server.url)

    @step(retries=1)
    async def doubles() -> int:
        totals = current_step().database["totals"]
        tries.append(current_step().attempt)
        await totals.update_one({"_id": "all"}, {"$mul": {"n": 2}})
        await current_step().database["log"].insert_one({"attempt": current_step().attempt})
        if len(tries) == 1:
            async with runtime_on(other) as overtaking:
                await overtaking.database["totals"].update_one({"_id": "all"}, {"$inc": {"n": 10}})
        found = await totals.find_one()
        return found["n"] if found else 0

    @workflow(id="double")
    async def double(input: None, step: Any) -> int:
        return await doubles()

    async def main() -> None:
        tries.clear()
        async with runtime_on(PostgresDatabase(server.url), double) as runtime:
            await runtime.database["totals"].insert_one({"_id": "all", "n": 1})
            assert await (await runtime.start("double")).result(timeout="20s") == 22
            assert tries == [1, 2]
            assert await runtime.database["totals"].find() == [{"_id": "all", "n": 22}]
            assert await runtime.database["log"].count({"attempt": 2}) == await runtime.database["log"].count() == 1

    asyncio.run(main())


def test_a_document_that_another_process_inserted_meanwhile_is_a_conflict(server: PostgresServer) -> None:
    async def main() -> None:
        one, other = PostgresDatabase(server.url), PostgresDatabase(server.url)
        cell = Cell("db/orders", "a", 0, 1, '{"_id":"a"}')
        name = ("db/orders", "a")
        first = await one.write([cell], {name: 0}, "k1", for_good=True)
        assert first.versions
        assert (await other.write([cell], {name: 0}, "k2", for_good=True)).lost == {name}
        assert (await other.before("k2")) is None, "what lost has left its mark"
        again = await other.write([cell._replace(body="{}")], {name: 0}, "k1", for_good=True)
        assert not again.lost
        assert (await other.before("k1")) == {name: None}
        found = await other.cell("db/orders", "a")
        assert found is not None
        assert found.body == '{"_id":"a"}'
        gone = Cell("db/orders", "a", 0, 1)
        stale = {name: first.versions[0] - 1}
        assert (await other.write([gone], stale, "k3", for_good=True)).lost == {name}
        both = [gone, cell._replace(key="b")]
        partly = await other.write(both, stale, "k4", for_good=False, each=True)
        assert partly.lost == {name}
        assert [each.key for each in await one.cells("db/orders", prefix="", after=None, limit=None)] == ["a", "b"]
        await one.close()
        await other.close()

    asyncio.run(main())


def test_a_server_that_goes_away_fails_the_step_which_is_tried_again_until_it_is_back(server: PostgresServer) -> None:
    async def main() -> None:
        async with runtime_on(PostgresDatabase(server.url), count) as runtime:
            assert (await (await runtime.start("count", 1)).result(timeout="20s"))[1] == 1
            await asyncio.to_thread(server.kill)
            run = await runtime.start("count", 2)
            while "step_retrying" not in [each.kind for each in await run.history()]:
                await asyncio.sleep(0.01)
            with pytest.raises(ServiceFailed) as failed:
                await runtime.database["totals"].find()
            assert f"127.0.0.1:{server.port}" in failed.value.message
            assert "see that the server runs" in failed.value.fix
            await asyncio.to_thread(server.start)
            assert (await run.result(timeout="60s"))[1] == 2
            assert await runtime.database["totals"].find() == [{"_id": "all", "n": 2}]

    asyncio.run(main())


def test_connections_that_broke_while_nobody_used_them_are_not_noticed(server: PostgresServer) -> None:
    async def main() -> None:
        async with runtime_on(PostgresDatabase(server.url)) as runtime:
            totals = runtime.database["totals"]
            await asyncio.gather(*(totals.insert_one({"_id": f"{n}", "n": n}) for n in range(8)))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            assert await totals.count() == 8
            await asyncio.to_thread(
                ask, server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'perdure'"
            )
            assert (await totals.update_one({"_id": "1"}, {"$inc": {"n": 1}})).modified == 1
            assert await totals.count({"n": 2}) == 2

    asyncio.run(main())


def test_a_step_gives_up_when_its_attempts_are_used_up(server: PostgresServer) -> None:
    @step(retries=0)
    async def once() -> None:
        await current_step().database["orders"].insert_one({})

    @workflow(id="once")
    async def once_only(input: None, step: Any) -> None:
        await once()

    async def main() -> None:
        unreachable = PostgresDatabase("postgresql://perdure:secret@127.0.0.1:1/postgres")
        async with runtime_on(unreachable, once_only) as runtime:
            with pytest.raises(RunFailed) as failed:
                await (await runtime.start("once")).result(timeout="20s")
            assert isinstance(failed.value.__cause__, ServiceFailed)
            assert "secret" not in str(failed.value.__cause__)

    asyncio.run(main())


def test_a_sweep_that_fails_does_not_say_that_the_write_before_it_failed(server: PostgresServer) -> None:
    """Whoever heard of a conflict then would write a second time."""
    back_end = PostgresDatabase(server.url)
    back_end._sql.forget = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'deadlock_detected'; END $$"
    with runtime_on(back_end) as runtime:
        runtime.database["counts"].update_one({"_id": "n"}, {"$inc": {"n": 1}}, upsert=True)
        back_end._pool._sweep_at = None
        runtime.database["counts"].update_one({"_id": "n"}, {"$inc": {"n": 1}})
        assert runtime.database["counts"].find_one({"_id": "n"}) == {"_id": "n", "n": 2}
        runtime.database["counts"].delete_many({})


def test_documents_can_be_queried_as_jsonb_whatever_is_in_them(server: PostgresServer) -> None:
    with runtime_on(PostgresDatabase(server.url, schema="shop")) as runtime:
        orders = runtime.database["orders"]
        orders.insert_one({"_id": "o1", "customer": {"name": "Ann"}, "cents": 5})
        orders.insert_one({"_id": "o2", "text": "a\0b"})
        orders.insert_one({"_id": "o3", "n": 10**5000})
        with pytest.raises(WorkflowError, match="can't keep this") as refused:
            orders.insert_one({"_id": "a\0b"})
        assert "null characters" in refused.value.fix
    found = ask(server, "SELECT id, document->'customer'->>'name' FROM shop.documents WHERE collection = 'orders'")
    assert sorted(found) == [("o1", "Ann"), ("o2", None), ("o3", None)]
    ask(server, "DROP SCHEMA shop CASCADE")


def test_marks_are_forgotten_when_nobody_can_ask_for_them_any_more(server: PostgresServer) -> None:
    async def main() -> None:
        back_end = PostgresDatabase(server.url)
        cell = Cell("db/orders", "a", 0, 1, "{}")
        await back_end.write([cell], {}, "old", for_good=False)
        await back_end.write([cell], {}, "kept", for_good=True)
        await asyncio.to_thread(ask, server, "UPDATE perdure.marks SET until = until - 3600::bigint * 1000000")
        await back_end.close()
        fresh = PostgresDatabase(server.url)
        await fresh.write([cell], {}, "new", for_good=True)
        assert await fresh.before("old") is None
        assert await fresh.before("kept") == {("db/orders", "a"): cell._replace(version=1)}
        await fresh.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("make", "message", "fix"),
    [
        (lambda: PostgresDatabase("mysql://x"), "is no URL of a PostgreSQL", "postgresql://user"),
        (lambda: PostgresDatabase(5), "5 is no URL", ""),
        (lambda: PostgresDatabase("postgresql://u:secret@h:port/x?y"), "is no URL", ""),
        (lambda: PostgresDatabase("postgresql://h/x", schema="a-b"), "schema='a-b'", "small letters"),
        (lambda: PostgresDatabase("postgresql://h/x", connections=0), "connections=0", ""),
        (lambda: PostgresDatabase("postgresql://h/x", remember="soon"), "remember", ""),
    ],
)
def test_what_can_not_be_connected_to_is_refused_at_once(make: Any, message: str, fix: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        make()
    assert message in refused.value.message
    assert fix in refused.value.fix
    assert "secret" not in str(refused.value)


def test_two_that_want_the_same_rows_the_other_way_round_are_not_stuck(server: PostgresServer) -> None:
    """Rows are locked in one order whatever the order of the writes, so that there is nothing to be stuck in."""

    async def main() -> None:
        one, other = PostgresDatabase(server.url), PostgresDatabase(server.url)
        cells = [Cell("db/orders", key, 0, 1, json.dumps({"_id": key})) for key in "abcdef"]
        await one.write(cells, {}, "first", for_good=False)
        forth = [one.write(cells, {}, f"forth {n}", for_good=False) for n in range(30)]
        back = [other.write(cells[::-1], {}, f"back {n}", for_good=False) for n in range(30)]
        written = await asyncio.gather(*forth, *back)
        assert all(each.versions and not each.lost for each in written)
        await one.close()
        await other.close()

    asyncio.run(main())


def test_a_conflict_is_told_as_one(server: PostgresServer) -> None:
    pool = PostgresDatabase(server.url)._pool
    told = pool._failure(psycopg.errors.DeadlockDetected("deadlock detected"))
    assert isinstance(told, WriteConflict)


def test_a_process_that_comes_later_waits_for_nobody_who_writes(server: PostgresServer) -> None:
    async def main() -> None:
        one, later = PostgresDatabase(server.url), PostgresDatabase(server.url)
        cell = Cell("db/orders", "a", 0, 1, json.dumps({"_id": "a"}))
        await one.write([cell], {}, "first", for_good=False)
        writing = await psycopg.AsyncConnection.connect(server.url)
        try:
            await writing.execute("UPDATE perdure.cells SET at = 2 WHERE key = 'a'")  # and it is not committed yet
            async with asyncio.timeout(10):
                found = await later.cell("db/orders", "a")
            assert found is not None
        finally:
            await writing.close()
            await one.close()
            await later.close()

    asyncio.run(main())
