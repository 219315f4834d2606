"""Conditions that a body waits for, over its own state: when they are looked at again.

After each cause, once the body has come to rest, every open condition is looked at; when one of them holds, its task
goes on and may change what the others look at, so they are looked at once more, until none holds any more.

Knows tasks that look for themselves. Must not know what they look at.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.core.loop import BodyLoop


class Condition:
    """One condition that did not hold when it was last looked at."""

    __slots__ = ("_loop", "_wake")

    def __init__(self, loop: BodyLoop) -> None:
        self._loop = loop
        self._wake: asyncio.Future[None] | None = None

    async def look_again(self) -> None:
        """Wait until it is time to look again. The task itself looks, so that what it raises is raised in the body."""
        self._wake = self._loop.create_future()
        await self._wake

    def wake(self) -> None:
        """Have its task look."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class Conditions:
    """The open conditions of a body, in the order in which they were asked."""

    __slots__ = ("_loop", "open")

    def __init__(self, loop: BodyLoop) -> None:
        self._loop = loop
        self.open: list[Condition] = []

    def add(self) -> Condition:
        """Open a condition; its task takes it out of `open` when it is done with it."""
        condition = Condition(self._loop)
        self.open.append(condition)
        return condition

    def look(self) -> None:
        """Look at all conditions, until nothing changes any more."""
        while self.open:
            looked_at = list(self.open)
            for condition in looked_at:
                condition.wake()
            self._loop.run_ready()
            if self.open == looked_at:
                return
