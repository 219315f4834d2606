"""Who sends events in an experiment: whenever a run waits for one, it comes at once, or never.

Knows waits and payloads. Must not know why anybody wants to see what follows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from perdure.errors import DefinitionError
from perdure.storage import entries as kinds
from perdure.storage.ledger import ENDED, Pending
from perdure.testing.outside import is_function

if TYPE_CHECKING:
    from perdure.testing.simulation import Simulation

#: How many events one experiment gets, so that a run that waits for the next one for ever comes to rest.
EVENTS_MAX: Final = 100

#: In place of a payload: this event does not come.
SILENCE: Final = object()

Payload = Callable[[str, Pending], Any]  # of a run's wait: what comes, or SILENCE


class Messenger:
    """Sends to every wait what `payload_of` gives for it, once.

    Args:
        payload_of: by event type; waits for other types are left alone.
    """

    def __init__(self, payload_of: Mapping[str, Payload]) -> None:
        self._payload_of = payload_of
        self._answered: set[tuple[str, str]] = set()

    def send(self, simulation: Simulation) -> bool:
        """Send one event that somebody waits for; False when there is none to send."""
        if len(self._answered) >= EVENTS_MAX:
            return False
        for run in simulation.runs():
            row = run.row()
            if row.status in ENDED:
                continue
            for pending in list(row.pending.values()):
                place = (run.run_id, pending.command)
                if pending.kind != kinds.WAIT_EVENT or place in self._answered:
                    continue
                payload_of = self._payload_of.get(pending.event_type)
                if payload_of is None:
                    continue
                self._answered.add(place)
                payload = payload_of(run.run_id, pending)
                if payload is SILENCE:
                    continue
                simulation.send_event(pending.event_type, payload)
                _check_arrived(simulation, run.run_id, pending, payload)
                return True
        return False


def given(what: Any) -> Payload:
    """Make a payload of what `events=` says: a value, or a function of what the wait must match."""

    def payload(run_id: str, pending: Pending) -> Any:
        wanted = wanted_by(pending)
        return fitting(what(wanted) if is_function(what) else what, wanted)

    return payload


def wanted_by(pending: Pending) -> dict[str, Any]:
    """The `match` of a wait."""
    wanted: dict[str, Any] = json.loads(pending.match or "{}")
    return wanted


def fitting(payload: Any, wanted: Mapping[str, Any]) -> Any:
    """Make a payload match: what the wait compares is filled in, if the payload has keys at all."""
    if payload is None and wanted:
        return dict(wanted)
    return {**payload, **wanted} if isinstance(payload, dict) else payload


def _check_arrived(simulation: Simulation, run_id: str, pending: Pending, payload: Any) -> None:
    row = simulation.handle(run_id).row()
    waits = row.pending.get(pending.command)
    if waits is not None and waits.position == pending.position and row.status not in ENDED:
        raise DefinitionError(
            f"events={{{pending.event_type!r}: …}} gives what the wait {pending.name!r} does not match: {payload!r}.",
            why=f"it waits for {pending.match}",
            fix="give a dictionary, or a function of what the wait must match",
        )
