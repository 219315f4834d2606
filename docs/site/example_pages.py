"""A page for each of the examples that projects start from: what it shows, how to start from it, and all of its code.

Knows the folders under examples/patterns. Must not know how pages are laid out or link (build.py), and runs nothing:
the examples' own tests do.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PATTERNS = "examples/patterns"
MAIN = "workflows.py"
INDEX = "examples/README.md"  # its table has them all; their pages stand below it


def placed_examples(root: Path) -> dict[str, str]:
    """The file that links to an example name, by the path of its page on the site."""
    found = sorted((root / PATTERNS).glob(f"*/{MAIN}"))
    return {file.relative_to(root).as_posix(): f"examples/{called(file)}.md" for file in found}


def called(main: Path) -> str:
    """What `perdure new --from` calls the example of a main file."""
    return main.parent.name.replace("_", "-")


def example_page(main: Path) -> str:
    """Lay out the page of one example, given its main file."""
    docstring = ast.get_docstring(ast.parse(main.read_text(encoding="utf-8"))) or ""
    title, _, text = docstring.partition(": ")
    parts = [f"# {title}", f"{text[:1].upper()}{text[1:]}"]
    parts += [
        "To [start a project](../howto.md#start-a-project) from it, with tests and a `replay-check` for CI:",
        f"```console\n$ perdure new my-project --from {called(main)}\n```",
    ]
    for heading, files in _sections(main):
        parts.append(f"## {heading}")
        for file in files:
            caption = file.relative_to(main.parent).as_posix()
            code = file.read_text(encoding="utf-8").strip()
            if file == main:
                code = code.removeprefix(_docstring_as_written(code)).strip()  # the page begins with it
            parts.append(f"````{{code-block}} python\n:caption: {caption}\n\n{code}\n````")
    return "\n\n".join(parts) + "\n"


def _sections(main: Path) -> Iterator[tuple[str, list[Path]]]:
    yield "The workflow", [main]
    beside = sorted(file for file in main.parent.glob("*.py") if file != main)
    if beside:
        yield "What it talks to", beside
    yield "Its tests", sorted((main.parent / "tests").glob("test_*.py"))


def _docstring_as_written(code: str) -> str:
    first = ast.parse(code).body[0]
    return "\n".join(code.splitlines()[: first.end_lineno])


def index_navigation(root: Path) -> str:
    """What is added to the index, so that the site's navigation has the pages below it."""
    names = [Path(place).stem for place in placed_examples(root).values()]
    return "\n```{toctree}\n:hidden:\n\n" + "\n".join(names) + "\n```\n"
