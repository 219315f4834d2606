"""The workflow file on the page about CI works as it is: its commands run in the folder that the page makes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pages import ROOT, blocks, command

PAGE = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
FILES = {block.argument: block.text for block in blocks(PAGE) if block.directive == "file"}
ACTIONS = FILES[".github/workflows/replay.yml"]
STEP = re.compile(r"^      - ", re.MULTILINE)


def shell_commands() -> list[str]:
    """What the steps of the file run."""
    return [found[1] for each in STEP.split(ACTIONS)[1:] if (found := re.search(r"^ *run: (.+)$", each, re.MULTILINE))]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The repository that the page describes, with its recorded ledger."""
    for name, text in FILES.items():
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    code, output = command("python record.py", tmp_path)
    assert code == 0, output
    return tmp_path


def test_every_step_uses_an_action_or_runs_a_command_of_one_line() -> None:
    steps = STEP.split(ACTIONS)[1:]
    assert len(steps) == 6
    for each in steps:
        assert ("uses: " in each) != ("run: " in each)
    assert not re.search(r"run: *[|>]", ACTIONS)  # `shell_commands` would not see what follows
    assert "\t" not in ACTIONS
    for text in re.findall(r": ([^\n#]+)", ACTIONS):
        assert text.startswith('"') or not re.search(r": |[{}]", text), f"{text} wants quotes in YAML"
    assert shell_commands()[0] == "pip install ."


def test_the_checks_of_the_file_are_green_on_what_was_recorded(checkout: Path) -> None:
    checks = [each for each in shell_commands() if each.startswith("replay-check")]
    assert len(checks) == 2
    for each in checks:
        code, output = command(each, checkout)
        assert code == 0, output
    suites = ElementTree.parse(checkout / "replay.xml").getroot()
    assert [case.get("name") for case in suites.iter("testcase")] == ["order-3", "order-2", "order-1"]
    assert (checkout / "replay.json").exists()


def test_the_first_is_red_after_a_change_and_the_second_stays_green(checkout: Path) -> None:
    subprocess.run([sys.executable, "change.py"], cwd=checkout, check=True, timeout=60)
    today, pinned = (each for each in shell_commands() if each.startswith("replay-check"))
    code, output = command(today, checkout)
    assert code == 1
    assert "shared by 3 runs" in output
    assert len(list(ElementTree.parse(checkout / "replay.xml").getroot().iter("failure"))) == 3
    assert command(pinned, checkout)[0] == 0
