"""`perdure list [MODULE]`: the workflows that were found, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from perdure.cli.arguments import AsJson
from perdure.cli.command import FAILED
from perdure.cli.opening import need_workflows, reading, usual_workflows
from perdure.cli.output import cells, console, print_json, print_table, table
from perdure.declare.imported import Imported, imported
from perdure.declare.modules import shortened
from perdure.declare.registry import Definition
from perdure.durations import moment_text
from perdure.errors import DefinitionError
from perdure.replay.open_runs import OpenRuns, open_runs

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODULE]",
        help="A module, a .py file or a folder of them; by default the folder workflows/ here, else workflows.py.",
        show_default=False,
    ),
]
AlsoSource = Annotated[str | None, typer.Option("--workflows", "-w", metavar="MODULE", help="The same as MODULE.")]
Open = Annotated[
    Path | None, typer.Option("--open", metavar="LEDGER", help="List the open runs of this ledger by their code.")
]

NOTHING_FOUND = 1


def list_workflows(
    module: Source = None, workflows: AlsoSource = None, open_in: Open = None, as_json: AsJson = False
) -> None:
    """List the workflows of a module.

    Shows id, version, what starts it by itself, its queue, the digest of the code, file and line. What can't be used is
    told after the others, and the command exits with 2; with 1 when there is nothing to list.

    With --open it lists instead which versions and which code the open runs of a ledger are on: before a deploy, what
    it meets; after it, when old code can go.
    """
    if module is not None and workflows is not None:
        raise DefinitionError("list takes one module, as an argument or with --workflows.", fix="leave one of them out")
    given = workflows if module is None else module
    if open_in is not None:
        registry = need_workflows(given)
        with reading(open_in) as ledger:
            _list_open(open_runs(ledger, registry), as_json=as_json)
        return
    source, note = (given, "") if given is not None else usual_workflows()
    found = Imported() if source is None else imported(source)
    _list_found(found, as_json=as_json)
    for failure in found.failures:
        typer.echo(f"{failure}", err=True)
    if found.failures:
        raise typer.Exit(FAILED)
    if not found.registry.all():
        looked = f"No workflows found. {note}" if source is None else f"No workflows in {source}.{_read(source, found)}"
        console(stderr=as_json).print(Text(f"{looked} A workflow is an async def under @workflow(…)."), soft_wrap=True)
        raise typer.Exit(NOTHING_FOUND)
    if note:
        console(stderr=True).print(Text(note), soft_wrap=True)


def _read(source: str, found: Imported) -> str:
    if found.looked_at == [source]:
        return ""
    files = ", ".join(found.looked_at[:_NAMED_MAX]) + ("…" if len(found.looked_at) > _NAMED_MAX else "")
    return f" Read {files}." if files else f" There are no modules in {Path(source).resolve()}."


_NAMED_MAX = 5


def _list_found(found: Imported, *, as_json: bool) -> None:
    definitions = found.registry.all()
    if as_json:
        print_json([_as_json(each) for each in definitions])
    elif definitions:
        rows = [workflow_row(each) for each in definitions]
        shown_columns = [name for name in rows[0] if any(row[name] for row in rows)]
        shown = table(*shown_columns)
        for row in rows:
            shown.add_row(*cells([row[name] for name in shown_columns]))
        print_table(shown)


def workflow_row(definition: Definition) -> dict[str, str]:
    """What people are shown of a workflow, by column."""
    file, _, line = definition.site.rpartition(":")
    return {
        "id": definition.id,
        "version": definition.version,
        "trigger": "\n".join(map(str, definition.triggers)),
        "queue": definition.options.queue_name or "",
        "digest": definition.digest[:12],
        "where": f"{shortened(Path(file))}:{line}",
    }


def _as_json(definition: Definition) -> dict[str, Any]:
    return {
        "id": definition.id, "version": definition.version, "triggers": list(map(str, definition.triggers)),
        "queue": definition.options.queue_name, "digest": definition.digest, "site": definition.site,
        "strict": definition.strict, "body": f"{definition.__module__}:{definition.__qualname__}",
    }  # fmt: skip


def _list_open(groups: Sequence[OpenRuns], *, as_json: bool) -> None:
    if as_json:
        print_json([group.as_json() for group in groups])
        return
    if not groups:
        console().print("No run is open.")
        return
    shown = table("workflow", "version", "code", "today", "open", "statuses", "oldest", right=("open",))
    for group in groups:
        statuses = ", ".join(f"{count:,} {status}" for status, count in sorted(group.statuses.items()))
        oldest = f"{moment_text(group.oldest_at)}  {group.oldest_run_id}"
        values = [group.workflow, group.version, group.definition[:12], _standing(group), f"{group.runs:,}"]
        shown.add_row(*cells([*values, statuses, oldest]))
    print_table(shown)


def _standing(group: OpenRuns) -> Text:
    if group.standing == "today":
        return Text("the same", style="green")
    if group.standing == "older":
        lines = group.changed_lines
        changed = (
            "its source is not recorded"
            if lines is None
            else "1 line differs"
            if lines == 1
            else f"{lines:,} lines differ"
        )
        return Text(f"older, {changed}", style="yellow")
    return Text(
        "not registered any more" if group.standing == "workflow gone" else "version not registered any more",
        style="yellow",
    )
