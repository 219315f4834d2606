"""Each anti-pattern of the page prints what the page says, and what it says to write instead runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from antipattern_cases import cases, run_instead, section_of
from error_page import PAGE, printed

CASES = cases(PAGE.read_text(encoding="utf-8"))
NAMED = pytest.mark.parametrize("title", CASES)


@NAMED
def test_a_case_prints_what_it_shows(title: str, tmp_path: Path) -> None:
    # When a message was changed on purpose: python tests/tidy/antipattern_cases.py
    section = section_of(CASES[title])
    assert printed(section, tmp_path.resolve()) == section.shown


@NAMED
def test_what_a_case_says_to_write_instead_runs(title: str, tmp_path: Path) -> None:
    run_instead(section_of(CASES[title]), tmp_path.resolve())


def test_the_page_has_its_cases() -> None:
    assert len(CASES) >= 10
