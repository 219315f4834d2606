"""What a start finds: runs that were cut off are resumed, and diverged ones tried again. Parked runs stay rows."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Protocol, TypeVar

from perdure.engine.batch import Batch
from perdure.engine.engine import Engine
from perdure.engine.postponed import take_up
from perdure.storage.ledger import RunFilter, RunRow

T = TypeVar("T")
logger = logging.getLogger("perdure")

_RESUMED_PER_BATCH = 50
_DIVERGED_AT_ONCE_MAX = 200


class Inbox(Protocol):
    """Where requests to an engine go: its thread in production, a simulation in tests."""

    def call(self, request: Callable[[Engine, Batch], T]) -> Future[T]:
        """Have `request` done in the next batch; the future is answered after the append."""
        ...


def recover(inbox: Inbox) -> Future[None]:
    """Resume in the background, a few runs a batch, so that new requests are served in between.

    The future is done when diverged runs were tried again: whoever opens a runtime after mending the code should not
    see them as diverged still.
    """
    return inbox.call(lambda engine, batch: _begin(inbox, engine, batch))


def _begin(inbox: Inbox, engine: Engine, batch: Batch) -> None:
    if engine.administers:
        return
    take_up(engine)
    diverged = _registered(engine, engine.ledger.runs(RunFilter(statuses=("diverged",), limit=None)))
    _resume(engine, batch, diverged[:_DIVERGED_AT_ONCE_MAX])
    cut_off = (row for row in engine.ledger.interrupted() if row.status != "diverged")  # those are tried once
    runs = _registered(engine, cut_off) + diverged[_DIVERGED_AT_ONCE_MAX:]
    if runs:
        logger.info("Resuming %d runs that were cut off.", len(runs))
    for start in range(0, len(runs), _RESUMED_PER_BATCH):
        inbox.call(partial(_resume, runs=runs[start : start + _RESUMED_PER_BATCH]))


def _registered(engine: Engine, rows: Iterable[RunRow]) -> list[int]:
    """The runs that can be tried here; on today's code, others are named in the log and wait."""
    unregistered: Counter[str] = Counter()
    runs: list[int] = []
    for row in rows:
        if engine.definitions.may_walk(row):
            runs.append(row.run)
        else:
            unregistered[f"{row.workflow} v{row.version}"] += 1
    for name, count in unregistered.items():
        logger.warning("%d open runs of %s wait: no such workflow is registered here.", count, name)
    return runs


def _resume(engine: Engine, batch: Batch, runs: Sequence[int]) -> None:
    batch.again.append(lambda later: _resume(engine, later, runs))  # nobody else would resume them after a full disk
    engine.residents.prefetch(runs)
    for run in runs:
        engine.moves.resume(run, batch)
        engine.families.settle(batch)
