"""Whom an event wakes, of a ledger in a file: overlays first, then the columns.

Where it is known in memory which runs may wait for it (contents.py), their rows are read, which are wanted next
anyway; where they are many, or it is not known, the columns are searched.

This file joins two sources. It must not know SQL, nor what an event is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from perdure.storage.columns import Columns
from perdure.storage.ledger import RunRow, Waiter
from perdure.storage.overlay import Overlay
from perdure.storage.recent import Recent
from perdure.storage.waits import waiters_of

#: So many rows are read at once; for more the columns are searched, which gives them without their rows.
_ROWS_MAX: Final = 64


class WaitAnswers:
    """The answer to `Ledger.waiters`.

    Args:
        rows: gives the newest rows of runs, by their numbers.
    """

    def __init__(self, recent: Recent, columns: Columns, rows: Callable[[Iterable[int]], dict[int, RunRow]]) -> None:
        self._recent = recent
        self._columns = columns
        self._rows = rows

    def waiters(self, event_type: str, payload: Mapping[str, Any]) -> list[Waiter]:
        """List the waits that this event satisfies."""
        wanted = self._recent.key_sets.candidates(event_type, payload)
        if not wanted:
            return []
        matches = set(wanted.values())
        found: list[tuple[int, int, Waiter]] = []
        overlays = self._recent.overlays()
        for place, overlay in enumerate(overlays):
            rows = [row for row in overlay.waiting(wanted) if _is_in_none(row.run, overlays[:place])]
            found += _waiting(rows, event_type, matches)
        runs = self._recent.may_wait(wanted, _ROWS_MAX)
        if runs is None:
            rest = self._columns.waiters(event_type, wanted)
            found += [each for each in rest if _is_in_none(each[0], overlays)]
        else:
            old = self._rows([run for run in runs if _is_in_none(run, overlays)])
            found += _waiting(old.values(), event_type, matches)
        return [waiter for *_, waiter in sorted(found, key=lambda each: each[:2])]


def _is_in_none(run: int, overlays: Iterable[Overlay]) -> bool:
    return all(overlay.row(run) is None for overlay in overlays)


def _waiting(rows: Iterable[RunRow], event_type: str, matches: set[str]) -> list[tuple[int, int, Waiter]]:
    return [
        (row.run, row.pending[waiter.command].position, waiter)
        for row in rows
        for waiter in waiters_of(row, event_type, matches)
    ]
