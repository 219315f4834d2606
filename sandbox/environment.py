"""What a running body may ask of the world, as the sandbox sees it.

One object per run implements this; the core's machine does, and `load()` has a small fixed one. The stand-ins for
`time`, `random`, `asyncio` and `print` find it through `perdure.sandbox.activation`.

This file knows the questions. It must not know who answers.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable
from typing import Protocol


class Environment(Protocol):
    """The world of one run while its body is being advanced."""

    max_ops: int
    """Operations (loop rounds, calls) that the body may spend between two waits."""

    def now_us(self) -> int:
        """Ledger time, microseconds since 1970 UTC: the time of the entry that is being fed."""
        ...

    def random(self) -> random.Random:
        """The current branch's generator, seeded by run and branch."""
        ...

    def emit(self, text: str) -> None:
        """Take what one `print` wrote, its `end` included; replays swallow it."""
        ...

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Sleep durably: `asyncio.sleep` in a body."""
        ...
