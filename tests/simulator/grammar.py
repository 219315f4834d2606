"""What holds of every history and of each prefix of it: how entries follow each other, and where a run goes on from.

    grammar   `cause, command*, ending?` again and again, with notes anywhere; what the body asked for because of a
              cause is in the commit that has the cause.
    row       the ledger's row is the fold of the entries on the disk.
    prefix    a body brought back from what any commit left behind waits for the commands that the fold has pending
              then, and its boxes keep as many messages as the fold counts.

The grammar is read from entries alone; the other two compare two answers of production, the fold's and the machine's.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any

from perdure.core.machine import Machine
from perdure.engine.residents import replayed
from perdure.storage.entries import CAUSES, COMMANDS, ENDINGS, NOTES, Entry
from perdure.storage.fold import fold_all
from perdure.storage.ledger import ENDED, RunRow
from perdure.testing import Simulation

#: So many prefixes of a run are looked at, drawn by the run's length: a replay for each would take minutes.
PREFIXES_MAX = 2


def check_grammar(history: Sequence[Any]) -> None:
    """Causes and what follows them are in one commit, and nothing is asked without a cause."""
    cause: Any = None  # that the body lives through, which may still ask for something
    diverged = False
    for each in history:
        kind = each.entry.kind
        if kind in NOTES:
            # What came meanwhile is fed with the note that says that the run goes on.
            cause = each if kind == "recovered" else None if kind == "diverged" else cause
            diverged = (diverged or kind == "diverged") and kind != "recovered"
        elif kind in CAUSES:
            cause = None if diverged else each
        elif kind in COMMANDS or kind in ENDINGS:
            place = f"{kind} {each.entry.command or each.entry.position}"
            if diverged and kind in ("cancelled", "failed"):  # it was asked to stop, and its body never ran
                continue
            assert cause is not None, f"{place} follows no cause"
            assert cause.commit == each.commit, f"{place} was not recorded with its cause, {cause.entry.kind}"
            cause = None if kind in ENDINGS else cause
        else:
            raise AssertionError(f"{kind} is no kind of entry")


def check_row(simulation: Simulation, entries: Sequence[Entry]) -> None:
    """The ledger's row is what the disk's entries say."""
    row = simulation.ledger.run_numbered(entries[0].run)
    assert row == fold_all(None, entries), f"run {entries[0].run} has another row than its entries say"


def check_prefixes(simulation: Simulation, history: Sequence[Any]) -> None:
    """A body brought back from the middle of the history stands where the fold says."""
    bounds = [
        index for index, (one, other) in enumerate(itertools.pairwise(history), start=1) if one.commit != other.commit
    ]
    pick = random.Random(len(history))
    for bound in pick.sample(bounds, min(PREFIXES_MAX, len(bounds))):
        entries = [each.entry for each in history[:bound]]
        row = fold_all(None, entries)
        waits = row.due is not None or row.began_at is None or row.requeued_at is not None
        if row.status in ENDED or row.status == "diverged" or waits:
            continue  # no body is there
        for machine in _brought_back(simulation, row, entries):
            stands_where_the_fold_says(machine, row)
            machine.close()


def _brought_back(simulation: Simulation, row: RunRow, entries: Sequence[Entry]) -> Iterator[Machine]:
    for definition in simulation.definitions(row.workflow, row.version):
        if definition.digest == row.definition:
            yield replayed(row, definition, entries)


def stands_where_the_fold_says(machine: Machine, row: RunRow) -> None:
    """The body waits for what is pending, and its boxes keep what nobody took."""
    where = f"{row.run_id}, after {row.length} entries"
    # A hook of an attempt before is pending, so that its token finds the run; this attempt may not have come to it yet.
    pending = {each.command for each in row.pending.values() if each.kind != "hook" or each.command in machine.waiting}
    assert set(machine.waiting) == pending, f"{where}: the body waits for {set(machine.waiting)}, the row for {pending}"
    kept = {box: received - taken for box, (received, taken) in row.boxes.items() if received > taken}
    assert machine.boxes.counts() == kept, f"{where}: the boxes keep {machine.boxes.counts()}, the row says {kept}"
    assert machine.length == row.length, f"{where}: the body is at {machine.length}"
    assert machine.cancel_requested == row.cancel_requested, f"{where}: who was asked to stop differs"
