"""How faults of a schedule strike at commits: the disk's meet the ledger's append, those from outside ask the engine.

Knows which are yet to strike. Must not know what a life is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeAlias

from perdure.engine.batch import Batch
from perdure.engine.engine import Engine, Message, Request
from perdure.engine.reactions import EventSent
from perdure.storage.ledger import ENDED, RunFilter
from perdure.testing.clock import SimulatedClock
from perdure.testing.faults import CancelRun, ClockJump, CommitFault, EventStorm, FullDisk, LyingSync, Restart, describe
from perdure.testing.simulated_ledger import SimulatedLedger
from perdure.testing.story import Story

Outside: TypeAlias = ClockJump | EventStorm | CancelRun


class Strikes:
    """The faults of a simulation that strike at its commits, over all its lives.

    Args:
        know: takes the workflows that a process comes back with.

    Attributes:
        lied: whether a disk took back what it had acknowledged.
    """

    def __init__(
        self,
        faults: Iterable[CommitFault],
        clock: SimulatedClock,
        story: Story,
        know: Callable[[Iterable[object]], None],
    ) -> None:
        self._coming = list(faults)
        self._clock = clock
        self._story = story
        self._know = know
        self._full = 0  # tries that the disk still refuses
        self.lied = False

    def add(self, fault: CommitFault) -> None:
        """Have one more strike when its commit comes."""
        self._coming.append(fault)

    def prepare(self, ledger: SimulatedLedger, messages: list[Message]) -> None:
        """Let those from outside strike that are due at the next commit, and arm the ledger with another."""
        coming = ledger.commit + 1
        for fault in [each for each in self._coming if each.commit <= coming]:
            if isinstance(fault, Outside):
                self._coming.remove(fault)
                self._tell(fault)
                if isinstance(fault, ClockJump):
                    self._clock.jump(fault.seconds)
                else:
                    messages.extend(asked_by(fault))
            elif ledger.fault is None and fault.commit == coming:
                ledger.fault = fault
                ledger.on_strike = self._struck
            elif fault.commit < coming:
                self._coming.remove(fault)

    def _struck(self, fault: CommitFault) -> None:
        """A commit met its fault."""
        if isinstance(fault, FullDisk):
            self._full = (self._full or fault.times) - 1
            if self._full == 0:
                self._coming.remove(fault)
        else:
            self._coming.remove(fault)
        self.lied = self.lied or isinstance(fault, LyingSync)
        if isinstance(fault, Restart) and fault.workflows:
            self._know(fault.workflows)
        self._tell(fault)

    def _tell(self, fault: CommitFault) -> None:
        self._story.add("fault", lambda: f"commit {fault.commit}: {describe(fault)}")


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
