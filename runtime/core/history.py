"""A run's entries, seen as what a body went through: attempts, strides, and outcomes that a new attempt may reuse.

A *stride* is one cause (or, after a recovery, several) and the commands and the ending that the body gave for it.
Knows the order of entries; must not know how a body is run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from perdure.core.lifecycle import interruption, is_interruption
from perdure.core.readings import reads_as
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry

#: Outcomes that the next attempt of a run gets again; what failed or was cancelled is asked for anew.
REUSED: Final = frozenset(
    {kinds.STEP_COMPLETED, kinds.TIMER_FIRED, kinds.EVENT_RECEIVED, kinds.WAIT_TIMED_OUT, kinds.CHILD_COMPLETED,
     kinds.CHILD_STARTED}
)  # fmt: skip

_ONCE: Final = '"at_most_once"'
_CAUSES = kinds.CAUSES
_COMMANDS = kinds.COMMANDS
_ENDINGS = kinds.ENDINGS
_APART = frozenset({kinds.DROPPED, kinds.PATCHED})  # commands whose identity alone would not find them again


class Reused(dict[str, tuple[Entry, Entry]]):
    """By command identity: the command as it was asked, and the outcome that answered it.

    Attributes:
        messages: signals and payloads of hooks, in the order in which they came: a new attempt reads them again.
        hooks: by identity, the hooks that were made.
    """

    def __init__(self, earlier: Reused | None = None) -> None:
        super().__init__(earlier or {})
        self.messages: list[Entry] = [] if earlier is None else list(earlier.messages)
        self.hooks: dict[str, Entry] = {} if earlier is None else dict(earlier.hooks)

    def learn(self, entries: Iterable[Entry]) -> None:
        """Take over what an attempt completed, and which at-most-once steps it may have done without hearing of it."""
        asked: dict[str, Entry] = {}
        once: dict[str, Entry] = {}
        for entry in entries:
            if entry.kind in REUSED:
                command = asked.get(entry.command)
                if command is not None:
                    self[entry.command] = (command, entry)
                    once.pop(entry.command, None)
            elif entry.kind == kinds.STEP_FAILED:
                if not is_interruption(entry):  # that it failed is known, so that it may be tried again
                    once.pop(entry.command, None)
            elif entry.kind in (kinds.SIGNAL_RECEIVED, kinds.HOOK_RECEIVED):
                self.messages.append(entry)
            elif entry.kind == kinds.HOOK:
                self.hooks[entry.command] = entry
            elif entry.kind in (kinds.EMIT, kinds.PATCHED):
                self[entry.command] = (entry, entry)
            elif entry.kind in _COMMANDS and entry.kind != kinds.DROPPED:
                asked[entry.command] = entry
                if entry.detail and _ONCE in entry.detail:
                    once[entry.command] = entry
        for left in once.values():
            self[left.command] = (left, interruption(left))


def begins_at_once(created: Entry) -> bool:
    """Whether CREATED begins the body; else BEGAN does, when its time has come or its queue has room."""
    if created.due is not None:
        return False
    # Parsing costs more than looking, and most runs are on no queue.
    if created.detail is None or '"queue"' not in created.detail:
        return True
    return not created.facts().get("queue")


def started_with(entries: Sequence[Entry]) -> Entry:
    """A run's first entry, with the input of the newest start that took its place before it began."""
    created = entries[0]
    for entry in itertools.islice(entries, 1, None):
        if entry.kind == kinds.DEBOUNCED:
            created = created._replace(body=entry.body, shape=entry.shape)
        elif entry.kind in _COMMANDS or entry.kind == kinds.BEGAN:
            break
    return created


def split_attempts(entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    """Cut a history before each RESTARTED; the first part has CREATED.

    A DIVERGED right before it says that the attempt could not begin, so it belongs to that attempt.
    """
    cuts = [index for index, entry in enumerate(entries) if entry.kind == kinds.RESTARTED]
    if not cuts:
        return [entries]
    cuts = [cut - 1 if entries[cut - 1].kind == kinds.DIVERGED else cut for cut in cuts]
    bounds = [0, *cuts, len(entries)]
    return [entries[start:stop] for start, stop in itertools.pairwise(bounds)]


def attempts_of(attempt: int, entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    """Cut the history of a run that is in its `attempt`-th attempt; one in its first has no RESTARTED to look for."""
    return [entries] if attempt == 1 else split_attempts(entries)


class Stride:
    """Causes, and what the body must ask for and end with when it is fed them.

    Attributes:
        causes: one, or after a recovery several.
        commands: by identity (see `command_key`), in order; a replay takes out what it has matched.
        changes: the changes whose new way the body has taken since; a replay need not ask for them.
        ending: how the body ended, if it did.
        last: position of its last entry.
        result: its only cause, when that is the result of a step.
    """

    # A replay makes one of these for every step: what most don't have is the class's, and `strides` fills in the rest.
    causes: list[Entry]
    commands: dict[str, Entry]
    changes: tuple[str, ...] = ()
    ending: Entry | None = None
    last: int = -1
    result: Entry | None = None

    def was_full(self, entries_max: int) -> bool:
        """Whether the body was refused whatever else it asked for here, because of the run's length.

        What is left can only say that something was dropped, which is never refused. Notes may have come after it.
        """
        left = len(self.commands) + (self.ending is not None)
        return self.last + 1 - left >= entries_max and all(key.startswith("-") for key in self.commands)


def command_key(kind: str, command: str) -> str:
    """Tell a command from the later word that it was dropped, which carries the same identity."""
    return "-" + command if kind == kinds.DROPPED else command


def strides(entries: Iterable[Entry], deferred: list[Entry]) -> Iterator[Stride]:
    """Go through one attempt stride by stride.

    Causes that came while the run was diverged and has not recovered yet are put into `deferred`: the body never saw
    them.
    """
    stride: Stride | None = None
    diverged = False
    commands: dict[str, Entry] = {}
    for entry in entries:
        kind = entry[2]
        # Most entries are one of these two, and comparing is quicker than looking up.
        if kind == kinds.STEP:
            commands[entry[4]] = entry
        elif kind == kinds.STEP_COMPLETED and stride is not None and not diverged:
            stride.last = entry[1] - 1
            yield stride
            stride = Stride()
            stride.causes = [entry]
            stride.commands = commands = {}
            stride.result = entry
        elif kind in _COMMANDS:
            if kind not in _APART:
                commands[entry[4]] = entry
            elif kind == kinds.DROPPED:
                commands["-" + entry[4]] = entry
            elif stride is not None:
                stride.changes += (entry[5],)
        elif kind in _CAUSES:
            if diverged:
                deferred.append(entry)
                continue
            if stride is not None:
                stride.last = entry[1] - 1
                yield stride
            stride = Stride()
            stride.causes = [entry]
            stride.commands = commands = {}
        elif kind in _ENDINGS:
            if stride is not None:
                stride.ending = entry
        elif kind == kinds.DIVERGED:
            diverged = True
        elif kind == kinds.RECOVERED:
            diverged = False
            if deferred:
                if stride is not None:
                    stride.last = entry[1] - 1
                    yield stride
                stride = Stride()
                stride.causes = list(deferred)
                stride.commands = commands = {}
                deferred.clear()
    if stride is not None:
        stride.last = entry[1]
        yield stride


def is_reused(reused: tuple[Entry, Entry], kind: str, name: str, body: str | None, shape: str | None) -> bool:
    """Whether a command gets what an earlier attempt completed."""
    asked, outcome = reused
    if outcome.kind == kinds.STEP_FAILED:  # of an at-most-once step: other arguments don't make it another one
        return asked.kind == kind and asked.name == name
    return same_command(asked, kind, name, body, shape)


def same_command(recorded: Entry, kind: str, name: str, body: str | None, shape: str | None) -> bool:
    """Whether a command is the recorded one with its identity."""
    if recorded.body == body and recorded.name == name and recorded.kind == kind and recorded.shape == shape:
        return True
    return (recorded.kind, recorded.name) == (kind, name) and reads_as(recorded[8:10], body, shape)
