"""The next due times: a bounded window in memory over the ledger's own index.

A sleeping run is a row, not a timer object; only times before the horizon are held here, so that a million sleepers
cost neither memory nor start-up time. Knows times and run numbers. Must not know why a run is due.
"""

from __future__ import annotations

import heapq

from perdure.storage.ledger import Ledger

HORIZON_US = 30_000_000
ROWS_MAX = 10_000
TAKEN_MAX = 500


class DueWindow:
    """Which runs are due, and when the next one will be."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._heap: list[tuple[int, int]] = []
        self._horizon = -1  # times up to here are in the heap

    def add(self, due: int, run: int) -> None:
        """Note a time that was just appended; beyond the horizon the ledger will bring it up."""
        if due <= self._horizon:
            heapq.heappush(self._heap, (due, run))

    def take(self, now: int, limit: int = TAKEN_MAX) -> list[int]:
        """Take out runs that are due, the earliest first; each may turn out to have been answered meanwhile.

        The rest stays for the next turn, so that a storm of timers leaves room for others in between.
        """
        self._refill(now)
        runs: dict[int, None] = {}
        while self._heap and self._heap[0][0] <= now and len(runs) < limit:
            runs[heapq.heappop(self._heap)[1]] = None
        return list(runs)

    def next_time(self, now: int) -> int:
        """When to look again at the latest."""
        self._refill(now)
        return min(self._heap[0][0], self._horizon) if self._heap else self._horizon

    def forget(self) -> None:
        """Start over from the ledger, after a batch that could not be appended."""
        self._heap.clear()
        self._horizon = -1

    def _refill(self, now: int) -> None:
        if now < self._horizon:
            return
        rows = self._ledger.due(now + HORIZON_US, ROWS_MAX)
        self._heap = list(rows)
        heapq.heapify(self._heap)
        # A full page ends at its last time; what is due at exactly that time may be cut, so stop just before.
        self._horizon = now + HORIZON_US if len(rows) < ROWS_MAX else max(rows[-1][0] - 1, now + 1)
