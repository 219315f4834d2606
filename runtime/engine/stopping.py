"""A run that somebody outside asks to stop: which run of its chain that is, and whether it can be asked now.

Must not append or dispatch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.engine.batch import Batch, Unsettled
from perdure.errors import UnknownRun
from perdure.storage.ledger import ENDED, RunRow

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


def cancel(engine: Engine, run_id: str, batch: Batch) -> bool:
    """Ask the newest run of a chain to stop; False when that had ended already.

    Raises:
        UnknownRun, Unsettled: as `stoppable`.
    """
    row = stoppable(engine, run_id, batch)
    return row.run in batch.stopping or engine.moves.cancel(row, batch)


def stoppable(engine: Engine, run_id: str, batch: Batch) -> RunRow:
    """Find the newest run of a chain, which can be asked to stop, or has ended.

    Raises:
        UnknownRun: there is no such run.
        Unsettled: something else moves it in this very batch, and what becomes of it only the next one knows.
    """
    row = engine.ledger.run(engine.chains.newest(run_id))
    if row is None and run_id in batch.created:
        raise Unsettled
    if row is None:
        raise UnknownRun(
            f"the ledger has no run {run_id!r}.", fix="look at the ids in `perdure runs LEDGER` or runtime.runs()"
        )
    if row.run_id in batch.continued:
        raise Unsettled
    moves = row.run in batch.touched and (engine.residents.get(row.run) is None or row.status in ENDED)
    if moves and row.run not in batch.stopping:
        raise Unsettled
    return row
