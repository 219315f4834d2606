"""The cases at the end of docs/errors.md: what goes wrong, what is printed then, and what to write instead.

Knows how they are laid out; `error_page` runs them. `python tests/tidy/antipattern_cases.py` writes the messages anew.
"""

from __future__ import annotations

import asyncio
import re
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from error_page import PAGE, Section, _inside, _run_last, _with_runtime, load, printed

START = "\n# Anti-patterns\n"
_CASE = re.compile(r"^### (.+)$", re.MULTILINE)
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TEXT = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FIRST = re.compile(r"(\w+) \[(\w+)\]")


def cases(text: str) -> dict[str, str]:
    """The cases by their headings."""
    titles = _CASE.split(text.split(START)[1])[1:]
    return dict(zip(titles[::2], titles[1::2], strict=True))


def section_of(case: str) -> Section:
    """A case as the page's machinery takes it: its two blocks of Python, and the message that it shows."""
    shown = _TEXT.search(case)
    assert shown is not None, "a case shows what is printed"
    name = _FIRST.match(shown[1])
    assert name is not None, "a message begins with the error's name and code"
    return Section(name[2], name[1], tuple(_PYTHON.findall(case)), shown[1])


def run_instead(section: Section, folder: Path) -> None:
    """Run what the case says to write instead; raises whatever goes wrong."""
    with _inside(folder), warnings.catch_warnings():
        warnings.simplefilter("error")
        module = load(section.blocks[1], folder)
        asyncio.run(_with_runtime(module, _run_last(module)))


def rewrite() -> None:
    """Write what is really printed into the page."""
    text = PAGE.read_text(encoding="utf-8")
    for case in cases(text).values():
        with TemporaryDirectory() as folder:
            message = printed(section_of(case), Path(folder).resolve())
        text = text.replace(case, _TEXT.sub(lambda _, message=message: f"```text\n{message}```", case, count=1))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    rewrite()
