"""Ledgers and histories as pytest collects them: a file each, a test for each run.

A failure is the report of the divergence and nothing else: no line of ours would help whoever reads it. What can't be
opened or has no workflow is a failure of its own file or test, with what to do about it.

Knows pytest's nodes and how a replay is asked for. Must not know what a replay compares.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pytest

from perdure.declare.imported import registry_of
from perdure.declare.registry import Registry
from perdure.durations import earliest_us, moment_text, moment_us
from perdure.engine.clock import SystemClock
from perdure.errors import DefinitionError, PerdureError
from perdure.replay.check import Verdict
from perdure.replay.golden import check_history
from perdure.replay.history_file import History, read_history
from perdure.replay.survey import Finding, Survey
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.ledger import ENDED, STATUSES, RunFilter

_LEDGERS = pytest.StashKey[dict[Path, DuckDBLedger]]()
_REGISTRY = pytest.StashKey[Registry]()


_NAME_THEM: Final = "name the workflows: --replay-workflows=orders.py, or in the ini file perdure_workflows = orders.py"


class ReplayFailed(Exception):  # a signal from a test to its report, never seen outside
    pass


# ── ledgers that were named ──────────────────────────────────────────────────────────────────────


def take_ledgers(config: pytest.Config) -> None:
    """Add the named ledgers to what pytest collects, and fix what "7d ago" means for all workers."""
    if config.option.replay_since is not None:
        try:
            since = earliest_us(config.option.replay_since, SystemClock().now_us())
        except PerdureError as error:
            raise pytest.UsageError(f"--replay-since: {error}") from None
        # Workers get the options of this process; each would take another moment for "now".
        config.option.replay_since = moment_text(since)
    for path in _named(config):
        if not path.is_file():
            raise pytest.UsageError(f"--replay-check: there is no ledger {str(path)!r}.")
        # Whoever names single runs of it, `orders.duckdb::fulfill-order v1::order-1`, wants only those.
        named = (os.path.abspath(config.invocation_params.dir / arg.partition("::")[0]) for arg in config.args)
        if str(path) not in named:
            config.args.append(str(path))


def is_wanted(config: pytest.Config, path: Path) -> bool:
    """Whether a file is one of the named ledgers."""
    return path in _named(config)


def close_ledgers(config: pytest.Config) -> None:
    """Close what tests opened."""
    for ledger in config.stash.get(_LEDGERS, {}).values():
        ledger.close()
    config.stash[_LEDGERS] = {}


def _named(config: pytest.Config) -> list[Path]:
    # As pytest names files: absolute, without `..`, and without following links.
    return [Path(os.path.abspath(config.invocation_params.dir / text)) for text in config.option.replay_check]


def _ledger(config: pytest.Config, path: Path) -> DuckDBLedger:
    ledgers = config.stash.setdefault(_LEDGERS, {})
    if path not in ledgers:
        ledgers[path] = DuckDBLedger(path, read_only=True)
    return ledgers[path]


# ── workflows ────────────────────────────────────────────────────────────────────────────────────


def _sources(config: pytest.Config) -> list[str]:
    """Where the workflows are: paths given on the command line count from where pytest was started, others from the
    ini file."""
    places = [(text, config.invocation_params.dir) for text in config.option.replay_workflows]
    base = config.inipath.parent if config.inipath is not None else config.rootpath
    places += [(text, base) for text in config.getini("perdure_workflows")]
    return [str(Path(folder, text)) if Path(folder, text).exists() else text for text, folder in places]


def _registry(config: pytest.Config) -> Registry:
    """The workflows that were named; imported once."""
    if _REGISTRY not in config.stash:
        registry = Registry()
        for source in _sources(config):
            for definition in registry_of(source).all():
                registry.add(definition)
        config.stash[_REGISTRY] = registry
    return config.stash[_REGISTRY]


def _registry_for(config: pytest.Config, history: History) -> Registry:
    """The named workflows, or else those of the module that the history says it is from."""
    registry = _registry(config)
    if _sources(config):
        if not registry.all():
            raise _no_workflows(_sources(config), history.file)
        return registry
    if not history.module:
        raise _no_workflows([], history.file)
    row = history.row
    recorded = f"{row.workflow} v{row.version} was recorded in the module {history.module!r}"
    try:
        found = registry_of(history.module)
    except DefinitionError as error:
        if error.__cause__ is not None:  # it is there, and fails
            raise
        raise DefinitionError(
            f"{recorded}, which can't be had.", where=history.file, why=error.message, fix=_NAME_THEM
        ) from error
    if not found.all():
        raise DefinitionError(f"{recorded}, which has no workflows now.", where=history.file, fix=_NAME_THEM)
    return found


def _no_workflows(sources: list[str], where: str) -> DefinitionError:
    if not sources:
        return DefinitionError("no workflows were named to replay on.", where=where, fix=_NAME_THEM)
    named = ", ".join(map(os.path.relpath, sources) if all(map(os.path.exists, sources)) else sources)
    return DefinitionError(f"{named} has no workflows to replay on.", where=where, fix="name where they are defined")


# ── nodes ────────────────────────────────────────────────────────────────────────────────────────


class ReplayItem(pytest.Item):
    """One run to be replayed."""

    @abstractmethod
    def check(self) -> Finding:
        """Replay it."""

    def runtest(self) -> None:
        """Replay, and fail with the report alone."""
        try:
            finding = self.check()
        except PerdureError as error:
            raise ReplayFailed(str(error)) from error
        if not isinstance(finding, Verdict):
            raise ReplayFailed(str(finding.error)) from finding.error
        if finding.divergence is not None:
            raise ReplayFailed(str(finding.divergence)) from finding.divergence

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show a divergence without any traceback; our own bugs keep theirs."""
        if isinstance(excinfo.value, ReplayFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Name the run in the report's headline."""
        return self.path, None, f"replay of {self.name}"


class HistoryFile(pytest.File):
    """An exported history."""

    def collect(self) -> Iterable[pytest.Item]:
        """One test; what is wrong with the file is its failure."""
        yield HistoryItem.from_parent(self, name="replays")


class HistoryItem(ReplayItem):
    """The run of an exported history."""

    def check(self) -> Finding:
        """Read it, prove it whole, and replay it."""
        history = read_history(os.path.relpath(self.path))
        return check_history(history, _registry_for(self.config, history))

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Name the file in the report's headline."""
        return self.path, None, f"replay of {self.path.name}"


class LedgerFile(pytest.File):
    """A ledger that was named."""

    def collect(self) -> Iterator[pytest.Collector]:
        """A group for each workflow and version, with a test for each of its runs, the oldest first."""
        try:
            if not _registry(self.config).all():
                raise _no_workflows(_sources(self.config), str(self.path))
            runs = sorted(self._runs())
        except PerdureError as error:
            raise self.CollectError(str(error)) from None
        if not runs:
            self.warn(pytest.PytestWarning(f"no run of {self.name} was selected, so nothing of it was checked."))
        for name, group in groupby(runs, key=lambda run: run[0]):
            yield WorkflowRuns.from_parent(self, name=name, run_ids=[run_id for _, _, run_id in group])

    def _runs(self) -> Iterator[tuple[str, int, str]]:
        option = self.config.option
        statuses = tuple(status for status in STATUSES if status not in ENDED) if option.replay_open else ()
        since = None if option.replay_since is None else moment_us(option.replay_since)
        wanted = RunFilter(statuses=statuses, since=since, limit=option.replay_limit)
        for row in _ledger(self.config, self.path).runs(wanted):
            yield f"{row.workflow} v{row.version}", row.run, row.run_id


class WorkflowRuns(pytest.Collector):
    """The runs of one workflow and version in a ledger."""

    def __init__(self, *, run_ids: list[str], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._run_ids = run_ids

    def collect(self) -> Iterator[pytest.Item]:
        """A test for each run."""
        for run_id in self._run_ids:
            yield RunItem.from_parent(self, name=run_id)


class RunItem(ReplayItem):
    """One run of a ledger."""

    def check(self) -> Finding:
        """Find it by its id, and replay it."""
        ledger = _ledger(self.config, self.path)
        row = ledger.run(self.name)
        assert row is not None  # it was there when it was collected, and nobody writes meanwhile
        return Survey(ledger, _registry(self.config), name=os.path.relpath(self.path)).check(row)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Name workflow and run in the report's headline."""
        parent = self.parent
        return self.path, None, f"replay of {parent.name if parent is not None else ''} run {self.name}"
