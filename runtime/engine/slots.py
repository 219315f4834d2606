"""Which attempts of steps may be at work at once: those beyond a limit wait here, in order, their intents recorded.

An attempt that waits counts as in flight, so that nobody starts it twice; whoever drops it there has taken it back. Its
timeout counts from its start. Knows attempts and limits. Must not know why they are made.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from perdure.declare.queues import Queue
from perdure.engine.attempts import Attempt, Place


class Slots:
    """Places for attempts, of all steps and of each queue.

    Args:
        in_flight: by run and command, the serial of the attempt that is wanted.
        queues: limits by name; whoever changes them calls `changed`.
        queue_of: the queue that a run is on.
        limit: of all attempts together.
    """

    def __init__(
        self,
        in_flight: Mapping[int, dict[str, int]],
        queues: Mapping[str, Queue],
        queue_of: Callable[[int], str | None],
        limit: int | None = None,
    ) -> None:
        self.limit = limit
        self._in_flight = in_flight
        self._queues = queues
        self._queue_of = queue_of
        self._numbers = itertools.count()
        self._waiting: dict[str | None, deque[tuple[int, Attempt]]] = {}
        self._working: dict[Place, tuple[int, str | None]] = {}  # serial and queue of those that a limit counts
        self._counts: Counter[str | None] = Counter()  # of them, by queue
        self._limited = False
        self._to_count = True

    def admit(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        """Take up attempts that are to be made, and give those that may start now, older ones first."""
        if self._to_count:
            self._count_anew(attempts)
        if not self._limited:
            return attempts
        started = []
        for attempt in attempts:
            queue = self._queue_of(attempt.run)
            if self.limit is None and self._limit_of(queue) is None:
                started.append(attempt)
            else:
                self._waiting.setdefault(queue, deque()).append((next(self._numbers), attempt))
        self._forget_finished()
        while (first := self._first()) is not None:
            started.append(first)
        return started

    def changed(self) -> None:
        """Take note that limits have changed; what is at work is counted anew when the next may start."""
        self._to_count = True

    def _count_anew(self, coming: Sequence[Attempt]) -> None:
        self._to_count = False
        waiting = self._serials_waiting()
        limits = [queue.max_concurrent_steps for queue in self._queues.values()]
        self._limited = self.limit is not None or bool(waiting) or any(limit is not None for limit in limits)
        waiting.update(attempt.serial for attempt in coming)
        self._working.clear()
        self._counts.clear()
        for run, commands in self._in_flight.items() if self._limited else ():
            queue = self._queue_of(run)
            for command, serial in commands.items():
                if serial not in waiting:
                    self._count((run, command), serial, queue)

    def drain(self, in_flight: Mapping[int, dict[str, int]]) -> None:
        """Take back what may run again after the next start; at-most-once attempts have to be made now."""
        for queue, waiting in self._waiting.items():
            kept = deque[tuple[int, Attempt]]()
            for number, attempt in waiting:
                if attempt.call.options.delivery == "at_most_once":
                    kept.append((number, attempt))
                elif self._is_wanted(attempt):
                    del in_flight[attempt.run][attempt.command]
            self._waiting[queue] = kept

    def at_work(self) -> Counter[str | None]:
        """How many attempts are at work now, by queue."""
        waiting = self._serials_waiting()
        counts: Counter[str | None] = Counter()
        for run, commands in self._in_flight.items():
            counts[self._queue_of(run)] += sum(serial not in waiting for serial in commands.values())
        return counts

    def _first(self) -> Attempt | None:
        """Take out the attempt that has waited longest of those that may start."""
        if self.limit is not None and len(self._working) >= self.limit:
            return None
        able: list[tuple[int, str | None]] = []
        for queue, waiting in self._waiting.items():
            while waiting and not self._is_wanted(waiting[0][1]):
                waiting.popleft()
            limit = self._limit_of(queue)
            if waiting and (limit is None or self._counts[queue] < limit):
                able.append((waiting[0][0], queue))
        if not able:
            return None
        _, queue = min(able, key=lambda each: each[0])
        _, attempt = self._waiting[queue].popleft()
        self._count((attempt.run, attempt.command), attempt.serial, queue)
        return attempt

    def _forget_finished(self) -> None:
        for place, (serial, queue) in list(self._working.items()):
            run, command = place
            if self._in_flight.get(run, {}).get(command) != serial:
                del self._working[place]
                self._counts[queue] -= 1

    def _count(self, place: Place, serial: int, queue: str | None) -> None:
        self._working[place] = (serial, queue)
        self._counts[queue] += 1

    def _is_wanted(self, attempt: Attempt) -> bool:
        return self._in_flight.get(attempt.run, {}).get(attempt.command) == attempt.serial

    def _serials_waiting(self) -> set[int]:
        return {attempt.serial for waiting in self._waiting.values() for _, attempt in waiting}

    def _limit_of(self, queue: str | None) -> int | None:
        return self._queues[queue].max_concurrent_steps if queue is not None and queue in self._queues else None
