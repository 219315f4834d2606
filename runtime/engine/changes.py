"""What a fork may change: the input of a run that begins anew, and the results of the steps at which it forks.

Knows values that somebody gives. Must not know how a fork is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from perdure.core.machine import Machine
from perdure.declare.registry import Definition
from perdure.errors import DefinitionError
from perdure.storage import entries as kinds
from perdure.storage.encoding import Encoded, encode
from perdure.storage.entries import Entry

#: Stands for an input that is to stay as it was; None is an input like any other.
UNCHANGED: Final[Any] = object()
_GIVEN: Final = '{"given": true}'  # nobody ran the step: its result was given with the fork


@dataclass(frozen=True, slots=True)
class Changes:
    """What somebody wants to be otherwise in a fork."""

    input: object = UNCHANGED
    results: Mapping[str, object] = field(default_factory=dict)  # by the name of the step

    def encoded_input(self, definition: Definition, position: int) -> Encoded | None:
        """The other input, None when it stays as it was.

        Args:
            position: where the fork begins to live.

        Raises:
            DefinitionError: the body has acted on its input before. InvalidInput, NotSerializable: it does not fit.
        """
        if self.input is UNCHANGED:
            return None
        if position:
            raise DefinitionError(
                f"a fork at entry {position} can't have another input.",
                why="what it takes over was done for the input that is recorded",
                fix="fork at entry 0, where the whole run begins anew: at=0 (--at 0)",
            )
        return definition.encode_input(self.input)

    def give(self, machine: Machine, now: int) -> tuple[list[Entry], list[Entry]]:
        """Answer the steps that were asked for with what is given; all new entries, and what the body asked for then.

        Raises:
            DefinitionError: nobody asks for a step of that name there. NotSerializable.
        """
        new: list[Entry] = []
        asked: list[Entry] = []
        commands = {name: _asked(machine, name) for name in self.results}
        for name, command in commands.items():
            if machine.ended or command not in machine.waiting:
                continue  # the body dropped it, because of the result given before
            value = encode(self.results[name])
            fields = {"command": command, "name": name, "attempt": 1, "body": value.body, "shape": value.shape}
            entry = machine.entry(kinds.STEP_COMPLETED, now, detail=_GIVEN, **fields)
            answer = machine.feed(entry)
            new += [entry, *answer]
            asked += answer
        return new, asked


def _asked(machine: Machine, name: str) -> str:
    waiting = {each.name: each.command for each in machine.waiting.values() if each.kind == kinds.STEP}
    if name not in waiting:
        raise DefinitionError(
            f"the result of {name!r} can't be given, because the run does not ask for that step where it forks.",
            why=f"it asks there for: {_listed(list(waiting))}",
            fix=f"fork it at that step: at={name!r}",
        )
    return waiting[name]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "no step"
