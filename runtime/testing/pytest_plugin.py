"""The pytest plugin: options, collection of ledgers and histories, fixtures.

Imported by every pytest run of everybody who has Perdure installed, so nothing heavy at its top: what a hook needs is
imported when it has something to do.

Knows pytest's hooks. Must not know how a replay goes: that is in `collected.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from perdure.testing.runtimes import RuntimeClock, RuntimeFactory

_SUFFIX = ".history.jsonl"  # written again here, because importing the format's file imports the ledger


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what names ledgers and workflows."""
    group = parser.getgroup("perdure", "replay of recorded runs")
    group.addoption(
        "--replay-check",
        action="append",
        default=[],
        metavar="LEDGER",
        help="Replay the runs of a ledger on today's code, a test each. Repeatable.",
    )
    group.addoption(
        "--replay-workflows",
        action="append",
        default=[],
        metavar="MODULE",
        help="Where the workflows are: a module, a .py file or a folder of them. Repeatable; adds to the ini option.",
    )
    group.addoption("--replay-open", action="store_true", help="Of ledgers only runs that have not ended.")
    group.addoption(
        "--replay-since",
        metavar="WHEN",
        help='Of ledgers only runs created since: a duration ago ("7d") or an ISO-8601 time.',
    )
    group.addoption("--replay-limit", type=_count, metavar="N", help="Of each ledger at most N runs, the newest.")
    parser.addini(
        "perdure_workflows",
        "Where the workflows are on which histories and ledgers are replayed: modules, .py files or folders.",
        type="args",
        default=[],
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs: give 1 or more")
    return int(text)


def pytest_configure(config: pytest.Config) -> None:
    """Take the named ledgers among what is collected."""
    if not config.option.replay_check:
        return
    from perdure.testing import collected

    collected.take_ledgers(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect histories wherever they lie, and the ledgers that were named."""
    if file_path.name.endswith(_SUFFIX):
        from perdure.testing.collected import HistoryFile

        return HistoryFile.from_parent(parent, path=file_path)
    if parent.config.option.replay_check:
        from perdure.testing import collected

        if collected.is_wanted(parent.config, file_path):
            return collected.LedgerFile.from_parent(parent, path=file_path)
    return None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the ledgers back."""
    if config.option.replay_check:
        from perdure.testing import collected

        collected.close_ledgers(config)


@pytest.fixture
def perdure_clock() -> RuntimeClock:
    """The time of the test's runtimes: `await perdure_clock.advance("7d")`."""
    from perdure.testing.runtimes import RuntimeClock

    return RuntimeClock()


@pytest.fixture
def perdure_runtime(perdure_clock: RuntimeClock, tmp_path: Path) -> RuntimeFactory:
    """Runtimes on one ledger, driven by `perdure_clock`: `async with perdure_runtime(fulfill_order) as runtime:`."""
    from perdure.testing.runtimes import RuntimeFactory

    return RuntimeFactory(perdure_clock, tmp_path)
