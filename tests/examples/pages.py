"""Markdown pages that are run: what they show is written to a folder, executed there, and held against the page.

A comment on the line before a fenced block says what is done with it:

    <!-- file: orders.py -->   the block is written to that file
    <!-- run -->               the block (python) is run and must exit with 0
    <!-- session -->           each `$ command` of the block is run, and must print what follows; `…` is anything
    <!-- fragment -->          the block (python) must be valid syntax, and is not run

A block of Python without one is an error, so that nothing on a page goes untested by accident.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from forked import can_run, run

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DIRECTIVE = re.compile(r"<!-- (file|run|session|fragment)(?:: ([\w./-]+))? -->\s*\Z")


class Block(NamedTuple):
    """A fenced block of a page."""

    line: int
    language: str
    text: str
    directive: str  # "" when there is none
    argument: str


def blocks(page: str) -> Iterator[Block]:
    """Find the fenced blocks of a page and what is to be done with each."""
    for fence in _FENCE.finditer(page):
        directive = _DIRECTIVE.search(page, 0, fence.start())
        yield Block(
            page.count("\n", 0, fence.start()) + 1,
            fence[1],
            fence[2],
            directive[1] if directive else "",
            (directive[2] or "") if directive else "",
        )


def run_page(name: str, folder: Path) -> int:
    """Do what a page's comments say; give the number of blocks that were executed. Fails at the first that is wrong."""
    executed = 0
    for block in blocks((ROOT / name).read_text(encoding="utf-8")):
        where = f"{name}:{block.line}"
        match block.directive:
            case "file":
                target = folder / block.argument
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text, encoding="utf-8")
            case "run":
                script = folder / f"block_{block.line}.py"
                script.write_text(block.text, encoding="utf-8")
                code, output = command(f"python {script.name}", folder)
                assert code == 0, f"{where} failed:\n{output}"
                executed += 1
            case "session":
                run_session(block, where, folder)
                executed += 1
            case "fragment":
                ast.parse(as_module(block.text), where, feature_version=(3, 11))
            case _:
                assert block.language != "python", f"{where}: say what is to be done with this block of Python"
    return executed


def as_module(text: str) -> str:
    """A fragment may show lines of a body, with their await."""
    return "async def fragment():\n" + "".join(f"    {line}\n" for line in text.splitlines())


def run_session(block: Block, where: str, folder: Path) -> None:
    """Run each command of a console block and compare what it printed."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        typed, _, expected = part.partition("\n")
        while typed.endswith("\\"):
            more, _, expected = expected.partition("\n")
            typed = typed[:-1] + more
        code, output = command(typed, folder)
        if code == -9:
            output += "Killed\n"  # as a shell says it, unless it made way for the command
        assert agrees(expected, output), (
            f"{where}: $ {typed}\nexit code {code}, the page says:\n{expected}\nreally:\n{output}"
        )


def command(typed: str, folder: Path) -> tuple[int, str]:
    """Run what a reader would type."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "COLUMNS": "110",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",  # as at a terminal: what a process printed before it was killed is seen
        "PYTHONWARNINGS": "default",
    }
    words = words_of(typed)
    if words is not None and can_run(words):
        return run(folder, words, environment, TIMEOUT_S)
    done = subprocess.run(
        ["/bin/sh", "-c", typed], cwd=folder, env=environment, timeout=TIMEOUT_S, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
    )  # fmt: skip
    return done.returncode, done.stdout


def words_of(typed: str) -> list[str] | None:
    """The words of a command line; None when it takes a shell to tell."""
    unquoted = re.sub(r'"[^"$`\\]*"|\'[^\']*\'', "", typed)
    return None if re.search(r"[^\w\s./=:,@%+-]", unquoted) else shlex.split(typed)


def agrees(expected: str, output: str) -> bool:
    """Compare line by line without trailing blanks; `…` stands for anything, also for several lines."""
    pattern = ".*?".join(re.escape(part) for part in _plain(expected).split("…"))
    return re.fullmatch(pattern, _plain(output), re.DOTALL) is not None


def _plain(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()
