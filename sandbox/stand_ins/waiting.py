"""The parts of asyncio that go through plain sets of tasks, written so that the order never depends on addresses.

`wait` and `as_completed` begin with the tasks in the order in which they were given; `TaskGroup` cancels in order of
creation; `wait_for` makes no task of what it waits for, whatever the Python version. Everything else of asyncio is
deterministic on a deterministic loop, and is used as it is.

This file knows asyncio's contracts. It must not know which loop runs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from perdure.errors import SandboxViolation
from perdure.sandbox.sets import OrderedSet

T = TypeVar("T")


def _given(awaitables: Iterable[Awaitable[T]], function: str) -> list[Awaitable[T]]:
    """List what was given, once each."""
    if asyncio.isfuture(awaitables) or asyncio.iscoroutine(awaitables):
        raise TypeError(f"expect an iterable of futures, not {type(awaitables).__name__}")
    if isinstance(awaitables, set | frozenset) and not getattr(awaitables, "__ordered__", False):
        raise SandboxViolation(
            f"asyncio.{function} was given a set that no body made.",
            why="its order differs from process to process, and with it who is served first",
            fix="give it a list",
        )
    return list(dict.fromkeys(awaitables))


async def wait(
    fs: Iterable[asyncio.Future[T]], *, timeout: float | None = None, return_when: str = asyncio.ALL_COMPLETED
) -> tuple[set[asyncio.Future[T]], set[asyncio.Future[T]]]:
    """Wait for tasks; give those that are done and those that are not, both in the order in which they were given."""
    tasks = _given(fs, "wait")
    if any(asyncio.iscoroutine(task) for task in tasks):
        raise TypeError("Passing coroutines is forbidden, use tasks explicitly.")
    if not tasks:
        raise ValueError("Set of Tasks/Futures is empty.")
    if return_when not in (asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED):
        raise ValueError(f"Invalid return_when value: {return_when}")
    futures: list[asyncio.Future[T]] = [asyncio.ensure_future(task) for task in tasks]
    await _enough(futures, timeout, return_when)
    return OrderedSet(each for each in futures if each.done()), OrderedSet(each for each in futures if not each.done())


async def _enough(futures: list[asyncio.Future[T]], timeout: float | None, return_when: str) -> None:
    """Return when as many are done as `return_when` asks for, or after `timeout` seconds."""

    def is_enough() -> bool:
        done = [each for each in futures if each.done()]
        if return_when == asyncio.FIRST_COMPLETED and done:
            return True
        if return_when == asyncio.FIRST_EXCEPTION and any(_failed(each) for each in done):
            return True
        return len(done) == len(futures)

    if is_enough():
        return
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def release() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def completed(_: asyncio.Future[T]) -> None:
        if is_enough():
            release()

    timer = loop.call_later(timeout, release) if timeout is not None else None
    for each in futures:
        each.add_done_callback(completed)
    try:
        await waiter
    finally:
        if timer is not None:
            timer.cancel()
        for each in futures:
            each.remove_done_callback(completed)


def _failed(future: asyncio.Future[T]) -> bool:
    return not future.cancelled() and future.exception() is not None


async def wait_for(fut: Awaitable[T], timeout: float | None) -> T:
    """Await something for at most `timeout` seconds, in the caller's own branch.

    Python 3.11 makes a task of a coroutine, later versions don't; a run must go on when its Python is replaced.
    """
    if timeout is None:
        return await fut
    if timeout <= 0:
        return await asyncio.wait_for(fut, timeout)  # all versions alike: what is not done yet is cancelled
    async with asyncio.timeout(timeout):
        return await fut


class as_completed(AsyncIterator["asyncio.Future[Any]"], Iterator["Coroutine[Any, Any, Any]"]):
    """Go through awaitables in order of completion; those that are done already come in the order given.

    `for` gives coroutines to await for the next result, `async for` the tasks themselves, on every Python version.
    """

    def __init__(self, fs: Iterable[Awaitable[Any]], *, timeout: float | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._pending = [asyncio.ensure_future(each) for each in _given(fs, "as_completed")]
        self._left = len(self._pending)
        self._done: deque[asyncio.Future[Any] | None] = deque()  # None: the timeout
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer = loop.call_later(timeout, self._time_out) if timeout is not None and self._pending else None
        for each in list(self._pending):
            each.add_done_callback(self._complete)

    def _complete(self, future: asyncio.Future[Any]) -> None:
        if future not in self._pending:
            return  # timed out before
        self._pending.remove(future)
        self._done.append(future)
        self._wake()
        if not self._pending and self._timer is not None:
            self._timer.cancel()

    def _time_out(self) -> None:
        for each in self._pending:
            each.remove_done_callback(self._complete)
            self._done.append(None)
        self._pending.clear()
        while self._waiters:
            self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _next(self) -> asyncio.Future[Any]:
        while not self._done:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        future = self._done.popleft()
        if self._done:
            self._wake()
        if future is None:
            raise TimeoutError
        return future

    async def _next_result(self) -> Any:
        return (await self._next()).result()

    def __iter__(self) -> as_completed:
        return self

    def __next__(self) -> Coroutine[Any, Any, Any]:
        if not self._left:
            raise StopIteration
        self._left -= 1
        return self._next_result()

    def __aiter__(self) -> as_completed:
        return self

    async def __anext__(self) -> asyncio.Future[Any]:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return await self._next()


class TaskGroup(asyncio.TaskGroup):
    """`asyncio.TaskGroup`, which cancels its tasks in order of creation when one fails."""

    def __init__(self) -> None:
        super().__init__()
        # asyncio's own is a plain set, whose order is one of addresses.
        self._tasks: set[asyncio.Task[Any]] = OrderedSet()
