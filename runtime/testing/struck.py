"""What faults that come from outside ask of an engine: events in storms, and cancels. Knows requests, not when."""

from __future__ import annotations

from concurrent.futures import Future

from perdure.engine.batch import Batch
from perdure.engine.engine import Engine, Message, Request
from perdure.engine.reactions import EventSent
from perdure.storage.ledger import ENDED, RunFilter
from perdure.testing.faults import CancelRun, EventStorm


def asked_by(fault: EventStorm | CancelRun) -> list[Message]:
    """The requests that a fault makes, all at once."""
    return _storm(fault) if isinstance(fault, EventStorm) else [_cancel(fault)]


def _storm(fault: EventStorm) -> list[Message]:
    def send(engine: Engine, batch: Batch) -> int:
        return engine.reactions.event(EventSent(fault.type, fault.payload), batch)

    return [Request(send, Future()) for _ in range(fault.count)]


def _cancel(fault: CancelRun) -> Message:
    def cancel(engine: Engine, batch: Batch) -> bool:
        if fault.run_id is None:
            rows = [each for each in engine.ledger.runs(RunFilter(limit=None)) if each.status not in ENDED]
            row = rows[-1] if rows else None
        else:
            row = engine.ledger.run(fault.run_id)
        return row is not None and engine.moves.cancel(row, batch)

    return Request(cancel, Future())
