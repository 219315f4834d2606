"""A worker that is killed while its steps write documents: each writes two of its own, and counts itself in a third.

Usage: documents_worker.py LEDGER RUNS [URL OF A POSTGRESQL]
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
    ledger, runs, urls = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    services = {"database": PostgresDatabase(urls[0])} if urls else None
    async with Runtime(ledger, workflows=[ordered], services=services) as runtime:
        handles = [await runtime.start("ordered", number, run_id=f"r{number}") for number in range(runs)]
        for number, handle in enumerate(handles):
            await handle.result(timeout="60s")
            print(f"done {number}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
