"""Places for what services keep: both ledgers, and a Redis where one can be started."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis_server


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    """A Redis for all tests that want one; skipped where none can be started."""
    why_not = redis_server.missing()
    if why_not is not None:
        pytest.skip(why_not)
    server = redis_server.RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["memory", "duckdb", "redis"])
def open_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """Open a runtime whose kv and queues are in one of the places: `async with open_place(workflows) as runtime`."""
    from perdure import MemoryLedger, RedisKv, RedisQueue, Runtime

    ledger: Any = tmp_path / "ledger.duckdb" if request.param == "duckdb" else MemoryLedger()
    services: dict[str, Any] = {}
    if request.param == "redis":
        url = request.getfixturevalue("redis").url
        prefix = request.node.name
        services = {"kv": RedisKv(url, prefix=prefix), "queue": RedisQueue(url, prefix=prefix)}

    @asynccontextmanager
    async def opened(*workflows: object, **options: Any) -> AsyncIterator[Runtime]:
        given = {"drain": "1s", "services": services, **options}
        async with Runtime(ledger, workflows=list(workflows), **given) as runtime:
            yield runtime

    return opened
