"""A run goes over to other code: a note says so, and its body comes back on that code before anything else reaches it.

    its body may run   the new body is replayed and takes the old one's place; steps at work stay at work
    it has none        it waits for its next attempt, or has diverged: the note is all, and the next to bring it back
                       finds it there

Whoever asks has replayed the whole history on the new code. Must not append or dispatch.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from perdure.declare.recorded_options import record_options
from perdure.declare.registry import Definition
from perdure.engine.batch import Batch
from perdure.engine.created import PYTHON
from perdure.storage import entries as kinds
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.ledger import RunRow

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


def upgraded_detail(definition: Definition) -> str:
    """The detail of the note: from here on the run is walked on this."""
    detail = {
        "definition": definition.digest,
        "version": definition.version,
        "python": PYTHON,
        "libraries": dict(definition.libraries),
        "options": record_options(definition.options),
    }
    return json.dumps({name: value for name, value in detail.items() if value}, ensure_ascii=False)


def move(engine: Engine, row: RunRow, definition: Definition, batch: Batch) -> None:
    """Take an open run, which this batch has not touched, over to other code.

    Raises:
        Divergence: what is there does not replay on it; nothing was written.
    """
    detail = upgraded_detail(definition)
    between = row.requeued_at is not None or (row.status == "awaiting_retry" and row.due is not None)
    if row.status == "diverged" or between:
        engine.notes.add(row, batch, kinds.UPGRADED, detail=detail)
        batch.touched.add(row.run)  # so that nobody begins its next attempt in this batch, on the code of before
    else:
        engine.residents.drop(row.run)
        after = replace(row, definition=definition.digest, version=definition.version)
        machine = engine.residents.load(after, definition)
        engine.notes.come_first(machine, batch)
        batch.add(machine.entry(kinds.UPGRADED, batch.now, detail=detail))
    engine.definitions.keep(definition, batch)


def entry_of(row: RunRow, definition: Definition, now: int) -> Entry:
    """The note for a run of a ledger that no engine has open."""
    detail = upgraded_detail(definition)
    return Entry(row.run, row.length, kinds.UPGRADED, max(now, row.updated_at), detail=detail)


def definition_row(definition: Definition, now: int) -> DefinitionRow:
    """A definition as the ledger keeps it."""
    return DefinitionRow(definition.digest, definition.id, definition.version, PYTHON, definition.source_json, now)
