"""`uuid` in a body: identifiers from ledger time and the branch's generator, so that a replay makes the same ones.

They are as unique as the run's id is, and anybody who knows that can compute them: names, not secrets.
Outside of a body the functions are the real ones.
"""

from __future__ import annotations

import random
import secrets
import time
import uuid as real
from collections.abc import Callable
from typing import Final

from perdure.sandbox.activation import current

# From 1582-10-15, when UUIDs' clock begins, to 1970, in units of 100 ns.
_GREGORIAN_OFFSET: Final = 0x01B21DD213814000
_MULTICAST: Final = 1 << 40  # marks a node number that is no network card's


def uuid1(node: int | None = None, clock_seq: int | None = None) -> real.UUID:
    """Make a UUID of ledger time; node and sequence come from the branch's generator unless given."""
    environment = current()
    if environment is None:
        return real.uuid1(node, clock_seq)
    generator = environment.random()
    ticks = environment.now_us() * 10 + _GREGORIAN_OFFSET
    if clock_seq is None:
        clock_seq = generator.getrandbits(14)
    if node is None:
        node = generator.getrandbits(48) | _MULTICAST
    high = (ticks >> 48) & 0x0FFF, (clock_seq >> 8) & 0x3F, clock_seq & 0xFF
    return real.UUID(fields=(ticks & 0xFFFFFFFF, (ticks >> 32) & 0xFFFF, *high, node), version=1)


def uuid4() -> real.UUID:
    """Make a UUID from the branch's generator."""
    environment = current()
    if environment is None:
        return real.uuid4()
    return real.UUID(int=environment.random().getrandbits(128), version=4)


_real_uuid7: Final[Callable[[], real.UUID] | None] = getattr(real, "uuid7", None)  # new in Python 3.14


def uuid7() -> real.UUID:
    """Make a UUID that sorts by ledger time; the rest comes from the branch's generator."""
    environment = current()
    if environment is not None:
        return _uuid7(environment.now_us() // 1000, environment.random())
    if _real_uuid7 is not None:
        return _real_uuid7()
    return _uuid7(time.time_ns() // 1_000_000, secrets.SystemRandom())


def _uuid7(milliseconds: int, generator: random.Random) -> real.UUID:
    low = generator.getrandbits(80)
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | low
    value = value & ~(0xF000 << 64) | (7 << 76)  # version
    value = value & ~(0xC000 << 48) | (0b10 << 62)  # variant
    return real.UUID(int=value)


STAND_INS: Final = (uuid1, uuid4, uuid7)
