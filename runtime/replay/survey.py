"""Many runs of a ledger, checked one after another: verdicts, and the runs that could not be checked.

Knows ledgers and registries. Must not know how a verdict is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from perdure.declare.registry import Registry
from perdure.errors import InternalError, PerdureError
from perdure.replay.check import Verdict, check_run
from perdure.storage.entries import DefinitionRow
from perdure.storage.ledger import Ledger, RunFilter, RunRow

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A run that could not be checked, and why."""

    run_id: str
    workflow: str
    version: str
    error: PerdureError


Finding: TypeAlias = Verdict | Unchecked


class Survey:
    """Checks the runs of one ledger against the registered workflows.

    Args:
        name: the ledger's path, for the commands that divergences name.
    """

    def __init__(self, ledger: Ledger, registry: Registry, *, name: str = "LEDGER") -> None:
        self._ledger = ledger
        self._registry = registry
        self._name = name
        self._definitions: dict[str, DefinitionRow | None] = {}

    def count(self, wanted: RunFilter) -> int:
        """How many runs a filter selects."""
        return sum(self._ledger.count(wanted).values())

    def check_all(self, wanted: RunFilter) -> Iterator[Finding]:
        """Check every run that a filter selects, newest first; `limit` is not regarded."""
        page = replace(wanted, limit=_PAGE, before_run=None)
        while True:
            rows = self._ledger.runs(page)
            for row in rows:
                yield self.check(row)
            if len(rows) < _PAGE:
                return
            page = replace(page, before_run=rows[-1].run)

    def check(self, row: RunRow) -> Finding:
        """Check one run."""
        try:
            definition = self._registry.get(row.workflow, row.version)
            verdict = check_run(row, definition, self._ledger.walk(row), explain=False)
            if verdict.ok:
                return verdict
            # Only what diverges is worth reading whole.
            entries = self._ledger.entries(row.run)
            return check_run(row, definition, entries, recorded=self._definition(row.definition), ledger=self._name)
        except PerdureError as error:
            return Unchecked(row.run_id, row.workflow, row.version, error)
        except Exception as error:  # noqa: BLE001  # one run must not keep the others from being checked; the report shows it
            bug = InternalError(
                f"run {row.run_id} could not be replayed: {type(error).__name__}: {error}",
                where=f"{row.workflow} v{row.version}",
                fix="send us the history of this run",
            )
            bug.__cause__ = error
            return Unchecked(row.run_id, row.workflow, row.version, bug)

    def _definition(self, digest: str) -> DefinitionRow | None:
        if digest not in self._definitions:
            self._definitions[digest] = self._ledger.definition(digest)
        return self._definitions[digest]
