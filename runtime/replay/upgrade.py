"""Open runs and today's code: which of them would go on with it, and where the others part from it.

A run whose recorded definition is not today's is replayed, from its first entry on, on the definition that it would
move to: the registered one of its version, else the newest of its workflow, or the version that was asked for.

Knows definitions and verdicts. Must not write anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from perdure.declare.registry import Definition, Registry
from perdure.errors import Divergence, PerdureError
from perdure.replay.check import Verdict, check_run
from perdure.replay.selection import Selection
from perdure.replay.survey import Finding, Survey, Unchecked
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.ledger import ENDED, STATUSES, Ledger, RunRow

OPEN = tuple(status for status in STATUSES if status not in ENDED)


class CodeName(NamedTuple):
    """A version of a workflow, and the digest of its code."""

    version: str
    digest: str

    def __str__(self) -> str:
        return f"v{self.version} {self.digest[:8]}"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What becomes of one open run.

    Attributes:
        run_id, workflow: whose.
        before: the code that it was recorded with.
        after: the code that it was to move to; None when today's code has none for it.
        verdict: whether its history replays on that; None when it could not be checked.
        error: why it could not be checked.
        moved: whether it was moved.
    """

    run_id: str
    workflow: str
    before: CodeName
    after: CodeName | None
    verdict: Verdict | None = None
    error: PerdureError | None = None
    moved: bool = False

    @property
    def ok(self) -> bool:
        """Whether it replays on the code that it was to move to."""
        return self.verdict is not None and self.verdict.ok

    @property
    def divergence(self) -> Divergence | None:
        """Where it parts from that code."""
        return None if self.verdict is None else self.verdict.divergence


class Targets:
    """Which definition a run would move to.

    Args:
        version: the one for all of them; None is the registered one of the run's version, else the newest.
    """

    def __init__(self, registry: Registry, version: str | None = None) -> None:
        self._registry = registry
        self._version = version

    def of(self, row: RunRow) -> Definition:
        """Find it. Raises UnknownWorkflow: today's code has none."""
        if self._version is not None:
            return self._registry.get(row.workflow, self._version)
        if self._registry.knows(row.workflow, row.version):
            return self._registry.get(row.workflow, row.version)
        return self._registry.newest(row.workflow)

    def is_there(self, row: RunRow) -> bool:
        """Whether a run is on the code already that it would move to."""
        try:
            target = self.of(row)
        except PerdureError:
            return False  # told when it is checked
        return (row.definition, row.version) == (target.digest, target.version)


def check_upgrade(
    row: RunRow,
    target: Definition,
    entries: Sequence[Entry],
    *,
    recorded: DefinitionRow | None = None,
    ledger: str = "LEDGER",
) -> Verdict:
    """Replay a run on the definition that it would move to."""
    return check_run(replace(row, version=target.version), target, entries, recorded=recorded, ledger=ledger)


class UpgradeSurvey(Survey):
    """Checks the open runs of one ledger whose code is not the one that they would move to.

    Args:
        version: as in `Targets`.
    """

    def __init__(self, ledger: Ledger, registry: Registry, *, name: str = "LEDGER", version: str | None = None) -> None:
        super().__init__(ledger, registry, name=name)
        self.targets = Targets(registry, version)
        self._before: dict[int, RunRow] = {}

    def upgrades(self, selection: Selection) -> Iterator[tuple[RunRow, Finding]]:
        """Check every selected run that is not there yet; give each as it is, with what was found."""
        for finding in self.check_all(selection):
            yield self._before.pop(finding.run), finding

    def upgrade(self, row: RunRow) -> tuple[RunRow, Finding]:
        """Check one run, and find the likely cause when it diverges."""
        return row, self.check(row)

    def check(self, row: RunRow) -> Finding:
        return super().check(self._as_moved(row))

    def _listed(self, rows: Sequence[RunRow]) -> list[RunRow]:
        found = [row for row in rows if not self.targets.is_there(row)]
        self._before |= {row.run: row for row in found}
        return [self._as_moved(row) for row in found]

    def _code_of(self, row: RunRow) -> Definition:
        return self.targets.of(row)

    def _as_moved(self, row: RunRow) -> RunRow:
        """The run as its body would know it."""
        try:
            return replace(row, version=self.targets.of(row).version)
        except PerdureError:
            return row


def upgrade_of(row: RunRow, targets: Targets, finding: Finding, *, moved: bool = False) -> Upgrade:
    """Put together what was found of a run."""
    before = CodeName(row.version, row.definition)
    try:
        target = targets.of(row)
        after = CodeName(target.version, target.digest)
    except PerdureError:
        after = None
    if isinstance(finding, Unchecked):
        return Upgrade(row.run_id, row.workflow, before, after, error=finding.error)
    return Upgrade(row.run_id, row.workflow, before, after, finding, moved=moved)
