"""A run, stopped at a place of its history: where its body stands there, branch by branch, and with which variables.

Knows how to replay up to a place, and how to look at suspended coroutines. Must not know how it is shown.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import isasyncgen
from types import FrameType, TracebackType
from typing import Any

from perdure.core.context import Context
from perdure.core.elided import shortened
from perdure.core.history import split_attempts, started_with
from perdure.core.loop import BodyTask
from perdure.core.machine import Machine
from perdure.core.places import Place
from perdure.core.step import StepContext
from perdure.core.waiting import Waiting
from perdure.declare.registry import Definition
from perdure.engine.residents import facts_of, reused_from
from perdure.sandbox import frames
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunRow

_VALUE_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Frame:
    """One function of the author's that has not returned.

    Attributes:
        file, line, function: where it stands.
        variables: by the author's names, as short texts. `step` and `ctx` are left out, as they say nothing.
    """

    file: str
    line: int
    function: str
    variables: dict[str, str]


@dataclass(frozen=True, slots=True)
class Stack:
    """One branch of a body: its frames, the outermost first, and what it waits for.

    Attributes:
        branch: its path, `0` is the body's own.
        waits_for: kind and name of the command, empty when it waits for another branch.
        position: of the command's entry, None likewise.
    """

    branch: str
    frames: tuple[Frame, ...]
    waits_for: str = ""
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a body stands after an entry and all that belongs to it.

    Attributes:
        position: of the last entry that was replayed.
        stacks: one for each branch that is not over; of a body that failed, the one that raised.
        ending: kind of the attempt's end (`completed`, `failed`, `cancelled`, `retrying`), empty while it runs.
        error: what a body that failed raised, as text.
    """

    position: int
    stacks: tuple[Stack, ...]
    ending: str = ""
    error: str = ""


class Walk:
    """One attempt of a run, to be replayed up to a place.

    Attributes:
        entries: of the attempt, up to the end of the stride that has the place.
    """

    def __init__(self, row: RunRow, definition: Definition, entries: Sequence[Entry], place: Place) -> None:
        attempts = split_attempts(entries)
        self.definition = definition
        self.facts = facts_of(row, entries[0], place.attempt)
        self.created = started_with(entries)
        self.reused = reused_from(attempts[: place.attempt - 1])
        self.whole = attempts[place.attempt - 1]
        self.entries = [entry for entry in self.whole if entry.position <= place.last]


def stop_at(walk: Walk) -> Stop:
    """Replay up to a place and look.

    Raises:
        Divergence: today's code does not get there.
    """
    machine = Replayed(walk)
    try:
        machine.replay(walk.entries)
        return stop_of(machine, walk.entries[-1].position)
    finally:
        machine.close()


class Replayed(Machine):
    """A machine whose body may be looked at."""

    def __init__(self, walk: Walk) -> None:
        super().__init__(walk.definition, walk.facts, walk.reused)
        self.set_input(walk.created)

    def failure(self) -> BaseException | None:
        """What left the body, if anything did."""
        root = self._root
        return None if root is None or not root.done() or root.cancelled() else root.exception()


def stop_of(machine: Replayed, position: int) -> Stop:
    """Look at a machine that was replayed up to a position."""
    if not machine.ended:
        return Stop(position, tuple(stacks_of(machine)))
    # Without an ending of its own, the machine was stopped by the sandbox, as it was when that was recorded.
    ending = machine.ending.kind if machine.ending is not None else kinds.FAILED
    error = machine.failure()
    if error is None:
        return Stop(position, (), ending)
    raised = Stack("0", tuple(_frame(frame, line) for frame, line in raised_in(error.__traceback__)))
    return Stop(position, (raised,), ending, f"{type(error).__name__}: {error}".splitlines()[0])


def stacks_of(machine: Machine) -> Iterator[Stack]:
    """Go through the branches of a body that waits."""
    waits: dict[object, Waiting] = {each.future: each for each in machine.waiting.values() if each.future is not None}
    for task in machine.loop.tasks:
        if task.done():
            continue
        waiting = waits.get(getattr(task, "_fut_waiter", None))
        shown = tuple(_frame(frame, frame.f_lineno) for frame in authors_frames(task))
        if waiting is None:
            yield Stack(task.branch.path, shown)
        else:
            yield Stack(task.branch.path, shown, f"{waiting.kind} {waiting.name}", waiting.position)


def authors_frames(task: BodyTask[Any]) -> Iterator[FrameType]:
    """Go through the author's frames of a suspended task, the outermost first."""
    awaited: Any = task.get_coro()
    while awaited is not None:
        if type(awaited).__name__ in ("async_generator_asend", "async_generator_athrow"):
            # Python has no attribute for the generator behind them.
            awaited = next((each for each in gc.get_referents(awaited) if isasyncgen(each)), None)
        frame = None
        following = None
        for kind in ("cr", "gi", "ag"):
            if hasattr(awaited, f"{kind}_frame"):
                frame = getattr(awaited, f"{kind}_frame")
                following = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
        if frame is not None and frames.is_authors(frame):
            yield frame
        awaited = following


def raised_in(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    """Go through the author's frames of a traceback, each with its line."""
    while trace is not None:
        if frames.is_authors(trace.tb_frame):
            yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _frame(frame: FrameType, line: int) -> Frame:
    code = frame.f_code
    variables = {
        name: _text(value)
        for name, value in frames.variables(frame).items()
        if not isinstance(value, StepContext | Context)
    }
    return Frame(code.co_filename, line, code.co_qualname, variables)


def _text(value: object) -> str:
    try:
        return shortened(repr(value), _VALUE_CHARACTERS_MAX)
    except Exception as error:  # noqa: BLE001  # the author's own __repr__; whoever looks sees that it failed
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
