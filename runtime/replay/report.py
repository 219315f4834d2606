"""What a check found: counts per workflow and version, one group per distinct divergence, and what was not checked.

It is kept small whatever the ledger: of runs that replay only their number, of runs that share a divergence one whole.
Reports of parts of a ledger add up to the report of all of it.

Knows verdicts. Must not know how they came about, nor how they are shown (`printing.py`, `documents.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from perdure.errors import PerdureError
from perdure.replay.check import Verdict
from perdure.replay.likeness import Likeness
from perdure.replay.survey import Finding, Unchecked

#: Of the runs that share a finding, so many are named.
RUN_IDS_MAX = 100

F = TypeVar("F", Verdict, Unchecked)


@dataclass(slots=True)
class Tally:
    """What became of the runs of one workflow and version."""

    workflow: str
    version: str
    replayed: int = 0
    diverged: int = 0
    unchecked: int = 0

    @property
    def runs(self) -> int:
        """All of them."""
        return self.replayed + self.diverged + self.unchecked

    def add(self, other: Tally) -> None:
        """Count another part's runs."""
        self.replayed += other.replayed
        self.diverged += other.diverged
        self.unchecked += other.unchecked


@dataclass(slots=True)
class Group(Generic[F]):
    """The runs that share one finding.

    Attributes:
        first: the newest of them, whole. runs: how many they are. newest: number and id of the newest ones.
    """

    first: F
    runs: int = 0
    newest: list[tuple[int, str]] = field(default_factory=list)

    @property
    def run_ids(self) -> list[str]:
        """The ids of the newest ones, the newest first."""
        return [run_id for _, run_id in self.newest]

    def add(self, runs: int, newest: Iterable[tuple[int, str]], first: F) -> None:
        """Take in further runs."""
        self.runs += runs
        if first.run > self.first.run:
            self.first = first
        self.newest = sorted({*self.newest, *newest}, reverse=True)[:RUN_IDS_MAX]


class Why(NamedTuple):
    """What runs that could not be checked have in common."""

    workflow: str
    version: str
    code: str
    message: str


class Case(NamedTuple):
    """One run, for formats that list them all."""

    run_id: str
    finding: Likeness | Why | None  # None: it replayed


@dataclass
class Report:
    """The findings of one check, as they come in.

    Args:
        ledger: what was checked.
        keep_cases: whether to remember each run, as JUnit wants it.
    """

    ledger: str
    keep_cases: bool = False
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    divergences: dict[Likeness, Group[Verdict]] = field(default_factory=dict)
    unchecked: dict[Why, Group[Unchecked]] = field(default_factory=dict)
    cases: dict[tuple[str, str], list[Case]] = field(default_factory=dict)

    def take(self, finding: Finding) -> None:
        """Count one finding."""
        key = (finding.workflow, finding.version)
        tally = self.tallies.get(key)
        if tally is None:
            tally = self.tallies[key] = Tally(*key)
        shared: Likeness | Why | None = None
        if isinstance(finding, Unchecked):
            tally.unchecked += 1
            shared = _why(finding)
            _join(self.unchecked, shared, finding, 1, [(finding.run, finding.run_id)])
        elif finding.likeness is not None:
            tally.diverged += 1
            shared = finding.likeness
            _join(self.divergences, shared, finding, 1, [(finding.run, finding.run_id)])
        else:
            tally.replayed += 1
        if self.keep_cases:
            self.cases.setdefault(key, []).append(Case(finding.run_id, shared))

    def add(self, other: Report) -> None:
        """Take in the report of another part of the ledger."""
        for key, tally in other.tallies.items():
            self.tallies.setdefault(key, Tally(*key)).add(tally)
        for alike, group in other.divergences.items():
            _join(self.divergences, alike, group.first, group.runs, group.newest)
        for why, skipped in other.unchecked.items():
            _join(self.unchecked, why, skipped.first, skipped.runs, skipped.newest)
        for key, cases in other.cases.items():
            self.cases.setdefault(key, []).extend(cases)

    def explain(self, explained: Callable[[Verdict], Verdict]) -> None:
        """Find the likely cause of each divergence, once for all runs that share it."""
        for group in self.divergences.values():
            group.first = explained(group.first)

    @property
    def runs(self) -> int:
        """All runs that were looked at."""
        return sum(tally.runs for tally in self.tallies.values())

    @property
    def replayed(self) -> int:
        """Runs whose code and ledger agree."""
        return sum(tally.replayed for tally in self.tallies.values())

    @property
    def diverged(self) -> int:
        """Runs whose code and ledger disagree."""
        return sum(tally.diverged for tally in self.tallies.values())

    @property
    def not_checked(self) -> int:
        """Runs that could not be checked."""
        return sum(tally.unchecked for tally in self.tallies.values())

    @property
    def exit_code(self) -> int:
        """0: all replay. 1: a run diverged. 2: none did, but some could not be checked."""
        if self.divergences:
            return 1
        return 2 if self.unchecked else 0

    def groups(self) -> list[Group[Verdict]]:
        """The distinct divergences, by workflow and version, those of most runs first."""
        return sorted(
            self.divergences.values(),
            key=lambda group: (group.first.workflow, group.first.version, -group.runs, -group.first.run),
        )

    def skipped(self) -> list[Group[Unchecked]]:
        """The distinct reasons why runs could not be checked, likewise."""
        return sorted(
            self.unchecked.values(),
            key=lambda group: (group.first.workflow, group.first.version, -group.runs, -group.first.run),
        )


K = TypeVar("K", Likeness, Why)


def _join(groups: dict[K, Group[F]], key: K, first: F, runs: int, newest: list[tuple[int, str]]) -> None:
    group = groups.get(key)
    if group is None:
        groups[key] = Group(first, runs, list(newest))
    elif runs == 1 and len(group.newest) == RUN_IDS_MAX and newest[0] < group.newest[-1]:
        group.runs += 1  # the common case in a ledger where all diverge: an older run of a full group
    else:
        group.add(runs, newest, first)


def _why(finding: Unchecked) -> Why:
    error: PerdureError = finding.error
    message = re.sub(rf"(?<!\w){re.escape(finding.run_id)}(?!\w)", "…", error.message)
    return Why(finding.workflow, finding.version, error.code, message)
