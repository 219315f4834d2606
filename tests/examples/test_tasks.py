"""Each how-to and each example can be found by what one wants to do: docs/i-want-to.md names them all."""

from __future__ import annotations

import re
import subprocess
import sys

from pages import ROOT

INDEX = (ROOT / "docs/i-want-to.md").read_text(encoding="utf-8")


def anchor(heading: str) -> str:
    """Give the anchor that a heading has on GitHub and on the site."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_each_how_to_is_found_by_its_task() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs/howto.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(headings) > 20
    missing = [heading for heading in headings if f"(howto.md#{anchor(heading)})" not in INDEX]
    assert missing == [], "give each a row in docs/i-want-to.md"


def test_each_example_is_found_by_its_task() -> None:
    command = [sys.executable, "-m", "perdure", "new", "--list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    names = re.findall(r"^([\w-]+)  ", listed, re.MULTILINE)[1:]
    assert len(names) > 15
    assert [name for name in names if f"`{name}`" not in INDEX] == [], "name each in docs/i-want-to.md"


def test_an_anchor_is_what_it_is_on_the_page() -> None:
    assert anchor("Undo what was done: sagas and cancellation") == "undo-what-was-done-sagas-and-cancellation"
    assert anchor("ctx.patched") == "ctxpatched"
