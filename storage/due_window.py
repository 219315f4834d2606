"""The earliest due times of all runs: a bounded window in memory over whatever holds them all.

Everything due before the *horizon* is in the window; what lies beyond is read when the window runs dry. A million
sleeping runs cost the window's size and no more, and the next due time is known without a query.

This file knows runs and times. It must not know why a run is due.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

WINDOW_RUNS: Final = 20_000


class DueWindow:
    """Due times by run.

    Args:
        read: gives the earliest `(time, run)` of all runs, at most as many as asked, in order. None when the window
            itself is all there is.
    """

    # Pairs are ordered and no two are equal, so that the horizon may fall between runs due at the same time.
    def __init__(self, read: Callable[[int], list[tuple[int, int]]] | None = None, size: int = WINDOW_RUNS) -> None:
        self._read = read
        self._size = size
        self._times: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []  # also holds pairs that `_times` no longer has; they are skipped
        self._complete = read is None  # whether nothing lies beyond the horizon
        self._horizon = (-(2**63), 0)  # every pair below it is in the window

    def set(self, run: int, time: int | None) -> None:
        """Take over a run's due time; None takes it out."""
        if time is None or not (self._complete or (time, run) < self._horizon):
            self._times.pop(run, None)
        elif self._times.get(run) != time:
            self._times[run] = time
            heapq.heappush(self._heap, (time, run))
        if len(self._heap) > 2 * len(self._times) + 64:
            self._rebuild([(time, run) for run, time in self._times.items()])
        if self._read is not None and len(self._times) > 2 * self._size:
            self._trim()

    def due(self, until: int, limit: int) -> list[tuple[int, int]]:
        """List the earliest `(time, run)` that are due at or before `until`."""
        while True:
            found = self._earliest(until, limit)
            if len(found) == limit or self._complete or self._horizon[0] > until:
                return found
            self._refill(max(limit, self._size))

    def next_due(self) -> int | None:
        """The earliest due time of all."""
        while True:
            self._skip_stale()
            if self._heap:
                return self._heap[0][0]
            if self._complete:
                return None
            self._refill(self._size)

    def _earliest(self, until: int, limit: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        while len(found) < limit:
            self._skip_stale()
            if not self._heap or self._heap[0][0] > until:
                break
            pair = heapq.heappop(self._heap)
            if not found or found[-1] != pair:  # a time that came back is in the heap twice
                found.append(pair)
        for pair in found:
            heapq.heappush(self._heap, pair)
        return found

    def _skip_stale(self) -> None:
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    def _rebuild(self, pairs: list[tuple[int, int]]) -> None:
        heapq.heapify(pairs)
        self._heap = pairs

    def _trim(self) -> None:
        pairs = sorted((time, run) for run, time in self._times.items())
        self._complete, self._horizon = False, pairs[self._size]
        self._keep(pairs[: self._size])

    def _refill(self, limit: int) -> None:
        assert self._read is not None
        pairs = self._read(limit)
        self._complete = len(pairs) < limit
        if pairs:
            time, run = pairs[-1]
            self._horizon = (time, run + 1)
        self._keep(pairs)

    def _keep(self, pairs: list[tuple[int, int]]) -> None:
        self._times = {run: time for time, run in pairs}
        self._heap = pairs  # sorted, hence a heap
