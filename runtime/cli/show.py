"""`perdure show LEDGER RUN`: one run, its history as a timeline, or one entry of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from perdure.cli.arguments import AsJson, LedgerPath, RunId
from perdure.cli.opening import need_run, reading, registry_of
from perdure.cli.output import cells, console, elapsed_text, moment_text, print_json, print_table, status_text, table
from perdure.cli.stack import numbered_lines, show_stop, stop_json
from perdure.client.status import RunStatus, status_of
from perdure.core.divergence import site_of
from perdure.core.elided import shortened
from perdure.core.places import Place, find_place, parse_place
from perdure.durations import moment
from perdure.errors import DefinitionError
from perdure.replay.closures import Closure
from perdure.replay.stop import Walk, stop_at
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.ledger import Ledger, RunRow

At = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="N", help="Show entry N, or the entry of a step by its name, in full with its source."
    ),
]
SomeWorkflows = Annotated[
    str | None,
    typer.Option(
        "--workflows", "-w", metavar="MODULE", help="With --at: replay to there, and show the body and its variables."
    ),
]

_AT_ONCE_US = 1_000  # a start that is left to a worker is put off, but by nothing that anybody would notice
_VALUE_CHARACTERS_MAX = 100
_CHILDREN_SHOWN_MAX = 10
#: Commands whose arguments say what another column says.
_PLAIN_ARGUMENTS = frozenset({kinds.SLEEP, kinds.CHILD_RESULT, kinds.CHILD_CANCEL, kinds.WAIT_HOOK, kinds.HOOK_CLOSED})
_FAILURES = frozenset(
    {kinds.STEP_FAILED, kinds.STEP_RETRYING, kinds.FAILED, kinds.RETRYING, kinds.CHILD_FAILED, kinds.HOOK_REFUSED}
)


def show_run(
    ledger: LedgerPath, run: RunId, at: At = None, workflows: SomeWorkflows = None, as_json: AsJson = False
) -> None:
    """Show a run and its history.

    Shows its status, what it waits for, and every entry with its value; with --at one entry in full, and with --at and
    --workflows also where the body stands there, branch by branch, with its variables.
    """
    if workflows is not None and at is None:
        raise DefinitionError("--workflows is for --at.", fix=f"perdure show {ledger} {run} --at N -w {workflows}")
    with reading(ledger) as opened:
        row = need_run(opened, run, ledger)
        show_recorded(opened, row, at, as_json, workflows)
    if at is not None and workflows is None and not as_json:
        hint = f"the body there, with its variables: perdure show {ledger} {run} --at {at} -w MODULE"
        console(stderr=True).print(Text(hint, style="dim"), soft_wrap=True)


def show_recorded(ledger: Ledger, row: RunRow, at: str | None, as_json: bool, workflows: str | None = None) -> None:
    """Print a run, or one entry of it, and with `workflows` also where the body stands there."""
    if at is not None:
        _show_entry(ledger, row, parse_place(at), workflows, as_json)
        return
    entries = ledger.entries(row.run)
    status = status_of(row)
    children = ledger.children(row.run_id)
    if as_json:
        shown = {**status.as_json(), "children": [child.run_id for child in children]}
        print_json({**shown, "history": [entry_json(entry) for entry in entries]})
        return
    _show_status(status, children)
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


def _show_status(status: RunStatus, children: Sequence[RunRow] = ()) -> None:
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
        ("forked", "" if status.forked_from is None else f"from {status.forked_from}"),
        ("continues", status.continued_from),
        ("goes on", "" if status.continued_as is None else f"as {status.continued_as}"),
        ("cancel", "was asked for" if status.cancel_requested else ""),
        ("error", status.error),
        ("verdict", {None: "", True: "replays", False: "does not replay: see its entry `verified`"}[status.verdict]),
    ]
    for each in status.waits_for:
        until = f", until {moment_text(each.until)}" if each.until is not None else ""
        what = f" {each.event_type}{each.child_run_id}".rstrip()
        attempt = f", attempt {each.attempt}" if each.attempt > 1 else ""
        facts.append(("waits for", f"{each.kind} {each.site or each.name}{what}{attempt}{until}"))
        if each.heartbeat_at is not None:
            beat = shortened(json.dumps(each.heartbeat, ensure_ascii=False), _VALUE_CHARACTERS_MAX)
            facts.append(("heartbeat", f"{beat}, at {moment_text(each.heartbeat_at)}"))
    facts += [("child", f"{child.run_id}, {child.status}") for child in children[:_CHILDREN_SHOWN_MAX]]
    if len(children) > _CHILDREN_SHOWN_MAX:
        facts.append(("children", f"{len(children):,}; --json lists all"))
    facts += [("hook", token) for token in status.hooks]
    facts += [("signal", f"{name}, {count:,} kept that nobody has taken") for name, count in status.signals.items()]
    facts += [("stream", f"{name}, {count:,} chunks") for name, count in status.streams.items()]
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


def _show_entry(ledger: Ledger, row: RunRow, at: int | str, workflows: str | None, as_json: bool) -> None:
    entries = ledger.entries(row.run)
    place = find_place(entries, at, row.run_id)
    entry = place.entry
    definition = ledger.definition(row.definition)
    closure = Closure.from_json(definition.source) if definition is not None else Closure()
    site = site_of(entry) or _site_of_command(entries, entry)
    if as_json:
        stop = {} if workflows is None else stop_json(stop_at(_walk(row, entries, place, workflows)))
        facts = {"run_id": row.run_id, "site": site, "line": closure.line_at(site)}
        print_json({**entry_json(entry), **facts, **stop})
        return
    shown = console()
    _show_facts(shown, row, entry, site)
    for line in _source_lines(closure, site):
        shown.print(Text(f"            {line}"), soft_wrap=True)
    _show_value(shown, entry)
    if workflows is not None:
        show_stop(shown, stop_at(_walk(row, entries, place, workflows)))


def _walk(row: RunRow, entries: Sequence[Entry], place: Place, workflows: str) -> Walk:
    return Walk(row, registry_of(workflows).get(row.workflow, row.version), entries, place)


def _show_facts(shown: Console, row: RunRow, entry: Entry, site: str) -> None:
    name = f" {entry.name}" if entry.name else ""
    shown.print(Text(f"entry {entry.position} of {row.length}: {entry.kind}{name}", style="bold"), soft_wrap=True)
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


def _show_value(shown: Console, entry: Entry) -> None:
    if entry.body is None:
        return
    value = json.loads(entry.body)
    trace = value.pop("traceback", None) if entry.kind in _FAILURES and isinstance(value, dict) else None
    shown.print(Text("  value"))
    shown.print(Text(json.dumps(value, ensure_ascii=False, indent=2)), soft_wrap=True)
    if trace:
        shown.print(Text(trace), soft_wrap=True)


def _site_of_command(entries: Sequence[Entry], entry: Entry) -> str:
    """Where the command was asked for that this entry answers."""
    if not entry.command or entry.kind in kinds.COMMANDS - {kinds.DROPPED}:
        return ""
    asked = [
        each for each in entries[: entry.position] if each.command == entry.command and each.kind in kinds.COMMANDS
    ]
    return site_of(asked[-1]) if asked else ""


def _source_lines(closure: Closure, site: str) -> list[str]:
    """The source around a line, as it was when the run started."""
    unit = closure.unit_at(site)
    if unit is None:
        return []
    lines = list(enumerate(unit.source.splitlines(), start=unit.line))
    return numbered_lines(lines, int(site.rpartition(":")[2]))


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
        elif entry.kind not in _PLAIN_ARGUMENTS:
            parts.append(entry.body)
    elif entry.kind == kinds.HOOK and not entry.name:
        parts.append(str(_detail(entry).get("token", "")))
    elif entry.kind == kinds.DIVERGED:
        parts.append(str(_detail(entry).get("message", "")))
    elif entry.kind == kinds.UPGRADED:
        parts.append(f"to v{_detail(entry).get('version', '')} {str(_detail(entry).get('definition', ''))[:8]}")
    elif entry.kind == kinds.VERIFIED:
        parts.append("replays" if _detail(entry).get("ok") else str(_detail(entry).get("message", "")))
    text = shortened(" ".join(parts), _VALUE_CHARACTERS_MAX)
    if entry.attempt > 1:
        text += f"  attempt {entry.attempt}"
    if entry.due is not None and (entry.kind != kinds.CREATED or entry.due > entry.at + _AT_ONCE_US):
        text += f"  until {moment_text(moment(entry.due))}"
    return text.strip()


def _style(entry: Entry) -> str:
    if entry.kind in _FAILURES:
        return "red"
    if entry.kind == kinds.DIVERGED or (entry.kind == kinds.VERIFIED and not _detail(entry).get("ok")):
        return "bold magenta"
    if entry.kind in kinds.COMMANDS:
        return "cyan"
    return "green" if entry.kind in kinds.ENDINGS else ""
