"""How long the id of an event is known: whoever sends again within a month is told so, and starts nothing."""

from __future__ import annotations

from typing import Any

from perdure import on_event
from perdure.testing import Crash, Simulation


@on_event("order.paid")
async def paid(event: Any) -> None:
    """Hear of it."""


def test_an_id_is_known_for_thirty_days_also_across_a_crash() -> None:
    with Simulation(paid, faults=[Crash(2, "after")]) as simulation:
        first = simulation.send_event("order.paid", event_id="p1")
        assert len(first.started) == 1
        simulation.advance("29d")
        simulation.crash()
        again = simulation.send_event("order.paid", event_id="p1")
        assert (again.is_duplicate, again.started) == (True, ())
        simulation.advance("2d")
        later = simulation.send_event("order.paid", event_id="p1")
        assert (later.is_duplicate, len(later.started)) == (False, 1)
        simulation.run()
