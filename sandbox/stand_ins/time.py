"""`time` in a body: ledger time. Every clock of the module shows it, so durations between two waits are zero.

Outside of a body the functions are the real ones. This file must not know who keeps ledger time.
"""

from __future__ import annotations

import time as real
from typing import Final

from perdure.errors import SandboxViolation
from perdure.sandbox.activation import current


def time() -> float:
    """Give ledger time in seconds since 1970 UTC."""
    environment = current()
    return real.time() if environment is None else environment.now_us() / 1_000_000


def time_ns() -> int:
    """Give ledger time in nanoseconds since 1970 UTC."""
    environment = current()
    return real.time_ns() if environment is None else environment.now_us() * 1000


def monotonic() -> float:
    """Give ledger time, which never goes back within a run, in seconds."""
    environment = current()
    return real.monotonic() if environment is None else environment.now_us() / 1_000_000


def monotonic_ns() -> int:
    """Give ledger time in nanoseconds."""
    environment = current()
    return real.monotonic_ns() if environment is None else environment.now_us() * 1000


def perf_counter() -> float:
    """Give ledger time in seconds: what a body does between two waits takes none."""
    environment = current()
    return real.perf_counter() if environment is None else environment.now_us() / 1_000_000


def perf_counter_ns() -> int:
    """Give ledger time in nanoseconds."""
    environment = current()
    return real.perf_counter_ns() if environment is None else environment.now_us() * 1000


def gmtime(seconds: float | None = None, /) -> real.struct_time:
    """Take seconds since 1970, by default ledger time, apart in UTC."""
    return real.gmtime(time() if seconds is None else seconds)


def strftime(format: str, when: tuple[int, ...] | real.struct_time | None = None, /) -> str:
    """Write a time, by default ledger time in UTC.

    Raises:
        SandboxViolation: the format has `%Z` or `%z`, which show the machine's time zone.
    """
    if current() is None:
        return real.strftime(format) if when is None else real.strftime(format, when)  # type: ignore[arg-type]
    if "%Z" in format or "%z" in format:
        raise SandboxViolation(
            "time.strftime can't write a time zone in a body.",
            why="it would be the machine's",
            fix="use an aware datetime: datetime.now(timezone.utc).strftime(…)",
        )
    return real.strftime(format, gmtime() if when is None else when)  # type: ignore[arg-type]


def asctime(when: tuple[int, ...] | real.struct_time | None = None, /) -> str:
    """Write a time as `Sun Jan  1 00:00:00 1970`, by default ledger time in UTC."""
    return real.asctime(gmtime() if when is None else when)  # type: ignore[arg-type]


STAND_INS: Final = (
    time, time_ns, monotonic, monotonic_ns, perf_counter, perf_counter_ns, gmtime, strftime, asctime,
)  # fmt: skip
