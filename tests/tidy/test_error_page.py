"""docs/errors.md is true: each example is run, and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from error_page import PAGE, Section, anti_patterns, printed, sections, try_line

from perdure import errors
from perdure.errors import DeterminismWarning, PerdureError, WorkflowError

TEXT = PAGE.read_text(encoding="utf-8")
SECTIONS = sections(TEXT)
WITH_MESSAGE = [section for section in SECTIONS if section.shown is not None]
ROOTS = {PerdureError, WorkflowError, errors.LedgerError}
#: Nothing raises it yet, so nothing can be shown.
WITHOUT_MESSAGE: set[str] = set()


def _classes() -> dict[str, str]:
    """Every error class that has a code of its own, by code."""
    found = {"BOX102": DeterminismWarning.__name__}
    for each in vars(errors).values():
        if isinstance(each, type) and issubclass(each, PerdureError) and each not in ROOTS:
            found[each.code] = each.__name__
    return found


def test_every_error_has_a_section_and_every_section_an_error() -> None:
    assert {section.code: section.name for section in SECTIONS} == _classes()


def test_codes_are_unique() -> None:
    codes = [section.code for section in SECTIONS]
    assert sorted(set(codes)) == sorted(codes)
    assert len(_classes()) == sum(
        isinstance(each, type) and issubclass(each, (PerdureError, DeterminismWarning)) and each not in ROOTS
        for each in vars(errors).values()
    )


def test_the_tree_at_the_top_of_errors_is_the_tree_below_it() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+)\s+([A-Z]+\d{3}) ", str(errors.__doc__)))
    classes = {name: code for code, name in _classes().items() if code != "BOX102"}
    assert drawn == classes


def test_every_section_shows_a_message() -> None:
    assert {section.code for section in SECTIONS if section.shown is None} == WITHOUT_MESSAGE


@pytest.mark.parametrize("section", WITH_MESSAGE, ids=lambda section: section.code)
def test_a_section_shows_what_its_example_prints(section: Section, tmp_path: Path) -> None:
    # When a message was changed on purpose: python tests/tidy/error_page.py
    assert printed(section, tmp_path.resolve()) == section.shown


@pytest.mark.parametrize("row", anti_patterns(TEXT), ids=lambda row: row[0].replace(" ", "-"))
def test_an_anti_pattern_leads_to_the_error_that_the_page_says(row: tuple[str, str, str], tmp_path: Path) -> None:
    _, line, code = row
    error = try_line(line, tmp_path.resolve())
    assert isinstance(error, PerdureError), f"{line} gave {error!r}"
    assert error.code == code


def test_every_row_of_the_table_of_anti_patterns_is_tried() -> None:
    table = TEXT.split("\n# Anti-patterns\n")[1]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(anti_patterns(TEXT)) >= 15


def test_codes_named_in_the_prose_exist() -> None:
    assert set(re.findall(r"\b[A-Z]{3,}\d{3}\b", TEXT)) <= set(_classes())
