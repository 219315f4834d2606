"""`perdure verify LEDGER`: prove that no entry was altered, dropped, inserted or reordered, now and later.

Knows how a verification is shown, and where its evidence goes. What is sound is known by `perdure.storage.verify`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

import perdure
from perdure.cli.arguments import AsJson, LedgerPath
from perdure.cli.command import examples
from perdure.cli.opening import reading
from perdure.cli.output import console, print_json
from perdure.engine.clock import SystemClock
from perdure.errors import PerdureError
from perdure.sandbox import load_sources
from perdure.sandbox.source import digest_of
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.evidence import Evidence, read_evidence
from perdure.storage.verify import Fault, Verdict, verify

_SHOWN_MAX = 50

ExportFile = Annotated[
    Path | None,
    typer.Option("--export", metavar="FILE", help="Write evidence of a sound ledger, to be kept somewhere else."),
]
AgainstFile = Annotated[
    Path | None,
    typer.Option("--against", metavar="FILE", help="Prove that all of this evidence is still there, unaltered."),
]

HELP_END = (
    examples(
        "perdure verify orders.duckdb",
        "perdure verify orders.duckdb --export evidence-2026-01-31.json",
        "perdure verify orders.duckdb --against evidence-2026-01-31.json",
    )
    + "\n\nExit code 0: sound. 1: something is not as it was written. 2: it could not be verified."
)


def verify_ledger(
    ledger: LedgerPath, export: ExportFile = None, against: AgainstFile = None, as_json: AsJson = False
) -> None:
    """Prove that nothing was altered.

    Walks the chain of digests of every run, and checks that listings, look-ups and queries say what the entries say.
    It needs nothing but the file. Somebody who can write the file can also rewrite a run with its whole chain; evidence
    that was exported before, and kept where nobody could change it, shows that too.
    """
    earlier = None if against is None else read_evidence(_read(against), str(against))
    at = SystemClock().now_us() / 1_000_000
    now = Evidence(perdure.__version__, datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"))
    with reading(ledger) as opened, _progress(opened, ledger) as progress:
        verdict = verify(
            opened, against=earlier, export=None if export is None else now, source_digest=source_digest,
            progress=progress,
        )  # fmt: skip
    if export is not None and verdict.ok:
        _write(export, now)
    if as_json:
        print_json(_as_json(verdict, now if export is not None and verdict.ok else None, earlier))
    else:
        _show(ledger, verdict)
        if verdict.ok and earlier is not None:
            runs = _counted(len(earlier.heads), "run")
            _print(f"Nothing of {against} has changed: {runs}, written down {earlier.at}, root {earlier.root}.")
        if export is not None:
            _print(f"Evidence is in {export}, root {now.root}." if verdict.ok else f"{export} was not written.")
    if not verdict.ok:
        raise typer.Exit(1)


def source_digest(source: str) -> str | None:
    """The digest of a recorded source closure; None when this Python can't parse it."""
    try:
        return digest_of(load_sources(source))
    except SyntaxError:
        return None
    except (ValueError, TypeError, KeyError):
        return "of no source"


def _show(ledger: Path, verdict: Verdict) -> None:
    if verdict.ok:
        cells = f", {_counted(verdict.cells, 'cell')}" if verdict.cells else ""
        _print(f"{ledger} is sound: {verdict.entries:,} entries of {_counted(verdict.runs, 'run')}{cells}.")
        return
    for fault in verdict.faults[:_SHOWN_MAX]:
        _print(str(fault), "red")
    if len(verdict.faults) > _SHOWN_MAX:
        _print(f"… and {len(verdict.faults) - _SHOWN_MAX:,} more")
    _print(f"{ledger} is not as it was written: {_counted(len(verdict.faults), 'fault')}.", "bold red")


def _print(line: str, style: str = "") -> None:
    console().print(Text(line, style=style), soft_wrap=True)


def _as_json(verdict: Verdict, exported: Evidence | None, against: Evidence | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "ok": verdict.ok,
        "runs": verdict.runs,
        "entries": verdict.entries,
        "cells": verdict.cells,
        "faults": [_fault_json(fault) for fault in verdict.faults],
    }
    for name, evidence in (("exported", exported), ("against", against)):
        if evidence is not None:
            shown[name] = {"root": evidence.root, "at": evidence.at, "runs": len(evidence.heads)}
    return shown


def _fault_json(fault: Fault) -> dict[str, Any]:
    return {"run_id": fault.run_id, "run": fault.run, "position": fault.position, "message": fault.message}


@contextmanager
def _progress(ledger: DuckDBLedger, path: Path) -> Iterator[Callable[[int], object]]:
    """A bar over the entries, on a terminal."""
    shown = console(stderr=True)
    columns = (TextColumn("verifying {task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        total = ledger.sql("SELECT count(*) FROM entries").rows[0][0]
        task = bar.add_task(path.name, total=total)
        yield lambda entries: bar.advance(task, entries)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PerdureError(f"{str(file)!r} can't be read.", why=str(error), fix="name the exported file") from None


def _write(file: Path, evidence: Evidence) -> None:
    try:
        with file.open("w", encoding="utf-8") as opened:
            evidence.write(opened)
    except OSError as error:
        raise PerdureError(f"{str(file)!r} can't be written.", why=str(error), fix="choose another file") from None


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")
