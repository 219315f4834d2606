"""`perdure kv`: the values that a ledger keeps under keys, to look at and to mend by hand.

What looks reads the ledger's cells and imports nothing, so that it works where the code does not. What writes goes
through a runtime, because a change may start runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from perdure.cli.administering import administering
from perdure.cli.arguments import AsJson, LedgerPath, Workflows, parse_json
from perdure.cli.command import Command, Group, examples
from perdure.cli.opening import need_ledger, need_workflows, reading
from perdure.cli.output import cells, console, moment_text, print_json, print_table, table
from perdure.durations import duration_us, moment
from perdure.engine.clock import SystemClock
from perdure.errors import DefinitionError
from perdure.services.kv import Kv
from perdure.services.values import check_page, checked_name
from perdure.storage.cells import Cell
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.plain import parse

NOT_FOUND = 1
_SHOWN_CHARACTERS_MAX = 200  # of a value in a table; `get` prints all of it
_SPACE = "kv/"

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key.")]
Value = Annotated[str, typer.Argument(metavar="JSON", help="The value; @file.json reads a file, - standard input.")]
Prefix = Annotated[str, typer.Argument(metavar="[PREFIX]", help="Only keys that begin so.", show_default=False)]
Namespace = Annotated[str, typer.Option("--namespace", "-n", metavar="NAME", help="Which namespace.")]
After = Annotated[str | None, typer.Option("--after", metavar="KEY", help="Only keys after this one.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many keys.")]
Ttl = Annotated[
    str | None, typer.Option("--ttl", metavar="DURATION", help="How long it is there, such as 1h; for ever by default.")
]


def list_values(
    ledger: LedgerPath, prefix: Prefix = "", namespace: Namespace = "default", after: After = None,
    limit: Limit = 100, as_json: AsJson = False,
) -> None:  # fmt: skip
    """List the values of a namespace, in order of their keys."""
    check_page(prefix, after, limit)
    space = _SPACE + checked_name(namespace, "namespace")
    with reading(ledger) as opened:
        found = _page(opened, space, prefix, after, limit + 1)
        others = [] if found else _namespaces(opened)
    if as_json:
        print_json([_as_json(cell) for cell in found[:limit]])
        return
    if not found:
        there = f"; the ledger has values in {', '.join(others)}" if others else ""
        console().print(f"No values in namespace {namespace!r}{f' under {prefix!r}' if prefix else ''}{there}.")
        return
    shown = table("key", "value", "written", "expires")
    for cell in found[:limit]:
        shown.add_row(
            *cells([cell.key, _shortened(cell.body), moment_text(moment(cell.at)), moment_text(_expiry(cell))])
        )
    print_table(shown)
    if len(found) > limit:
        left = f"There are more; the next page: --after {found[limit - 1].key!r}"
        console(stderr=True).print(left, soft_wrap=True)


def get_value(ledger: LedgerPath, key: Key, namespace: Namespace = "default", as_json: AsJson = False) -> None:
    """Print a value as JSON; exits with 1 when there is none."""
    space = _SPACE + checked_name(namespace, "namespace")
    with reading(ledger) as opened:
        cell = opened.cell(space, checked_name(key, "key"))
    if cell is None or not cell.is_there(SystemClock().now_us()):
        typer.echo(f"The ledger keeps no value under {key!r} in namespace {namespace!r}.", err=True)
        raise typer.Exit(NOT_FOUND)
    if as_json:
        print_json(_as_json(cell))
    else:
        print_json(parse(cell.body or "null"))


def put_value(
    ledger: LedgerPath, key: Key, value: Value, workflows: Workflows = None, namespace: Namespace = "default",
    ttl: Ttl = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write a value. Functions under @on_kv_change get to know, as of any other change."""
    decoded = parse_json(value, "the value")
    if ttl is not None:
        duration_us(ttl, "--ttl")
    _through_a_runtime(ledger, workflows, namespace, lambda kv: kv.put(key, decoded, ttl=ttl))
    if as_json:
        print_json({"namespace": namespace, "key": key, "written": True})
    else:
        console().print(f"{key} is written.", soft_wrap=True)


def delete_value(
    ledger: LedgerPath, key: Key, workflows: Workflows = None, namespace: Namespace = "default", as_json: AsJson = False
) -> None:
    """Delete a value; exits with 1 when there is none. Functions under @on_kv_change get to know."""
    was_there = _through_a_runtime(ledger, workflows, namespace, lambda kv: kv.delete(key))
    if as_json:
        print_json({"namespace": namespace, "key": key, "deleted": was_there})
    elif was_there:
        console().print(f"{key} is deleted.", soft_wrap=True)
    else:
        typer.echo(f"The ledger keeps no value under {key!r} in namespace {namespace!r}.", err=True)
    if not was_there:
        raise typer.Exit(NOT_FOUND)


def _through_a_runtime(
    path: Path, workflows: str | None, namespace: str, change: Callable[[Kv], Awaitable[bool]]
) -> bool:
    need_ledger(path)
    registry = need_workflows(workflows)
    elsewhere = registry.back_ends.by_service.get("kv")
    if elsewhere is not None:
        raise DefinitionError(
            f"kv is kept by {elsewhere!r}, and perdure kv is about what the ledger keeps.",
            where=str(path),
            fix="change it with that one's own tools, or in a step",
        )

    async def inside() -> bool:
        async with administering(path, registry) as runtime:
            return await change(runtime.kv.namespace(namespace))

    return asyncio.run(inside())


def _page(ledger: DuckDBLedger, space: str, prefix: str, after: str | None, wanted: int) -> list[Cell]:
    """The first cells that are there; those that expired may be in between."""
    now_us = SystemClock().now_us()
    found: list[Cell] = []
    while True:
        page = ledger.cells(space, prefix=prefix, after=after, limit=wanted)
        found += [cell for cell in page if cell.is_there(now_us)]
        if len(page) < wanted or len(found) >= wanted:
            return found
        after = page[-1].key


def _namespaces(ledger: DuckDBLedger) -> list[str]:
    return [str(name) for (name,) in ledger.sql("SELECT DISTINCT namespace FROM kv ORDER BY 1 LIMIT 20").rows]


def _expiry(cell: Cell) -> datetime | None:
    return None if cell.expires_at is None else moment(cell.expires_at)


def _shortened(body: str | None) -> str:
    text = body or "null"
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else text[: _SHOWN_CHARACTERS_MAX - 1] + "…"


def _as_json(cell: Cell) -> dict[str, Any]:
    return {
        "key": cell.key, "value": parse(cell.body or "null"), "written_at": moment(cell.at), "expires_at": _expiry(cell)
    }  # fmt: skip


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="The values that a ledger keeps under keys (kv): list, get, put, delete.",
    epilog=examples("perdure kv list orders.duckdb", "perdure kv get orders.duckdb invite:7"),
)
_COMMANDS = (
    ("list", list_values, "perdure kv list orders.duckdb invite: --namespace invites"),
    ("get", get_value, "perdure kv get orders.duckdb invite:7"),
    ("put", put_value, """perdure kv put orders.duckdb invite:7 '{"status": "open"}' -w orders.py --ttl 1h"""),
    ("delete", delete_value, "perdure kv delete orders.duckdb invite:7 -w orders.py"),
)
for _name, _function, _example in _COMMANDS:
    app.command(_name, cls=Command, epilog=examples(_example))(_function)
