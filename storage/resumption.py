"""Which runs nobody would move after a restart unless they are resumed.

This file knows the question as a function over rows. It must not know where rows come from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perdure.storage import entries as kinds
from perdure.storage.ledger import ENDED, RunRow

#: A row needs to be resumed whatever other runs do, or only if a child of its was never created or has ended.
NOW: Final = "now"
CHILDREN: Final = "children"


def resumption(row: RunRow) -> str | None:
    """Whether a restart has to resume this run: NOW, CHILDREN, or None when the clock or the outside moves it."""
    if row.status in ENDED:
        return None
    if row.status == "diverged":
        return NOW  # today's code may replay it again
    if row.status == "queued":
        return None  # the clock begins it, or its queue
    if all(pending.kind == kinds.HOOK for pending in row.pending.values()):
        return NOW if row.due is None else None  # with a due time the clock restarts it
    need = None
    for pending in row.pending.values():
        if pending.kind == kinds.STEP and not pending.retrying:
            return NOW
        if pending.child_run_id:
            need = CHILDREN
    return need


def is_interrupted(row: RunRow, find: Callable[[str], RunRow | None]) -> bool:
    """Whether a restart has to resume this run. `find` gives another run's row by its run_id."""
    need = resumption(row)
    if need != CHILDREN:
        return need == NOW
    children = [find(pending.child_run_id) for pending in row.pending.values() if pending.child_run_id]
    return any(child is None or child.status in ENDED for child in children)
