"""Many runs at once: all that a filter finds are cancelled or retried, a few a batch, so that others have their turn.

Knows pages of runs. Must not know what is done to each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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

_OPEN = tuple(status for status in STATUSES if status not in ENDED)
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
    return replace(wanted, statuses=statuses, limit=_RUNS_PER_BATCH) if statuses else None


def _retry(engine: Engine, run_id: str, batch: Batch) -> bool:
    row = engine.ledger.run(run_id)
    if row is None or row.status not in RETRIED:
        return row is not None  # it was begun again together with its parent
    try:
        retry(engine, run_id, batch)
    except UnknownWorkflow:
        return False
    return True


@dataclass(slots=True)
class _Page:
    looked_at: int
    done: int
    unsettled: list[str]
    last: int | None  # number of the oldest run of the page; None when there was none


async def _all(runtime: Runtime, wanted: RunFilter | None, act: Act, progress: Progress | None) -> int:
    if wanted is None:
        return 0  # no run of these statuses can be meant
    counted = wanted
    total = sum((await runtime.ask(lambda engine, batch: engine.ledger.count(counted))).values())
    looked_at = done = 0
    while True:
        page = await runtime.ask(partial(_page, wanted=wanted, act=act))
        while page.unsettled:  # the next batch knows what became of them
            rest = await runtime.ask(partial(_each, run_ids=page.unsettled, act=act))
            page.done, page.unsettled = page.done + rest.done, rest.unsettled
        looked_at, done = looked_at + page.looked_at, done + page.done
        if progress is not None and page.looked_at:
            progress(looked_at, max(total, looked_at))
        if page.last is None:
            return done
        wanted = replace(wanted, before_run=page.last)


def _page(engine: Engine, batch: Batch, wanted: RunFilter, act: Act) -> _Page:
    rows = engine.ledger.runs(wanted)
    page = _each(engine, batch, [row.run_id for row in rows], act)
    page.last = rows[-1].run if rows else None
    return page


def _each(engine: Engine, batch: Batch, run_ids: Sequence[str], act: Act) -> _Page:
    page = _Page(len(run_ids), 0, [], None)
    for run_id in run_ids:
        try:
            page.done += act(engine, run_id, batch)
        except Unsettled:
            page.unsettled.append(run_id)
        engine.families.settle(batch)
    return page
