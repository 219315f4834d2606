"""Effects: what steps and callers did to the services becomes part of a batch.

Knows batches. Must not know any one service, nor append.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from perdure.core.lifecycle import step_delay_us
from perdure.core.machine import Machine
from perdure.engine.attempts import Outcome
from perdure.engine.batch import Batch, Unsettled
from perdure.errors import WorkflowError
from perdure.services.effects import Effects
from perdure.storage.failures import encode_failure

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

logger = logging.getLogger("perdure")

#: Has the engine do something in its next batch; done when that is durable.
Settled: TypeAlias = "Callable[[Callable[[Engine, Batch], None]], Awaitable[None]]"

_TRIED_AGAIN_IN_US: Final = 20_000  # when the policy can't be asked, because the run has diverged


def accepted(engine: Engine, outcome: Outcome, machine: Machine | None, batch: Batch) -> Outcome | None:
    """The outcome of an attempt: itself when all that it did can be recorded, else its failure.

    None when something else moves a run that it wants to move, in this very batch: then the next turn takes it again.

    Args:
        machine: of its run; None when that has diverged.
    """
    if outcome.effects is None:
        return outcome
    try:
        for word in outcome.effects.words:
            word.check(engine, batch)
    except Unsettled:
        engine.unrecorded.append(outcome)
        return None
    except WorkflowError as error:  # the step's to handle, as if the operation had raised it
        logger.info("Step %s of run %d is not recorded as completed: %s", outcome.command, outcome.run, error)
        refused = outcome._replace(value=encode_failure(error), closes=(), effects=None)
        outcome.effects.over()
        delay_us = _TRIED_AGAIN_IN_US
        if machine is not None and outcome.command in machine.waiting:
            call, seed = machine.step_call(outcome.command), f"{machine.facts.run_id}\0{outcome.command}"
            delay = step_delay_us(call.options, outcome.number, error, seed)
            if delay is None:
                return refused._replace(kind="failed")
            delay_us = delay
        return refused._replace(kind="retrying", delay_us=delay_us)
    return outcome


def forget_effects(outcome: Outcome) -> None:
    """What a step did to the services goes with its result: when nobody wants that, it did nothing."""
    if outcome.effects is not None:
        outcome.effects.over()


async def recorded(effects: Effects, settled: Settled) -> None:
    """Have the effects of a call from outside recorded. Shield it: they hold what they write until this has ended.

    Raises:
        PerdureError: it was refused, or could not be appended, or the runtime is closed: nothing was written.
    """

    def record(engine: Engine, batch: Batch) -> None:
        for word in effects.words:
            word.check(engine, batch)
        take_effects(engine, effects, batch)

    try:
        await settled(record)
    except BaseException:
        effects.over()
        raise


def take_effects(engine: Engine, effects: Effects, batch: Batch, run: int | None = None) -> None:
    """Let this batch record these effects, and start what follows from them.

    Args:
        run: whose step had them; None when they came from outside.
    """
    batch.cells.update(effects.cells)
    batch.effects.append(effects)
    wanted = [change for change in effects.changes if engine.reactions.wants(change)]
    if not wanted and not effects.words:
        return
    with engine.reactions.cascades.after(run):
        for change in wanted:
            engine.reactions.changed(change, batch)
        for word in effects.words:
            try:
                word.do(engine, batch)
            except WorkflowError as error:  # it could be done a moment ago, but the result itself has changed that
                logger.warning("What a step asked for beside its result was overtaken by it: %s", error)
