"""Drives a machine without an engine: answers what waits, in any order, and keeps the entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.core.facts import RunFacts
from perdure.core.machine import Machine
from perdure.storage import entries as kinds
from perdure.storage.encoding import encode
from perdure.storage.entries import Entry


class Driver:
    """One run of a definition, with its history."""

    def __init__(self, definition: Any, value: object = None, run_id: str = "r") -> None:
        self.definition = definition
        self.facts = RunFacts(1, run_id, definition.id, definition.version)
        encoded = definition.encode_input(value)
        created = Entry(1, 0, kinds.CREATED, 1_000_000, name=definition.id, body=encoded.body, shape=encoded.shape)
        self.machine = Machine(definition, self.facts)
        self.machine.length = 1
        self.entries = [created, *self.machine.feed(created)]

    @property
    def ending(self) -> Entry | None:
        last = self.entries[-1]
        return last if last.kind in kinds.ENDINGS else None

    def waiting(self) -> list[str]:
        """Identities of the commands that wait, in order of asking."""
        return list(self.machine.waiting)

    def answer(self, command: str, result: Callable[[Any], object] = lambda call: None) -> None:
        """Answer one command: a step with `result(call)`, a timer by firing it."""
        waiting = self.machine.waiting[command]
        at = self.machine.last_at + 1000
        if waiting.kind == kinds.STEP:
            encoded = encode(result(waiting.call))
            cause = self.machine.entry(
                kinds.STEP_COMPLETED, at, command=command, name=waiting.name, body=encoded.body, shape=encoded.shape
            )
        else:
            cause = self.machine.entry(kinds.TIMER_FIRED, at, command=command, name=waiting.name)
        self.feed(cause)

    def feed(self, cause: Entry) -> None:
        self.entries += [cause, *self.machine.feed(cause)]

    def replayed(self) -> Machine:
        """Replay what was recorded on a fresh machine; it then stands where this one stands."""
        machine = Machine(self.definition, self.facts)
        machine.replay(self.entries)
        return machine


def run_function(call: Any) -> object:
    """What a performer of synchronous steps would give."""
    args, kwargs = call.values()
    return call.function(*args, **kwargs)
