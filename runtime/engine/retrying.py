"""A run that has failed or was cancelled is tried again: its next attempt keeps the steps that completed.

Its spawned children that failed or were stopped are tried again with it, because the next attempt holds the same
handles on them; one that it invoked it starts anew. A run that was on a queue waits there for a place, as a new one
does: a hundred that are tried again at once are no more at work than the queue lets be.

Knows runs and their rows. Must not append or dispatch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perdure.core.children import child_named
from perdure.core.facts import Executable
from perdure.core.history import started_with
from perdure.engine.batch import Batch, Unsettled
from perdure.engine.reactions import fitting_input
from perdure.engine.residents import next_attempt
from perdure.errors import DefinitionError, LedgerCorrupt, UnknownRun, WorkflowError
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunRow

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

RETRIED = ("failed", "cancelled")


@dataclass(frozen=True, slots=True)
class _Again:
    row: RunRow
    definition: Executable
    history: Sequence[Entry]


def retry(engine: Engine, run_id: str, batch: Batch) -> None:
    """Begin the next attempt of a run that has failed or was cancelled, or let it wait on its queue for that.

    Raises:
        UnknownRun: no such run.
        DefinitionError, PolicyViolation, LedgerCorrupt: it is open, or it has completed; or its code, or that of a
            child, can't be had.
        Unsettled: something else moves it in this very batch.
    """
    row = engine.ledger.run(run_id)
    if row is None:
        raise UnknownRun(f"the ledger has no run {run_id!r}.", fix="see the ids: perdure runs LEDGER")
    if row.run in batch.touched:
        raise Unsettled
    if row.status not in RETRIED:
        raise _refusal(row)
    for each in _family(engine, row, batch):
        taken_anew = _input_taken_anew(engine, each, batch)
        if each.row.queue is None:
            _begin(engine, each, taken_anew, batch)
        else:
            batch.add(engine.moves.bare_entry(each.row, batch, kinds.REQUEUED))


def begin_again(engine: Engine, run: int, batch: Batch) -> None:
    """Begin the next attempt of a run that waited for it on its queue, which has a place for it now."""
    row = engine.ledger.run_numbered(run)
    assert row is not None  # its queue has it from the ledger
    try:
        again = _Again(row, engine.definitions.of(row), engine.ledger.walk_many([row], whole=True)[0])
    except (WorkflowError, LedgerCorrupt) as error:  # its code is gone since
        engine.moves.diverged(row, error, batch)
        return
    _begin(engine, again, [], batch)


def _refusal(row: RunRow) -> DefinitionError:
    where = f"{row.workflow} v{row.version}, run {row.run_id}"
    if row.status == "completed":
        return DefinitionError(
            f"run {row.run_id} has completed, so there is nothing to retry.",
            where=where,
            fix=f"to live it again from a step on, fork it: perdure fork LEDGER {row.run_id} --at STEP",
        )
    return DefinitionError(
        f"run {row.run_id} is {row.status}, so it can't be retried.",
        where=where,
        why="only a run that has failed or was cancelled is tried again",
        fix="wait for its end, or cancel it first",
    )


def _family(engine: Engine, row: RunRow, batch: Batch) -> list[_Again]:
    """The run and the spawned children that go with it, children first; all of them can be tried again."""
    history = engine.ledger.entries(row.run)
    started = {entry.command for entry in history if entry.kind == kinds.CHILD_STARTED}
    spawned = [child_named(entry.detail) for entry in history if entry.kind == kinds.CHILD and entry.command in started]
    found = []
    for run_id in dict.fromkeys(spawned):
        child = engine.ledger.run(engine.chains.newest(run_id))
        if child is None or child.status not in RETRIED or child.parent_run_id != row.run_id:
            continue  # it has completed or goes on, or a fork shares it
        if child.run in batch.touched:
            raise Unsettled
        found += _family(engine, child, batch)
    return [*found, _Again(row, engine.definitions.of(row), history)]


def _begin(engine: Engine, again: _Again, taken_anew: Sequence[Entry], batch: Batch) -> None:
    machine = next_attempt(again.row, again.definition, [*again.history, *taken_anew])
    machine.length += len(taken_anew)
    detail = None
    timeout_us = again.definition.options.timeout_us
    if timeout_us is not None:
        timeout_at = batch.now + timeout_us
        detail = json.dumps({"timeout_at": timeout_at})
        batch.times.append((timeout_at, again.row.run))
    engine.residents.add(machine)
    engine.notes.come_first(machine, batch)
    restarted = machine.entry(kinds.RESTARTED, batch.now, attempt=machine.facts.attempt, detail=detail)
    engine.feed(machine, batch, restarted)


def _input_taken_anew(engine: Engine, again: _Again, batch: Batch) -> list[Entry]:
    """Of a run that failed because its input did not fit: the entry with the input as it is validated now.

    Raises:
        InvalidInput: it does not fit yet.
    """
    if again.row.began_at is not None or again.row.status != "failed":
        return []
    encoded = fitting_input(again.definition, started_with(again.history))
    if encoded is None:
        return []
    entry = engine.moves.bare_entry(again.row, batch, kinds.DEBOUNCED, body=encoded.body, shape=encoded.shape)
    batch.add(entry)
    return [entry]
