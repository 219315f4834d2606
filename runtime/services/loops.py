"""The loop that services run on: the one that the runtime was opened on, whoever calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from perdure.errors import PerdureError

T = TypeVar("T")
_READERS_MAX: Final = 16  # threads, made as they are needed


class RuntimeLoop:
    """An event loop that runs in some thread. Make it on the loop itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        # Not the loop's own pool: that one's threads may all wait here for an operation, which could not read then.
        self._readers = ThreadPoolExecutor(_READERS_MAX, thread_name_prefix="perdure-services")

    def run(self, work: Coroutine[Any, Any, T]) -> Any:
        """Give the coroutine on the loop itself, something to await on another loop, else the result."""
        running = asyncio._get_running_loop()
        if running is self._loop:
            return work
        if running is not None:
            return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
        return self.wait(work)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Block until it is done."""
        if threading.get_ident() == self._thread:
            work.close()
            raise waits_for_itself()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def offload(self, read: Callable[[], T]) -> Awaitable[T]:
        """Do a long read on a thread of ours."""
        try:
            return self._loop.run_in_executor(self._readers, read)
        except RuntimeError:  # a step that was abandoned goes on in its thread
            raise PerdureError("the runtime is closed.", fix="use its services while it is open") from None

    def close(self) -> None:
        """Give back the threads, and read nothing any more."""
        self._readers.shutdown(wait=False)


def waits_for_itself() -> PerdureError:
    """The error of a blocking call on the loop that would do it."""
    return PerdureError(
        "a blocking call was made on the runtime's own loop, which would wait for itself.",
        fix="await it without `.blocking`, read a stream by `async for`, or do it in a plain def step",
    )
