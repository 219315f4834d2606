"""A clock that stands still until it is told to move: for simulations, fixtures, and tests of your own.

Knows time as numbers. Must not know who looks at it: whoever wants to hear of a change asks for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

from perdure.durations import Duration, duration_us, moment_us

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

#: Where simulated time begins: a Tuesday, far from any daylight-saving change, and plainly not today.
START: Final = "2030-01-01T00:00:00Z"


class SimulatedClock:
    """Time and fresh ids for an engine, both of the test's making: the same seed gives the same ids.

    A runtime that opens a ledger which has runs gets others, the same ones for as many runs: another clock of this seed
    may have given out those that are there.

    Args:
        start: where time begins, an aware `datetime` or an ISO-8601 text.
        seed: makes the run ids of two clocks differ.

    Raises:
        DefinitionError: `start` is naive, or no point in time.
    """

    def __init__(self, start: datetime | str = START, *, seed: int = 0) -> None:
        self._now_us = moment_us(start)
        self._seed = str(seed)
        self._numbers = itertools.count(1)
        self._tokens = itertools.count(1)
        self._listeners: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<clock at {self.now.isoformat()}>"

    @property
    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        return _EPOCH + timedelta(microseconds=self._now_us)

    def now_us(self) -> int:
        """Microseconds since 1970 UTC."""
        return self._now_us

    def new_run_id(self) -> str:
        """An id in the form of real ones (26 characters that sort by time), from the seed and a count."""
        number = next(self._numbers)
        tail = blake2b(f"{self._seed}/{number}".encode(), digest_size=5).digest()
        # The count stands before the hash, so that ids of one moment sort in the order in which they were given out.
        value = (self._now_us // 1000) << 80 | (number & 0xFF_FFFF_FFFF) << 40 | int.from_bytes(tail)
        return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))

    def open_on(self, count_runs: Callable[[], int]) -> None:
        """Give ids from now on that no run of a ledger has, which a runtime opens."""
        runs = count_runs()
        if runs:
            self._seed = f"{self._seed.partition('+')[0]}+{runs}"

    def new_token(self) -> str:
        """A token in the form of real ones, from the seed and a count."""
        return blake2b(f"{self._seed}/token/{next(self._tokens)}".encode(), digest_size=11).hexdigest()

    def advance(self, duration: Duration) -> None:
        """Let time pass."""
        self._move(self._now_us + duration_us(duration))

    def jump(self, duration: timedelta | float) -> None:
        """Set the clock forward or, with a negative duration, back, as somebody who corrects a machine's clock does.

        Args:
            duration: a `timedelta`, or seconds.
        """
        if not isinstance(duration, timedelta):
            duration = timedelta(seconds=duration)
        self._move(self._now_us + duration // timedelta(microseconds=1))

    def set(self, when: datetime | str) -> None:
        """Make it a moment, earlier or later: an aware `datetime` or an ISO-8601 text."""
        self._move(moment_us(when))

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have `listener` called after every change, on the thread that made it; call what this gives to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _move(self, now_us: int) -> None:
        self._now_us = now_us
        for listener in list(self._listeners):
            listener()
