"""The event loop of simulated steps: first in, first out, in virtual time, without sockets or threads.

Knows asyncio's calls. Must not know steps.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from asyncio import events as asyncio_events
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeVar

from perdure.engine.current_step import current_step
from perdure.errors import DefinitionError

T = TypeVar("T")


class StepLoop(asyncio.AbstractEventLoop):
    """Runs the coroutines of simulated steps as far as they go without time passing."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._outside = 0
        self.closed = False
        self.refused: DefinitionError | None = None  # the newest refusal, whatever the step made of it

    def run_ready(self) -> None:
        """Run everything that is ready, and what is due."""
        outer = asyncio_events._get_running_loop()
        asyncio_events._set_running_loop(self)
        try:
            while self._take_due() or self._ready:
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio_events._set_running_loop(outer)

    def end(self) -> None:
        """Die with the process: what is ready never runs."""
        self.closed = True
        self._ready.clear()

    def next_time(self) -> int | None:
        """When a timer is due; None when there is none."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _take_due(self) -> bool:
        due = self.next_time()
        while due is not None and due <= self._now_us():
            self._ready.append(heapq.heappop(self._timers)[2])
            due = self.next_time()
        return bool(self._ready)

    # ── what asyncio calls ──

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self.closed:
            self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self.closed:
            heapq.heappush(self._timers, (round(when * 1_000_000), next(self._numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """`next_time` passes over cancelled ones."""

    def time(self) -> float:
        return self._now_us() / 1_000_000

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], **options: Any) -> asyncio.Task[T]:
        return asyncio.Task(coro, loop=self, **options)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self.closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A task's exception that nobody fetched: the step's outcome has said it, or nobody wants it."""

    async def shutdown_asyncgens(self) -> None:
        """Nothing is tracked."""


@contextmanager
def without_a_loop() -> Iterator[None]:
    """Call a plain function as a worker thread does: no event loop runs there, whoever runs one around it."""
    outer = asyncio_events._get_running_loop()
    asyncio_events._set_running_loop(None)
    try:
        yield
    finally:
        asyncio_events._set_running_loop(outer)


def _refusing(name: str) -> Callable[..., object]:
    def refuse(self: StepLoop, *_: object, **__: object) -> object:
        asking = current_step().name
        self.refused = DefinitionError(
            f"the simulated step {asking!r} called its event loop's {name}().",
            why="a simulation has virtual time, and no sockets, threads or processes",
            fix=f"give the step a fake: steps={{{asking!r}: fake}}",
        )
        raise self.refused

    return refuse


for _name, _member in list(vars(asyncio.AbstractEventLoop).items()):
    if callable(_member) and not _name.startswith("_") and _name not in vars(StepLoop):
        setattr(StepLoop, _name, _refusing(_name))
StepLoop.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]  # each has its refusal now
