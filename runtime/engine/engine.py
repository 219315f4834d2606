"""One turn of the engine: take what became ready, feed it to bodies, append once, then let the outside happen.

    rules   1. Nothing outside happens before its intent is appended: performers, acknowledgements, log lines and
               watchers come after.
            2. A cause and all that the body asked for because of it are in one batch.
            3. A batch that can't be appended never happened: its bodies are dropped and come back by replay, its
               outcomes are taken again, its callers get the error.

The engine has no thread and no loop of its own: `thread.py` drives it in production, a simulator may drive it in tests.
All of it runs on one thread at a time. How entries become commands is `perdure.core`; how they are kept is the ledger.
"""

from __future__ import annotations

import gc
import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from perdure.core.machine import Machine
from perdure.declare.queues import Queue, named_by
from perdure.declare.registry import Registry
from perdure.engine.answers import Reply
from perdure.engine.attempts import Attempt, Outcome, Performers
from perdure.engine.batch import Batch
from perdure.engine.chains import Chains
from perdure.engine.clock import Clock
from perdure.engine.definitions import Code, Definitions
from perdure.engine.diverging import set_aside
from perdure.engine.families import Families
from perdure.engine.messages import Messages
from perdure.engine.moves import Moves
from perdure.engine.notes import Notes
from perdure.engine.queues import Queues
from perdure.engine.reactions import Reactions
from perdure.engine.residents import RESIDENTS_MAX, Residents
from perdure.engine.schedules import Schedules
from perdure.engine.shown import show
from perdure.engine.slots import Slots
from perdure.engine.starting import Starting
from perdure.engine.streams import Streams
from perdure.engine.timers import DueWindow
from perdure.errors import Divergence, LedgerError
from perdure.storage import entries as kinds
from perdure.storage.encoding import Encoded
from perdure.storage.ledger import Ledger, RunRow

logger = logging.getLogger("perdure")


@dataclass(frozen=True, slots=True)
class Request:
    """Something a caller wants; `future` gets what `call` gives, after the append."""

    call: Callable[[Engine, Batch], Any]
    future: Reply
    kept: bool = False  # a step's word: asked again, in its order, when its batch can't be appended


Message: TypeAlias = Request | Outcome
Condition: TypeAlias = Callable[[RunRow], bool]


class Engine:
    """Everything that moves the runs of one ledger."""

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry,
        clock: Clock,
        performers: Performers,
        *,
        residents_max: int = RESIDENTS_MAX,
        code: Code = "pinned",
        queues: Mapping[str, Queue] | None = None,  # those that its workflows name themselves, by default
        max_concurrent_runs: int | None = None,
        max_concurrent_steps: int | None = None,
    ) -> None:
        self.ledger = ledger
        self.registry = registry
        self.clock = clock
        self.performers = performers
        self.definitions = Definitions(self, code)
        self.residents = Residents(ledger, residents_max)
        self.timers = DueWindow(ledger)
        self.show = show  # where lines go that bodies write; a simulation takes them into its story
        self.on_ended: Callable[[int], None] | None = None  # told of each run whose attempt is over, after the append
        #: Told of what each batch appended, once its lines are shown. On the engine's thread, so it has to hurry.
        self.on_appended: Callable[[Sequence[kinds.Entry]], None] | None = None
        self.chains = Chains(self)
        self.families = Families(self)
        self.starting = Starting(self)
        self.moves = Moves(self)
        self.messages = Messages(self)
        self.notes = Notes(self)
        self.streams = Streams(self)
        self.reactions = Reactions(self)
        self.schedules = Schedules(self)
        #: Steps at work, by run. A run with none only waits, and may be parked.
        self.in_flight: defaultdict[int, dict[str, int]] = defaultdict(dict)  # command → serial of the attempt
        self.queues = Queues(self, named_by(registry.all()) if queues is None else queues, max_concurrent_runs)
        self.slots = Slots(self.in_flight, self.queues.queues, self.queues.queue_of, max_concurrent_steps)
        self._serials = itertools.count(1)
        self.draining = False
        #: True moves only what it is asked to: no queues, nothing that was cut off, and no time that has come.
        self.administers = False
        self.unrecorded: list[Message] = []  # of a batch that could not be appended; taken again next turn
        self.unrecorded_may_go = True  # False after a failed append: give the disk a moment
        self._watchers: defaultdict[int, list[tuple[Condition, Future[RunRow]]]] = defaultdict(list)
        self._idle_watchers: list[Future[None]] = []

    def turn(self, messages: Iterable[Message]) -> None:
        """Handle everything that is ready, as one batch."""
        batch = Batch(self.clock.now_us())
        pending: list[Message] = [*self.unrecorded, *messages]
        self.unrecorded = []
        # Each body would have the collector look through all others of the batch: a quarter of a start's time.
        collects = gc.isenabled()
        gc.disable()
        try:
            self.schedules.begin(batch)  # first, because nothing else here has promised a time
            for message in pending:
                self._apply(message, batch)
            due = self.timers.take(batch.now)
            if self.administers:
                due = [run for run in due if self.residents.peek(run) is not None]
            self.residents.prefetch(due)
            for run in due:
                self.moves.due(run, batch)
                self.families.settle(batch)
            self.queues.begin(batch)
            self.notes.settle(batch)
            self._commit(batch)
            self._watch_next_time(due, batch.now)
        except BaseException:
            self.unrecorded = pending  # the thread ends now, and has to tell whoever asked
            raise
        finally:
            if collects:
                gc.enable()

    def next_time(self) -> int:
        """When the next turn is due at the latest, in microseconds since 1970."""
        next_time = self.timers.next_time(self.clock.now_us())
        return min(each for each in (next_time, self.queues.wake_at, self.schedules.wake_at) if each is not None)

    def _watch_next_time(self, runs: Iterable[int], now: int) -> None:
        """Note when these runs are due again: the window holds no more than the next time of a run it took up."""
        for run in runs:
            row = self.ledger.run_numbered(run)
            due = None if row is None else row.next_due
            if due is not None and due > now:  # what is due already was done in this turn, or waits for the next
                self.timers.add(due, run)

    def _apply(self, message: Message, batch: Batch) -> None:
        if isinstance(message, Outcome):
            self.moves.outcome(message, batch)
        else:
            self._serve(message, batch)
        self.families.settle(batch)

    def _serve(self, request: Request, batch: Batch) -> None:
        future = request.future
        if not future.running() and not future.set_running_or_notify_cancel():
            return
        try:
            answer = request.call(self, batch)
        except Exception as error:  # noqa: BLE001  # the caller's to handle: it asked for something that can't be had
            future.set_exception(error)
            return
        batch.acknowledge.append(lambda: future.set_result(answer))
        if request.kept:
            batch.outcomes.append(request)
        else:
            batch.refuse.append(future.set_exception)

    def watch(self, run: int, condition: Condition, future: Future[RunRow]) -> None:
        """Answer `future` with the run's row as soon as an appended batch makes `condition` true, or at once."""
        row = self.ledger.run_numbered(run)
        if row is not None and condition(row):
            if future.set_running_or_notify_cancel():
                future.set_result(snapshot(row))
            return
        watchers = self._watchers[run]
        watchers[:] = [each for each in watchers if not each[1].cancelled()]
        watchers.append((condition, future))

    def when_idle(self, future: Future[None]) -> None:
        """Answer `future` after the turn in which no step is at work any more and nothing is due."""
        self._idle_watchers.append(future)

    # ── the append, and what comes after it ──────────────────────────────────────────────────────

    def _commit(self, batch: Batch) -> None:
        if batch.entries or batch.definitions or batch.cells:
            try:
                self.ledger.append(batch.entries, batch.definitions, tuple(batch.cells.values()))
            except LedgerError as error:
                self._undo(batch, error)
                return
        self.unrecorded_may_go = True
        for effects in batch.effects:  # before the next steps start, which may want to write the same
            effects.over()
        for entry in batch.entries:
            if entry.due is not None:
                self.timers.add(entry.due, entry.run)
        for due, run in batch.times:
            self.timers.add(due, run)
        self._dispatch(batch)
        for facts, output in batch.outputs:
            try:
                self.show(facts, output)
            except Exception:  # a closed pipe, or a filter in the application's log; no run is to suffer for it
                logger.exception("A line that run %s wrote can't be shown.", facts.run_id)
        if self.on_appended is not None:
            self.on_appended(batch.entries)
        for run in batch.touched:
            self._notify(run)
        for run in batch.ended:
            self.residents.drop(run)
            self.in_flight.pop(run, None)
            if self.on_ended is not None:
                self.on_ended(run)
        for run in batch.touched:
            if not self.in_flight.get(run):
                self.in_flight.pop(run, None)
                self.residents.park(run)
        for acknowledge in batch.acknowledge:
            acknowledge()
        if self._idle_watchers and not any(self.in_flight.values()) and self.next_time() > self.clock.now_us():
            idle, self._idle_watchers = self._idle_watchers, []
            for future in idle:
                if future.set_running_or_notify_cancel():
                    future.set_result(None)

    def _dispatch(self, batch: Batch) -> None:
        for place in batch.cancel:
            self.in_flight[place[0]].pop(place[1], None)
            self.performers.cancel(place)
        attempts = [each for each in batch.perform if self._may_start(each)]
        for attempt in attempts:
            self.in_flight[attempt.run][attempt.command] = attempt.serial
        started = self.slots.admit(attempts)
        if started:
            self.performers.perform(started)

    def _may_start(self, attempt: Attempt) -> bool:
        # While draining, what may run again waits for the next start; an at-most-once step whose intent is recorded
        # must run now, because afterwards nobody could tell that it had not.
        return not self.draining or attempt.call.options.delivery == "at_most_once"

    def _undo(self, batch: Batch, error: LedgerError) -> None:
        logger.error("The ledger took nothing of a batch of %d entries: %s", len(batch.entries), error)
        for run in batch.touched:
            self.residents.drop(run)
        for said in batch.outcomes:
            if isinstance(said, Outcome):
                self.in_flight[said.run][said.command] = said.serial  # else nobody would want it next turn
        self.timers.forget()
        self.queues.forget()
        self.schedules.forget()
        self.reactions.cascades.forget()
        self.unrecorded_may_go = False
        self.unrecorded = [*(_asked_again(call) for call in batch.again), *batch.outcomes, *self.unrecorded]
        for refuse in batch.refuse:
            refuse(error)

    def _notify(self, run: int) -> None:
        watchers = self._watchers.get(run)
        if not watchers:
            return
        row = self.ledger.run_numbered(run)
        if row is None:
            return
        left = []
        for condition, future in watchers:
            if not condition(row):
                left.append((condition, future))
            elif future.set_running_or_notify_cancel():
                future.set_result(snapshot(row))
        if left:
            self._watchers[run] = left
        else:
            del self._watchers[run]

    def forget_watchers(self) -> list[Future[Any]]:
        """Give up all watching, for the end of the engine."""
        futures: list[Future[Any]] = [future for watchers in self._watchers.values() for _, future in watchers]
        futures += self._idle_watchers
        self._idle_watchers = []
        self._watchers.clear()
        return futures

    # ── what those share that move runs (starting.py, moves.py, families.py) ─────────────────────

    def feed(self, machine: Machine, batch: Batch, *causes: kinds.Entry, recorded: bool = False) -> bool:
        """Let a body live through causes, and gather what it asks for. False when it could not.

        Args:
            recorded: the ledger has the causes, so that only what the body asks for is new.
        """
        machine.new_token = self.clock.new_token
        try:
            asked = machine.feed(*causes)
        except Exception as error:  # our bug, or the run's: only this run is set aside, and the causes are kept
            if isinstance(error, Divergence):  # no bug of ours: recorded code that misses something, and it says what
                logger.error("Run %s stopped as diverged.\n%s", machine.facts.run_id, error)
            else:
                logger.exception("Run %s can't go on.", machine.facts.run_id)
            if recorded:
                self.residents.drop(machine.facts.run)
            else:
                set_aside(self, machine, batch, causes, error)
            return False
        new = asked if recorded else [*causes, *asked]
        if new:
            batch.add(*new)
        self.take(machine, batch, asked)
        return True

    def take(self, machine: Machine, batch: Batch, asked: Sequence[kinds.Entry]) -> None:
        """Gather what a body printed and asked for, to be done after the append; the batch has the entries already."""
        if machine.output:
            batch.outputs.extend((machine.facts, line) for line in machine.output)
            machine.output.clear()
        for entry in asked:
            self._gather(machine, entry, batch)

    def attempt(self, machine: Machine, command: str, number: int, heartbeat: Encoded | None = None) -> Attempt:
        """Make an attempt of a step that waits."""
        facts, call = machine.facts, machine.step_call(command)
        return Attempt(facts.run, facts.run_id, command, number, call, next(self._serials), heartbeat)

    def _gather(self, machine: Machine, entry: kinds.Entry, batch: Batch) -> None:
        facts = machine.facts
        kind = entry.kind
        if kind == kinds.STEP:
            if entry.command in machine.waiting:  # else the body dropped it in the same breath
                batch.perform.append(self.attempt(machine, entry.command, 1))
        elif kind == kinds.WAIT_EVENT:
            batch.waits.append(entry)
        elif kind in (kinds.HOOK, kinds.HOOK_CLOSED):
            self.messages.asked(machine, entry, batch)
        elif kind == kinds.DROPPED:
            batch.perform = [each for each in batch.perform if (each.run, each.command) != (facts.run, entry.command)]
            if entry.command in self.in_flight.get(facts.run, ()):
                batch.cancel.append((facts.run, entry.command))
            self.families.dropped(machine, entry, batch)
        elif kind in (kinds.CHILD, kinds.CHILD_RESULT, kinds.CHILD_CANCEL):
            self.families.asked(machine, entry, batch)
        elif kind in kinds.ENDINGS:
            # What other branches still ran is not wanted any more.
            batch.perform = [each for each in batch.perform if each.run != facts.run]
            batch.cancel.extend((facts.run, command) for command in self.in_flight.get(facts.run, ()))
            batch.ended.append(facts.run)
            if kind == kinds.CONTINUED:
                self.chains.go_on(machine, entry, batch)
            elif kind != kinds.RETRYING:
                self.families.ended(facts.first_run_id or facts.run_id, facts.parent_run_id, entry, batch)
            if kind == kinds.FAILED:
                self.families.cancel_children(facts.run_id, batch)


def _asked_again(call: Callable[[Batch], None]) -> Request:
    return Request(lambda _, batch: call(batch), Future())


def snapshot(row: RunRow) -> RunRow:
    """Copy a row for another thread."""
    return replace(row, pending={command: replace(pending) for command, pending in row.pending.items()})
