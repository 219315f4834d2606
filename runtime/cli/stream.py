"""`perdure stream LEDGER RUN [NAMESPACE]`: what a run's steps wrote to a stream, a line a chunk."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from perdure.cli.arguments import AsJson, LedgerPath, RunId
from perdure.cli.opening import need_run, reading
from perdure.client.streams import checked_start, read_page
from perdure.core.stream import checked_namespace
from perdure.durations import moment
from perdure.errors import DefinitionError
from perdure.storage.entries import STREAM_WRITTEN, Entry
from perdure.storage.ledger import RunRow

Namespace = Annotated[str, typer.Argument(metavar="NAMESPACE", help="Which of the run's streams.")]
Start = Annotated[int, typer.Option("--start", metavar="N", help="Begin with the chunk of this offset.")]


def print_stream(
    ledger: LedgerPath, run: RunId, namespace: Namespace = "default", start: Start = 0, as_json: AsJson = False
) -> None:
    """Print the chunks of a stream, as JSON, a line each.

    With --json each line has the chunk's offset, value, step, attempt and time.
    """
    checked_namespace(namespace)
    checked_start(start)
    with reading(ledger) as opened:
        row = need_run(opened, run, ledger)
        _need_stream(row, namespace)
        position, is_last = 0, False
        while not is_last:
            page = read_page(opened, run, position)
            is_last = page.is_last
            for entry in page.entries:
                position = entry.position + 1
                if entry.kind == STREAM_WRITTEN and entry.name == namespace:
                    _print_chunk(entry, start, as_json)


def _print_chunk(entry: Entry, start: int, as_json: bool) -> None:
    detail = entry.facts()
    if detail["offset"] < start:
        return
    value = json.loads(entry.body or "null")
    if as_json:
        shown = {"offset": detail["offset"], "value": value, "step": detail.get("step", ""), "attempt": entry.attempt}
        value = {**shown, "at": moment(entry.at).isoformat()}
    typer.echo(json.dumps(value, ensure_ascii=False))


def _need_stream(row: RunRow, namespace: str) -> None:
    """Refuse a name that nobody wrote to, when there are others: it is a typing error."""
    if row.streams and namespace not in row.streams:
        raise DefinitionError(
            f"run {row.run_id} has no stream {namespace!r}.", fix=f"name one of {', '.join(sorted(row.streams))}"
        )
