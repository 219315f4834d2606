"""The reference leaves nothing out, and lists nothing that is not there."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
from pages import ROOT

import perdure
from perdure import errors, testing
from perdure.cli.main import app
from perdure.replay import causes
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import KINDS
from perdure.testing import faults, strategies

REFERENCE = "\n".join(
    (ROOT / page).read_text(encoding="utf-8") for page in ("docs/reference.md", "docs/reference-services.md")
)
COMMANDS = (ROOT / "docs/reference-commands.md").read_text(encoding="utf-8")
TESTING = (ROOT / "docs/reference-testing.md").read_text(encoding="utf-8")
LEDGER = (ROOT / "docs/ledger.md").read_text(encoding="utf-8")


def documented(part: str) -> set[str]:
    headings = re.findall(r"^##+ `(\w+)`$", part, re.MULTILINE)
    rows = re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)
    return {*headings, *rows}


def test_every_public_name_has_an_entry_in_the_reference() -> None:
    assert documented(REFERENCE) == set(perdure.__all__)


def test_every_name_of_testing_has_an_entry_in_the_reference_of_testing() -> None:
    assert documented(TESTING) == {*testing.__all__, *strategies.__all__}


def test_every_fault_has_its_arguments_in_the_reference() -> None:
    for fault in (*faults.COMMIT_FAULTS, *faults.CALL_FAULTS):
        row = re.search(rf"^\| `{fault.__name__}` \| ([^|]*) \|", TESTING, re.MULTILINE)
        assert row is not None, f"{fault.__name__} has no row"
        for field in fields(fault):
            assert re.search(rf"\b{field.name}\b", row[1]), f"{field.name} of {fault.__name__} is missing"


def test_every_command_has_an_entry_in_the_reference_of_commands() -> None:
    listed = set(re.findall(r"^\| `(?:perdure )?([\w-]+) (?:LEDGER|MODULE|NAME)", COMMANDS, re.MULTILINE))
    commands = {command.name for command in app.registered_commands}
    assert listed == commands
    for group in app.registered_groups:
        assert group.typer_instance is not None
        listed = set(re.findall(rf"^\| `perdure {group.name} ([\w-]+) ", COMMANDS, re.MULTILINE))
        assert listed == {command.name for command in group.typer_instance.registered_commands}


def test_every_option_and_fixture_of_the_pytest_plugin_is_in_its_page() -> None:
    plugin = (ROOT / "runtime/testing/pytest_plugin.py").read_text(encoding="utf-8")
    page = (ROOT / "docs/pytest.md").read_text(encoding="utf-8")
    options = re.findall(r'"(--[\w-]+)"', plugin)
    fixtures = re.findall(r"^@pytest.fixture\ndef (\w+)", plugin, re.MULTILINE)
    assert len(options) == 5
    assert len(fixtures) == 2
    for name in (
        *options,
        *fixtures,
        "perdure_workflows",
        *(name for name in testing.__all__ if name.startswith("assert_")),
    ):
        assert f"`{name}" in page, f"{name} is missing"


def test_every_option_of_a_signature_is_named_in_the_reference() -> None:
    for function in (
        perdure.workflow, perdure.step, perdure.Runtime.start, perdure.Runtime.runs, perdure.Runtime,
        testing.Simulation, testing.Simulation.start, testing.crash_everywhere, testing.check_determinism,
        testing.random_faults, strategies.schedules, strategies.histories,
    ):  # fmt: skip
        for name in inspect.signature(function).parameters:
            if name not in ("self", "function"):
                assert re.search(rf"\b{name}\b", REFERENCE + TESTING), f"{name} of {function} is missing"


def test_every_kind_of_entry_is_in_the_page_on_the_ledger() -> None:
    assert {kind for kind in KINDS if f"`{kind}`" not in LEDGER} == set()


@pytest.mark.parametrize("view", ["runs", "steps", "entries", "events", "verdicts", "definitions", "triggered"])
def test_every_column_of_a_view_is_in_the_page_on_the_ledger(view: str, tmp_path: Path) -> None:
    ledger = DuckDBLedger(tmp_path / "empty.duckdb")
    try:
        columns = ledger.sql(f"SELECT * FROM {view}").columns
    finally:
        ledger.close()
    row = re.search(rf"^\| `{view}` \|.*$", LEDGER, re.MULTILINE)
    assert row is not None
    assert set(columns) == set(re.findall(r"`(\w+)`", row[0].split("|")[3])) - STATUSES_OF_STEPS


STATUSES_OF_STEPS = {"running", "retrying", "completed", "failed", "dropped", "abandoned"}


def test_every_error_code_and_every_cause_has_its_place_in_the_page_on_errors() -> None:
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    for code in re.findall(r"\b[A-Z]+\d{3}\b", str(errors.__doc__)):
        assert re.search(rf"^#+ .*\b{code}\b", page, re.MULTILINE), f"{code} has no section"
    for name, cause in vars(causes).items():
        if name.isupper() and not name.startswith("_") and isinstance(cause, str):
            assert f"`{cause}`" in page, f"the cause {cause!r} is not explained"
