"""One batch: everything that became ready at once, appended together, and what may only happen after that."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perdure.core.facts import Output, RunFacts
from perdure.declare.registry import Definition
from perdure.engine.attempts import Attempt, Place
from perdure.services.effects import Effects
from perdure.storage.cells import Cell
from perdure.storage.entries import DefinitionRow, Entry

if TYPE_CHECKING:
    from perdure.engine.engine import Message


class Unsettled(Exception):
    """Something else moves the run in this very batch: ask again, the next one knows the outcome."""


@dataclass(slots=True)
class Queued:
    """A run of this batch that waits on a queue, and so has no body in memory."""

    definition: Definition
    entries: list[Entry]


@dataclass(slots=True)
class Batch:
    """What one turn of the engine has gathered so far."""

    now: int  # microseconds; the same for the whole batch
    entries: list[Entry] = field(default_factory=list)
    definitions: list[DefinitionRow] = field(default_factory=list)
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)  # by space and key
    #: Runs with entries in this batch. One of them without a body in memory must wait for the next batch, because the
    #: ledger's row of it is out of date until the append.
    touched: set[int] = field(default_factory=set)
    created: dict[str, int] = field(default_factory=dict)  # run_id → run, of this batch
    continued: dict[str, str] = field(default_factory=dict)  # run_id → who goes on with it, of this batch
    keys: dict[tuple[str, str], str] = field(default_factory=dict)  # (workflow, idempotency key) → run_id
    queued: dict[int, Queued] = field(default_factory=dict)  # by run: created in this batch, and not begun
    looked_at: int = 0  # entries that the queues have taken in
    stopping: set[int] = field(default_factory=set)  # runs that this batch asks to stop
    hooks: dict[str, list[Place]] = field(default_factory=dict)  # by token, made in this batch, likewise
    closed_hooks: set[Place] = field(default_factory=set)  # disposed in this batch
    waits: list[Entry] = field(default_factory=list)  # for events, begun in this batch: the ledger knows them not yet
    # ── only after the append ──
    perform: list[Attempt] = field(default_factory=list)
    cancel: list[Place] = field(default_factory=list)
    outputs: list[tuple[RunFacts, Output]] = field(default_factory=list)
    effects: list[Effects] = field(default_factory=list)  # that this batch records; they are over then
    ended: list[int] = field(default_factory=list)  # runs whose attempt is over
    times: list[tuple[int, int]] = field(default_factory=list)  # (due, run) that no entry's own `due` says
    lengths: dict[int, int] = field(default_factory=dict)  # of touched runs without a body in memory
    follow: deque[Callable[[], None]] = field(default_factory=deque)  # moves of relatives, before the append
    acknowledge: list[Callable[[], None]] = field(default_factory=list)
    refuse: list[Callable[[BaseException], None]] = field(default_factory=list)
    #: What steps said that this batch records; given back to the inbox, in order, if it can't be appended.
    outcomes: list[Message] = field(default_factory=list)
    notes: dict[int, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)  # see notes.py: kind and fields
    streams: dict[tuple[int, str], list[int]] = field(default_factory=dict)  # (run, namespace) → as RunRow.streams
    again: list[Callable[[Batch], None]] = field(default_factory=list)  # likewise: what nobody else would ask for again

    def add(self, *entries: Entry) -> None:
        """Take entries of one run, in order."""
        self.entries.extend(entries)
        self.touched.add(entries[0].run)
