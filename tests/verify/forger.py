"""A recorded shop, and what somebody who can write its ledger's file does to it. Shared by this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb

from perdure import RetryPolicy, Runtime
from perdure.storage.chain import GENESIS, seal
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import Entry
from perdure.storage.fold import fold_all
from perdure.storage.ledger import RunRow
from perdure.storage.tables import RUN_COLUMNS, run_row, wait_rows
from perdure.strict import step, workflow

FAST = RetryPolicy(max_attempts=2, base_delay="1ms", jitter=0)


@step(retries=0)
async def pay(cents: int) -> dict:
    return {"paid": cents}


@workflow(id="shop", retries=FAST)
async def shop(input: int, step, ctx) -> int:
    first = await pay(input)
    await pay(input + 1)
    if input == 13 and ctx.attempt == 1:
        raise RuntimeError("again")
    return first["paid"]


@workflow(id="waiter")
async def waiter(input: str, step) -> None:
    await step.wait_for_event("paid", type="paid", match={"order": input}, timeout="7d")


async def record_ledger(path: Path) -> None:
    """Runs 1 and 3 are done, 2 took two attempts, 4 waits for an event."""
    async with Runtime(path, workflows=[shop, waiter]) as runtime:
        for run_id, cents in (("a", 1), ("b", 13), ("c", 3)):
            assert await (await runtime.start("shop", cents, run_id=run_id)).result() == cents
        await (await runtime.start("waiter", "o1", run_id="w")).wait("waiting_event")


def change(path: Path, *statements: str) -> None:
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)


def entries_of(path: Path, run_id: str) -> list[Entry]:
    ledger = DuckDBLedger(path, read_only=True)
    row = ledger.run(run_id)
    assert row is not None
    found = ledger.entries(row.run)
    ledger.close()
    return found


def write_row(path: Path, row: RunRow) -> None:
    """Put a run's row in place of the one that is there, with all that follows from it."""
    places = ", ".join(
        "CAST(CAST(? AS JSON) AS MAP(VARCHAR, VARCHAR))" if name == "tags" else "?" for name in RUN_COLUMNS
    )
    with duckdb.connect(str(path)) as connection:
        connection.execute("DELETE FROM _ledger.runs WHERE run = ?", [row.run])
        connection.execute(f"INSERT INTO _ledger.runs VALUES ({places})", list(run_row(row)))
        connection.execute("DELETE FROM _ledger.waits WHERE run = ?", [row.run])
        for wait in wait_rows(row):
            connection.execute("INSERT INTO _ledger.waits VALUES (?, ?, ?, ?, ?, ?, ?)", list(wait))


def write_run(path: Path, entries: list[Entry], *, with_row: bool) -> None:
    """Put a run's history in place of the one that is there, as somebody who knows the format would."""
    run = entries[0].run
    row = fold_all(None, entries)
    with duckdb.connect(str(path)) as connection:
        for entry in entries:
            connection.execute(
                "UPDATE _ledger.entries SET body = ?, name = ?, digest = ?, "
                "value = CASE WHEN shown THEN TRY_CAST(TRY_CAST(? AS JSON) AS VARIANT) END "
                'WHERE run = ? AND "position" = ?',
                [entry.body, entry.name, entry.digest, entry.body, run, entry.position],
            )
    if with_row:
        write_row(path, row)


def rechained(entries: list[Entry], change: Callable[[Entry], Entry]) -> list[Entry]:
    """Change a history and recompute its whole chain."""
    digest, chained = GENESIS, []
    for entry in entries:
        entry, _ = seal(digest, change(entry))
        digest = entry.digest
        chained.append(entry)
    return chained


def cheaper(entry: Entry) -> Entry:
    """The entry as its forger would like it to be."""
    return entry._replace(body='{"paid":0}') if entry.position == 2 else entry
