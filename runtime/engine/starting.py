"""Starts: a run is made, or the one that is there already under the same id or key is found.

Knows what a start says, and the first entry that it becomes. Must not append or dispatch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from perdure.core.facts import RunFacts, first_run_id_of
from perdure.core.machine import Machine
from perdure.declare.registry import Definition
from perdure.engine.batch import Batch, Queued
from perdure.engine.created import CreatedDetails
from perdure.errors import DefinitionError
from perdure.storage import entries as kinds
from perdure.storage.encoding import Encoded
from perdure.storage.entries import Entry
from perdure.texts import checked_text

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Start:
    """A run to be started; `value` is the input as the caller gave it."""

    definition: Definition
    value: object
    run_id: str | None = None
    is_new: bool = False  # nobody has its run_id, so that nobody need be asked
    idempotency_key: str | None = None
    delay_us: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    parent_run_id: str | None = None
    parent_command: str | None = None
    on_parent_close: str | None = None
    continued_from: Mapping[str, str] | None = None  # run_id and first_run_id of the chain that it goes on with
    queue: str | None = None  # by default the workflow's, as key and priority
    key: str | None = None
    priority: int | None = None
    encoded: Encoded | None = None  # the validated input, where somebody has written it down already
    place: Mapping[str, Any] | None = None  # on a queue, as it is recorded; None begins at once
    cause: Mapping[str, Any] | None = None  # the tick, event or change that starts it; None when somebody does
    cascade: Mapping[str, Any] | None = None  # of which reaction it comes, and after which workflows (cascades.py)


class Starting:
    """The starts of one engine's runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._details = CreatedDetails()

    def start(self, wanted: Start, batch: Batch) -> str:
        """Start a run, or find the one that has the same run_id or idempotency key; give its run_id.

        Raises:
            InvalidInput, NotSerializable: nothing was started.
            DefinitionError: the run_id belongs to a run of another workflow, or a text can't be kept.
        """
        definition = wanted.definition
        encoded = wanted.encoded if wanted.encoded is not None else definition.encode_input(wanted.value)
        key = _key(wanted)
        checked_text(wanted.run_id or "", "run_id")
        checked_text(key or "", "idempotency_key")
        for name, value in wanted.tags.items():
            checked_text(f"{name}={value}", "the tag")
        existing = self._existing(wanted, key, batch)
        if existing is not None:
            return existing
        queues = self._engine.queues
        place = queues.place(wanted)
        if place is not None:
            instead = queues.instead(wanted, place, encoded, batch)
            if instead is not None:
                return instead
            wanted = replace(wanted, place=place, delay_us=queues.delay_us(wanted, place))
        if wanted.run_id is not None and not wanted.is_new:
            self._engine.schedules.note_taken(wanted.run_id, batch)
        return self.create(wanted, wanted.run_id or self._engine.clock.new_run_id(), key, encoded, batch)

    def other(self, wanted: Start, batch: Batch) -> str | None:
        """The run that `start` would give instead of a new one now; None when it would be a new one."""
        existing = self._existing(wanted, _key(wanted), batch)
        queues = self._engine.queues
        place = None if existing is not None else queues.place(wanted)
        return existing if place is None else queues.other(wanted, place, batch)

    def create(self, wanted: Start, run_id: str, key: str | None, encoded: Encoded, batch: Batch) -> str:
        """Make a run that is not there; `encoded` is its input."""
        definition = wanted.definition
        begins = batch.now + wanted.delay_us if wanted.delay_us else None
        timeout = definition.options.timeout_us
        timeout_at = None  # on a queue it counts from its begin
        if timeout is not None and wanted.place is None:
            timeout_at = (begins or batch.now) + timeout
        created = self.first_entry(wanted, run_id, encoded, batch, key=key, due=begins, timeout_at=timeout_at)
        if key is not None:
            batch.keys[definition.id, key] = run_id
        if timeout_at is not None:
            batch.times.append((timeout_at, created.run))
        if wanted.place is not None:
            batch.queued[created.run] = Queued(definition, [created])
        if begins is not None or wanted.place is not None:
            batch.add(created)
            return run_id
        facts = RunFacts(
            created.run, run_id, definition.id, definition.version,
            parent_run_id=wanted.parent_run_id, tags=dict(wanted.tags), first_run_id=first_run_id_of(created),
        )  # fmt: skip
        machine = Machine(definition, facts)
        machine.length = 1
        self._engine.residents.add(machine)
        self._engine.feed(machine, batch, created)
        return run_id

    def first_entry(
        self,
        wanted: Start,
        run_id: str,
        encoded: Encoded,
        batch: Batch,
        *,
        key: str | None = None,
        due: int | None = None,
        timeout_at: int | None = None,
    ) -> Entry:
        """Make the first entry of a run that is not there, and have the batch know of the run; who asks adds it."""
        engine, definition = self._engine, wanted.definition
        created = Entry(
            engine.ledger.next_run(),
            0,
            kinds.CREATED,
            batch.now,
            name=definition.id,
            attempt=1,
            due=due,
            body=encoded.body,
            shape=encoded.shape,
            detail=self._details.text(wanted, run_id, key, timeout_at),
        )
        engine.definitions.keep(definition, batch)
        batch.created[run_id] = created.run
        return created

    def _existing(self, wanted: Start, key: str | None, batch: Batch) -> str | None:
        ledger = self._engine.ledger
        workflow = wanted.definition.id
        if wanted.run_id is not None and not wanted.is_new:
            if wanted.run_id in batch.created:
                return wanted.run_id
            row = ledger.run(wanted.run_id)
            if row is not None:
                if row.workflow != workflow:
                    raise DefinitionError(
                        f"run_id {wanted.run_id!r} belongs to a run of workflow {row.workflow!r}, not {workflow!r}.",
                        fix="choose another run_id, or leave it out",
                    )
                return row.run_id
        if key is not None:
            if (workflow, key) in batch.keys:
                return batch.keys[workflow, key]
            row = ledger.run_by_key(workflow, key)
            if row is not None:
                return row.run_id
        return None


def _key(wanted: Start) -> str | None:
    """The idempotency key that a start was given, or that its workflow makes of the input."""
    definition, key = wanted.definition, wanted.idempotency_key
    if key is None and definition.options.idempotency_key is not None:
        key = definition.run_key(definition.validated_input(wanted.value))
    return key
