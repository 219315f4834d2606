"""`perdure list MODULE`: the workflows that were found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from perdure.cli.arguments import AsJson
from perdure.cli.opening import reading, registry_of
from perdure.cli.output import cells, console, print_json, print_table, table
from perdure.durations import moment_text
from perdure.errors import DefinitionError
from perdure.replay.open_runs import OpenRuns, open_runs

Source = Annotated[
    str | None, typer.Argument(metavar="[MODULE]", help="A module, a .py file or a folder of them.", show_default=False)
]
AlsoSource = Annotated[str | None, typer.Option("--workflows", "-w", metavar="MODULE", help="The same as MODULE.")]
Open = Annotated[
    Path | None, typer.Option("--open", metavar="LEDGER", help="List the open runs of this ledger by their code.")
]


def list_workflows(
    module: Source = None, workflows: AlsoSource = None, open_in: Open = None, as_json: AsJson = False
) -> None:
    """List the workflows of a module.

    Shows id, version, the digest of the code, file and line. With --open it lists instead which versions and which code
    the open runs of a ledger are on: before a deploy, what it meets; after it, when old code can go.
    """
    if (module is None) == (workflows is None):
        raise DefinitionError(
            "list needs one module, as an argument or with --workflows.",
            fix="write perdure list orders.py, or perdure list --open orders.duckdb --workflows orders.py",
        )
    source = module or workflows or ""
    registry = registry_of(source)
    if open_in is not None:
        with reading(open_in) as ledger:
            _list_open(open_runs(ledger, registry), as_json=as_json)
        return
    found = registry.all()
    if as_json:
        print_json(
            [
                {
                    "id": each.id, "version": each.version, "digest": each.digest, "site": each.site,
                    "strict": each.strict, "body": f"{each.__module__}:{each.__qualname__}",
                }
                for each in found
            ]
        )  # fmt: skip
        return
    if not found:
        console().print(f"No workflows in {source}. A workflow is an async def under @workflow(…).", soft_wrap=True)
        return
    shown = table("id", "version", "digest", "where")
    for each in found:
        shown.add_row(*cells([each.id, each.version, each.digest[:12], _short(each.site)]))
    print_table(shown)


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


def _short(site: str) -> str:
    """Paths below the current folder as one would type them."""
    file, _, line = site.rpartition(":")
    path = Path(file)
    return f"{path.relative_to(os.getcwd())}:{line}" if path.is_relative_to(os.getcwd()) else site
