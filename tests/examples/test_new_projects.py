"""`perdure new` makes projects that work: each example's own tests, its histories, its play, and what CI does."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from forked import run
from pages import ROOT
from typer.testing import CliRunner

from perdure.cli.main import app
from perdure.cli.project import find_examples

PATTERNS = ROOT / "examples" / "patterns"
NAMES = [example.name for example in find_examples()]


def new(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["new", *arguments])
    return done.exit_code, done.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shop"


@pytest.mark.parametrize("name", NAMES)
def test_a_new_project_plays_tests_and_replays(name: str, folder: Path) -> None:
    code, output = new(str(folder), "--from", name)
    assert code == 0, output
    git(folder, "init", "-q")
    git(folder, "add", "-A")

    for _ in range(2):  # and again, on the ledger that is there
        code, played = run(folder, ["python", "workflows.py"])
        assert code == 0, played
    (ledger,) = folder.glob("*.duckdb")
    code, output = run(folder, ["replay-check", ledger.name])
    assert (code, "code and ledger agree" in output) == (0, True), output

    code, output = run(folder, ["pytest", "-q"])
    assert (code, "passed" in output) == (0, True), output
    code, output = run(folder, ci_step(folder, "replay-check").split())
    assert (code, "code and ledger agree" in output) == (0, True), output
    assert git(folder, "ls-files", "--others", "--exclude-standard") == "", "running it left what git would take"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "core.excludesFile=", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def ci_step(folder: Path, word: str) -> str:
    """The command of the CI's step that has the word."""
    steps = (folder / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (command,) = re.findall(rf"^ +run: ({word} .*)$", steps, re.MULTILINE)
    return str(command)


def test_the_replay_check_of_a_new_project_finds_a_change(folder: Path) -> None:
    new(str(folder))
    source = folder / "workflows.py"
    changed = source.read_text(encoding="utf-8").replace('f"hotel in {input.city}"', 'f"hostel in {input.city}"')
    source.write_text(changed, encoding="utf-8")
    code, output = run(folder, ci_step(folder, "replay-check").split())
    assert (code, "argument changed" in output) == (1, True), output


def test_the_examples_are_listed_with_what_they_show() -> None:
    code, output = new("--list")
    assert code == 0
    for name in NAMES:
        assert re.search(rf"^{name} +\S", output, re.MULTILINE), output


def test_every_folder_of_the_examples_is_one_of_them() -> None:
    folders = {path.name.replace("_", "-") for path in PATTERNS.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert folders == set(NAMES)


def test_the_page_on_examples_says_of_each_what_it_says_itself() -> None:
    page = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[`([\w-]+)`\]\(patterns/(\w+)/workflows.py\) \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(example.name, example.folder.name, example.summary) for example in find_examples()]


def test_every_file_of_the_examples_is_in_the_wheel() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = {
        path
        for each in patterns["tool"]["setuptools"]["package-data"]["perdure.templates"]
        for path in PATTERNS.glob(each)
    }
    for example in find_examples():
        folder = PATTERNS / example.folder.name
        assert {folder / file for file in example.files()} <= shipped


def test_a_project_has_a_name_that_packages_may_have_and_all_modules(folder: Path) -> None:
    for name in NAMES:
        target = folder / name
        assert new(str(target), "--from", name)[0] == 0
        project = tomllib.loads((target / "pyproject.toml").read_text(encoding="utf-8"))
        assert project["project"]["name"] == name
        assert sorted(project["tool"]["setuptools"]["py-modules"]) == sorted(file.stem for file in target.glob("*.py"))
        assert list((target / "tests" / "histories").glob("*.history.jsonl")), "nothing to replay"


def test_a_folder_that_is_not_empty_is_left_as_it_is(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    code, output = new(str(folder))
    assert (code, "not empty" in output) == (2, True)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_an_empty_folder_may_be_used(folder: Path) -> None:
    folder.mkdir()
    assert new(str(folder))[0] == 0
    assert (folder / "workflows.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "needs a name"),
        (("shop", "--from", "sagga"), "did you mean 'saga'?"),
        (("my shop!",), "is no name for a project"),
    ],
)
def test_what_can_not_be_made_is_refused_with_what_to_do(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = new(*arguments)
    assert (code, message in output, "fix" in output) == (2, True, True), output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_strict_and_say_what_they_show(name: str) -> None:
    tree = ast.parse((PATTERNS / name.replace("-", "_") / "workflows.py").read_text(encoding="utf-8"))
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    assert summary.endswith("."), "the first line is what `perdure new --list` shows"
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "perdure.strict" in imported
    assert "perdure" not in imported
