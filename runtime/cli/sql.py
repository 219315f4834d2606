"""`perdure sql LEDGER "…"`: a read-only query over the documented views."""

from __future__ import annotations

from typing import Annotated

import typer

from perdure.cli.arguments import AsJson, LedgerPath
from perdure.cli.opening import reading
from perdure.cli.output import cells, console, print_json, print_table, table

Query = Annotated[
    str, typer.Argument(metavar="QUERY", help="One SELECT over runs, steps, kv, documents and other views.")
]


def query_ledger(ledger: LedgerPath, query: Query, as_json: AsJson = False) -> None:
    """Run one read-only SQL query.

    The views are runs, steps, entries, events, messages, emitted, streams, triggered, verdicts and definitions; and
    what services keep: kv, documents, blobs, queued and dead_letters.
    """
    with reading(ledger) as opened:
        found = opened.sql(query)
    if as_json:
        print_json([dict(zip(found.columns, row, strict=True)) for row in found.rows])
        return
    shown = table(*found.columns)
    for row in found.rows:
        shown.add_row(*cells(row))
    print_table(shown)
    console(stderr=True).print("1 row" if len(found.rows) == 1 else f"{len(found.rows):,} rows")
