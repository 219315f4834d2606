"""What a start finds: runs that were cut off are resumed, and diverged ones tried again. Parked runs stay rows."""

from __future__ import annotations

import logging
from collections import Counter

from perdure.engine.batch import Batch
from perdure.engine.engine import Engine
from perdure.engine.thread import EngineThread
from perdure.errors import UnknownWorkflow
from perdure.storage.ledger import RunFilter

logger = logging.getLogger("perdure")

_RESUMED_PER_BATCH = 50


def recover(thread: EngineThread) -> None:
    """Resume in the background, a few runs a batch, so that new requests are served in between."""
    thread.call(lambda engine, batch: _begin(thread, engine))


def _begin(thread: EngineThread, engine: Engine) -> None:
    unregistered: Counter[str] = Counter()
    runs: list[int] = []
    rows = [*engine.ledger.interrupted(), *engine.ledger.runs(RunFilter(statuses=("diverged",), limit=None))]
    for row in rows:
        try:
            engine.registry.get(row.workflow, row.version)
        except UnknownWorkflow:
            unregistered[f"{row.workflow} v{row.version}"] += 1
        else:
            runs.append(row.run)
    for name, count in unregistered.items():
        logger.warning("%d open runs of %s wait: no such workflow is registered here.", count, name)
    if runs:
        logger.info("Resuming %d runs that were cut off.", len(runs))
    for start in range(0, len(runs), _RESUMED_PER_BATCH):
        some = tuple(runs[start : start + _RESUMED_PER_BATCH])
        thread.call(lambda engine, batch, some=some: _resume(engine, batch, some))


def _resume(engine: Engine, batch: Batch, runs: tuple[int, ...]) -> None:
    for run in runs:
        engine.moves.resume(run, batch)
        engine.families.settle(batch)
