"""Several causes in one stride: what reached a run while it was diverged is told when it goes on, one after the other.

    rules   1. Messages answered what waited when they came; what a body asks for because of the first cause does not
               take the second before its turn.
            2. An earlier cause may have the body give up a wait that a later one answered. An outcome is then passed
               over; a message goes back, to the next wait for its box or into the box.
            3. After the body has returned nothing is told to what it left behind.

A run is never stuck for any of this. Knows machines and causes. Must not know why the causes had to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from perdure.core.boxes import MESSAGES
from perdure.core.outcomes import OUTCOMES
from perdure.storage.entries import Entry

if TYPE_CHECKING:
    from perdure.core.machine import Machine


def deliver_deferred(machine: Machine, causes: Sequence[Entry], deliver: Callable[[Entry], None]) -> None:
    """Tell the causes of one stride in order, but for what nobody wants any more by then."""
    waited = set(machine.waiting)
    machine.boxes.file(causes, machine.waiting)
    for cause in causes:
        outcome = cause.kind in OUTCOMES
        if machine.returned and (outcome or cause.kind in MESSAGES):
            if not outcome:
                machine.boxes.hold(cause)
            continue
        if outcome and cause.command in waited and cause.command not in machine.waiting:
            continue
        deliver(cause)
