"""How a body's request becomes a command: what the methods of `step` share.

Knows commands and their details. Must not know what any of them is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perdure.core.sites import site
from perdure.durations import Duration, duration_us
from perdure.storage.encoding import Encoded
from perdure.storage.plain import spaced_text

if TYPE_CHECKING:
    from perdure.core.machine import Machine
    from perdure.core.waiting import Waiting

NO_FACTS: Mapping[str, Any] = {}


class Asking:
    """A part of `step`, over the machine whose body asks."""

    __slots__ = ("_machine",)

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def _here(self) -> str:
        """The body's line that makes this call, noted now because a task of its own has no caller on its stack."""
        return site() if self._machine.living else ""

    async def _wait(
        self,
        kind: str,
        name: str,
        arguments: Encoded | None,
        where: str,
        *,
        lasts_us: int | None = None,
        due_us: int | None = None,
        detail: Mapping[str, object] = NO_FACTS,
        call: Any = None,
    ) -> Any:
        """Ask for something that time or the outside answers; `lasts_us` counts from when it is awaited."""
        machine = self._machine
        due = due_us if lasts_us is None else machine.now_us() + lasts_us
        body, shape = arguments if arguments is not None else (None, None)
        waiting = machine.ask(kind, name, body, shape, due=due, call=call, detail=lambda _: detail_text(detail, where))
        return await outcome_of(machine, waiting)

    async def _outcome(self, waiting: Waiting) -> Any:
        return await outcome_of(self._machine, waiting)


async def outcome_of(machine: Machine, waiting: Waiting) -> Any:
    """Wait for a command's outcome."""
    assert waiting.future is not None  # only timers have none, and they are not awaited
    try:
        return await waiting.future
    except asyncio.CancelledError:
        # The task that waited was cancelled (not the command's own outcome): whoever works on it may stop.
        if waiting.future.cancelled():
            machine.drop(waiting)
        raise


def detail_text(facts: Mapping[str, object], where: str) -> str:
    """An entry's detail: the facts, and the line that asked."""
    return spaced_text({**facts, "site": where or site()})


def timeout_us(timeout: Duration | None) -> int | None:
    """A timeout in microseconds; None is none."""
    return None if timeout is None else duration_us(timeout, "timeout")
