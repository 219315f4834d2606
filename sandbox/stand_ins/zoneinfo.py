"""`ZoneInfo` in a body: the real time zones. Reading one for the first time opens a file, which is let through.

This file must not know what watches over files.
"""

from __future__ import annotations

import zoneinfo as real
from typing import Final, NoReturn

from perdure.errors import SandboxViolation
from perdure.sandbox.activation import suspended
from perdure.sandbox.stand_ins.facade import StandInType, refuse_subclass


class ZoneInfo(real.ZoneInfo, metaclass=StandInType):
    """`zoneinfo.ZoneInfo`: a time zone by its key, such as `Europe/Paris`."""

    _real = real.ZoneInfo

    def __new__(cls, key: str) -> real.ZoneInfo:  # type: ignore[misc]  # the real class, on purpose
        # The same data for ever, as far as a library can promise that; a run that wants more records the offset.
        with suspended():
            return real.ZoneInfo(str(key))

    def __init_subclass__(cls) -> NoReturn:
        raise refuse_subclass(cls.__mro__[1])

    @classmethod
    def no_cache(cls, key: str) -> real.ZoneInfo:  # type: ignore[override]
        return cls(key)

    @classmethod
    def from_file(cls, *_: object, **__: object) -> NoReturn:
        raise _files("from_file")

    @classmethod
    def clear_cache(cls, *_: object, **__: object) -> NoReturn:
        raise _files("clear_cache")


def _files(name: str) -> SandboxViolation:
    return SandboxViolation(
        f"ZoneInfo.{name} can't be used in a body.",
        why="it reaches files",
        fix='name the zone: ZoneInfo("Europe/Paris")',
    )


STAND_INS: Final[dict[str, object]] = {"ZoneInfo": ZoneInfo}
