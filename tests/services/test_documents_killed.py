"""`kill -9` at random instants: a step's documents and its result are there together, once, wherever they are kept."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import documents_worker
import postgres_server
import pytest
from forked import Worker

from perdure import Runtime
from perdure.services.postgres import PostgresDatabase
from perdure.storage.verify import verify

RUNS, KILLS = 20, 3


@pytest.fixture(params=["the ledger", "a PostgreSQL"])
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "the ledger":
        yield None
    elif missing := postgres_server.missing():
        pytest.skip(missing)
    else:
        with postgres_server.running() as server:
            yield server.url


def test_what_killed_processes_wrote_is_there_once_beside_the_results(url: str | None, tmp_path: Path) -> None:
    chance, path = random.Random(2), tmp_path / "ledger.duckdb"
    for life in range(KILLS + 1):
        process = Worker(documents_worker.__file__, path, RUNS, *([url] if url else []))
        left = chance.randrange(1, 7)
        for line in process.stdout:
            left -= line.startswith("done")
            if left == 0 and life < KILLS:
                process.kill()
                break
        _, errors, code = process.rest()
    assert code == 0, errors
    assert verify(path).ok
    services = {"database": PostgresDatabase(url)} if url else None
    with Runtime(path, workflows=[documents_worker.ordered], services=services) as runtime:
        database = runtime.database
        results = [runtime.handle(f"r{number}").result(timeout="20s") for number in range(RUNS)]
        orders = database["orders"].find()
        assert sorted(order["number"] for order in orders) == list(range(RUNS))
        assert database["named"].count() == RUNS
        assert database["totals"].find() == [{"_id": "all", "n": RUNS}]
    # What the steps said that they made, and how they counted, is what is there.
    assert sorted(made for made, _ in results) == [order["_id"] for order in orders]
    assert sorted(total for _, total in results) == list(range(1, RUNS + 1))
