"""Orders: runs that a step starts and events that it sends, recorded with the step's result.

Checked when they are asked for, so that nothing refuses them in the batch. Knows how a start is written down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from perdure.client.starts import start_of
from perdure.core.receiving import check_event_type
from perdure.declare.registry import Definition, Registry
from perdure.engine.reactions import EventSent
from perdure.services.effects import Word
from perdure.texts import checked_text


class EngineOrders:
    """Orders to the engine of one runtime."""

    def __init__(self, registry: Registry) -> None:
        self._find: Callable[[str | Definition, str | None], Definition] = registry.find

    def start(
        self, run_id: str, workflow: str | Definition, input: object, *, version: str | None = None, **options: Any
    ) -> Word:
        """Check a start, and give what does it. Options are those of `Runtime.start`."""
        definition = self._find(workflow, version)
        wanted = start_of(definition, input, run_id=run_id, **options)
        wanted = replace(wanted, encoded=definition.encode_input(input))
        return lambda engine, batch: engine.moves.start(wanted, batch)

    def event(self, type: str, payload: object, **options: Any) -> Word:
        """Check an event, and give what sends it."""
        sent = event_of(type, payload, **options)
        return lambda engine, batch: engine.reactions.event(sent, batch)


def event_of(
    type: str,
    payload: object,
    *,
    resource: str | None = None,
    namespace: str | None = None,
    event_id: str | None = None,
) -> EventSent:
    """Check what the caller gave, and say what is sent."""
    check_event_type(type)
    checked_text(type, "type")
    return EventSent(type, payload, resource, namespace, event_id)
