"""The real clock and the real entropy. No other file of Perdure reads either."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from typing import Protocol

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHARACTERS = bytes(_CROCKFORD[number & 31].encode()[0] for number in range(256))  # each of them for eight bytes
_RANDOM_CHARACTERS = 16  # of an id, five bits each
_DRAWN_IDS = 256  # at a time: each time costs a call of the kernel, and the interpreter's lock meanwhile


class Clock(Protocol):
    """Time and fresh ids for an engine; tests bring their own."""

    def now_us(self) -> int:
        """Microseconds since 1970 UTC."""
        ...

    def new_run_id(self) -> str:
        """An id that nobody had before."""
        ...

    def new_token(self) -> str:
        """A token of a hook, which nobody can guess."""
        ...

    def open_on(self, count_runs: Callable[[], int]) -> None:
        """Give ids from now on that no run of a ledger has, which a runtime opens; it counts its runs if asked to."""
        ...


class SystemClock:
    """This machine's clock, and ids that sort by time of creation."""

    def now_us(self) -> int:
        """Microseconds since 1970 UTC; follows the machine's clock, also backwards."""
        return time.time_ns() // 1000

    def new_run_id(self) -> str:
        """A ULID: 48 bits of milliseconds and 80 random bits, 26 characters."""
        milliseconds = time.time_ns() // 1_000_000
        return "".join([_CROCKFORD[milliseconds >> shift & 31] for shift in range(45, -5, -5)]) + _random_characters()

    def new_token(self) -> str:
        """A text of 22 characters for addresses, from 128 random bits."""
        return base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode("ascii")

    def open_on(self, count_runs: Callable[[], int]) -> None:
        """Entropy has no need to know the ledger."""


#: Drawn and not given out yet. One list for the process, so that a fork can forget it: both sides would give the same.
_drawn: list[str] = []


def _random_characters() -> str:
    """Give the random part of one id, drawn from the system many at a time. Any thread may ask."""
    while True:
        try:
            return _drawn.pop()
        except IndexError:
            text = os.urandom(_RANDOM_CHARACTERS * _DRAWN_IDS).translate(_CHARACTERS).decode("ascii")
            _drawn.extend(
                [text[start : start + _RANDOM_CHARACTERS] for start in range(0, len(text), _RANDOM_CHARACTERS)]
            )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drawn.clear)
