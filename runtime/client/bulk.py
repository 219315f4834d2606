"""Many runs at once: all that a filter finds are cancelled or retried, a few a batch, so that others have their turn.

The oldest come first, so that a parent is stopped before the children that it waits for: it would fail otherwise.

Knows pages of runs. Must not know what is done to each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from perdure.engine.batch import Batch, Unsettled
from perdure.engine.engine import Engine
from perdure.engine.retrying import RETRIED, retry
from perdure.engine.stopping import cancel
from perdure.errors import UnknownWorkflow
from perdure.storage.ledger import ENDED, STATUSES, RunFilter

if TYPE_CHECKING:
    from perdure.client.runtime import Runtime

Progress: TypeAlias = Callable[[int, int], object]  # called with how many were done, and of how many
Act: TypeAlias = Callable[[Engine, str, Batch], bool]  # gives whether it did anything
Found: TypeAlias = tuple[int, str]  # a run's number and its run_id

_OPEN = tuple(status for status in STATUSES if status not in ENDED)
_RUNS_PER_PAGE = 1000  # found at once
_RUNS_PER_BATCH = 50  # each may have to come back by replay; a batch of them should not keep others waiting for long


async def cancel_all(runtime: Runtime, wanted: RunFilter, progress: Progress | None) -> int:
    """Ask all open runs of a filter to stop; give how many were asked."""
    return await _all(runtime, _narrowed(wanted, _OPEN, _OPEN), cancel, progress)


async def retry_all(runtime: Runtime, wanted: RunFilter, progress: Progress | None) -> int:
    """Retry all runs of a filter that have failed, or were cancelled if it asks for those; give how many.

    A run whose version is not registered is left as it is.
    """
    return await _all(runtime, _narrowed(wanted, RETRIED, ("failed",)), _retry, progress)


def _narrowed(wanted: RunFilter, possible: Sequence[str], default: Sequence[str]) -> RunFilter | None:
    statuses = tuple(each for each in possible if each in wanted.statuses) if wanted.statuses else tuple(default)
    return replace(wanted, statuses=statuses, limit=_RUNS_PER_PAGE) if statuses else None


def _retry(engine: Engine, run_id: str, batch: Batch) -> bool:
    row = engine.ledger.run(run_id)
    if row is None or row.status not in RETRIED:
        return row is not None  # it was begun again together with its parent
    try:
        retry(engine, run_id, batch)
    except UnknownWorkflow:
        return False
    return True


async def _all(runtime: Runtime, wanted: RunFilter | None, act: Act, progress: Progress | None) -> int:
    if wanted is None:
        return 0  # no run of these statuses can be meant
    found = await _found(runtime, wanted)
    found.reverse()
    done = 0
    for start in range(0, len(found), _RUNS_PER_BATCH):
        left: Sequence[Found] = found[start : start + _RUNS_PER_BATCH]
        while left:
            number, left = await runtime.ask(partial(_each, runs=left, act=act))
            done += number
        if progress is not None:
            progress(min(start + _RUNS_PER_BATCH, len(found)), len(found))
    return done


async def _found(runtime: Runtime, wanted: RunFilter) -> list[Found]:
    """All runs of a filter, newest first."""
    found: list[Found] = []
    while rows := await runtime.ask(partial(_page, wanted=wanted)):
        found += rows
        wanted = replace(wanted, before_run=rows[-1][0])
    return found


def _page(engine: Engine, batch: Batch, wanted: RunFilter) -> list[Found]:
    return [(row.run, row.run_id) for row in engine.ledger.runs(wanted)]


def _each(engine: Engine, batch: Batch, runs: Sequence[Found], act: Act) -> tuple[int, list[Found]]:
    """Do it to each; give to how many, and those of which only the next batch knows what became of them."""
    engine.residents.prefetch([run for run, _ in runs])
    done, unsettled = 0, []
    for run, run_id in runs:
        try:
            done += act(engine, run_id, batch)
        except Unsettled:
            unsettled.append((run, run_id))
        engine.families.settle(batch)
    return done, unsettled
