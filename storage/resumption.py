"""Which runs nobody would move after a restart unless they are resumed.

This file knows the question as a function over rows. Ledgers that ask their tables instead must give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable

from perdure.storage import entries as kinds
from perdure.storage.ledger import ENDED, RunRow


def is_interrupted(row: RunRow, find: Callable[[str], RunRow | None]) -> bool:
    """Whether a restart has to resume this run. `find` gives another run's row by its run_id."""
    if row.status in ENDED:
        return False
    if row.status == "diverged":
        return True  # today's code may replay it again
    if not row.pending:
        return row.due is None  # else the clock begins or restarts it
    for pending in row.pending.values():
        if pending.kind == kinds.STEP and not pending.retrying:
            return True
        if pending.kind in (kinds.CHILD, kinds.CHILD_RESULT):
            child = find(pending.child_run_id)
            if child is None or child.status in ENDED:
                return True
    return False
