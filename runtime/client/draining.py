"""Closing in order: no new attempts, steps at work may finish for a while, and what is cut off then is named.

Knows what the engine has in flight. Must not know how steps are run, nor who closes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from perdure.engine.batch import Batch
from perdure.engine.engine import Engine
from perdure.engine.thread import EngineThread
from perdure.errors import PerdureError

logger = logging.getLogger("perdure")

_LOOK_EVERY_S = 0.01
_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class CutOff:
    """A step that was still at work when its runtime closed.

    Attributes:
        run_id, step, attempt: which.
        runs_again: at the next start; an at-most-once step raises `StepInterrupted` in its body instead.
    """

    run_id: str
    step: str
    attempt: int
    runs_again: bool

    def __str__(self) -> str:
        return f"{self.step} of run {self.run_id}" + (f", attempt {self.attempt}" if self.attempt > 1 else "")


async def drain(thread: EngineThread, limit_us: int, cut_off: list[CutOff]) -> None:
    """Begin no attempt any more, and wait for those at work.

    Cancelled, it waits no longer.

    Args:
        limit_us: for how long at most.
        cut_off: gets what is still at work when this returns or is cancelled.
    """
    try:
        try:
            await asyncio.wrap_future(thread.call(_begin))
            async with asyncio.timeout(limit_us / 1_000_000):
                while await asyncio.wrap_future(thread.call(_at_work)):
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError:
            pass
        finally:  # also when whoever waited has had enough
            cut_off += await asyncio.wrap_future(thread.call(_left))
    except PerdureError as error:  # the engine had stopped before; there is nothing to drain
        logger.error("Closing after the engine stopped: %s", error)
    finally:
        _say(cut_off)


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do what must not be left half-done, however often whoever waits for it is cancelled; then they are."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


async def apart(call: Callable[[], None]) -> None:
    """Do what blocks in a thread of its own; here, when the interpreter ends (`atexit`) and lends threads no more."""
    try:
        done = asyncio.get_running_loop().run_in_executor(None, call)
    except RuntimeError:
        call()
    else:
        await done


def _begin(engine: Engine, batch: Batch) -> None:
    engine.draining = True
    engine.slots.drain(engine.in_flight)


def _at_work(engine: Engine, batch: Batch) -> int:
    return sum(len(commands) for commands in engine.in_flight.values())


def _left(engine: Engine, batch: Batch) -> list[CutOff]:
    left = []
    for run, commands in engine.in_flight.items():
        row, machine = engine.ledger.run_numbered(run), engine.residents.get(run)
        for command in commands:
            pending = None if row is None else row.pending.get(command)
            if row is not None and pending is not None:
                again = machine is None or machine.step_call(command).options.delivery == "at_least_once"
                left.append(CutOff(row.run_id, pending.name, pending.attempt, again))
    return left


def _say(cut_off: list[CutOff]) -> None:
    for runs_again, what in (
        (True, "They run again at the next start."),
        (False, "At most once, so they don't run again: their bodies get StepInterrupted at the next start."),
    ):
        steps = [each for each in cut_off if each.runs_again is runs_again]
        if steps:
            more = f", and {len(steps) - _NAMED_MAX} more" if len(steps) > _NAMED_MAX else ""
            named = "; ".join(map(str, steps[:_NAMED_MAX])) + more
            logger.warning("Closing cut off steps that were still at work: %s. %s", named, what)
