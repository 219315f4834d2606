"""Everything that is known of one divergence, gathered for whoever concludes its cause.

Knows entries, closures and explorations. Must not conclude.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from perdure.core.divergence import Difference, describe
from perdure.core.elided import shortened
from perdure.core.facts import RunFacts
from perdure.replay.closures import Closure, changed_lines
from perdure.replay.explore import Exploration, in_branch
from perdure.replay.reread import Reread
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry


@dataclass(frozen=True)
class Case:
    """One divergence and its evidence."""

    facts: RunFacts
    difference: Difference
    attempt: Sequence[Entry]  # the entries of the attempt that diverged
    before: Closure | None  # the code that the run was recorded with; None when the ledger does not have it
    today: Closure
    digests: tuple[str, str]  # of the recorded definition and of today's
    pythons: tuple[str, str]  # minor versions, recorded and today's
    first: Exploration
    second: Exploration  # the same again: a deterministic body asks for the same
    libraries: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})  # versions by distribution, then and today
    pinned: bool = False  # whether the recorded code was replayed, not today's
    reread: Sequence[Reread] = ()  # values that the body got before, and that today's classes read otherwise

    @property
    def code_changed(self) -> bool:
        """Whether today's closure is another one."""
        return self.digests[0] != self.digests[1]

    @cached_property
    def changed_libraries(self) -> list[str]:
        """The libraries of another version than then, each as `pydantic 2.11 → 2.14`; ours comes last."""
        then, now = self.libraries
        names = sorted(then, key=lambda name: (name == "perdure", name))
        return [f"{name} {then[name]} → {now.get(name, 'gone')}" for name in names if now.get(name) != then[name]]

    @cached_property
    def recorded_commands(self) -> list[Entry]:
        """What the attempt recorded as asked for."""
        unlike = (kinds.DROPPED, kinds.PATCHED)  # no place in a branch is theirs
        return [entry for entry in self.attempt if entry.kind in kinds.COMMANDS and entry.kind not in unlike]

    @cached_property
    def branch(self) -> tuple[list[Entry], list[Entry]]:
        """What was asked in the branch of the difference: recorded, and by today's body."""
        either = self.difference.replayed or self.difference.recorded
        command = either.command if either is not None and either.command else "0/0"
        return in_branch(self.recorded_commands, command), self.first.branch(command)

    def could_ask_before(self, name: str) -> bool:
        """Whether the recorded code could give a command this name."""
        if self.before is not None:
            return self.before.mentions(name)
        return any(entry.name == name for entry in self.recorded_commands)

    def can_ask_today(self, name: str) -> bool:
        """Whether today's code can give a command this name."""
        return self.today.mentions(name)

    @cached_property
    def latest_cause(self) -> Entry | None:
        """The fact that reached the body last before the difference."""
        earlier = [
            entry for entry in self.attempt if entry.kind in kinds.CAUSES and entry.position < self.difference.position
        ]
        return earlier[-1] if earlier else None

    def lines(self) -> list[str]:
        """Both source lines, each from the code of its time."""
        difference = self.difference
        shown = []
        before = self.before if self.before is not None else (None if self.code_changed else self.today)
        for word, closure, site in (("then", before, difference.recorded_site), ("now", self.today, difference.site)):
            text = closure.line_at(site) if closure is not None and site else ""
            if text:
                shown.append(f"{word:<5} {site}  {text}")
        return shown

    def diff(self) -> list[str]:
        """What changed in the code since; empty when nothing did or the recorded code is not known."""
        if self.before is None or not self.code_changed:
            return []
        return list(changed_lines(self.before, self.today))

    def read_before(self) -> str:
        """The recorded value that the body read last before the difference."""
        cause = self.latest_cause
        if cause is None:
            return ""
        value = "" if cause.body is None else f": {shortened(cause.body, 120)}"
        name = {kinds.CREATED: "the input"}.get(cause.kind, f"{cause.kind} {cause.name}".strip())
        return f"read just before: entry {cause.position}, {name}{value}"

    def asked_today(self) -> str:
        """What today's body asks for in this branch, by name."""
        return " → ".join(_brief(entry) for entry in self.branch[1])

    def asked_before(self) -> str:
        """What was recorded in this branch, by name."""
        return " → ".join(_brief(entry) for entry in self.branch[0])


def _brief(entry: Entry) -> str:
    return entry.name if entry.kind == kinds.STEP else f"{entry.kind} {entry.name}".strip()


def shown_command(entry: Entry | None) -> str:
    """One command or ending, short."""
    return shortened(describe(entry), 120)
