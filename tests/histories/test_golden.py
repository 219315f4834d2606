"""What every release recorded opens, is sound, and replays on this one, for ever.

The histories beside it are collected by the plugin, a test each; this file is about the ledgers, and about the text.
"""

from __future__ import annotations

import gzip
import importlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.declare.registry import Registry, workflows_of
from perdure.replay.check import Verdict
from perdure.replay.golden import history_files
from perdure.replay.history_file import SUFFIX, history_of, read_history, write_history
from perdure.replay.survey import Survey
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import KINDS
from perdure.storage.ledger import RunFilter
from perdure.storage.verify import verify

HERE = Path(__file__).parent
RELEASES = sorted(path.name for path in HERE.iterdir() if (path / "ledger.duckdb.gz").is_file())
NEWEST = RELEASES[-1]
EVERY_RUN = RunFilter(limit=None)


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ledger_file(release: str, tmp_path: Path) -> Path:
    """The ledger of a release, as it left it."""
    file = tmp_path / "ledger.duckdb"
    file.write_bytes(gzip.decompress((HERE / release / "ledger.duckdb.gz").read_bytes()))
    return file


@pytest.fixture
def ledger(ledger_file: Path) -> Iterator[DuckDBLedger]:
    """The same, opened by this release, which may have to migrate it."""
    opened = DuckDBLedger(ledger_file)
    yield opened
    opened.close()


def registry_of(release: str) -> Registry:
    return Registry(workflows_of(importlib.import_module(f"workflows_{release.replace('.', '_')}")))


def test_a_ledger_of_every_release_opens_and_is_sound(ledger_file: Path) -> None:
    DuckDBLedger(ledger_file).close()
    verdict = verify(ledger_file)
    assert verdict.faults == ()
    assert verdict.runs > 10


def test_every_run_of_every_release_replays(release: str, ledger: DuckDBLedger) -> None:
    survey = Survey(ledger, registry_of(release))
    findings = [survey.check(row) for row in ledger.runs(EVERY_RUN)]
    assert len(findings) > 10
    assert [each for each in findings if not (isinstance(each, Verdict) and each.ok)] == []


def test_histories_and_ledger_of_a_release_hold_the_same_runs(release: str, ledger: DuckDBLedger) -> None:
    for row in ledger.runs(EVERY_RUN):
        history = read_history(HERE / release / f"{row.run_id}{SUFFIX}")
        assert history.entries == tuple(ledger.entries(row.run))
        assert history.row == row
        assert history.definition == ledger.definition(row.definition)


def test_a_run_is_exported_as_every_release_exported_it(release: str, ledger: DuckDBLedger) -> None:
    for row in ledger.runs(EVERY_RUN):
        text = io.StringIO()
        write_history(history_of(ledger, row), text)
        assert text.getvalue() == (HERE / release / f"{row.run_id}{SUFFIX}").read_text(encoding="utf-8")


def test_the_newest_golden_set_has_every_kind_of_entry() -> None:
    files = list(history_files([HERE / NEWEST]))
    assert {entry.kind for file in files for entry in read_history(file).entries} == KINDS


def test_the_golden_set_is_small_and_names_no_machine() -> None:
    files = [path for release in RELEASES for path in (HERE / release).iterdir()]
    assert sum(path.stat().st_size for path in files) < 1_500_000 * len(RELEASES)
    for file in history_files([HERE]):
        assert '"/' not in file.read_text(encoding="utf-8")
