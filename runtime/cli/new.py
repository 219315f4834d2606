"""`perdure new NAME`: start a project from one of the examples."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from perdure.cli.arguments import AsJson
from perdure.cli.output import cells, console, print_json, print_table, table
from perdure.cli.project import DEFAULT, find_example, find_examples, project_files
from perdure.errors import DefinitionError, PerdureError

Name = Annotated[
    Path | None, typer.Argument(metavar="[NAME]", help="The project's folder, new or empty.", show_default=False)
]
From = Annotated[str, typer.Option("--from", metavar="EXAMPLE", help="The example that it starts from; see --list.")]
ListThem = Annotated[bool, typer.Option("--list", help="List the examples, a line each.")]

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")  # what a package may be called


def new_project(
    name: Name = None, example: From = DEFAULT, list_them: ListThem = False, as_json: AsJson = False
) -> None:
    """Start a project from one of the examples.

    It has workflows.py, tests, recorded histories, and a file for CI that runs the tests and replays the histories on
    every change.
    """
    if list_them:
        _list(as_json=as_json)
        return
    if name is None:
        raise DefinitionError(
            "a project needs a name.", fix="write perdure new shop, or perdure new --list to see the examples"
        )
    called = name.resolve().name
    if not _NAME.fullmatch(called):
        raise DefinitionError(
            f"{called!r} is no name for a project.",
            why="pyproject.toml takes letters, digits, and . _ - between them",
            fix="write perdure new my-shop",
        )
    chosen = find_example(example)
    files = project_files(called, chosen)
    _write(name, files)
    if as_json:
        print_json({"folder": str(name.resolve()), "example": chosen.name, "files": list(files)})
        return
    shown = console()
    shown.print(Text(f"{name}: from the example {chosen.name}"), soft_wrap=True)
    for file in files:
        shown.print(Text(f"  {file}"), soft_wrap=True)
    tries = ['pip install -e ".[test]"', "python workflows.py", "pytest"]
    if name.resolve() != Path.cwd():
        tries.insert(0, f"cd {name}")
    shown.print(Text("\n  ".join(["\nTry it:", *tries])), soft_wrap=True)


def _list(*, as_json: bool) -> None:
    examples = find_examples()
    if as_json:
        print_json([{"name": example.name, "shows": example.summary} for example in examples])
        return
    shown = table("example", "what it shows")
    for example in examples:
        shown.add_row(*cells([example.name, example.summary]))
    print_table(shown)


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write all files, or none: a folder with something in it is left as it is."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DefinitionError(
                f"{str(folder)!r} is there, and {'not empty' if folder.is_dir() else 'no folder'}.",
                why="a new project overwrites nothing",
                fix="choose another name, or empty the folder",
            )
        for file, text in files.items():
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise PerdureError(f"{str(folder)!r} can't be written.", why=str(error), fix="choose another place") from None
