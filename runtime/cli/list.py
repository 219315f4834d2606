"""`perdure list MODULE`: the workflows that were found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from perdure.cli.arguments import AsJson
from perdure.cli.opening import registry_of
from perdure.cli.output import cells, console, print_json, print_table, table

Source = Annotated[str, typer.Argument(metavar="MODULE", help="A module, a .py file or a folder of them.")]


def list_workflows(workflows: Source, as_json: AsJson = False) -> None:
    """List the workflows of a module.

    Shows id, version, the digest of the code, file and line.
    """
    found = registry_of(workflows).all()
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
        console().print(f"No workflows in {workflows}. A workflow is an async def under @workflow(…).", soft_wrap=True)
        return
    shown = table("id", "version", "digest", "where")
    for each in found:
        shown.add_row(*cells([each.id, each.version, each.digest[:12], _short(each.site)]))
    print_table(shown)


def _short(site: str) -> str:
    """Paths below the current folder as one would type them."""
    file, _, line = site.rpartition(":")
    path = Path(file)
    return f"{path.relative_to(os.getcwd())}:{line}" if path.is_relative_to(os.getcwd()) else site
