"""Two runs compared: what each was given, what it asked for in each branch, what came back, and how it ended.

Commands are aligned branch by branch, by kind and name; times are told, and never count as a difference. What a later
attempt of a run asked for again replaces what the earlier one had there.

Knows entries and values. Must not know how a comparison is shown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Any

from perdure.core.divergence import site_of
from perdure.core.history import split_attempts
from perdure.replay.values import Change, changes
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunRow

_FAILURES = frozenset({kinds.STEP_FAILED, kinds.CHILD_FAILED})


@dataclass(frozen=True, slots=True)
class Asked:
    """One command of a run, and what answered it."""

    command: Entry
    answer: Entry | None

    @property
    def branch(self) -> str:
        """The branch that asked."""
        return self.command.command.rpartition("/")[0]

    @property
    def duration_us(self) -> int | None:
        """From the command to its answer."""
        return None if self.answer is None else self.answer.at - self.command.at

    @property
    def outcome(self) -> str:
        """The kind of its answer."""
        return "unanswered" if self.answer is None else self.answer.kind

    @property
    def site(self) -> str:
        """The line that asked."""
        return site_of(self.command)


@dataclass(frozen=True, slots=True)
class Pair:
    """A command of both runs, or of one alone.

    Attributes:
        first, second: None for the run that never asked for it.
        moved: the other run has a command of this kind and name at another place of the branch.
        arguments, result: where the values differ; empty when they are equal.
        outcome: both kinds of answers, when they differ.
    """

    first: Asked | None
    second: Asked | None
    moved: bool = False
    arguments: tuple[Change, ...] = ()
    result: tuple[Change, ...] = ()
    outcome: tuple[str, str] | None = None

    @property
    def either(self) -> Asked:
        """The command, of whichever run has it."""
        found = self.first or self.second
        assert found is not None  # a pair is made of at least one
        return found

    @property
    def differs(self) -> bool:
        """Whether the runs differ here."""
        return None in (self.first, self.second) or bool(self.arguments or self.result or self.outcome)


@dataclass(frozen=True, slots=True)
class Side:
    """One run of a comparison: its row and its entries."""

    row: RunRow
    entries: Sequence[Entry]

    @property
    def python(self) -> str:
        """The version of Python that it was started on."""
        detail = self.entries[0].facts()
        return str(detail.get("python", ""))


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is true of each run as a whole; `changes` says where two values differ."""

    name: str
    first: str
    second: str
    changes: tuple[Change, ...] = ()
    counts: bool = True  # False: told, but no difference of what the runs did

    @property
    def differs(self) -> bool:
        """Whether the runs differ here."""
        return self.first != self.second or bool(self.changes)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two runs have in common and what not."""

    first: Side
    second: Side
    facts: tuple[Fact, ...]
    pairs: tuple[Pair, ...]

    @property
    def equal(self) -> bool:
        """Whether both runs did the same, whenever and on whatever code they did it."""
        return not any(fact.differs and fact.counts for fact in self.facts) and not any(
            pair.differs for pair in self.pairs
        )


def compare(first: Side, second: Side) -> Comparison:
    """Compare two runs, of one ledger or of two."""
    return Comparison(first, second, tuple(_facts(first, second)), tuple(_pairs(first, second)))


def _facts(first: Side, second: Side) -> Iterator[Fact]:
    one, other = first.row, second.row
    yield Fact("workflow", f"{one.workflow} v{one.version}", f"{other.workflow} v{other.version}")
    yield Fact("input", "", "", tuple(_changes(first.entries[0], second.entries[0])))
    yield Fact("status", one.status, other.status)
    yield Fact("attempts", str(one.attempt), str(other.attempt))
    end, other_end = _ending(first.entries), _ending(second.entries)
    if end is not None and other_end is not None and end.kind == other_end.kind:
        failed = end.kind in (kinds.FAILED, kinds.RETRYING)
        yield Fact("error" if failed else "output", "", "", tuple(_changes(end, other_end)))
    if (ways := (_changes_taken(first.entries), _changes_taken(second.entries))) != ("", ""):
        yield Fact("patched", *ways, counts=False)
    yield Fact("code", one.definition[:12], other.definition[:12], counts=False)
    yield Fact("python", first.python, second.python, counts=False)


def _ending(entries: Sequence[Entry]) -> Entry | None:
    """How the last attempt ended, if it did; notes may follow."""
    return next((entry for entry in reversed(split_attempts(entries)[-1]) if entry.kind in kinds.ENDINGS), None)


def _changes_taken(entries: Sequence[Entry]) -> str:
    """The changes of the code whose new way a run took."""
    return ", ".join(sorted({entry.name for entry in entries if entry.kind == kinds.PATCHED}))


def _pairs(first: Side, second: Side) -> Iterator[Pair]:
    one, other = _by_branch(first.entries), _by_branch(second.entries)
    for branch in sorted({*one, *other}, key=_branch_order):
        yield from _in_branch(one.get(branch, []), other.get(branch, []))


def _in_branch(first: Sequence[Asked], second: Sequence[Asked]) -> Iterator[Pair]:
    """Align two branches; what is only in one may still be in the other at another place."""
    names = [_name(asked) for asked in first], [_name(asked) for asked in second]
    only: list[Pair] = []
    aligned: list[Pair] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, *names, autojunk=False).get_opcodes():
        if tag == "equal":
            aligned += [_pair(one, other) for one, other in zip(first[i1:i2], second[j1:j2], strict=True)]
        else:
            only += [Pair(one, None) for one in first[i1:i2]]
            only += [Pair(None, other) for other in second[j1:j2]]
            aligned += only[-(i2 - i1 + j2 - j1) :]
    left = Counter(_name(pair.first) for pair in only if pair.first is not None)
    right = Counter(_name(pair.second) for pair in only if pair.second is not None)
    both = left & right
    for pair in aligned:
        moved = None in (pair.first, pair.second) and both[_name(pair.either)] > 0
        yield Pair(pair.first, pair.second, moved=True) if moved else pair


def _pair(first: Asked, second: Asked) -> Pair:
    arguments = tuple(_changes(first.command, second.command))
    outcome = None if first.outcome == second.outcome else (first.outcome, second.outcome)
    result: tuple[Change, ...] = ()
    if outcome is None and first.answer is not None and second.answer is not None:
        result = tuple(_changes(first.answer, second.answer))
    return Pair(first, second, arguments=arguments, result=result, outcome=outcome)


def _by_branch(entries: Sequence[Entry]) -> dict[str, list[Asked]]:
    commands: dict[str, Entry] = {}
    answers: dict[str, Entry] = {}
    for entry in entries:
        if entry.kind == kinds.DROPPED or (entry.kind in kinds.CAUSES and entry.command):
            answers[entry.command] = entry
        elif entry.kind in kinds.COMMANDS and entry.kind != kinds.PATCHED:  # which has no place in a branch
            commands[entry.command] = entry
            answers.pop(entry.command, None)  # of an earlier attempt
    asked = [Asked(entry, answers.get(command)) for command, entry in commands.items()]
    asked.sort(key=lambda each: (_branch_order(each.branch), int(each.command.command.rpartition("/")[2])))
    return {branch: list(group) for branch, group in groupby(asked, key=lambda each: each.branch)}


def _branch_order(branch: str) -> tuple[int, ...]:
    return tuple(int(part) for part in branch.split("."))


def _name(asked: Asked) -> tuple[str, str]:
    return asked.command.kind, asked.command.name


def _changes(first: Entry, second: Entry) -> list[Change]:
    if first.kind in (kinds.CHILD_RESULT, kinds.CHILD_CANCEL):
        return []  # its argument is the child's id, which always differs
    if first.kind in _FAILURES or first.kind in (kinds.FAILED, kinds.RETRYING):
        return changes(_told(first.body), None, _told(second.body), None)
    return changes(first.body, first.shape, second.body, second.shape)


def _told(failure: str | None) -> str | None:
    """What of a failure counts: its class and message, and not the lines of its traceback."""
    if failure is None:
        return None
    facts: Any = json.loads(failure)
    return json.dumps({name: facts.get(name) for name in ("type", "message")})
