"""One batch on its way into a ledger: checked, chained, and folded into copies of the rows that it moves.

Nothing of the ledger changes here, so a batch that can't be taken, or can't be written, leaves no trace.

This file knows the order of the work. It must not know where a batch is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perdure.errors import InternalError
from perdure.storage.chain import GENESIS, seal
from perdure.storage.entries import Entry
from perdure.storage.fold import copied, fold_all
from perdure.storage.ledger import RunRow


@dataclass(slots=True)
class Batch:
    """A batch that fits the ledger."""

    entries: dict[int, list[Entry]]  # by run, with their digests
    lines: list[bytes]  # in the same order, run by run
    before: dict[int, RunRow | None]  # the rows that it moves, as they were
    rows: dict[int, RunRow]  # … and as they are once it is written


def prepare(entries: Sequence[Entry], find: Callable[[int], RunRow | None]) -> Batch:
    """Check, chain and fold a batch; `find` gives the present row of a run. Raises InternalError if it does not fit."""
    batch = Batch({}, [], {}, {})
    by_run: dict[int, list[Entry]] = {}
    for entry in entries:
        by_run.setdefault(entry.run, []).append(entry)
    for run, added in by_run.items():
        before = find(run)
        digest = GENESIS if before is None else before.digest
        sealed: list[Entry] = []
        for entry in added:
            entry, line = seal(digest, entry)
            if b"\\ud" in line:
                _refuse_lone_surrogates(entry)
            digest = entry.digest
            sealed.append(entry)
            batch.lines.append(line)
        batch.before[run] = before
        batch.entries[run] = sealed
        batch.rows[run] = fold_all(None if before is None else copied(before), sealed)
    return batch


def _refuse_lone_surrogates(entry: Entry) -> None:
    """Columns hold Unicode; a text that is none must be refused here, before the batch counts as written."""
    for label, text in zip(Entry._fields, entry, strict=True):
        if isinstance(text, str):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InternalError(
                    f"the {label} of an entry is not Unicode text: {error.reason}.",
                    where=f"run {entry.run}, entry {entry.position} ({entry.kind})",
                    why=f"it has a lone surrogate, {error.object[error.start]!a}, at {error.start}",
                    fix="escape it before it reaches the ledger",
                ) from error
