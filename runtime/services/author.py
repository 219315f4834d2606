"""Authors: whose writes those of a transaction are."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, NamedTuple, Protocol


class Author(Protocol):
    """Who writes: an attempt of a step, or a caller from outside."""

    @property
    def label(self) -> str:
        """Its name in errors."""
        ...

    @property
    def written_under(self) -> str:
        """The same for every attempt of a step: other back ends write once under it. Empty for a call from outside."""
        ...


class Caller(NamedTuple):
    """An author that is no step, and never writes the same again."""

    label: str
    written_under: str = ""


#: The attempt that this task or thread works on; None outside of steps.
at_work: Final[ContextVar[Author | None]] = ContextVar("perdure_author", default=None)
