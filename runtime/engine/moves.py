"""What moves a run that is there: a step's outcome comes, a time is due, an event comes, it is cancelled, it resumes.

Each move makes one cause (or note), feeds it, and leaves the rest to the engine. Must not append or dispatch.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from perdure.core.lifecycle import interrupted
from perdure.core.machine import Machine
from perdure.engine.attempts import Outcome
from perdure.engine.batch import Batch
from perdure.engine.diverging import recover_waiting, report_of, stops
from perdure.engine.effects import accepted, forget_effects, take_effects
from perdure.engine.residents import next_attempt
from perdure.engine.streams import newest_heartbeat
from perdure.errors import (
    InternalError,
    LedgerCorrupt,
    PerdureError,
    RunTimeout,
    WorkflowError,
)
from perdure.storage import entries as kinds
from perdure.storage.encoding import encode
from perdure.storage.entries import Entry
from perdure.storage.failures import encode_failure
from perdure.storage.ledger import ENDED, Pending, RunRow
from perdure.storage.matching import satisfies

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

logger = logging.getLogger("perdure")


class Moves:
    """The moves of one engine's runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # ── outcomes, events, times, cancellation ────────────────────────────────────────────────────

    def outcome(self, outcome: Outcome, batch: Batch) -> None:
        """Record how an attempt of a step went."""
        engine = self._engine
        at_work = engine.in_flight.get(outcome.run, {})
        if at_work.get(outcome.command) != outcome.serial:
            forget_effects(outcome)  # the body dropped it, or it was abandoned: nobody wants to know any more
            return
        machine = self.machine(outcome.run, batch)
        settled = accepted(engine, outcome, machine, batch)
        if settled is None:
            return  # it is asked again: the next batch knows how things stand
        outcome = settled
        batch.outcomes.append(outcome)
        del at_work[outcome.command]
        if machine is None:
            self._keep(outcome, batch)
            return
        if outcome.command not in machine.waiting:
            forget_effects(outcome)  # the run is over
            return
        name = machine.waiting[outcome.command].name
        engine.streams.close(outcome, batch)
        kind, fields = _recorded(outcome, name, batch.now)
        entry = machine.entry(kind, batch.now, **fields)
        if kind == kinds.STEP_RETRYING:
            batch.add(entry)
        else:
            engine.feed(machine, batch, entry)
        if outcome.effects is not None:
            take_effects(engine, outcome.effects, batch, outcome.run)

    def _keep(self, outcome: Outcome, batch: Batch) -> None:
        """Keep the outcome of a run that has diverged, which gets it when it replays again."""
        engine = self._engine
        row = engine.ledger.run_numbered(outcome.run)
        if row is None or row.status in ENDED or engine.residents.get(outcome.run) is not None:
            forget_effects(outcome)  # the run is over
            return
        pending = row.pending.get(outcome.command)
        if pending is None:
            forget_effects(outcome)
            return
        engine.streams.close(outcome, batch)
        kind, fields = _recorded(outcome, pending.name, batch.now)
        batch.add(self.bare_entry(row, batch, kind, **fields))
        if outcome.effects is not None:
            take_effects(engine, outcome.effects, batch, outcome.run)

    def event(self, event_type: str, payload: object, batch: Batch) -> int:
        """Wake the runs that wait for this event; give how many."""
        encoded = encode(payload)
        plain = json.loads(encoded.body)
        matchable = plain if isinstance(plain, dict) else {}
        waits = [(waiter.run, waiter.command) for waiter in self._engine.ledger.waiters(event_type, matchable)]
        for entry in batch.waits:
            detail = entry.facts()
            if detail["type"] == event_type and satisfies(matchable, detail["match"]):
                waits.append((entry.run, entry.command))
        woken = 0
        for run, command in self._engine.residents.fetched(waits):
            fields = {"command": command, "name": event_type, "body": encoded.body, "shape": encoded.shape}
            woken += self.tell(run, batch, kinds.EVENT_RECEIVED, **fields)
        return woken

    def tell(self, run: int, batch: Batch, kind: str, **fields: Any) -> bool:
        """Answer a command of a run that may be parked or diverged; False when nobody waits for it any more."""
        machine = self.machine(run, batch)
        if machine is not None:
            if fields["command"] not in machine.waiting:
                return False
            self._engine.feed(machine, batch, machine.entry(kind, batch.now, **fields))
            return True
        if self._engine.residents.get(run) is not None:
            return False  # it ended in this very batch, which the ledger's row does not know yet
        row = self._engine.ledger.run_numbered(run)
        if row is None or row.status in ENDED or fields["command"] not in row.pending:
            return False
        # The run has diverged: the cause is kept, and fed when it replays again.
        batch.add(self.bare_entry(row, batch, kind, **fields))
        return True

    def due(self, run: int, batch: Batch) -> None:
        """Do what is due for a run: begin, try again, time out, fire its timers, start a step's next attempt."""
        engine = self._engine
        row = engine.ledger.run_numbered(run)
        if row is None or row.status in ENDED or row.status == "diverged":
            return
        if run in batch.touched and engine.residents.get(run) is None:
            batch.times.append((batch.now, run))  # its row is out of date until this batch is appended
            return
        if row.timeout_at is not None and row.timeout_at <= batch.now and not row.cancel_requested:
            self.cancel(row, batch, "timeout")
            return
        if row.due is not None and row.due <= batch.now:
            if row.status != "queued" or row.queue is None:  # else its queue begins it
                self._begin(row, batch)
            return
        for pending in list(row.pending.values()):
            if pending.due is not None and pending.due <= batch.now:
                self._fire(row, pending, batch)

    def _begin(self, row: RunRow, batch: Batch) -> None:
        if row.status == "queued":
            machine = self.machine(row.run, batch)
            if machine is not None:
                self._engine.feed(machine, batch, machine.entry(kinds.BEGAN, batch.now))
            return
        try:
            definition = self._engine.definitions.of(row)
        except (WorkflowError, LedgerCorrupt) as error:
            self.diverged(row, error, batch)
            return
        machine = next_attempt(row, definition, self._engine.ledger.walk_many([row], whole=True)[0])
        self._engine.residents.add(machine)
        self._engine.notes.come_first(machine, batch)
        self._engine.feed(machine, batch, machine.entry(kinds.RESTARTED, batch.now, attempt=machine.facts.attempt))

    def _fire(self, row: RunRow, pending: Pending, batch: Batch) -> None:
        engine = self._engine
        machine = self.machine(row.run, batch)
        if machine is None or pending.command not in machine.waiting:
            return
        fields = {"command": pending.command, "name": pending.name}
        if pending.kind == kinds.SLEEP:
            engine.feed(machine, batch, machine.entry(kinds.TIMER_FIRED, batch.now, **fields))
        elif pending.kind == kinds.STEP:
            at_work = pending.command in engine.in_flight.get(row.run, ())
            if pending.retrying and not at_work and not stops(engine, machine, pending.command, batch):
                batch.add(machine.entry(kinds.STEP_STARTED, batch.now, attempt=pending.attempt, **fields))
                self._perform(machine, pending, pending.attempt, batch)
        else:
            detail = pending.child_run_id or None
            engine.feed(machine, batch, machine.entry(kinds.WAIT_TIMED_OUT, batch.now, detail=detail, **fields))
            if pending.kind == kinds.CHILD:
                engine.families.cancel_child(pending.child_run_id, batch)

    def cancel(self, row: RunRow, batch: Batch, reason: str = "cancel") -> bool:
        """Ask a run to stop; False when it is over. Compensation runs before it ends."""
        engine = self._engine
        if row.status in ENDED:
            return False
        if row.cancel_requested:
            return True
        if row.run in batch.stopping:
            return True
        machine = engine.residents.get(row.run)
        waits = row.status == "queued" or (row.status == "awaiting_retry" and row.due is not None)
        idle = machine is None and waits
        if machine is not None and machine.ended:  # in this very batch
            idle = machine.ending is not None and machine.ending.kind == kinds.RETRYING
            if not idle:
                return False
            batch.lengths.setdefault(row.run, machine.length)
        batch.stopping.add(row.run)
        if idle:
            batch.add(self.bare_entry(row, batch, kinds.CANCEL_REQUESTED, name=reason))
            self.end_waiting(row, batch, reason)
            return True
        machine = machine or self.machine(row.run, batch)
        if machine is None:
            row_now = engine.ledger.run_numbered(row.run)
            if row_now is not None:
                batch.add(self.bare_entry(row_now, batch, kinds.CANCEL_REQUESTED, name=reason))
        elif not machine.cancel_requested:
            engine.feed(machine, batch, machine.entry(kinds.CANCEL_REQUESTED, batch.now, name=reason))
        engine.families.cancel_children(row.run_id, batch)
        return True

    def end_waiting(self, row: RunRow, batch: Batch, reason: str) -> None:
        """End a run whose body does not run and that was asked to stop."""
        families = self._engine.families
        batch.add(self._ending(row, batch, reason))
        batch.ended.append(row.run)
        families.ended(self._engine.chains.first(row, batch), row.parent_run_id, batch.entries[-1], batch)
        families.cancel_children(row.run_id, batch)

    def _ending(self, row: RunRow, batch: Batch, reason: str) -> Entry:
        """How a run ends whose body does not run: there is nothing to compensate."""
        if reason == "cancel":
            return self.bare_entry(row, batch, kinds.CANCELLED, attempt=row.attempt)
        body, shape = encode_failure(RunTimeout("the run passed its timeout before its body ran.", where=row.run_id))
        return self.bare_entry(row, batch, kinds.FAILED, attempt=row.attempt, body=body, shape=shape)

    # ── resuming after a restart ─────────────────────────────────────────────────────────────────

    def resume(self, run: int, batch: Batch) -> None:
        """Bring a run back after a restart, or after it diverged: start again what was cut off."""
        row = self._engine.ledger.run_numbered(run)
        if row is None or row.status in ENDED:
            return
        waits = row.due is not None or row.began_at is None or row.requeued_at is not None
        if row.status == "diverged" and waits:
            recover_waiting(self._engine, row, batch)
            return
        if row.due is not None:
            return
        machine = self.machine(run, batch, try_diverged=True)
        if machine is None:
            return
        # What this very batch says of a command, the row does not know yet.
        moved = {entry.command for entry in batch.entries if entry.run == run}
        for pending in list(row.pending.values()):
            if machine.ended:
                return  # by what was told to it just now: nobody wants the rest any more
            if pending.command in moved:
                continue
            if pending.kind == kinds.STEP and not pending.retrying and pending.command in machine.waiting:
                self._resume_step(machine, pending, batch)
            elif pending.kind in (kinds.CHILD, kinds.CHILD_RESULT):
                self._engine.families.look_again(machine, pending, batch)

    def _resume_step(self, machine: Machine, pending: Pending, batch: Batch) -> None:
        if pending.command in self._engine.in_flight.get(machine.facts.run, ()):
            return
        call = machine.step_call(pending.command)
        number = max(pending.attempt, 1)
        if call.options.delivery == "at_least_once":
            if not stops(self._engine, machine, pending.command, batch):
                self._perform(machine, pending, number, batch)
            return
        facts = machine.facts
        error = interrupted(pending.name, f"{facts.workflow} v{facts.version}, run {facts.run_id}")
        body, shape = encode_failure(error)
        entry = machine.entry(
            kinds.STEP_FAILED,
            batch.now,
            command=pending.command,
            name=pending.name,
            attempt=number,
            body=body,
            shape=shape,
        )
        self._engine.feed(machine, batch, entry)

    def _perform(self, machine: Machine, pending: Pending, number: int, batch: Batch) -> None:
        run = machine.facts.run
        batch.touched.add(run)
        heartbeat = newest_heartbeat(self._engine.ledger, run, pending)
        batch.perform.append(self._engine.attempt(machine, pending.command, number, heartbeat))

    # ── bodies in and out of memory ──────────────────────────────────────────────────────────────

    def machine(self, run: int, batch: Batch, *, try_diverged: bool = False) -> Machine | None:
        """The run's body, brought back by replay if need be; None when the run is over or has diverged."""
        engine = self._engine
        machine = engine.residents.get(run)
        if machine is not None:
            return None if machine.ended else machine
        row = engine.ledger.run_numbered(run)
        if (
            row is None
            or row.status in ENDED
            or (row.status == "diverged" and not try_diverged)
            or run in batch.lengths
        ):
            return None
        try:
            machine = engine.residents.load(row, engine.definitions.of(row))
            batch.touched.add(run)  # so that it is parked again when it only waits
        except (WorkflowError, InternalError, LedgerCorrupt) as error:  # no such code, a divergence, a lost class
            if row.status != "diverged":
                self.diverged(row, error, batch)
            return None
        if row.status == "diverged":
            return machine if self._recovered(machine, row, batch) else None
        engine.notes.come_first(machine, batch)
        return machine

    def _recovered(self, machine: Machine, row: RunRow, batch: Batch) -> bool:
        """Let a run that diverged go on with what reached it meanwhile: that is in the ledger already.

        False when the body can't live through it now either: then nothing is written, and the run stays as it is.
        """
        deferred, machine.deferred = list(machine.deferred), []
        machine.length, machine.last_at = row.length, row.updated_at
        before = len(batch.entries)
        batch.add(machine.entry(kinds.RECOVERED, batch.now))
        batch.times.append((batch.now, row.run))  # what fell due meanwhile
        if deferred and not self._engine.feed(machine, batch, *deferred, recorded=True):
            del batch.entries[before:]
            return False
        logger.warning("Run %s replays again and goes on.", row.run_id)
        return True

    def diverged(self, row: RunRow, error: PerdureError, batch: Batch) -> None:
        """Stop a run without failing it: nothing is lost, and it goes on once it replays again."""
        logger.error("Run %s of %s v%s stopped as diverged.\n%s", row.run_id, row.workflow, row.version, error)
        batch.add(self.bare_entry(row, batch, kinds.DIVERGED, detail=report_of(error)))

    def bare_entry(self, row: RunRow, batch: Batch, kind: str, **fields: Any) -> Entry:
        """Make the next entry of a run without a body in memory."""
        self._engine.notes.come_before(row, batch)
        position = batch.lengths.get(row.run, row.length)
        batch.lengths[row.run] = position + 1
        return Entry(row.run, position, kind, max(batch.now, row.updated_at), **fields)


def _recorded(outcome: Outcome, name: str, now: int) -> tuple[str, dict[str, Any]]:
    """The kind and the fields of the entry that an outcome becomes."""
    fields: dict[str, Any] = {
        "command": outcome.command, "name": name, "attempt": outcome.number,
        "body": outcome.value.body, "shape": outcome.value.shape,
    }  # fmt: skip
    if outcome.kind == "retrying":
        return kinds.STEP_RETRYING, {**fields, "due": now + outcome.delay_us}
    return (kinds.STEP_COMPLETED if outcome.kind == "completed" else kinds.STEP_FAILED), fields
