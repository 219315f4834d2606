"""Replay of recorded runs: the same walk as production's, with nobody who would perform anything.

Knows how to walk a whole history, attempt by attempt, and gathers what is known when it diverges. Why it does is
concluded in `causes.py`, and shown by `report.py`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perdure.core.divergence import Difference, say, site_of
from perdure.core.facts import Executable, RunFacts
from perdure.core.history import Reused, attempts_of, started_with
from perdure.core.machine import Machine
from perdure.declare.pinned import PinnedDefinition
from perdure.declare.registry import Definition
from perdure.engine.residents import facts_of
from perdure.errors import Divergence, ValueUnreadable
from perdure.replay.case import Case
from perdure.replay.closures import Closure
from perdure.replay.conclusion import likely_cause
from perdure.replay.explore import Exploration, explore
from perdure.replay.likeness import Likeness, closure_of, likeness_of
from perdure.replay.reread import reread
from perdure.storage import entries as kinds
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.ledger import RunRow

_PYTHON = ".".join(platform.python_version_tuple()[:2])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a replay found.

    Attributes:
        run_id, workflow, version: which run, on which definition.
        entries: how many entries were walked.
        divergence: the first difference with its likely cause, or None when code and ledger agree.
        likeness: what it shares with the divergences of other runs; None when there is none.
        run: the run's number.
    """

    run_id: str
    workflow: str
    version: str
    entries: int
    divergence: Divergence | None = None
    likeness: Likeness | None = None
    run: int = 0

    @property
    def ok(self) -> bool:
        """Whether code and ledger agree."""
        return self.divergence is None

    def __bool__(self) -> bool:
        return self.ok


def check_run(
    row: RunRow,
    definition: Definition | PinnedDefinition,
    entries: Sequence[Entry],
    *,
    recorded: DefinitionRow | None = None,
    ledger: str = "LEDGER",
    explain: bool = True,
    machine_of: Callable[[Executable, RunFacts, Reused], Machine] = Machine,
) -> Verdict:
    """Replay a run, finished or open, against a definition. An open run is checked up to where it stands.

    Args:
        definition: today's, or the recorded one.
        entries: the whole history.
        recorded: the definition that the run was recorded with, as the ledger keeps it; evidence for the cause.
        ledger: its path, for the command that a divergence names.
        explain: whether to look for the cause of a divergence, which takes longer and wants entries read whole.
        machine_of: makes what walks an attempt.
    """
    reused = Reused()
    attempts = attempts_of(row.attempt, entries)
    for number, attempt in enumerate(attempts, start=1):
        facts = facts_of(row, entries[0], attempt=number)
        machine = machine_of(definition, facts, reused)
        machine.set_input(started_with(entries))
        try:
            machine.replay(attempt)
        except Divergence as found:
            difference = machine.difference
            assert difference is not None  # the machine makes the one from the other
            difference = difference._replace(length=len(entries))
            alike = _likeness(row, definition, recorded, found.cause, difference)
            if explain:
                walk = _Walk(
                    facts, definition, started_with(entries), _code_of(entries), attempt, reused, row, recorded, ledger
                )
                found = walk.explain(difference, found)
            return Verdict(row.run_id, row.workflow, row.version, len(entries), found, alike, row.run)
        except ValueUnreadable as unreadable:
            walk = _Walk(
                facts, definition, started_with(entries), _code_of(entries), attempt, reused, row, recorded, ledger
            )
            divergence, difference = walk.explain_unreadable(len(entries), unreadable)
            alike = _likeness(row, definition, recorded, divergence.cause, difference)
            return Verdict(row.run_id, row.workflow, row.version, len(entries), divergence, alike, row.run)
        finally:
            machine.close()
        if number < len(attempts):
            reused = Reused(reused)
            reused.learn(attempt)
    return Verdict(row.run_id, row.workflow, row.version, len(entries), run=row.run)


def _code_of(entries: Sequence[Entry]) -> Entry:
    return next((entry for entry in reversed(entries) if entry.kind == kinds.UPGRADED), entries[0])


def _likeness(
    row: RunRow,
    definition: Definition | PinnedDefinition,
    recorded: DefinitionRow | None,
    cause: str,
    difference: Difference,
) -> Likeness:
    before = None if recorded is None else recorded.source
    return likeness_of(row.workflow, row.version, cause, difference, before, definition.source_json)


@dataclass(frozen=True, slots=True)
class _Walk:
    """One attempt that diverged, and all that is needed to walk it again."""

    facts: RunFacts
    definition: Definition | PinnedDefinition
    created: Entry
    code: Entry  # that said last on which code the run goes on
    attempt: Sequence[Entry]
    reused: Reused
    row: RunRow
    recorded: DefinitionRow | None
    ledger: str

    def explain(self, difference: Difference, found: Divergence) -> Divergence:
        """Say the difference again, with its likely cause."""
        today = closure_of(self.definition.source_json)
        before = closure_of(self.recorded.source) if self.recorded is not None else None
        first, second = self._explore(today), self._explore(today, sites=False)
        if not difference.site and difference.replayed is not None:
            # A task of its own has no maker on its stack; walking it as if it lived notes the line in time.
            difference = difference._replace(site=site_of(first.at(difference.replayed.command)))
        detail = self.code.facts()
        case = Case(
            facts=self.facts,
            difference=difference,
            attempt=self.attempt,
            before=before,
            today=today,
            digests=(self.row.definition, self.definition.digest),
            pythons=(str(detail.get("python", "")), _PYTHON),
            libraries=(detail.get("libraries", {}), self.definition.libraries),
            pinned=isinstance(self.definition, PinnedDefinition),
            first=first,
            second=second,
            reread=reread([self.created, *(each for each in self.attempt if each.position < difference.position)]),
        )
        cause = likely_cause(case)
        divergence = say(
            self.facts,
            difference,
            cause=cause.name,
            why=f"{cause.name}: {cause.why}",
            evidence="\n".join(cause.evidence),
            fix=cause.fix,
            ledger=self.ledger,
        )
        divergence.__cause__ = found.__cause__
        return divergence

    def explain_unreadable(self, length: int, unreadable: ValueUnreadable) -> tuple[Divergence, Difference]:
        """A recorded value can't be read by today's classes, so the walk ends where the body would get it."""
        values = [each for each in reread([self.created, *self.attempt]) if not each.readable]
        if not values:
            raise unreadable
        entry, facts = values[0].entry, self.facts
        is_input = entry.position == 0
        what = "the input" if is_input else f"the result of {entry.name}"
        divergence = Divergence(
            f"entry {entry.position} holds {what}, which today's code can't read.",
            run_id=facts.run_id,
            position=entry.position,
            recorded=entry.body or "",
            replayed=f"nothing: {unreadable.message}",
            cause="input model changed" if is_input else "result model changed",
            evidence="\n".join(values[0].evidence),
            where=f"{facts.workflow} v{facts.version}, run {facts.run_id}, entry {entry.position} of {length}",
            why="\n".join(values[0].evidence),
            fix="keep the class readable for what was recorded (a default for a new field), or register the old code "
            "as its version and the new one under a new version",
            inspect=f"perdure show {self.ledger} {facts.run_id} --at {entry.position}",
        )
        divergence.__cause__ = unreadable
        return divergence, Difference(entry, None, entry.position, length)

    def _explore(self, today: Closure, *, sites: bool = True) -> Exploration:
        def gone(name: str) -> bool:
            return not today.mentions(name)

        return explore(self.definition, self.facts, self.created, self.attempt, self.reused, gone, sites=sites)
