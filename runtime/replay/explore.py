"""What today's body would ask for if nobody stopped it at the first difference.

A replay ends where code and ledger part. To tell a renamed step from a removed one, one has to see how the body would
go on: the explorer answers what it asks with whatever the ledger recorded for it, wherever that stands.

Knows the machine, whose `ask` it replaces. It records and performs nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from perdure.core.children import child_named
from perdure.core.divergence import DivergenceSignal
from perdure.core.facts import Executable, RunFacts
from perdure.core.history import Reused
from perdure.core.machine import Machine
from perdure.core.outcomes import OUTCOMES
from perdure.core.patches import Patches
from perdure.core.waiting import Waiting
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry

_ASKED_BEYOND_RECORDED_MAX = 1_000


@dataclass(frozen=True)
class Exploration:
    """What a body asked for, in order, and how it ended; `ending` is None when it waits."""

    asked: tuple[Entry, ...]
    ending: Entry | None
    error: BaseException | None = None  # what kept it from being walked, such as an input that can't be read

    def at(self, command: str) -> Entry | None:
        """What was asked under an identity."""
        return next((entry for entry in self.asked if entry.command == command), None)

    def branch(self, command: str) -> list[Entry]:
        """What was asked in the branch of this command."""
        return in_branch(self.asked, command)

    def same_as(self, other: Exploration) -> bool:
        """Whether both asked for the same and ended alike: what a deterministic body does when walked twice."""
        return _outline(self.asked) == _outline(other.asked) and _end(self.ending) == _end(other.ending)


def in_branch(entries: Sequence[Entry], command: str) -> list[Entry]:
    """The commands that one branch asked for."""
    path = command.split("/")[0] + "/"
    return [entry for entry in entries if entry.command.startswith(path)]


def explore(
    definition: Executable,
    facts: RunFacts,
    created: Entry,
    attempt: Sequence[Entry],
    reused: Reused,
    gone: Callable[[str], bool],
    *,
    sites: bool = True,
) -> Exploration:
    """Walk today's body through what one attempt of a run recorded, without stopping at differences.

    Args:
        gone: whether a recorded name can't come from today's source any more; what stands there gets its answer.
        sites: whether to note the lines of steps, which takes a fifth of the time.
    """
    machine = _Explorer(definition, facts, reused, attempt, gone, sites)
    machine.set_input(created)
    error: BaseException | None = None
    try:
        machine.walk()
    except Exception as failure:  # noqa: BLE001  # `causes.py` takes it as evidence: the body can't even be walked
        error = failure
    finally:
        machine.close()
    return Exploration(tuple(machine.asked), machine.ending, error)


class _Answer(NamedTuple):
    position: int
    number: int  # so that two answers of one position keep the order in which they were found
    cause: Entry


class _Recorded(NamedTuple):
    command: Entry
    outcome: Entry | None


class _RecordedPatches(Patches):
    """The answers that an attempt's history gives; it is not known how far a body has come that differs from it."""

    def __init__(self, machine: Machine, reused: Reused, attempt: Sequence[Entry]) -> None:
        super().__init__(machine, reused)
        self.recorded(entry.name for entry in attempt if entry.kind == kinds.PATCHED)

    def is_new(self, change: str) -> bool:
        return False


class _Explorer(Machine):
    """A machine that looks answers up by what is asked, and only then by where."""

    def __init__(
        self,
        executable: Executable,
        facts: RunFacts,
        reused: Reused,
        attempt: Sequence[Entry],
        gone: Callable[[str], bool],
        sites: bool,
    ) -> None:
        super().__init__(executable, facts, reused)
        self.patches = _RecordedPatches(self, reused, attempt)
        self._sites = sites
        self._gone = gone
        self.asked: list[Entry] = []
        self._limit = len(attempt) + _ASKED_BEYOND_RECORDED_MAX
        self._numbers = itertools.count()
        self._position = 0  # of the cause that is delivered
        self._answers: list[_Answer] = []
        self._recorded = _Lookup()
        outcomes = {entry.command: entry for entry in attempt if entry.kind in OUTCOMES}
        for entry in attempt:
            if entry.kind in kinds.COMMANDS and entry.kind not in (kinds.DROPPED, kinds.PATCHED):
                self._recorded.add(_Recorded(entry, outcomes.get(entry.command)))
            elif entry.kind in kinds.CAUSES and entry.kind not in OUTCOMES:
                self._answer_later(entry)

    @property
    def living(self) -> bool:
        """Whether sites are noted, as those of living bodies are."""
        return self._sites

    @property
    def known_as(self) -> RunFacts:
        """As the body learned it when it lived through the cause that is delivered."""
        return self.facts.at(self._position)

    def walk(self) -> None:
        """Deliver the recorded causes in their order, each as soon as the body asked for what it answers."""
        with self._active():
            while self._answers:
                self._position, _, cause = heapq.heappop(self._answers)
                now = max(self._now, cause.at)
                if cause.kind in OUTCOMES and cause.command not in self.waiting:
                    continue  # the body dropped it meanwhile
                self._deliver(cause if cause.at == now else cause._replace(at=now))
            if self._state == "running" and self._root is not None and self._root.done():
                self._conclude(self._root)

    def ask(
        self,
        kind: str,
        name: str,
        body: str | None = None,
        shape: str | None = None,
        *,
        due: int | None = None,
        detail: Callable[[str], str | None] | None = None,
        call: Any = None,
        timer: bool = False,
    ) -> Waiting:
        if self._closed or len(self.asked) >= self._limit:
            raise DivergenceSignal
        command = self.branch().next_command()
        known = self._reused.get(command)
        if known is not None and known[0][2] == kind and known[0][5] == name and known[0][8:10] == (body, shape):
            return self._reuse(command, known, call, timer)
        text = detail(command) if detail is not None and (self._sites or kind != kinds.STEP) else None
        asked = Entry(
            self.facts.run,
            len(self.asked),
            kind,
            self._now,
            command,
            name,
            due=due,
            body=body,
            shape=shape,
            detail=text,
        )
        self.asked.append(asked)
        future = None if timer else asyncio.Future[Any](loop=self.loop)
        match = self._match(asked)
        if kind == kinds.CHILD:
            call = child_named(text if match is None else match.command.detail)
        waiting = Waiting(command, kind, name, asked.position, future, call)
        self.waiting[command] = waiting
        if match is not None:
            self._recorded.remove(match)
            outcome = match.outcome
            if outcome is not None:
                self._answer_later(outcome if outcome.command == command else outcome._replace(command=command))
        return waiting

    def drop(self, waiting: Waiting) -> None:
        self.waiting.pop(waiting.command, None)

    def put_out(self, level: int, text: str, fields: Any) -> None:
        """Swallow it: the body printed this when it lived."""

    def _answer_later(self, cause: Entry) -> None:
        heapq.heappush(self._answers, _Answer(cause.position, next(self._numbers), cause))

    def _match(self, asked: Entry) -> _Recorded | None:
        """Find whose answer to give: equal in everything, else in kind and name, else renamed."""
        found = self._recorded.like(asked)
        if found is not None:
            return found
        here = self._recorded.at(asked.command)
        if here is not None and here.command.kind == asked.kind and self._gone(here.command.name):
            return here
        return None


class _Lookup:
    """Recorded commands whose answers nobody got yet, by what a body may ask."""

    def __init__(self) -> None:
        self._by_command: dict[str, _Recorded] = {}
        self._alike: dict[tuple[object, ...], dict[str, _Recorded]] = {}  # in the order in which they were recorded

    def add(self, recorded: _Recorded) -> None:
        self._by_command[recorded.command.command] = recorded
        for key in _keys(recorded.command):
            self._alike.setdefault(key, {})[recorded.command.command] = recorded

    def remove(self, recorded: _Recorded) -> None:
        del self._by_command[recorded.command.command]
        for key in _keys(recorded.command):
            del self._alike[key][recorded.command.command]

    def at(self, command: str) -> _Recorded | None:
        """The one of this identity."""
        return self._by_command.get(command)

    def like(self, asked: Entry) -> _Recorded | None:
        """The one that is most like it: the one of its identity before others, the earliest before later ones."""
        for key in _keys(asked):
            alike = self._alike.get(key)
            if alike:
                return alike.get(asked.command) or next(iter(alike.values()))
        return None


def _keys(command: Entry) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """What makes two commands alike: kind, name and arguments, or kind and name alone."""
    return (command.kind, command.name, command.body), (command.kind, command.name)


def _outline(asked: Sequence[Entry]) -> list[tuple[str, str, str, str | None, str | None]]:
    return [(entry.command, entry.kind, entry.name, entry.body, entry.shape) for entry in asked]


def _end(ending: Entry | None) -> tuple[str, str | None, str | None] | None:
    return None if ending is None else (ending.kind, ending.body, ending.shape)
