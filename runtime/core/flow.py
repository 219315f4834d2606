"""Who begins next: the runs on queues, and the decision, given what runs now and what began lately. Pure.

    turns   Smaller priorities first. Among equal ones the keys take turns: who has waited longest for its turn, since
            it came to wait or since it last began. Within a key, in the order in which the runs were started.
    limits  Of a queue and of each key: runs that have begun and not ended, and begins in a sliding period. What only
            time holds back has a time at which it is looked at again (`wake_at`); the rest waits for an ending.

A flow is a function of rows: what enters it (waits, begins, ends) is read from rows at a start and from entries after
that. Knows tickets and limits. Must not know bodies, clocks or ledgers.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from perdure.declare.queues import Queue, Rate

State = Literal["waiting", "running", "aside"]


@dataclass(slots=True)
class Ticket:
    """A run on a queue that has not ended."""

    run: int
    run_id: str
    workflow: str
    version: str
    queue: str
    key: str
    priority: int
    created_at: int  # microseconds, as all times here
    due: int | None = None  # it is not to begin before
    child: bool = False  # of another run: a runtime's own limit does not count it
    successor: bool = False  # it goes on with a run that held a place, and takes it over
    again: bool = False  # somebody tries it again after its end: no later start takes its place
    state: State = "waiting"


@dataclass(slots=True)
class _Key:
    """What a queue knows of one key."""

    waiting: list[tuple[int, int]] = field(default_factory=list)  # a heap of (priority, run); some have gone since
    running: int = 0
    rank: int = 0  # the turn since which it waits
    place: tuple[int, int, str] | None = None  # (priority, rank, key), while it stands ready


class Line:
    """One queue.

    Attributes:
        queue: its limits; None when nobody gave a `Queue` of that name, and then nothing on it begins.
        tickets: its runs that have not ended. running: how many of them have begun.
    """

    def __init__(self, name: str, queue: Queue | None) -> None:
        self.name = name
        self.queue = queue
        self.tickets: dict[int, Ticket] = {}
        self.running = 0
        self.turn = 0  # when it last began a run, counted in begins of all lines
        self.opened: dict[tuple[str, str], dict[int, Ticket]] = {}  # by (workflow, key), where starts ask for them
        self._keys: dict[str, _Key] = {}
        self._ranks = itertools.count(1)
        self._ready: list[tuple[int, int, str]] = []  # a heap of places; those that are no key's any more are skipped
        self._later: list[tuple[int, int]] = []  # a heap of (due, run)
        self._held: list[tuple[int, str]] = []  # a heap of (time, key): when a key's rate may let it begin again
        self._begins: list[int] = []  # times, as far back as the rate looks
        self._begins_of: dict[str, list[int]] = {}  # likewise, by key
        self._successors: dict[int, Ticket] = {}
        self._children: dict[int, Ticket] = {}  # that wait

    @property
    def waiting(self) -> int:
        """How many have not begun."""
        return sum(ticket.state == "waiting" for ticket in self.tickets.values())

    # ── what happened ────────────────────────────────────────────────────────────────────────────

    def wait(self, ticket: Ticket) -> None:
        """A run waits on this queue."""
        ticket.state = "waiting"
        self.tickets[ticket.run] = ticket
        if self.queue is not None and (self.queue.debounce is not None or self.queue.singleton is not None):
            self.opened.setdefault((ticket.workflow, ticket.key), {})[ticket.run] = ticket
        if ticket.child:
            self._children[ticket.run] = ticket
        if ticket.due is not None:
            heapq.heappush(self._later, (ticket.due, ticket.run))
        else:
            self._join(ticket)

    def began(self, ticket: Ticket, at: int) -> None:
        """A run begins."""
        self._children.pop(ticket.run, None)
        taken_over = self._successors.pop(ticket.run, None) is not None or ticket.successor
        if ticket.state != "running":
            ticket.state = "running"
            self.running += 1
            self._key(ticket.key).running += 1
        self.note_begin(ticket.key, at, counts=not taken_over)

    def note_begin(self, name: str, at: int, *, counts: bool = True) -> None:
        """A run of this key begins, or began and has ended since: its turn is over; `counts` for the rates, too."""
        key = self._key(name)
        key.rank = next(self._ranks)
        self._stand(name, key)
        queue = self.queue
        if queue is None or not counts:
            return
        if queue.rate is not None:
            _count(self._begins, at, queue.rate)
        if queue.rate_per_key is not None:
            _count(self._begins_of.setdefault(name, []), at, queue.rate_per_key)
            heapq.heappush(self._held, (at + queue.rate_per_key.per_us, name))

    def over(self, ticket: Ticket) -> None:
        """A run has ended, begun or not."""
        del self.tickets[ticket.run]
        self._children.pop(ticket.run, None)
        self._successors.pop(ticket.run, None)
        alike = self.opened.get((ticket.workflow, ticket.key))
        if alike is not None:
            alike.pop(ticket.run, None)
            if not alike:
                del self.opened[ticket.workflow, ticket.key]
        if ticket.state == "running":
            self.running -= 1
            self._key(ticket.key).running -= 1
        key = self._key(ticket.key)
        self._stand(ticket.key, key)

    def put_off(self, ticket: Ticket, due: int | None) -> None:
        """A waiting run is to begin later than was said."""
        ticket.due = due
        if due is not None:
            heapq.heappush(self._later, (due, ticket.run))
        self._stand(ticket.key, self._key(ticket.key))

    def set_aside(self, ticket: Ticket) -> None:
        """A run that waited has diverged; one that has begun keeps its place."""
        if ticket.state == "waiting":
            ticket.state = "aside"
            self._children.pop(ticket.run, None)
            self._stand(ticket.key, self._key(ticket.key))

    # ── who is next ──────────────────────────────────────────────────────────────────────────────

    def next(self, now: int, *, only_children: bool = False) -> Ticket | None:
        """The run that may begin now; None when there is none. It stays until `began`."""
        queue = self.queue
        if queue is None:
            return None
        self._ripen(now)
        if queue.max_concurrent_runs is not None and self.running >= queue.max_concurrent_runs:
            return None
        if self._successors:
            return next(iter(self._successors.values()))
        if _free_at(self._begins, queue.rate, now) > now:
            return None
        if only_children:
            return self._next_child(now)
        while self._ready:
            place = self._ready[0]
            name = place[2]
            key = self._keys.get(name)
            if key is None or key.place is not place:
                heapq.heappop(self._ready)
            elif not self._has_room(name, now):
                key.place = None  # it stands again when one of its runs ends, or its rate lets it
                heapq.heappop(self._ready)
            else:
                return self.tickets[key.waiting[0][1]]
        return None

    def wake_at(self, now: int) -> int | None:
        """When time alone may let somebody begin; None when nothing waits for time."""
        queue = self.queue
        if queue is None or len(self.tickets) == self.running:
            return None
        if queue.max_concurrent_runs is not None and self.running >= queue.max_concurrent_runs:
            return None
        free_at = _free_at(self._begins, queue.rate, now)
        times = [heap[0][0] for heap in (self._later, self._held) if heap]
        if self._ready:
            times.append(free_at)
        return min((max(time, free_at) for time in times if max(time, free_at) > now), default=None)

    def _next_child(self, now: int) -> Ticket | None:
        able = [ticket for ticket in self._children.values() if ticket.due is None and self._has_room(ticket.key, now)]
        return min(able, key=lambda ticket: (ticket.priority, ticket.run), default=None)

    def _has_room(self, name: str, now: int) -> bool:
        queue = self.queue
        assert queue is not None  # who asks has looked
        if queue.runs_per_key is not None and self._key(name).running >= queue.runs_per_key:
            return False
        return _free_at(self._begins_of.get(name, ()), queue.rate_per_key, now) <= now

    def _ripen(self, now: int) -> None:
        """Let what was delayed, and what a key's rate held back, stand with the others."""
        while self._later and self._later[0][0] <= now:
            due, run = heapq.heappop(self._later)
            ticket = self.tickets.get(run)
            if ticket is not None and ticket.state == "waiting" and ticket.due == due:
                ticket.due = None
                self._join(ticket)
        while self._held and self._held[0][0] <= now:
            _, name = heapq.heappop(self._held)
            begins = self._begins_of.get(name, [])
            rate = None if self.queue is None else self.queue.rate_per_key
            while begins and (rate is None or begins[0] + rate.per_us <= now):
                del begins[0]
            if not begins:
                self._begins_of.pop(name, None)
            self._stand(name, self._key(name))

    def _join(self, ticket: Ticket) -> None:
        if ticket.successor:
            self._successors[ticket.run] = ticket
            return
        key = self._key(ticket.key)
        if not key.waiting:
            key.rank = next(self._ranks)
        heapq.heappush(key.waiting, (ticket.priority, ticket.run))
        self._stand(ticket.key, key)

    def _stand(self, name: str, key: _Key) -> None:
        """Give a key its place among those that are ready, or none; forget one of which nothing is left."""
        while key.waiting and not self._is_ready(key.waiting[0][1]):
            heapq.heappop(key.waiting)
        if not key.waiting:
            key.place = None
            if not key.running:
                self._keys.pop(name, None)
            return
        place = (key.waiting[0][0], key.rank, name)
        if place != key.place:
            key.place = place
            heapq.heappush(self._ready, place)

    def _is_ready(self, run: int) -> bool:
        ticket = self.tickets.get(run)
        return ticket is not None and ticket.state == "waiting" and ticket.due is None

    def _key(self, name: str) -> _Key:
        return self._keys.setdefault(name, _Key())


class Flow:
    """All queues of one engine.

    Args:
        queues: their limits, by name.
        max_concurrent_runs: of all of them together; children are not counted, because whoever waits for them is.
    """

    def __init__(self, queues: dict[str, Queue], max_concurrent_runs: int | None = None) -> None:
        self.max_concurrent_runs = max_concurrent_runs
        self.lines = {name: Line(name, queue) for name, queue in queues.items()}
        self._where: dict[int, Line] = {}
        self._started = 0  # runs that have begun and are no children
        self._turns = itertools.count(1)

    def line(self, name: str) -> Line:
        """A queue by name; one that nobody gave is made, so that what is on it can be counted."""
        if name not in self.lines:
            self.lines[name] = Line(name, None)
        return self.lines[name]

    def __contains__(self, run: int) -> bool:
        return run in self._where

    def ticket(self, run: int) -> Ticket | None:
        """A run that is on a queue and has not ended."""
        line = self._where.get(run)
        return None if line is None else line.tickets[run]

    def waits(self, run: int) -> bool:
        """Whether a run is on a queue and has not begun, or not again."""
        ticket = self.ticket(run)
        return ticket is not None and ticket.state != "running"

    def tickets(self) -> Iterator[Ticket]:
        """All runs on queues that have not ended."""
        return (ticket for line in self.lines.values() for ticket in line.tickets.values())

    def wait(self, ticket: Ticket) -> None:
        """A run waits."""
        line = self.line(ticket.queue)
        self._where[ticket.run] = line
        line.wait(ticket)

    def began(self, run: int, at: int) -> None:
        """A run begins."""
        line = self._where[run]
        ticket = line.tickets[run]
        if ticket.state != "running" and not ticket.child:
            self._started += 1
        line.began(ticket, at)
        line.turn = next(self._turns)

    def over(self, run: int) -> None:
        """A run has ended."""
        line = self._where.pop(run)
        ticket = line.tickets[run]
        if ticket.state == "running" and not ticket.child:
            self._started -= 1
        line.over(ticket)

    def put_off(self, run: int, due: int | None) -> None:
        """A waiting run is to begin later."""
        self._where[run].put_off(self._where[run].tickets[run], due)

    def set_aside(self, run: int) -> None:
        """A run has diverged."""
        self._where[run].set_aside(self._where[run].tickets[run])

    def take_back(self, run: int) -> None:
        """A run that had diverged replays again; if it had not begun, it waits again."""
        ticket = self._where[run].tickets[run]
        if ticket.state == "aside":
            self._where[run].wait(ticket)

    def next(self, now: int) -> Ticket | None:
        """The run that may begin now: of the queue whose turn was longest ago."""
        full = self.max_concurrent_runs is not None and self._started >= self.max_concurrent_runs
        able = [(line, line.next(now, only_children=full)) for line in self.lines.values()]
        found = [(not ticket.successor, line.turn, line.name, ticket) for line, ticket in able if ticket is not None]
        return min(found)[3] if found else None

    def wake_at(self, now: int) -> int | None:
        """When time alone may let somebody begin."""
        times = [time for line in self.lines.values() if (time := line.wake_at(now)) is not None]
        return min(times, default=None)


def _count(begins: list[int], at: int, rate: Rate) -> None:
    insort(begins, at)  # clocks are set back
    if len(begins) > rate.limit:
        del begins[0]


def _free_at(begins: Sequence[int], rate: Rate | None, now: int) -> int:
    """When a rate lets the next one begin; `now` or before when it does now."""
    if rate is None or len(begins) < rate.limit:
        return now
    return begins[-rate.limit] + rate.per_us
