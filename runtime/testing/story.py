"""What happened in a simulation, as lines that a person can follow.

Knows moments and words. Must not know how they came about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from perdure.core.elided import shortened

_LINES_MAX = 400


class Moment(NamedTuple):
    """One line, put into words only when somebody reads it."""

    at_us: int
    what: str
    tell: Callable[..., str]
    facts: tuple[Any, ...]


class Story:
    """The moments of a simulation, in order."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._begin = now_us()
        self.moments: list[Moment] = []

    def add(self, what: str, tell: Callable[..., str], *facts: Any) -> None:
        """Note that something happened."""
        self.moments.append(Moment(self._now_us(), what, tell, facts))

    def lines(self) -> list[str]:
        """All of it, a line a moment; the middle of a long one is left out."""
        told = [self._line(moment) for moment in self.moments[: _LINES_MAX // 2]]
        left = len(self.moments) - _LINES_MAX
        if left > 0:
            told.append(f"{'':>12}  … {left} more …")
        told += [self._line(moment) for moment in self.moments[_LINES_MAX // 2 :][-_LINES_MAX // 2 :]]
        return told

    def _line(self, moment: Moment) -> str:
        return f"{_elapsed(moment.at_us - self._begin):>12}  {moment.what:<8} {moment.tell(*moment.facts)}".rstrip()

    def __str__(self) -> str:
        return "\n".join(self.lines())


def plain(text: str = "") -> str:
    """A text as it is."""
    return text


def call_text(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """A call as a person would write it."""
    parts = [repr(value) for value in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
    return shortened(f"{name}({', '.join(parts)})", 160)


def _elapsed(micros: int) -> str:
    sign, micros = ("-", -micros) if micros < 0 else ("+", micros)
    seconds, rest = divmod(micros, 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest // 1000:03}"
    return f"{sign}{days}d {text}" if days else f"{sign}{text}"
