"""A small world that never changes: what answers a body that nobody runs as a workflow.

Time begins at 1970-01-01T00:00Z and moves only when the body sleeps; random numbers are seeded by the source; tasks run
on a loop without a clock. `load` runs its functions in it.

This file knows such a world. It must not know how code came to run in it.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import heapq
import itertools
import random
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, TypeVar

from perdure.errors import SandboxViolation

T = TypeVar("T")

DEFAULT_MAX_OPS: Final = 10_000_000  # a second or so of looping


class FixedLoop(asyncio.AbstractEventLoop):
    """An event loop whose time jumps to the next timer as soon as nothing else is ready."""

    def __init__(self) -> None:
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = itertools.count()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    # Callers give any callback with its arguments, which is what the loop hands back to it.
    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._count), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to do: a cancelled timer is skipped when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], **options: Any) -> asyncio.Task[T]:
        return asyncio.Task(coro, loop=self, **options)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        print(f"{context.get('message')}: {context.get('exception')!r}", file=sys.stderr)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, also inside of another running loop.

        Raises:
            SandboxViolation: it waits for something that nothing will do.
        """
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            task = self.create_task(coroutine)
            while not task.done():
                self._advance()
            return task.result()
        finally:
            asyncio._set_running_loop(outer)

    def _advance(self) -> None:
        while not self._ready and self._timers:
            when, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled():
                self._now = max(self._now, when)
                self._ready.append(timer)
        if not self._ready:
            raise SandboxViolation(
                "the body waits for something that nothing will do.",
                why="no task is ready and no timer is set",
                fix="set the result, or give the wait a timeout",
            )
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()


class FixedEnvironment:
    """The environment of `load`; see the protocol in `environment.py`."""

    def __init__(self, seed: str, max_ops: int | None = None) -> None:
        self.max_ops = DEFAULT_MAX_OPS if max_ops is None else max_ops
        self.loop = FixedLoop()  # type: ignore[abstract]  # bodies have no use for sockets and processes
        self._random = random.Random(int.from_bytes(hashlib.blake2b(seed.encode("utf-8", "replace")).digest()))

    def now_us(self) -> int:
        return round(self.loop.time() * 1_000_000)

    def random(self) -> random.Random:
        return self._random

    def emit(self, text: str) -> None:
        sys.stdout.write(text)

    async def sleep(self, seconds: float) -> None:
        woken = self.loop.create_future()
        self.loop.call_later(max(0.0, seconds), lambda: None if woken.done() else woken.set_result(None))
        await woken
