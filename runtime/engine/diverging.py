"""Runs that stop as diverged for want of something in today's code, and come back when it is there.

    a body that could not live through a cause, because a step is gone (or through a bug of ours)
    a step that was at work, or waits for its next attempt, and that today's code can't run any more
    a run that has no body: it waits for its begin or its next attempt, and its code can't be had

Each move makes a note, and leaves the rest to the engine. Must not append or dispatch.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure.core.machine import Machine
from perdure.core.misfits import misfit
from perdure.engine.batch import Batch
from perdure.errors import LedgerCorrupt, PerdureError, WorkflowError
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunRow

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

logger = logging.getLogger("perdure")


def report_of(error: Exception) -> str:
    """The detail of a `diverged` note: what is shown in a line, the whole report, and what its reader can do."""
    if not isinstance(error, PerdureError):
        facts = {"message": f"{type(error).__name__}: {error}".splitlines()[0], "report": str(error)}
    else:
        facts = {"message": error.message, "report": str(error), "why": error.why, "fix": error.fix}
    return json.dumps({name: text for name, text in facts.items() if text}, ensure_ascii=False)


def set_aside(engine: Engine, machine: Machine, batch: Batch, causes: Sequence[Entry], error: Exception) -> None:
    """Keep causes that a body could not live through, as those of a diverged run."""
    engine.residents.drop(machine.facts.run)
    detail = report_of(error)
    run, position, at = causes[0].run, causes[0].position, causes[0].at
    if position == 0:  # it never came into being; CREATED must stay first
        batch.add(causes[0], Entry(run, 1, kinds.DIVERGED, at, detail=detail))
        return
    entries = [Entry(run, position, kinds.DIVERGED, at, detail=detail)]
    entries += [cause._replace(position=position + 1 + index) for index, cause in enumerate(causes)]
    batch.lengths[run] = position + len(entries)
    batch.add(*entries)


def stops(engine: Engine, machine: Machine, command: str, batch: Batch) -> bool:
    """Stop a run whose pending step today's code can't run; the step is tried again when the run recovers."""
    if not machine.executable.is_pinned:
        return False
    facts = machine.facts
    waiting = machine.waiting[command]
    error = misfit(machine.step_call(command), facts, "", waiting.position)
    if error is None:
        return False
    logger.error("Run %s of %s v%s stopped as diverged.\n%s", facts.run_id, facts.workflow, facts.version, error)
    batch.add(machine.entry(kinds.DIVERGED, batch.now, detail=report_of(error)))
    batch.lengths[facts.run] = machine.length
    engine.residents.drop(facts.run)
    return True


def recover_waiting(engine: Engine, row: RunRow, batch: Batch) -> None:
    """Let a run without a body, which diverged before it could begin or try again, wait for its time once more."""
    try:
        engine.definitions.of(row)
    except (WorkflowError, LedgerCorrupt):
        return  # as before; its report says why
    moves = engine.moves
    batch.add(moves.bare_entry(row, batch, kinds.RECOVERED))
    if row.cancel_requested:
        moves.end_waiting(row, batch, "cancel")
    else:
        batch.times.append((row.due or batch.now, row.run))
    logger.warning("Run %s goes on: its code is there again.", row.run_id)
