"""Parents and children: a child's start, its end told to the parent, and cancellation that travels down.

Follow-ups are queued in the batch and settled before the append, so that a parent and its child can't be separated by a
crash. Must not append or dispatch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.core.children import child_run_id
from perdure.core.machine import Machine
from perdure.engine.batch import Batch
from perdure.engine.starting import Start
from perdure.errors import DefinitionError, InvalidInput, NotSerializable, UnknownWorkflow
from perdure.storage import entries as kinds
from perdure.storage.encoding import decode
from perdure.storage.entries import Entry
from perdure.storage.failures import encode_failure
from perdure.storage.fold import fold_all
from perdure.storage.ledger import ENDED, Pending, RunRow, ending

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

#: How a child's end is told to its parent.
_TOLD = {
    kinds.COMPLETED: kinds.CHILD_COMPLETED,
    kinds.FAILED: kinds.CHILD_FAILED,
    kinds.CANCELLED: kinds.CHILD_CANCELLED,
}
#: A child that has ended is tried again.
_AGAIN = (kinds.RESTARTED, kinds.REQUEUED)


class Families:
    """The relations between one engine's runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def settle(self, batch: Batch) -> None:
        """Do all follow-ups; each may make more."""
        while batch.follow:
            batch.follow.popleft()()

    def asked(self, machine: Machine, entry: Entry, batch: Batch) -> None:
        """A body asked for a child, for a child's result, or for its cancellation."""
        detail = entry.facts()
        if entry.kind == kinds.CHILD:
            batch.follow.append(lambda: self._start(machine, entry, detail, batch))
        elif entry.kind == kinds.CHILD_RESULT:
            batch.follow.append(lambda: self._tell_if_over(machine, entry.command, entry.name, detail["run_id"], batch))
        else:
            self.cancel_child(detail["run_id"], batch)

    def dropped(self, machine: Machine, entry: Entry, batch: Batch) -> None:
        """A body stopped waiting for a command; a child that it invoked is cancelled, unless it may be abandoned."""
        run_id = child_run_id(machine.facts, entry.command)
        if run_id in batch.created or self._engine.ledger.run(run_id) is not None:
            self.cancel_child(run_id, batch, unless_abandoned=True)

    def ended(self, run_id: str, parent_run_id: str | None, ending: Entry, batch: Batch) -> None:
        """A run is over, and so is its chain, which began with `run_id`: tell its parent, if that waits."""
        if parent_run_id is not None:
            batch.follow.append(lambda: self._tell_parent(run_id, parent_run_id, ending, batch))

    def cancel_child(self, run_id: str, batch: Batch, *, unless_abandoned: bool = False) -> None:
        """Cancel a child run, after what is being done now."""

        def cancel() -> None:
            row = self._row(self._engine.chains.newest(run_id, batch), batch)
            if row is not None and not (unless_abandoned and self._abandoned(row, batch)):
                self._engine.moves.cancel(row, batch)

        batch.follow.append(cancel)

    def cancel_children(self, run_id: str, batch: Batch) -> None:
        """A run was asked to stop, or it failed: its children that still run are stopped, but for abandoned ones.

        A run that completes lets them go on: to spawn a child and not to wait for it is how that is said.
        """
        for child in self._engine.ledger.children(run_id):
            if child.status not in ENDED:
                self.cancel_child(child.run_id, batch, unless_abandoned=True)
        for entry in batch.entries:
            if entry.kind == kinds.CREATED:
                detail = entry.facts()
                if detail.get("parent_run_id") == run_id:
                    self.cancel_child(detail["run_id"], batch, unless_abandoned=True)

    def look_again(self, machine: Machine, pending: Pending, batch: Batch) -> None:
        """After a restart: start a child that was not started, take an end that was not told."""
        if pending.kind == kinds.CHILD and self._engine.ledger.run(pending.child_run_id) is None:
            entry = self._engine.ledger.entries(machine.facts.run, pending.position, 1)[0]
            self.asked(machine, entry, batch)
        else:
            self._tell_if_over(machine, pending.command, pending.name, pending.child_run_id, batch)

    def start_again(self, machine: Machine, entry: Entry, batch: Batch) -> None:
        """Start a fork's own child; `entry` is its command, which a spawning body has been answered already."""
        detail = entry.facts()
        batch.follow.append(lambda: self._start(machine, entry, detail, batch, again=True))

    # ── doing it ─────────────────────────────────────────────────────────────────────────────────

    def _start(
        self, machine: Machine, entry: Entry, detail: dict[str, Any], batch: Batch, *, again: bool = False
    ) -> None:
        if machine.ended or (entry.command not in machine.waiting and not (again and detail["mode"] == "spawn")):
            return  # in the same breath the body ended or dropped it
        asked: Any = decode(entry.body or "null", entry.shape)
        engine = self._engine
        try:
            wanted = Start(
                engine.registry.newest(detail["workflow"]),
                asked["input"],
                run_id=detail["run_id"],
                parent_run_id=machine.facts.run_id,
                parent_command=entry.command,
                on_parent_close=detail["on_parent_close"],
            )
            if detail["mode"] == "invoke":
                engine.queues.check_child(machine.facts.run, wanted)
            engine.starting.start(wanted, batch)
        except (UnknownWorkflow, InvalidInput, NotSerializable, DefinitionError) as error:
            # The parent hears of it like of any failed child, and at which line of its own.
            error.where = error.where or f"{detail.get('site', '')}, run {machine.facts.run_id}"
            body, shape = encode_failure(error)
            fields = {"command": entry.command, "name": entry.name, "body": body, "shape": shape}
            cause = machine.entry(kinds.CHILD_FAILED, batch.now, detail=detail["run_id"], **fields)
            engine.feed(machine, batch, cause)
            return
        if detail["mode"] == "spawn" and entry.command in machine.waiting:
            fields = {"command": entry.command, "name": entry.name}
            engine.feed(machine, batch, machine.entry(kinds.CHILD_STARTED, batch.now, **fields))

    def _tell_parent(self, run_id: str, parent_run_id: str, ending: Entry, batch: Batch) -> None:
        engine = self._engine
        run = batch.created.get(parent_run_id)
        if run is None:
            row = engine.ledger.run(parent_run_id)
            if row is None:
                return
            run = row.run
        machine = engine.residents.get(run)
        waits: list[tuple[str, str]]
        if machine is not None:  # perhaps of a run that had ended, and was begun again in this very batch
            waits = [(each.command, each.name) for each in machine.waiting.values() if each.call == run_id]
        else:
            row = engine.ledger.run_numbered(run)
            waits = [
                (each.command, each.name)
                for each in (row.pending.values() if row is not None else ())
                if each.child_run_id == run_id
            ]
        for command, name in waits:
            self._tell(run, command, name, run_id, ending, batch)

    def _tell_if_over(self, machine: Machine, command: str, name: str, run_id: str, batch: Batch) -> None:
        if command not in machine.waiting:
            return
        newest = self._engine.chains.newest(run_id, batch)
        row = self._engine.ledger.run(newest)
        run = batch.created.get(newest, row.run if row is not None else None)
        again = any(entry.run == run and entry.kind in _AGAIN for entry in batch.entries)
        if row is not None and row.status in ENDED and not again:
            self._tell(machine.facts.run, command, name, run_id, ending(self._engine.ledger, row), batch)
            return
        # It may have ended in this very batch.
        for entry in batch.entries:
            if entry.run == run and entry.kind in _TOLD:
                self._tell(machine.facts.run, command, name, run_id, entry, batch)
                return

    def _tell(self, run: int, command: str, name: str, child_run_id: str, ending: Entry, batch: Batch) -> None:
        self._engine.moves.tell(
            run, batch, _TOLD[ending.kind],
            command=command, name=name, body=ending.body, shape=ending.shape, detail=child_run_id,
        )  # fmt: skip

    def _row(self, run_id: str, batch: Batch) -> RunRow | None:
        row = self._engine.ledger.run(run_id)
        if row is None and run_id in batch.created:
            # Created in this batch: its body is in memory, and the move needs no more than who it is.
            run = batch.created[run_id]
            machine = self._engine.residents.get(run)
            if machine is None:  # it has not begun, and its row is in what is about to be appended
                return fold_all(None, [entry for entry in batch.entries if entry.run == run])
            facts = machine.facts
            return RunRow(
                facts.run,
                run_id,
                facts.workflow,
                facts.version,
                "",
                "running",
                1,
                batch.now,
                batch.now,
                parent_run_id=facts.parent_run_id,
            )
        return row

    def _abandoned(self, row: RunRow, batch: Batch) -> bool:
        return bool(self._engine.chains.created_facts(row.run, batch).get("on_parent_close") == "abandon")
