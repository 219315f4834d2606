"""The time that an attempt of a step has: in all, and between two signs of life. On whatever event loop it runs."""

from __future__ import annotations

import asyncio
from types import TracebackType

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


class limited:  # `async with limited(…)`, as asyncio.timeout
    """Cancel what runs inside when the attempt's time is up.

    A class and not a generator: the traceback of a step's error is recorded, and has no place in a library then.

    Raises:
        StepTimeout: it was.
    """

    def __init__(self, attempt: Attempt, channel: Channel) -> None:
        self._attempt = attempt
        self._channel = channel
        limit_us = attempt.call.options.timeout_us
        self._scope = asyncio.timeout(None if limit_us is None else limit_us / 1_000_000)
        self._watch: _Watch | None = None

    async def __aenter__(self) -> None:
        await self._scope.__aenter__()
        silence_us = self._attempt.call.options.heartbeat_timeout_us
        if silence_us is not None:
            self._watch = _Watch(self._channel, silence_us, self._scope)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        watch = self._watch
        if watch is not None:
            watch.timer.cancel()
        try:
            await self._scope.__aexit__(kind, error, trace)
        except TimeoutError:
            if not self._scope.expired():
                raise
            is_silent = watch is not None and watch.is_silent
            raise self._attempt.fell_silent() if is_silent else self._attempt.timed_out() from None
