"""How the outside behaves when a step calls it: one answer after another, failing at first, or remembering keys.

These are fakes for `steps={…}`. What they keep, they keep for one simulation, over all its lives: they are the world.

Knows keys and answers. Must not know simulations.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any

from perdure.engine.current_step import current_step
from perdure.errors import DefinitionError


class Act(ABC):
    """A fake that has its own way to answer.

    Attributes:
        plays: the values, exceptions or functions that it may play; each is checked against the real step.
    """

    plays: tuple[Any, ...]

    @abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answer a call of the step."""

    @abstractmethod
    def afresh(self) -> Act:
        """Make the same for another simulation, with nothing kept."""


class _Results(Act):
    def __init__(self, plays: tuple[Any, ...]) -> None:
        self.plays = plays
        self._given: dict[tuple[str, int], Any] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        key = (current_step().idempotency_key, current_step().attempt)
        if key not in self._given:
            self._given[key] = self.plays[min(len(self._given), len(self.plays) - 1)]
        return play(self._given[key], args, kwargs)

    def afresh(self) -> _Results:
        return _Results(self.plays)

    def __repr__(self) -> str:
        return f"results({', '.join(map(repr, self.plays))})"


class _Failing(Act):
    def __init__(self, times: int, error: BaseException | type[BaseException], then: Any) -> None:
        self.plays = (error, then)
        self._times = times

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return play(self.plays[current_step().attempt > self._times], args, kwargs)

    def afresh(self) -> _Failing:
        return self  # the attempt's number says it all

    def __repr__(self) -> str:
        return f"failing({self._times}, {self.plays[0]!r}, then={self.plays[1]!r})"


class Idempotent(Act):
    """A service that answers a key that it knows as it did before, and does nothing again."""

    def __init__(self, what: Any) -> None:
        self.plays = (what,)
        self._answers: dict[str, Any] = {}

    def knows(self, key: str) -> bool:
        """Whether it has answered this idempotency key."""
        return key in self._answers

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        key = current_step().idempotency_key
        if key in self._answers:
            return self._answers[key]
        answer = play(self.plays[0], args, kwargs)
        if inspect.isawaitable(answer):
            return self._keep(key, answer)
        self._answers[key] = answer
        return answer

    async def _keep(self, key: str, answer: Any) -> Any:
        self._answers[key] = await answer
        return self._answers[key]

    def afresh(self) -> Idempotent:
        return Idempotent(*self.plays)

    def __repr__(self) -> str:
        return f"idempotent({self.plays[0]!r})"


def results(*values: Any) -> Act:
    """Give one after another to the calls of a step, and the last one to all that follow.

    An attempt that is made again after a crash gets what it got the first time.

    Args:
        values: values to give, exceptions to raise, or functions to call; at least one.
    """
    if not values:
        raise DefinitionError("results() has nothing to give.", fix='write results("first", "second")')
    return _Results(values)


def failing(times: int, error: BaseException | type[BaseException], *, then: Any = None) -> Act:
    """Fail the first attempts of every call.

    Args:
        times: how many attempts fail. error: what they raise.
        then: what the next attempt gives: a value, or a function to call.
    """
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise DefinitionError(f"failing({times!r}, …) can't be used.", fix="count the attempts that fail from 1")
    if not _is_exception(error):
        raise DefinitionError(f"failing({times}, {error!r}) raises no exception.", fix="give an exception to raise")
    return _Failing(times, error, then)


def idempotent(what: Any) -> Act:
    """Play a service that honours idempotency keys: the same key gets the same answer, and has one effect.

    Use it when the real step hands `current_step().idempotency_key` on. Calls that are answered from memory don't show
    in `simulation.effects()`.

    Args:
        what: a function that does it (sync or async), or the value to give.
    """
    return Idempotent(what)


def play(what: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do what a fake says: call a function, raise an exception, or give a value."""
    if isinstance(what, BaseException):
        # One instance is raised many times, and Python would have its traceback grow each time.
        raise what.with_traceback(None)
    if _is_exception(what):
        raise what
    return what(*args, **kwargs) if is_function(what) else what


def is_function(fake: object) -> bool:
    """Whether a fake is to be called; exceptions are raised instead."""
    return callable(fake) and not _is_exception(fake)


def _is_exception(what: object) -> bool:
    return isinstance(what, BaseException) or (isinstance(what, type) and issubclass(what, BaseException))
