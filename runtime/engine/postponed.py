"""What a step asked for beside its result and what only the next batch can do, because this one moves the same run.

It is kept in a cell of the batch that has the result, and the batch that does it deletes the cell: no crash loses it,
and it is done once.

Knows cells and batches. Must not know what is asked for, but how it is read back.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import Any, Final, cast

from perdure.engine.batch import Batch, Unsettled
from perdure.engine.engine import Engine, Request
from perdure.engine.stopping import cancel
from perdure.errors import WorkflowError
from perdure.storage.cells import Cell
from perdure.storage.encoding import Encoded, decode, encode

logger = logging.getLogger("perdure")

_SPACE: Final = "step/postponed"


def soon(engine: Engine, batch: Batch, asked: dict[str, Any]) -> None:
    """Do it in this batch, or note it for the next one.

    Args:
        asked: `{"cancel": run_id}`, or `{"signal": run_id, "name": …, "payload": (body, shape)}`.

    Raises:
        WorkflowError: it can't be done any more.
    """
    try:
        _do(engine, batch, asked)
    except Unsettled:
        key = engine.clock.new_run_id()
        body, shape = encode(asked)
        batch.cells[_SPACE, key] = Cell(_SPACE, key, 1, batch.now, body, shape)
        _ask_again(engine, key, asked)


def take_up(engine: Engine) -> None:
    """Do what an earlier process noted and did not come to do."""
    for cell in engine.ledger.cells(_SPACE):
        _ask_again(engine, cell.key, cast("dict[str, Any]", decode(cell.body or "null", cell.shape)))


def _ask_again(engine: Engine, key: str, asked: dict[str, Any]) -> None:
    engine.unrecorded.append(Request(lambda _, batch: _later(engine, batch, key, asked), Future(), kept=True))


def _later(engine: Engine, batch: Batch, key: str, asked: dict[str, Any]) -> None:
    cell = batch.cells.get((_SPACE, key)) or engine.ledger.cell(_SPACE, key)
    if cell is None or cell.is_gone:
        return  # the batch that has the result was not recorded, and is made again; or another asks for the same
    try:
        _do(engine, batch, asked)
    except Unsettled:
        _ask_again(engine, key, asked)
        return
    except WorkflowError as error:  # it could be done when the step gave its result, which then ended that run
        logger.warning("What a step asked for beside its result was overtaken by it: %s", error)
    batch.cells[_SPACE, key] = Cell(_SPACE, key, 2, batch.now)


def _do(engine: Engine, batch: Batch, asked: dict[str, Any]) -> None:
    if "cancel" in asked:
        cancel(engine, asked["cancel"], batch)
    else:
        engine.messages.signal(asked["signal"], asked["name"], Encoded(*asked["payload"]), batch)
