"""Fuel: how many operations a body may spend between two waits, counted exactly and at almost no cost.

An operation is a round of a loop or a call of a function. The restricted code does `next(FUEL)` at the entry of
functions and in the body of `while`, and puts `compress(iterable, FUEL)` around the iterable of `for` and around
iterators that C code is about to drain. `FUEL` is a chain of `repeat` objects, so that drawing stays inside C.

Bodies run in one thread at a time, so one meter serves the process. Restricted code that runs outside a body (a
helper that a step calls) draws from it as well; out there it is never empty.

This file knows how to count. It must not know what is counted, nor who runs.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice, repeat
from operator import length_hint
from types import FrameType
from typing import Final

from perdure.errors import BudgetExceeded

#: Operations per `repeat` object. Small enough that dropping the rest of one costs microseconds, large enough that the
#: Python code between two of them does not show (0.1 µs in 8192 operations).
CHUNK: Final = 8192


class _Meter:
    """The source of the chain: hands out the budget in chunks, and refuses when it is gone until the next refill."""

    __slots__ = ("budget", "chunk", "left", "metered")

    def __init__(self) -> None:
        self.budget = 0  # what the last refill granted
        self.left = 0  # of it, not handed out in chunks yet
        self.metered = False  # False: nobody's body runs, everything is free
        self.chunk: Iterator[bool] = iter(())

    def __iter__(self) -> _Meter:
        return self

    def __next__(self) -> Iterator[bool]:
        if not self.metered:
            self.chunk = repeat(True, CHUNK)
        elif self.left:
            size = min(CHUNK, self.left)
            self.left -= size
            self.chunk = repeat(True, size)
        else:
            # The chain drops a source that raises, but keeps an element that does: so the refusal is an element.
            self.chunk = _Empty(self)
        return self.chunk


class _Empty:
    """An element of the chain that raises for as long as the budget is gone."""

    __slots__ = ("meter",)

    def __init__(self, meter: _Meter) -> None:
        self.meter = meter

    def __iter__(self) -> _Empty:
        return self

    def __next__(self) -> bool:
        if self.meter.left or not self.meter.metered:
            raise StopIteration
        raise exceeded(sys._getframe(1), self.meter.budget)

    def __length_hint__(self) -> int:
        return 0


def exceeded(frame: FrameType | None, budget: int) -> BudgetExceeded:
    """Make the error that names the line of the body that spent the last operation."""
    where = f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_qualname}" if frame else ""
    return BudgetExceeded(
        f"the body used up its {budget:,} operations between two waits.",
        where=where,
        why="a loop or a recursion that does not end, or work too long for a body; nothing else runs meanwhile",
        fix='end the loop, move the work into a step (`await step.run("name", …)`), or raise `max_ops`',
    )


def too_deep(error: RecursionError) -> BudgetExceeded:
    """Make the error for a recursion that does not end; it names the deepest line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return BudgetExceeded(
        "the body called itself too deeply.",
        where=where,
        why="a recursion that does not end; its depth depends on the caller's stack, so it can't be replayed",
        fix="end the recursion, or turn it into a loop",
    )


_meter = _Meter()
FUEL: Final[Iterator[bool]] = chain.from_iterable(_meter)
tick: Final[Callable[[], bool]] = FUEL.__next__


def refill(max_ops: int) -> None:
    """Grant `max_ops` operations from now on, whatever was left before."""
    meter = _meter
    here = length_hint(meter.chunk, 0)
    if here > max_ops:
        deque(islice(meter.chunk, here - max_ops), maxlen=0)
        here = max_ops
    meter.budget = max_ops
    meter.left = max_ops - here
    meter.metered = True


def release() -> None:
    """Stop counting: nobody's body runs. Restricted code that a step calls draws for nothing."""
    _meter.metered = False


def remaining() -> int:
    """Tell how many operations are left of the last refill."""
    return length_hint(_meter.chunk, 0) + _meter.left
