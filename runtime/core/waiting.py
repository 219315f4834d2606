"""A command that a body waits for, until its outcome answers it."""

from __future__ import annotations

import asyncio
from typing import Any


class Waiting:
    """A command that the body waits for."""

    __slots__ = ("call", "command", "detail", "future", "kind", "name", "position")

    def __init__(
        self,
        command: str,
        kind: str,
        name: str,
        position: int,
        future: asyncio.Future[Any] | None,
        call: Any,
        detail: str | None = None,
    ) -> None:
        self.command = command
        self.kind = kind
        self.name = name
        self.position = position
        self.future = future  # None for a timer, whose `call` is called instead
        self.call = call
        self.detail = detail  # as it is recorded


def forget(waits: dict[str, Waiting]) -> None:
    """Let go of the waits of a body that is gone. Each holds the task that waited, which holds it."""
    for waiting in waits.values():
        if waiting.future is not None:
            waiting.future.cancel()
    waits.clear()
