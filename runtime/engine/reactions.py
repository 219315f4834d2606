"""Reactions: what an event or a change starts, in the very batch that has it.

Knows which definitions want what. Must not append or dispatch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from perdure.engine.batch import Batch
from perdure.services.effects import Change

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


class EventSent(NamedTuple):
    """An event on its way in, checked."""

    type: str
    payload: object
    resource: str | None = None
    namespace: str | None = None
    event_id: str | None = None  # the same id again is the same event


class Reactions:
    """What follows from events and changes, for one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def event(self, sent: EventSent, batch: Batch) -> int:
        """Wake the runs that wait for this event; give how many."""
        return self._engine.moves.event(sent.type, sent.payload, batch)

    def changed(self, change: Change, batch: Batch) -> None:
        """Start what wants to know of a change."""
