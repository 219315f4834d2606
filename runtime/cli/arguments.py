"""The arguments that several commands take, and how their texts are read.

Knows texts. Must not know what a command does with them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from perdure.durations import earliest_us
from perdure.engine.clock import SystemClock
from perdure.errors import DefinitionError
from perdure.storage.ledger import STATUSES

LedgerPath = Annotated[Path, typer.Argument(metavar="LEDGER", help="The ledger's file, such as orders.duckdb.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
Workflows = Annotated[
    str | None,
    typer.Option(
        "--workflows",
        "-w",
        metavar="MODULE",
        help="Where the workflows are: a module, a .py file or a folder of them. By default the folder workflows/ here,"
        " else workflows.py.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
WorkflowId = Annotated[str | None, typer.Option("--workflow", metavar="ID", help="Only runs of this workflow.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="WHEN", help='Only runs created since: a duration ago ("7d") or an ISO-8601 time.'),
]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag; may be repeated.")]


def parse_json(text: str, what: str) -> Any:
    """Read a JSON text given on the command line; `@file.json` reads a file, `-` standard input."""
    source = what
    if text == "-":
        text, source = typer.get_text_stream("stdin").read(), "standard input"
    elif text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text(encoding="utf-8")
        except OSError as error:
            raise DefinitionError(
                f"{what} can't be read from {source!r}.", why=str(error), fix="mend the path"
            ) from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise DefinitionError(
            f"{what} is no JSON: {error}", where=source, fix="""quote it for the shell: '{"order_id": "o1"}'"""
        ) from None


def parse_json_lines(source: str, what: str) -> list[Any]:
    """Read the JSON texts in the lines of a file, one each; `-` is standard input, and empty lines are left out."""
    try:
        text = typer.get_text_stream("stdin").read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise DefinitionError(f"{what} can't be read from {source!r}.", why=str(error), fix="mend the path") from None
    values = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                values.append(json.loads(line))
            except ValueError as error:
                raise DefinitionError(
                    f"a line of {what} is no JSON: {error}", where=f"{source}:{number}", fix="write one JSON per line"
                ) from None
    return values


def parse_tags(texts: list[str] | None) -> dict[str, str]:
    """Read `key=value` texts."""
    tags = {}
    for text in texts or ():
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise DefinitionError(f"--tag {text!r} is no tag.", fix="write --tag tenant=42")
        tags[name] = value
    return tags


def parse_since(text: str | None) -> int | None:
    """Read a duration before now, or a moment, as microseconds since 1970."""
    return None if text is None else earliest_us(text, SystemClock().now_us())


def parse_statuses(texts: list[str] | None) -> tuple[str, ...]:
    """Check statuses."""
    for text in texts or ():
        if text not in STATUSES:
            raise DefinitionError(f"--status {text!r} is no status.", fix=f"one of {', '.join(STATUSES)}")
    return tuple(texts or ())
