"""Chains: a run that continues as another one. The next run is made in the batch in which the one before it ends.

    ids     `<first>+2`, `<first>+3`, …; one that a stranger has gets `~2`, `~3`, … behind it.
    code    the newest version of the workflow if the input fits it, else the code of the run that ends.
    signals what nobody took is carried over, in order, before the body begins.
    begin   at once; in the next batch when signals come first, or when the run that ends was made in this one, so that
            a loop which waits for nothing lets others have their turn.

Knows who follows whom. Must not append or dispatch.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, cast

from perdure.core.machine import Machine
from perdure.declare.registry import Definition
from perdure.engine.batch import Batch
from perdure.engine.created import first_entry_of
from perdure.engine.starting import Start
from perdure.errors import InvalidInput, NotSerializable, UnknownWorkflow, ValueUnreadable
from perdure.storage import entries as kinds
from perdure.storage.encoding import Encoded, decode
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunRow

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_SHORTCUTS_MAX = 10_000


class Chains:
    """Who follows whom among one engine's runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._later: dict[str, str] = {}  # by run_id: one that follows it, not always directly; durable facts only

    def go_on(self, machine: Machine, ending: Entry, batch: Batch) -> None:
        """A run has ended to continue: settle who follows it now, and start that one after what is being done."""
        run_id = self._free_run_id(machine, ending, batch)
        batch.continued[machine.facts.run_id] = run_id
        batch.follow.append(lambda: self._start(machine, ending, run_id, batch))

    def newest(self, run_id: str, batch: Batch | None = None) -> str:
        """The run that goes on with this one now, as the ledger and this batch know; itself when there is none."""
        ledger, begin = self._engine.ledger, run_id
        run_id = self._later.get(run_id, run_id)
        while (row := ledger.run(run_id)) is not None and row.continued_as is not None:
            run_id = row.continued_as
        if run_id != begin:
            if len(self._later) >= _SHORTCUTS_MAX:
                self._later.clear()
            self._later[begin] = run_id
        while batch is not None and run_id in batch.continued:
            run_id = batch.continued[run_id]
        return run_id

    def first(self, row: RunRow, batch: Batch) -> str:
        """The run with which the chain began; who waits for a chain knows it by this one."""
        if row.continued_from is None:
            return row.run_id
        facts = self.created_facts(row.run, batch).get("continued_from") or {}
        return str(facts.get("first_run_id", row.run_id))

    def created_facts(self, run: int, batch: Batch) -> dict[str, Any]:
        """The detail of a run's first entry, which may be of this very batch."""
        return first_entry_of(run, self._engine.ledger, batch).facts()

    # ── doing it ─────────────────────────────────────────────────────────────────────────────────

    def _free_run_id(self, machine: Machine, ending: Entry, batch: Batch) -> str:
        """The id that the ending names, or another one when a stranger has it; the ending then names that."""
        wanted = run_id = str(ending.facts()["run_id"])
        for number in itertools.count(2):
            if self._engine.ledger.run(run_id) is None and run_id not in batch.created:
                break
            run_id = f"{wanted}~{number}"
        if run_id != wanted:
            renamed = ending._replace(detail=json.dumps({"run_id": run_id}))
            batch.entries = [renamed if each is ending else each for each in batch.entries]
            machine.ending = renamed
        return run_id

    def _start(self, machine: Machine, ending: Entry, run_id: str, batch: Batch) -> None:
        before = machine.facts
        facts = self.created_facts(before.run, batch)
        definition, encoded = self._code(machine, Encoded(ending.body or "null", ending.shape))
        unread = machine.boxes.unread(kinds.SIGNAL_RECEIVED)
        queue = facts.get("queue")
        later = queue is None and (bool(unread) or before.run_id in batch.created)  # on a queue the queue says when
        self._engine.starting.create(
            Start(
                definition,
                None,  # it is encoded already
                delay_us=1 if later else 0,
                tags=before.tags,
                parent_run_id=before.parent_run_id,
                parent_command=facts.get("parent_command"),
                on_parent_close=facts.get("on_parent_close"),
                place=queue,
                continued_from={"run_id": before.run_id, "first_run_id": before.first_run_id or before.run_id},
            ),
            run_id,
            facts.get("idempotency_key"),
            encoded,
            batch,
        )
        if unread:
            self._carry_over(batch.created[run_id], unread, batch)

    def _carry_over(self, run: int, unread: list[Entry], batch: Batch) -> None:
        """Hand signals to a run that was made just now and has not begun."""
        signals = [
            Entry(run, position, kinds.SIGNAL_RECEIVED, batch.now, name=each.name, body=each.body, shape=each.shape)
            for position, each in enumerate(unread, start=1)
        ]
        batch.add(*signals)
        batch.lengths[run] = 1 + len(signals)
        queued = batch.queued.get(run)
        if queued is not None:
            queued.entries.extend(signals)

    def _code(self, machine: Machine, encoded: Encoded) -> tuple[Definition, Encoded]:
        own = cast("Definition", machine.executable)  # the engine walks runs on definitions only
        try:
            newest = self._engine.registry.newest(own.id)
            if newest is own:
                return own, encoded
            return newest, newest.encode_input(decode(encoded.body, encoded.shape))
        except (UnknownWorkflow, InvalidInput, NotSerializable, ValueUnreadable):
            return own, encoded
