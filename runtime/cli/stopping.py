"""Signals that end a worker: the first asks it to, the second leaves at once.

    1st    `asked` is set: steps at work may finish, for as long as the limit says
    2nd    `at_once` is set: nothing is waited for
    3rd    the process ends there and then

What starts processes often signals the process and its whole group (`timeout`, wrappers that pass signals on). So what
comes before the first one was even noticed is the first one's echo.

It also ends when what was asked for does not come about in time: a step may block the loop, or cling to its life.

Works where asyncio has no signal handlers of its own (Windows). Knows signals. Must not know what is stopped.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

#: Ctrl-C, what service managers send, and Ctrl-Break, which only Windows has.
_NUMBERS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))
_AT_ONCE_WITHIN_S: Final = 3.0
_NOTICED_WITHIN_S: Final = 0.1  # else a step blocks the loop, and the next signal counts all the same
_SHELLS_ADD: Final = 128  # to the number of a signal, for the exit code of what it ended


class Stop:
    """What signals have asked for so far.

    Args:
        limit_s: within which an ordinary stop comes about, all told. exit_code: when it does not.
        said: called before the process ends on its own account.

    Attributes:
        asked: by the first signal. at_once: by the second.
        signal: the number of the newest one; 0 while none has come.
    """

    def __init__(self, limit_s: float, exit_code: int, said: Callable[[], None] = lambda: None) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()
        self.signal = 0
        self._count = 0
        self._first_at = 0.0
        self._limit = limit_s, exit_code
        self._said = said
        self._take_back: list[Callable[[], None]] = []

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal has ended."""
        return _SHELLS_ADD + self.signal

    @contextmanager
    def by_signals(self) -> Iterator[None]:
        """Listen to signals for as long as the block lasts. In the main thread, with a loop running."""
        loop = asyncio.get_running_loop()

        def came(number: int, frame: object = None) -> None:
            if self._count == 1 and not self.asked.is_set() and loop.time() < self._first_at + _NOTICED_WITHIN_S:
                return
            self.signal = number
            self._count += 1
            if self._count == 1:
                self._first_at = loop.time()
                self._leave_after(*self._limit)
                loop.call_soon_threadsafe(self.asked.set)
            elif self._count == 2:
                self._leave_after(_AT_ONCE_WITHIN_S, self.exit_code)
                loop.call_soon_threadsafe(self.at_once.set)
            else:
                os._exit(self.exit_code)

        before: dict[int, Any] = {number: signal.signal(number, came) for number in _NUMBERS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            for take_back in self._take_back:
                take_back()

    def _leave_after(self, seconds: float, exit_code: int) -> None:
        self._take_back.append(leave_after(seconds, exit_code, self._said))


def leave_after(seconds: float, exit_code: int, said: Callable[[], None] = lambda: None) -> Callable[[], None]:
    """End the process after a while, whatever it does then; give what takes that back.

    Args:
        said: called before it ends.
    """

    def leave() -> None:
        try:
            said()
        finally:
            os._exit(exit_code)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()
    return timer.cancel
