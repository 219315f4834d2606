"""Many runs of a ledger, checked page by page: verdicts, and the runs that could not be checked.

Knows ledgers and registries. Must not know how a verdict is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import eq
from typing import Literal, TypeAlias

from perdure.declare.pinned import PinnedCode, PinnedDefinition
from perdure.declare.registry import Definition, Registry
from perdure.engine.definitions import options_of
from perdure.errors import InternalError, PerdureError
from perdure.replay.check import Verdict, check_run
from perdure.replay.conclusion import blame_the_body
from perdure.replay.selection import Selection
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.ledger import Ledger, RunFilter, RunRow

#: Runs that are listed at once, and entries that are read at once: few queries, and little memory whatever the ledger.
_PAGE_RUNS = 500
_PAGE_ENTRIES = 20_000

Code: TypeAlias = Literal["today", "pinned"]


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A run that could not be checked, and why."""

    run_id: str
    workflow: str
    version: str
    error: PerdureError
    run: int = 0


Finding: TypeAlias = Verdict | Unchecked


class Survey:
    """Checks the runs of one ledger against the registered workflows.

    Args:
        name: the ledger's path, for the commands that divergences name.
        code: replay today's bodies, or those that the ledger recorded (`"pinned"`).
    """

    def __init__(self, ledger: Ledger, registry: Registry, *, name: str = "LEDGER", code: Code = "today") -> None:
        self._ledger = ledger
        self._registry = registry
        self._name = name
        self._definitions: dict[str, DefinitionRow | None] = {}
        self._pinned = PinnedCode(registry, self._definition) if code == "pinned" else None

    def count(self, wanted: RunFilter) -> int:
        """How many runs a filter selects."""
        return sum(self._ledger.count(wanted).values())

    def check_all(self, selection: Selection) -> Iterator[Finding]:
        """Check every run that is selected, the newest page first; the filter's `limit` is not regarded.

        A divergence comes with its obvious cause; `check` finds the likely one, which takes longer than the replay.
        """
        wanted = selection.wanted
        last = wanted.before_run
        if last is None:
            newest = self._ledger.runs(RunFilter(limit=1))
            last = newest[0].run + 1 if newest else 1
        # By ranges of numbers, which a ledger finds at once, however few of them the filter selects.
        for stop in range(last, wanted.from_run or 1, -_PAGE_RUNS):
            start = max(stop - _PAGE_RUNS, wanted.from_run or 1)
            rows = self._ledger.runs(replace(wanted, from_run=start, before_run=stop, limit=None))
            yield from self._check_page(self._listed([row for row in rows if selection.takes(row.run_id)]))

    def check(self, row: RunRow) -> Finding:
        """Check one run, and find the likely cause when it diverges."""
        try:
            definition = self._code_of(row)
            walked = self._ledger.walk(row)
            verdict = check_run(row, definition, walked, explain=False)
            if verdict.ok:
                return verdict
            (entries,) = self._ledger.walk_many([row], whole=True)
            return self._confirmed(verdict, row, walked, entries, explain=True)
        except Exception as error:  # noqa: BLE001  # one run must not keep the others from being checked; the report shows it
            return _unchecked(row, error)

    def explained(self, verdict: Verdict) -> Verdict:
        """Find the likely cause of a divergence that `check_all` found."""
        row = self._ledger.run_numbered(verdict.run)
        finding = self.check(row) if row is not None else verdict
        # A body that sometimes diverges may not do so now; what was found stays true.
        return finding if isinstance(finding, Verdict) and not finding.ok else verdict

    def _check_page(self, rows: Sequence[RunRow]) -> Iterator[Finding]:
        batch: list[RunRow] = []
        length = 0
        for row in rows:
            if batch and length + row.length > _PAGE_ENTRIES:
                yield from self._check_batch(batch)
                batch, length = [], 0
            batch.append(row)
            length += row.length
        if batch:
            yield from self._check_batch(batch)

    def _check_batch(self, rows: Sequence[RunRow]) -> Iterator[Finding]:
        try:
            walks = self._ledger.walk_many(rows)
        except PerdureError:
            yield from map(self.check, rows)  # one by one, to see which of them can't be read
            return
        suspects: list[tuple[Verdict, RunRow, Sequence[Entry]]] = []
        for row, walked in zip(rows, walks, strict=True):
            try:
                verdict = check_run(row, self._code_of(row), walked, explain=False)
            except Exception as error:  # noqa: BLE001  # as in `check`
                yield _unchecked(row, error)
                continue
            if verdict.ok:
                yield verdict
            else:
                suspects.append((verdict, row, walked))
        # Only what diverges is worth reading whole.
        wholes = self._ledger.walk_many([row for _, row, _ in suspects], whole=True)
        for (verdict, row, walked), entries in zip(suspects, wholes, strict=True):
            try:
                yield self._confirmed(verdict, row, walked, entries, explain=False)
            except Exception as error:  # noqa: BLE001  # as in `check`
                yield _unchecked(row, error)

    def _confirmed(
        self, suspect: Verdict, row: RunRow, walked: Sequence[Entry], entries: Sequence[Entry], *, explain: bool
    ) -> Verdict:
        """Check a run that diverged again, with its entries read whole."""
        definition, recorded = self._code_of(row), self._definition(row.definition)
        verdict = check_run(row, definition, entries, recorded=recorded, ledger=self._name, explain=explain)
        if verdict.ok and all(map(eq, _as_replayed(walked), _as_replayed(entries))):
            # The same entries, once this way and once that way: it is the body that differs.
            assert suspect.divergence is not None
            return replace(suspect, divergence=blame_the_body(suspect.divergence, self._name))
        return verdict

    def _listed(self, rows: Sequence[RunRow]) -> Sequence[RunRow]:
        """The rows of a page that are to be checked, as their bodies are to know them."""
        return rows

    def _code_of(self, row: RunRow) -> Definition | PinnedDefinition:
        if self._pinned is not None:
            return self._pinned.get(row.definition, row.workflow, row.version, lambda: options_of(self._ledger, row))
        return self._registry.get(row.workflow, row.version)

    def _definition(self, digest: str) -> DefinitionRow | None:
        if digest not in self._definitions:
            self._definitions[digest] = self._ledger.definition(digest)
        return self._definitions[digest]


def _as_replayed(entries: Sequence[Entry]) -> Iterator[tuple[object, ...]]:
    """What a replay compares and feeds, which is the same however the entries were read."""
    return ((entry.kind, entry.at, entry.command, entry.name, entry.body, entry.shape) for entry in entries)


def _unchecked(row: RunRow, error: Exception) -> Unchecked:
    if not isinstance(error, PerdureError):
        bug = InternalError(
            f"run {row.run_id} could not be replayed: {type(error).__name__}: {error}",
            where=f"{row.workflow} v{row.version}",
            fix="send us the history of this run",
        )
        bug.__cause__ = error
        error = bug
    return Unchecked(row.run_id, row.workflow, row.version, error, row.run)
