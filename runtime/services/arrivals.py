"""Arrivals: who waits for a message in this process, and is woken when one is sent here.

What other processes send to a queue that they share is found by looking again. Knows names of queues and the services'
loop, on which all of it runs. Must not know messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Arrivals:
    """The waiting consumers of one runtime."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self.is_closed = False  # from then on nobody waits: the runtime closes

    @contextmanager
    def expecting(self, queue: str) -> Iterator[asyncio.Event]:
        """Give what is set when something may have come since; enter it before looking whether something is there."""
        event = asyncio.Event()
        if self.is_closed:
            event.set()
        waiting = self._waiting.setdefault(queue, set())
        waiting.add(event)
        try:
            yield event
        finally:
            waiting.discard(event)
            if not waiting and self._waiting.get(queue) is waiting:
                del self._waiting[queue]

    def came(self, queue: str) -> None:
        """Wake those who wait at this queue."""
        for event in self._waiting.get(queue, ()):
            event.set()

    def close(self) -> None:
        """Wake everybody, for good."""
        self.is_closed = True
        for queue in self._waiting:
            self.came(queue)
