"""Each row of the pages "Coming from …" is run: what stands under "here" is a line that its section executes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from pages import ROOT, blocks, run_page

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/coming-from").glob("*.md"))
SECTION = re.compile(r"^## ", re.MULTILINE)
TABLE = re.compile(r"^\| [^|\n]+ \| here \|\n\|[-|]+\|\n((?:\|.+\|\n)+)", re.MULTILINE)
ROW = re.compile(r"\| (.+) \| (.+) \|")
CODE = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    """What one writes there, what one writes here, and the files and commands of the section that has to run it."""

    theirs: str
    ours: str
    files: list[str]
    commands: str


def rows(text: str) -> list[Row]:
    """Find the rows of the tables that end in a column "here"."""
    found = []
    for section in SECTION.split(text):
        files = [block.argument for block in blocks(section) if block.directive == "file"]
        commands = "\n".join(block.text for block in blocks(section) if block.directive == "session")
        for table in TABLE.findall(section):
            for line in table.splitlines():
                cells = ROW.fullmatch(line)
                assert cells is not None, f"a row has other columns: {line}"
                found.append(Row(cells[1], cells[2], files, commands))
    return found


def not_run(row: Row, folder: Path, executed: set[tuple[str, int]]) -> list[str]:
    """Name the code of a row that was not executed; `…` stands for anything on the line."""
    ran = [line for line in row.commands.splitlines() if line.startswith("$ ")]
    for file in row.files:
        text = (folder / file).read_text(encoding="utf-8").splitlines()
        ran += [line for number, line in enumerate(text, 1) if (Path(file).name, number) in executed]
    return [
        code
        for code in CODE.findall(row.ours)
        if not re.search("[^\n]*".join(map(re.escape, code.split("…"))), "\n".join(ran))
    ]


@pytest.fixture
def executed_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the programs in `tmp_path / "page"` note the lines that they execute; the folder where they do."""
    folder = tmp_path / "executed"
    folder.mkdir()
    (tmp_path / "page").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "executed"))
    monkeypatch.setenv("EXECUTED_IN", str(tmp_path / "page"))
    monkeypatch.setenv("EXECUTED_TO", str(folder))
    return folder


def noted(folder: Path) -> set[tuple[str, int]]:
    lines = [line for file in folder.glob("*.lines") for line in file.read_text(encoding="utf-8").split()]
    return {(name, int(number)) for name, _, number in (line.rpartition(":") for line in lines)}


def test_there_is_a_page_for_each_system_that_we_replace() -> None:
    assert {Path(page).stem for page in PAGES} == {"temporal", "dbos", "vercel", "aiki", "maravilla", "vski"}


@pytest.mark.parametrize("page", PAGES)
def test_what_a_row_shows_is_executed_and_prints_what_the_page_says(
    page: str, tmp_path: Path, executed_to: Path
) -> None:
    run_page(page, tmp_path / "page")
    found = rows((ROOT / page).read_text(encoding="utf-8"))
    assert len(found) >= 20
    executed = noted(executed_to)
    for row in found:
        assert CODE.search(row.ours), f"{page}: nothing of ours in the row of {row.theirs}"
        assert not_run(row, tmp_path / "page", executed) == [], (
            f"{page}: the row of {row.theirs} shows what nobody runs"
        )


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_differs_what_is_missing_and_how_to_move(page: str) -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "The same program"
    assert headings[-3:] == ["What differs in meaning", "Not here", "Move running work over"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_begins_with_a_whole_program_of_theirs_and_the_same_one_here(page: str) -> None:
    (section,) = (
        each for each in SECTION.split((ROOT / page).read_text(encoding="utf-8")) if each.startswith("The same")
    )
    theirs, ours, session = blocks(section)
    assert theirs.directive in ("fragment", "")  # what runs elsewhere is shown
    assert (ours.directive, session.directive) == ("file", "session")


def test_a_row_that_is_not_executed_is_noticed(tmp_path: Path) -> None:
    page = (
        "## Time\n\n| There | here |\n|---|---|\n| `sleep(1)` | `step.sleep(…, 1)` and `perdure runs` |\n\n"
        "<!-- file: a.py -->\n```python\nx = 1\n    await step.sleep('x', 1)\n```\n\n"
        "<!-- session -->\n```console\n$ perdure runs a.duckdb\nstep.sleep('y', 1)\n```\n"
    )
    (row,) = rows(page)
    (block, _) = blocks(page)
    (tmp_path / "a.py").write_text(block.text, encoding="utf-8")
    assert not_run(row, tmp_path, {("a.py", 1), ("a.py", 2)}) == []
    assert not_run(row, tmp_path, {("a.py", 1)}) == ["step.sleep(…, 1)"]
    assert not_run(row._replace(commands="$ perdure list"), tmp_path, {("a.py", 2)}) == ["perdure runs"]
