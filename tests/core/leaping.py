"""A clock that leaps when it is told to: what takes an hour is over at once, and never too soon."""

from __future__ import annotations

from perdure.durations import Duration, duration_us
from perdure.engine.clock import SystemClock


class Leaping(SystemClock):
    """This machine's time and more; an engine looks at it when it next has something to do."""

    ahead_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.ahead_us

    def leap(self, duration: Duration) -> None:
        """Be later from now on."""
        self.ahead_us += duration_us(duration)
