"""The bodies in memory: a cache over the ledger. A parked run has none and comes back by replay.

Knows machines and how to bring them back. Must not know why they are needed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from perdure.core.facts import Executable, RunFacts, first_run_id_of, seed_and_origin
from perdure.core.history import Reused, attempts_of, started_with
from perdure.core.machine import Machine
from perdure.engine.attempts import Place
from perdure.errors import Divergence
from perdure.storage.entries import Entry
from perdure.storage.ledger import Ledger, RunRow

RESIDENTS_MAX = 256
_PAGE_RUNS = 200


class Residents:
    """Machines by run number; those that only wait are dropped when there are too many, the longest unused first."""

    def __init__(self, ledger: Ledger, limit: int = RESIDENTS_MAX) -> None:
        self._ledger = ledger
        self._limit = limit
        self._busy: dict[int, Machine] = {}
        self._idle: OrderedDict[int, Machine] = OrderedDict()

    def __len__(self) -> int:
        return len(self._busy) + len(self._idle)

    def get(self, run: int) -> Machine | None:
        """The run's machine if it is in memory."""
        machine = self._busy.get(run)
        if machine is None:
            machine = self._idle.pop(run, None)
            if machine is not None:
                self._busy[run] = machine
        return machine

    def peek(self, run: int) -> Machine | None:
        """The same, for somebody who only looks: it stays where it is."""
        return self._busy.get(run) or self._idle.get(run)

    def add(self, machine: Machine) -> None:
        """Keep a machine that works now."""
        self._busy[machine.facts.run] = machine

    def park(self, run: int) -> None:
        """Say that the run only waits; its machine may go when room is needed."""
        machine = self._busy.pop(run, None)
        if machine is not None:
            self._idle[run] = machine
            while len(self._idle) > self._limit:
                _, oldest = self._idle.popitem(last=False)
                oldest.close()

    def drop(self, run: int) -> None:
        """Forget a run's body: it ended, or what it did could not be appended."""
        machine = self._busy.pop(run, None) or self._idle.pop(run, None)
        if machine is not None:
            machine.close()

    def clear(self) -> None:
        """Drop every body; all come back by replay."""
        for run in [*self._busy, *self._idle]:
            self.drop(run)

    def prefetch(self, runs: Sequence[int]) -> None:
        """Have the ledger read at once what `load` will want of these runs."""
        parked = [run for run in runs if run not in self._busy and run not in self._idle]
        if parked:
            self._ledger.prefetch(parked)

    def fetched(self, places: Sequence[Place]) -> Iterator[Place]:
        """Go through places of runs that will be loaded, a page of them in memory at a time."""
        for start in range(0, len(places), _PAGE_RUNS):
            page = places[start : start + _PAGE_RUNS]
            self.prefetch([run for run, _ in page])
            yield from page

    def load(self, row: RunRow, definition: Executable) -> Machine:
        """Bring a run's body back by replaying its current attempt.

        Raises:
            Divergence: its ledger and today's code disagree.
        """
        try:
            machine = replayed(row, definition, self._ledger.walk(row))
        except Divergence:
            # Only what diverges is worth reading whole; and only what diverges then has diverged.
            machine = replayed(row, definition, self._ledger.walk_many([row], whole=True)[0])
        self._busy[row.run] = machine
        return machine


def replayed(row: RunRow, definition: Executable, entries: Sequence[Entry]) -> Machine:
    """Replay the last attempt in `entries`; earlier ones only lend it what they completed."""
    *earlier, current = attempts_of(row.attempt, entries)
    machine = Machine(definition, facts_of(row, entries[0]), reused_from(earlier))
    machine.set_input(started_with(entries))
    try:
        machine.replay(current)
    except BaseException:
        machine.close()
        raise
    return machine


def next_attempt(row: RunRow, definition: Executable, entries: Sequence[Entry]) -> Machine:
    """Make the machine of a run's next attempt, which has not begun."""
    facts = facts_of(row, entries[0], attempt=row.attempt + 1)
    machine = Machine(definition, facts, reused_from(attempts_of(row.attempt, entries)))
    machine.set_input(started_with(entries))
    machine.length = row.length
    machine.last_at = row.updated_at
    return machine


def reused_from(attempts: Sequence[Sequence[Entry]]) -> Reused:
    """What these attempts completed; the later one counts."""
    reused = Reused()
    for attempt in attempts:
        reused.learn(attempt)
    return reused


def facts_of(row: RunRow, created: Entry, attempt: int | None = None) -> RunFacts:
    """What a body may know of its run; `created` is the run's first entry."""
    seed, origin = seed_and_origin(created)
    return RunFacts(
        row.run,
        row.run_id,
        row.workflow,
        row.version,
        attempt if attempt is not None else row.attempt,
        row.parent_run_id,
        row.tags,
        seed,
        origin,
        first_run_id_of(created),
        row.timeout_at,
    )
