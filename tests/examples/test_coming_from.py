"""Each row of the pages "Coming from …" is run: what stands under "here" is in a program of its section, which runs.

`test_pages.py` runs the programs and holds what they print against the page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from pages import ROOT, Block, blocks

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/coming-from").glob("*.md"))
SECTION = re.compile(r"^## ", re.MULTILINE)
ROW = re.compile(r"^\| (.+) \| (.+) \|$", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    """What one writes there, what one writes here, and what the section runs."""

    theirs: str
    ours: str
    programs: str


def rows(text: str) -> list[Row]:
    """Find the rows of the tables that end in a column "here"."""
    found = []
    for section in SECTION.split(text):
        programs = "\n".join(run(list(blocks(section))))
        for table in re.findall(r"^\| [^|\n]+ \| here \|\n\|[-|]+\|\n((?:\|.+\|\n)+)", section, re.MULTILINE):
            cells = [ROW.fullmatch(line) for line in table.splitlines()]
            assert all(cells), f"a row has other columns: {table}"
            found += [Row(cell[1], cell[2], programs) for cell in cells if cell is not None]
    return found


def run(found: list[Block]) -> list[str]:
    """Pick the text that is executed: consoles, and the files that a console runs or that another file imports."""
    typed = "\n".join(block.text for block in found if block.directive == "session")
    files = {block.argument: block.text for block in found if block.directive == "file"}
    imported = {
        f"{name}.py" for text in files.values() for name in re.findall(r"^from (\w+) import", text, re.MULTILINE)
    }
    return [typed, *(text for name, text in files.items() if f"python {name}" in typed or name in imported)]


def missing(row: Row) -> list[str]:
    """Name the code of a row that its section does not run; `…` stands for anything on the line."""
    return [
        code
        for code in CODE.findall(row.ours)
        if not re.search("[^\n]*".join(map(re.escape, code.split("…"))), row.programs)
    ]


def test_there_is_a_page_for_each_system_that_we_replace() -> None:
    assert {Path(page).stem for page in PAGES} == {"temporal", "dbos", "vercel", "aiki", "maravilla", "vski"}


@pytest.mark.parametrize("page", PAGES)
def test_what_a_row_shows_is_run(page: str) -> None:
    found = rows((ROOT / page).read_text(encoding="utf-8"))
    assert len(found) >= 15
    for row in found:
        assert CODE.search(row.ours), f"{page}: nothing of ours in the row of {row.theirs}"
        assert missing(row) == [], f"{page}: the row of {row.theirs} shows what no program of its section has"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_differs_what_is_missing_and_how_to_move(page: str) -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[-3:] == ["What differs in meaning", "Not here", "Move running work over"]


def test_a_row_without_a_program_is_noticed() -> None:
    page = (
        "## Time\n\n| There | here |\n|---|---|\n| `sleep(1)` | `step.sleep(…, 1)` |\n\n"
        "<!-- file: a.py -->\n```python\nawait step.sleep('x', 1)\n```\n\n"
        "<!-- session -->\n```console\n$ python {}.py\n```\n"
    )
    (row,) = rows(page.format("a"))
    assert missing(row) == []
    (row,) = rows(page.format("b"))  # the file is there, and nobody runs it
    assert missing(row) == ["step.sleep(…, 1)"]
    (row,) = rows(page.format("a").replace("'x', 1", "'x', 2"))
    assert missing(row) == ["step.sleep(…, 1)"]
