"""The time that an attempt of a step has: in all, and between two signs of life. On whatever event loop it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from perdure.engine.attempts import Attempt
from perdure.engine.channel import Channel


class _Watch:
    """Ends a scope when its attempt has been silent for too long.

    One timer looks when the limit could have passed, so that a sign of life costs no more than noting the time.
    """

    def __init__(self, channel: Channel, limit_us: int, scope: asyncio.Timeout) -> None:
        self.loop = asyncio.get_running_loop()
        self.channel = channel
        self.limit_s = limit_us / 1_000_000
        self.scope = scope
        self.is_silent = False
        channel.heard_at = self.loop.time()
        self.timer = self.loop.call_later(self.limit_s, self._look)

    def _look(self) -> None:
        left_s = self.channel.heard_at + self.limit_s - self.loop.time()
        if left_s > 0:
            self.timer = self.loop.call_later(left_s, self._look)
        else:
            self.is_silent = True
            self.scope.reschedule(self.loop.time())


@asynccontextmanager
async def limited(attempt: Attempt, channel: Channel) -> AsyncIterator[None]:
    """Cancel what runs inside when the attempt's time is up.

    Raises:
        StepTimeout: it was.
    """
    options = attempt.call.options
    limit_us, silence_us = options.timeout_us, options.heartbeat_timeout_us
    watch: _Watch | None = None
    scope = asyncio.timeout(None if limit_us is None else limit_us / 1_000_000)
    try:
        async with scope:
            if silence_us is not None:
                watch = _Watch(channel, silence_us, scope)
            yield
    except TimeoutError:
        if not scope.expired():
            raise
        raise attempt.fell_silent() if watch is not None and watch.is_silent else attempt.timed_out() from None
    finally:
        if watch is not None:
            watch.timer.cancel()
