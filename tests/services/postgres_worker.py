"""A worker that is killed while its steps write to a PostgreSQL: each writes a document of its own and counts itself.

Usage: postgres_worker.py LEDGER URL RUNS
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from perdure import Runtime
from perdure.services.postgres import PostgresDatabase
from perdure.strict import current_step, step, workflow


@step(retries=30)
async def write(number: int) -> list[Any]:
    database = current_step().database
    made = await database["orders"].insert_one({"number": number})
    await database["named"].insert_one({"_id": f"order {number}"})
    await database["totals"].update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True)
    total = await database["totals"].find_one({"_id": "all"})
    return [made, total["n"] if total else 0]


@workflow(id="ordered")
async def ordered(input: int, step: Any) -> list[Any]:
    return await write(input)


async def main() -> None:
    ledger, url, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])
    async with Runtime(ledger, workflows=[ordered], services={"database": PostgresDatabase(url)}) as runtime:
        handles = [await runtime.start("ordered", number, run_id=f"r{number}") for number in range(runs)]
        for number, handle in enumerate(handles):
            await handle.result(timeout="60s")
            print(f"done {number}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
