"""Effects: what steps and callers did to the services becomes part of a batch.

Knows batches. Must not know any one service, nor append.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from perdure.engine.batch import Batch
from perdure.errors import WorkflowError
from perdure.services.effects import Effects

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

logger = logging.getLogger("perdure")


def take_effects(engine: Engine, effects: Effects, batch: Batch) -> None:
    """Let this batch record these effects, and start what follows from them."""
    for change in effects.changes:
        if change.cell is not None:
            batch.cells[change.cell.space, change.cell.key] = change.cell
        engine.reactions.changed(change, batch)
    for word in effects.words:
        try:
            word(engine, batch)
        except WorkflowError as error:  # it was checked when it was asked for, but an id may have been taken since
            logger.error("What a step asked for beside its result can't be done: %s", error)
    batch.effects.append(effects)
