"""The real clock and the real entropy. No other file of Perdure reads either."""

from __future__ import annotations

import base64
import os
import time
from typing import Protocol

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


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


class SystemClock:
    """This machine's clock, and ids that sort by time of creation."""

    def now_us(self) -> int:
        """Microseconds since 1970 UTC; follows the machine's clock, also backwards."""
        return time.time_ns() // 1000

    def new_run_id(self) -> str:
        """A ULID: 48 bits of milliseconds and 80 random bits, 26 characters."""
        number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
        characters = []
        for _ in range(26):
            characters.append(_CROCKFORD[number & 31])
            number >>= 5
        return "".join(reversed(characters))

    def new_token(self) -> str:
        """A text of 22 characters for addresses, from 128 random bits."""
        return base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode("ascii")
