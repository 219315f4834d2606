"""`perdure show LEDGER RUN`: one run, its history as a timeline, or one entry of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from perdure.cli.arguments import AsJson, LedgerPath, RunId
from perdure.cli.opening import need_run, reading
from perdure.cli.output import cells, console, elapsed_text, moment_text, print_json, print_table, status_text, table
from perdure.client.status import RunStatus, moment, status_of
from perdure.core.divergence import site_of
from perdure.core.elided import shortened
from perdure.errors import DefinitionError
from perdure.replay.closures import Closure, Unit
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.ledger import Ledger, RunRow

At = Annotated[int | None, typer.Option("--at", metavar="N", min=0, help="Show entry N in full, with its source line.")]

_VALUE_CHARACTERS_MAX = 100
_LINES_AROUND = 3
_FAILURES = frozenset({kinds.STEP_FAILED, kinds.STEP_RETRYING, kinds.FAILED, kinds.RETRYING, kinds.CHILD_FAILED})


def show_run(ledger: LedgerPath, run: RunId, at: At = None, as_json: AsJson = False) -> None:
    """Show a run and its history.

    Shows its status, what it waits for, and every entry with its value; with --at one entry in full.
    """
    with reading(ledger) as opened:
        show_recorded(opened, need_run(opened, run, ledger), at, as_json)


def show_recorded(ledger: Ledger, row: RunRow, at: int | None, as_json: bool) -> None:
    """Print a run, or one entry of it."""
    if at is not None:
        _show_entry(ledger, row, at, as_json)
        return
    entries = ledger.entries(row.run)
    status = status_of(row)
    if as_json:
        print_json({**status.as_json(), "history": [entry_json(entry) for entry in entries]})
        return
    _show_status(status)
    _show_history(entries)


def entry_json(entry: Entry) -> dict[str, Any]:
    """One entry as plain JSON values; `value` is the recorded body."""
    return {
        "position": entry.position,
        "kind": entry.kind,
        "at": moment(entry.at).isoformat(),
        "command": entry.command,
        "name": entry.name,
        "attempt": entry.attempt,
        "due": None if entry.due is None else moment(entry.due).isoformat(),
        "value": None if entry.body is None else json.loads(entry.body),
        "shape": None if entry.shape is None else json.loads(entry.shape),
        "detail": _detail(entry),
        "digest": entry.digest.hex(),
    }


def _show_status(status: RunStatus) -> None:
    shown = console()
    title = Text(f"{status.workflow} v{status.version}  run {status.run_id}  ")
    shown.print(title.append_text(status_text(status.status)), soft_wrap=True)
    facts: list[tuple[str, object]] = [
        ("created", moment_text(status.created_at)),
        ("finished", moment_text(status.finished_at)),
        ("begins" if status.status == "queued" else "next try", moment_text(status.due)),
        ("attempt", status.attempt if status.attempt > 1 else ""),
        ("tags", ", ".join(f"{name}={value}" for name, value in status.tags.items())),
        ("key", status.idempotency_key),
        ("parent", status.parent_run_id),
        ("cancel", "was asked for" if status.cancel_requested else ""),
        ("error", status.error),
    ]
    for each in status.waits_for:
        until = f", until {moment_text(each.until)}" if each.until is not None else ""
        what = f" {each.event_type}{each.child_run_id}".rstrip()
        attempt = f", attempt {each.attempt}" if each.attempt > 1 else ""
        facts.append(("waits for", f"{each.kind} {each.name}{what}{attempt}{until}"))
    for name, value in facts:
        if value not in ("", None):
            shown.print(Text(f"  {name:<9} {value}"), soft_wrap=True)
    shown.print()


def _show_history(entries: Sequence[Entry]) -> None:
    shown = table("#", "after", "kind", "name", "value", "where", right=["#", "after"])
    begin = entries[0].at if entries else 0
    for entry in entries:
        shown.add_row(
            *cells(
                [
                    entry.position,
                    elapsed_text(entry.at - begin),
                    Text(entry.kind, style=_style(entry)),
                    entry.name if entry.kind != kinds.CREATED else "",
                    _value(entry),
                    site_of(entry),
                ]
            )
        )
    print_table(shown)


def _show_entry(ledger: Ledger, row: RunRow, position: int, as_json: bool) -> None:
    found = ledger.entries(row.run, position, 1)
    if not found:
        raise DefinitionError(
            f"run {row.run_id} has no entry {position}.", fix=f"its entries are 0 to {row.length - 1}"
        )
    entry = found[0]
    definition = ledger.definition(row.definition)
    closure = Closure.from_json(definition.source) if definition is not None else Closure()
    site = site_of(entry) or _site_of_command(ledger, row, entry)
    if as_json:
        print_json({**entry_json(entry), "run_id": row.run_id, "site": site, "line": closure.line_at(site)})
        return
    shown = console()
    name = f" {entry.name}" if entry.name else ""
    shown.print(Text(f"entry {position} of {row.length}: {entry.kind}{name}", style="bold"), soft_wrap=True)
    facts: list[tuple[str, object]] = [
        ("run", f"{row.run_id}, {row.workflow} v{row.version}"),
        ("at", moment(entry.at).isoformat()),
        ("command", entry.command),
        ("attempt", entry.attempt or ""),
        ("due", "" if entry.due is None else moment(entry.due).isoformat()),
        ("detail", ", ".join(f"{name}={value}" for name, value in _detail(entry).items() if name != "site")),
        ("where", site),
        ("digest", entry.digest.hex()),
    ]
    for label, value in facts:
        if value != "":
            shown.print(Text(f"  {label:<9} {value}"), soft_wrap=True)
    for line in _source_lines(closure, site):
        shown.print(Text(f"            {line}"), soft_wrap=True)
    if entry.body is not None:
        value = json.loads(entry.body)
        trace = value.pop("traceback", None) if entry.kind in _FAILURES and isinstance(value, dict) else None
        shown.print(Text("  value"))
        shown.print(Text(json.dumps(value, ensure_ascii=False, indent=2)), soft_wrap=True)
        if trace:
            shown.print(Text(trace), soft_wrap=True)


def _site_of_command(ledger: Ledger, row: RunRow, entry: Entry) -> str:
    """Where the command was asked for that this entry answers."""
    if not entry.command or entry.kind in kinds.COMMANDS - {kinds.DROPPED}:
        return ""
    asked = [
        each
        for each in ledger.entries(row.run, 0, entry.position)
        if each.command == entry.command and each.kind in kinds.COMMANDS
    ]
    return site_of(asked[-1]) if asked else ""


def _source_lines(closure: Closure, site: str) -> list[str]:
    """The source around a line, as it was when the run started."""
    unit = closure.unit_at(site)
    if unit is None:
        return []
    wanted = int(site.rpartition(":")[2])
    lines = _numbered(unit)
    return [
        f"{'→' if number == wanted else ' '} {number:>4}  {text}"
        for number, text in lines
        if abs(number - wanted) <= _LINES_AROUND
    ]


def _numbered(unit: Unit) -> list[tuple[int, str]]:
    return list(enumerate(unit.source.splitlines(), start=unit.line))


def _detail(entry: Entry) -> dict[str, Any]:
    if entry.detail is None:
        return {}
    if entry.detail.startswith("{"):
        found: dict[str, Any] = json.loads(entry.detail)
        return found
    return {"child_run_id": entry.detail}


def _value(entry: Entry) -> str:
    parts = []
    if entry.body is not None:
        if entry.kind in _FAILURES:
            failure: Any = json.loads(entry.body)
            parts.append(f"{failure.get('type', '')}: {failure.get('message', '')}".partition("\n")[0])
        elif entry.kind == kinds.STEP:
            parts.append(f"({entry.body[1:-1]})" if entry.body.startswith("[") else entry.body)
        elif entry.kind not in (kinds.SLEEP, kinds.CHILD_RESULT, kinds.CHILD_CANCEL):
            parts.append(entry.body)
    elif entry.kind == kinds.DIVERGED:
        parts.append(str(_detail(entry).get("message", "")))
    text = shortened(" ".join(parts), _VALUE_CHARACTERS_MAX)
    if entry.attempt > 1:
        text += f"  attempt {entry.attempt}"
    if entry.due is not None:
        text += f"  until {moment_text(moment(entry.due))}"
    return text.strip()


def _style(entry: Entry) -> str:
    if entry.kind in _FAILURES:
        return "red"
    if entry.kind == kinds.DIVERGED:
        return "bold magenta"
    if entry.kind in kinds.COMMANDS:
        return "cyan"
    return "green" if entry.kind in kinds.ENDINGS else ""
