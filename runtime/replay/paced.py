"""A replay that gives way: it works for a millisecond, lets go of the lock under which bodies run, and rests.

Bodies run one at a time in a process, so a replay that kept the lock would hold up production for as long as the run is
long; and a thread that computes makes every other one wait some milliseconds for its turn. This file knows when to
rest. It must not know what a replay finds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from perdure.core.facts import Executable, RunFacts
from perdure.core.history import Reused
from perdure.core.machine import Machine
from perdure.storage.entries import Entry

#: How much to compute at a stretch, aimed at by counting strides; and how many strides the first stretch has.
_STRETCH_S: Final = 0.001
_STRIDES: Final = 32
_STRIDES_MAX: Final = 1024
#: While others are busy: how often to look again, and after how many looks to go on anyhow, lest it never ends.
_LOOK_EVERY_S: Final = 0.01
_LOOKS_MAX: Final = 2


class OutOfTime(BaseException):
    """Ends a replay that closing does not wait for any longer."""


class Pace:
    """When a replay in the background rests, and for how long.

    It rests for as long as it worked, and on for as long as `is_busy` says so, within limits: at worst it works for a
    twentieth of the time. Once `hurry` was called it rests no more, and ends when the time is up.
    """

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self._is_busy = is_busy
        self._hurrying = threading.Event()
        self._end = 0.0
        self._begun = 0.0  # thread time, which waiting for one's turn is no part of
        self.strides = _STRIDES  # to take before the next rest

    @property
    def hurrying(self) -> bool:
        """Whether there is no time to rest any more."""
        return self._hurrying.is_set()

    def begin(self) -> None:
        """Begin to work in this thread."""
        self._begun = time.thread_time()

    def hurry(self, seconds: float) -> None:
        """Rest no more, and end within so many seconds. From any thread."""
        self._end = time.perf_counter() + seconds
        self._hurrying.set()

    def wait(self, seconds: float) -> None:
        """Do nothing for a while, or until there is a hurry."""
        self._hurrying.wait(seconds)

    def rest(self) -> None:
        """Give way to others; nothing may be held meanwhile. Raises OutOfTime when a hurry is over."""
        worked_s = time.thread_time() - self._begun
        if worked_s > 2 * _STRETCH_S:
            self.strides = max(1, self.strides // 2)
        elif worked_s < _STRETCH_S / 2 and not self.hurrying:
            self.strides = min(_STRIDES_MAX, self.strides * 2)
            return  # what was held is let go of; that is all for so little work
        if not self.hurrying:
            self.wait(worked_s)
            for _ in range(_LOOKS_MAX):
                if self.hurrying or not self._is_busy():
                    break
                self.wait(_LOOK_EVERY_S)
        self.begin()
        if self.hurrying and time.perf_counter() > self._end:
            raise OutOfTime


class PacedMachine(Machine):
    """A machine whose replay rests every few strides."""

    def __init__(self, executable: Executable, facts: RunFacts, reused: Reused | None = None, *, pace: Pace) -> None:
        super().__init__(executable, facts, reused)
        self._pace = pace
        self._left = 0  # strides until the next rest

    def _replay_strides(self) -> None:
        while self._coming is not None:
            self._left = self._pace.strides
            with self._active():
                while self._coming is not None and self._left > 0:
                    self._left -= 1
                    self._replay_stride()
            self._pace.rest()

    def replayed(self, name: str, body: str | None, shape: str | None) -> Entry | None:
        """Take the short way from step to step until it is time to rest, which can be done between strides alone."""
        self._left -= 1
        return super().replayed(name, body, shape) if self._left > 0 else None
