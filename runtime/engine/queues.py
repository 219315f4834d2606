"""The queues of one engine: they follow the entries of each batch, say who begins, and what a start finds instead.

What is on a queue is a function of rows, read once from the ledger, and of the entries since. A batch that could not be
appended is forgotten with everything after it: the next look reads the ledger again.

Knows tickets, starts and batches. Who is next is decided in `perdure.core.flow`. Must not append or dispatch.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sys import intern
from typing import TYPE_CHECKING, Any, Final

from perdure.core.flow import Flow, Ticket
from perdure.declare.queues import UNNAMED, Queue, QueueChanges
from perdure.engine.batch import Batch
from perdure.engine.residents import replayed
from perdure.engine.retrying import begin_again
from perdure.errors import DefinitionError
from perdure.storage import entries as kinds
from perdure.storage.encoding import Encoded
from perdure.storage.entries import Entry
from perdure.storage.fold import fold_all
from perdure.storage.ledger import ENDED, QueueRow, queue_row
from perdure.texts import checked_text, did_you_mean

if TYPE_CHECKING:
    from perdure.engine.engine import Engine
    from perdure.engine.starting import Start

logger = logging.getLogger("perdure")

#: So many begin in one batch, and the rest in the next: whoever asks for something else is served in between.
_BEGUN_PER_BATCH: Final = 200
#: Begins of runs that have ended count for the turns of keys as long; rates may look back further.
_TURNS_US: Final = 60_000_000
_OVER: Final = kinds.ENDINGS - {kinds.RETRYING}


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What is on a queue now.

    Attributes:
        name: the queue's; `:runtime` is the one of runs without a queue, when the runtime limits them.
        limits: those in force, or None when this runtime was given no queue of that name: then nothing on it begins.
        queued: runs that wait for their turn, delayed ones too.
        running: runs that have begun and not ended.
        steps_at_work: attempts of their steps.
    """

    name: str
    limits: Queue | None
    queued: int
    running: int
    steps_at_work: int


class Queues:
    """Who waits on which queue.

    Args:
        queues: by name, with their limits now.
        max_concurrent_runs: of all runs but children; runs without a queue wait on one of their own then.
    """

    def __init__(self, engine: Engine, queues: Mapping[str, Queue], max_concurrent_runs: int | None = None) -> None:
        self.queues = dict(queues)
        # Without the limit too: a runtime that had one may have left runs there.
        self.queues.setdefault(UNNAMED, Queue(UNNAMED))
        self._engine = engine
        self._max_concurrent_runs = max_concurrent_runs
        self._flow: Flow | None = None
        self._wake_at: int | None = None
        self._waited_for: set[str] = set()  # queues that nobody gave, told once

    # ── starts ───────────────────────────────────────────────────────────────────────────────────

    def place(self, wanted: Start) -> dict[str, Any] | None:
        """Where a run is to wait, as it is recorded; None when it begins at once.

        Raises:
            DefinitionError: nobody gave that queue, or there is a key or a priority and no queue.
            InvalidInput: the input lacks a field that the key is made of.
        """
        definition = wanted.definition
        options = definition.options
        name = wanted.queue or options.queue_name
        if name is None:
            if wanted.key is not None or wanted.priority is not None:
                raise _without_queue(wanted)
            if self._max_concurrent_runs is None or wanted.parent_run_id is not None:
                return None
            name = UNNAMED
        queue = self.get(name)
        key = wanted.key
        if key is None and options.key is not None:
            key = definition.queue_key(definition.validated_input(wanted.value))
        if not key and queue.singleton is not None:
            key = definition.id
        checked_text(key or "", "key")
        priority = options.priority if wanted.priority is None else wanted.priority
        place = {"name": name, "key": key, "priority": priority}
        return {field: value for field, value in place.items() if value}

    def delay_us(self, wanted: Start, place: Mapping[str, Any]) -> int:
        """How long a start is held back: by itself, or because another one may take its place."""
        if wanted.parent_run_id is not None:
            return wanted.delay_us  # its parent waits for this very run
        return max(wanted.delay_us, self.get(place["name"]).debounce_us or 0)

    def instead(self, wanted: Start, place: Mapping[str, Any], encoded: Encoded, batch: Batch) -> str | None:
        """The run that a start gets instead of a new one; None when it gets a new one.

        A child is never another run than its own: it waits for its turn.
        """
        queue = self.get(place["name"])
        alike = self._alike(wanted, place, batch)
        debounced = _debounced(queue, wanted, alike)
        if debounced is not None:
            self._debounce(debounced, wanted, queue, encoded, batch)
            return debounced.run_id
        if queue.singleton == "skip" and alike:
            return alike[0].run_id
        if queue.singleton == "replace":
            for ticket in alike:
                self._engine.families.cancel_child(ticket.run_id, batch)
            self._engine.families.settle(batch)
        return None

    def other(self, wanted: Start, place: Mapping[str, Any], batch: Batch) -> str | None:
        """The run that `instead` would give now; nothing is done."""
        queue = self.get(place["name"])
        alike = self._alike(wanted, place, batch)
        ticket = _debounced(queue, wanted, alike)
        if ticket is None and queue.singleton == "skip" and alike:
            ticket = alike[0]
        return None if ticket is None else ticket.run_id

    def _alike(self, wanted: Start, place: Mapping[str, Any], batch: Batch) -> list[Ticket]:
        """Open runs of the same workflow and key, where the queue cares whether there are any."""
        queue = self.get(place["name"])
        if wanted.parent_run_id is not None or (queue.debounce is None and queue.singleton is None):
            return []
        line = self._look(batch).line(queue.name)
        return list(line.opened.get((wanted.definition.id, place.get("key", "")), {}).values())

    def _debounce(self, ticket: Ticket, wanted: Start, queue: Queue, encoded: Encoded, batch: Batch) -> None:
        due = batch.now + max(queue.debounce_us or 0, wanted.delay_us)
        if queue.debounce_max_us is not None:
            due = min(due, ticket.created_at + queue.debounce_max_us)
        queued = batch.queued.get(ticket.run)
        row = self._engine.ledger.run_numbered(ticket.run) if queued is None else fold_all(None, queued.entries)
        assert row is not None  # the flow has it from the ledger, or from this batch
        fields = {"body": encoded.body, "shape": encoded.shape, "due": due}
        entry = self._engine.moves.bare_entry(row, batch, kinds.DEBOUNCED, **fields)
        batch.add(entry)
        if queued is not None:
            queued.entries.append(entry)

    def check_child(self, parent: int, wanted: Start) -> None:
        """Refuse a child that could only begin after the parent that waits for it.

        Raises:
            DefinitionError: both are on a queue, or under a key, that lets one run at a time.
        """
        if self._flow is None or (ticket := self._flow.ticket(parent)) is None:
            return
        place = self.place(wanted)
        if place is None or place["name"] != ticket.queue:
            return
        queue = self.get(ticket.queue)
        same_key = place.get("key", "") == ticket.key
        if queue.max_concurrent_runs == 1 or (queue.runs_per_key == 1 and same_key):
            raise DefinitionError(
                f"the child would wait on queue {queue.name!r} for its parent, which waits for the child.",
                where=f"{ticket.workflow} v{ticket.version}, run {ticket.run_id}",
                why=f"the queue lets one run at a time{'' if queue.max_concurrent_runs == 1 else ' under that key'}, "
                "and the parent is that run until it ends",
                fix="put the child on another queue, raise the limit, or spawn it and do not wait for it",
            )

    # ── begins ───────────────────────────────────────────────────────────────────────────────────

    def begin(self, batch: Batch) -> None:
        """Begin the runs that have room, in their order."""
        flow = self._look(batch)
        self._wake_at = None
        if self._engine.draining or self._engine.administers:
            return
        for _ in range(_BEGUN_PER_BATCH):
            ticket = flow.next(batch.now)
            if ticket is None:
                self._wake_at = flow.wake_at(batch.now)
                return
            if not self._begin(ticket, batch):
                break
            self._engine.families.settle(batch)
            flow = self._look(batch)
            if ticket.state == "waiting" and ticket.run in flow:  # neither begun nor diverged: nothing moves it
                logger.error("Run %s can't begin, and is left on queue %s.", ticket.run_id, ticket.queue)
                flow.set_aside(ticket.run)
        self._wake_at = batch.now

    @property
    def wake_at(self) -> int | None:
        """When a turn is due because of a queue; None when nothing on one waits for time alone."""
        return self._wake_at

    def _begin(self, ticket: Ticket, batch: Batch) -> bool:
        """Begin one run; False when only the next batch can, because this one moves it without its body."""
        engine, run = self._engine, ticket.run
        queued = batch.queued.get(run)
        moved = batch.lengths.get(run)
        if queued is not None and moved in (None, len(queued.entries)):
            del batch.queued[run]
            batch.lengths.pop(run, None)
            machine = replayed(fold_all(None, queued.entries), queued.definition, queued.entries)
            engine.residents.add(machine)
        elif moved is not None and engine.residents.get(run) is None:
            return False
        elif ticket.again:
            begin_again(engine, run, batch)
            return True
        else:
            found = engine.moves.machine(run, batch)
            if found is None:
                return True  # it has diverged, as its newest entry says
            machine = found
        detail = None
        timeout_us = machine.executable.options.timeout_us
        if timeout_us is not None:
            detail = json.dumps({"timeout_at": batch.now + timeout_us})
            batch.times.append((batch.now + timeout_us, run))
        engine.feed(machine, batch, machine.entry(kinds.BEGAN, batch.now, detail=detail))
        return True

    # ── limits ───────────────────────────────────────────────────────────────────────────────────

    def get(self, name: str) -> Queue:
        """A queue by name.

        Raises:
            DefinitionError: nobody gave one of that name.
        """
        queue = self.queues.get(name)
        if queue is None:
            known = [each for each in self.queues if each != UNNAMED]
            raise DefinitionError(
                f"no queue is named {name!r}.",
                why=f"this runtime has {', '.join(known) or 'none'}",
                fix=f"{did_you_mean(name, known)}\nor give it to the runtime: Runtime(queues=[Queue({name!r}, …)])"
                if known
                else f"give it to the runtime: Runtime(queues=[Queue({name!r}, …)])",
            )
        return queue

    def change(self, name: str, changes: QueueChanges) -> Queue:
        """Change the limits of a queue. Raises DefinitionError."""
        self.queues[name] = self.get(name).changed(changes)
        self.forget()
        self._engine.slots.changed()
        return self.queues[name]

    def queue_of(self, run: int) -> str | None:
        """The queue that a run is on that has not ended."""
        ticket = None if self._flow is None else self._flow.ticket(run)
        return None if ticket is None else ticket.queue

    def statuses(self, batch: Batch) -> list[QueueStatus]:
        """What is on each queue, by name; of the one for runs without a queue only when there is something."""
        lines = self._look(batch).lines.values()
        at_work = self._engine.slots.at_work()
        return [
            QueueStatus(line.name, line.queue, line.waiting, line.running, at_work[line.name])
            for line in sorted(lines, key=lambda line: line.name)
            if line.name != UNNAMED or line.tickets or self._max_concurrent_runs is not None
        ]

    # ── following the ledger ─────────────────────────────────────────────────────────────────────

    def forget(self) -> None:
        """Start over from the ledger, because a batch was not appended or a limit has changed."""
        self._flow = None
        self._wake_at = 0

    def _look(self, batch: Batch) -> Flow:
        """Take in what has come into the batch since the last look."""
        flow = self._flow
        if flow is None:
            flow = self._flow = self._from_ledger(batch.now)
            batch.looked_at = 0
        for entry in batch.entries[batch.looked_at :]:
            if entry.kind == kinds.CREATED:
                ticket = _ticket_of(entry)
                if ticket is not None:
                    flow.wait(ticket)
            elif entry.run in flow:
                _follow(flow, entry)
            elif entry.kind == kinds.REQUEUED:
                self._take_up_again(flow, entry.run)
        batch.looked_at = len(batch.entries)
        return flow

    def _take_up_again(self, flow: Flow, run: int) -> None:
        """Somebody tries a run again that had ended: it waits for a place as one that is started."""
        row = self._engine.ledger.run_numbered(run)
        if row is not None and row.queue is not None:
            ticket = _ticket_of_row(queue_row(row))
            ticket.due, ticket.successor, ticket.again = None, False, True
            flow.wait(ticket)
            self._tell_unknown(flow)

    def _from_ledger(self, now: int) -> Flow:
        flow = Flow(self.queues, self._max_concurrent_runs)
        looks_back = max(_TURNS_US, *(queue.looks_back_us for queue in self.queues.values()))
        happened: list[tuple[int, int, bool, QueueRow]] = []
        for row in self._engine.ledger.on_queues(now - looks_back):
            happened.append((row.requeued_at or row.created_at, row.run, False, row))
            if row.began_at is not None:
                happened.append((row.began_at, row.run, True, row))
        happened.sort(key=lambda each: each[:3])  # as it came, so that keys have their turns as before
        for at, run, began, row in happened:
            if row.status in ENDED or (began and row.requeued_at is not None):
                if began:
                    flow.line(row.queue).note_begin(row.queue_key, at, counts=row.continued_from is None)
            elif began:
                flow.began(run, at)
            else:
                flow.wait(_ticket_of_row(row))
                if row.status == "diverged" and (row.began_at is None or row.requeued_at is not None):
                    flow.set_aside(run)
        self._tell_unknown(flow)
        return flow

    def _tell_unknown(self, flow: Flow) -> None:
        for name, line in flow.lines.items():
            if line.queue is None and line.tickets and name not in self._waited_for:
                self._waited_for.add(name)
                logger.warning(
                    "%d runs wait on queue %r, which this runtime does not have: give it Runtime(queues=[Queue(%r)]).",
                    line.waiting, name, name,
                )  # fmt: skip


def _debounced(queue: Queue, wanted: Start, alike: Sequence[Ticket]) -> Ticket | None:
    """The waiting run whose place a start takes."""
    if queue.debounce is not None:
        for ticket in alike:
            if (
                ticket.state == "waiting"
                and not (ticket.child or ticket.again)
                and ticket.version == wanted.definition.version
            ):
                return ticket
    return None


def _follow(flow: Flow, entry: Entry) -> None:
    """Take in an entry of a run that is on a queue."""
    kind = entry.kind
    if kind == kinds.BEGAN or (kind == kinds.RESTARTED and flow.waits(entry.run)):  # else it keeps its place
        flow.began(entry.run, entry.at)
    elif kind in _OVER:
        flow.over(entry.run)
    elif kind == kinds.DEBOUNCED:
        flow.put_off(entry.run, entry.due)
    elif kind == kinds.DIVERGED:
        flow.set_aside(entry.run)
    elif kind == kinds.RECOVERED:
        flow.take_back(entry.run)


def _ticket_of(created: Entry) -> Ticket | None:
    """The ticket of a new run; None when it is on no queue."""
    if created.detail is None or '"queue"' not in created.detail:
        return None  # most are not, and parsing costs more than looking
    detail = created.facts()
    queue = detail.get("queue")
    if queue is None:
        return None
    return Ticket(
        created.run, detail["run_id"], intern(created.name), intern(detail["version"]), intern(queue["name"]),
        intern(queue.get("key", "")), queue.get("priority", 0), created.at, created.due,
        child="parent_run_id" in detail, successor="continued_from" in detail,
    )  # fmt: skip


def _ticket_of_row(row: QueueRow) -> Ticket:
    again = row.requeued_at is not None
    return Ticket(
        row.run, row.run_id, intern(row.workflow), intern(row.version), intern(row.queue), intern(row.queue_key),
        row.priority, row.created_at, row.due if row.began_at is None else None,
        child=row.parent_run_id is not None, successor=row.continued_from is not None and not again, again=again,
    )  # fmt: skip


def _without_queue(wanted: Start) -> DefinitionError:
    option, value = ("key", wanted.key) if wanted.key is not None else ("priority", wanted.priority)
    return DefinitionError(
        f"{option}={value!r} is given without a queue.",
        where=f"workflow {wanted.definition.id!r}",
        why="keys and priorities say who is next on a queue",
        fix='give queue="…" too; for one run under a key use idempotency_key',
    )
