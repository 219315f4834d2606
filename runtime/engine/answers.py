"""Answers to callers on an event loop: given one by one, handed over a burst at a time.

Waking a loop costs a call of the kernel on both sides, and the interpreter's lock goes back and forth; a thousand
answers of one batch wake it once.

Knows loops and their futures. Must not know what was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


class Reply(Protocol):
    """What the engine needs of the future of a request; `concurrent.futures.Future` is one."""

    def running(self) -> bool: ...

    def done(self) -> bool: ...

    def set_running_or_notify_cancel(self) -> bool: ...

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, exception: BaseException | None, /) -> None: ...


class Answer(Generic[T]):
    """One caller's answer, awaited as `future`. What was taken up goes on when the caller does not wait any more."""

    __slots__ = ("_burst", "_is_done", "_is_running", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop, burst: Burst) -> None:
        self.future: asyncio.Future[T] = loop.create_future()
        self._burst = burst
        self._is_running = False
        self._is_done = False

    def running(self) -> bool:
        """Whether it was taken up, and not answered yet."""
        return self._is_running and not self._is_done

    def done(self) -> bool:
        """Whether it was answered."""
        return self._is_done

    def set_running_or_notify_cancel(self) -> bool:
        """Take it up; False when its caller has gone."""
        self._is_running = not self.future.cancelled()
        return self._is_running

    def set_result(self, result: T) -> None:
        """Answer it."""
        self._is_done = True
        self._burst.answers.append((self.future, result, None))

    def set_exception(self, exception: BaseException | None) -> None:
        """Say that it can't be had."""
        self._is_done = True
        self._burst.answers.append((self.future, None, exception))


class Burst:
    """The answers that were given since the last `hand_over`. One thread at a time gives them."""

    def __init__(self) -> None:
        self.answers: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []

    def hand_over(self) -> None:
        """Wake each loop that somebody waits on, once."""
        if not self.answers:
            return
        answers, self.answers = self.answers, []
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any, BaseException | None]]] = {}
        for answer in answers:
            by_loop.setdefault(answer[0].get_loop(), []).append(answer)
        for loop, given in by_loop.items():
            with suppress(RuntimeError):  # it was closed: nobody waits there any more
                loop.call_soon_threadsafe(_give, given)


def _give(answers: Iterable[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for future, result, error in answers:
        if future.done():  # its caller has gone
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
