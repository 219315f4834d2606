"""Reactions: what an event or a change starts, in the very batch that has it.

What can't be started with what it is given, because that does not fit its annotation, is a run that has failed: so
nothing is lost, whoever sent it is not to blame, and a retry takes it up again once the annotation fits.

Knows which definitions want what. Must not append or dispatch.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from perdure.core.facts import Executable
from perdure.declare.registry import Definition
from perdure.declare.subscriptions import Subscriptions, input_of_event
from perdure.engine.batch import Batch
from perdure.engine.cascades import Cascades
from perdure.engine.happened import DATABASE, KV, happened, happened_as_recorded
from perdure.engine.starting import Start
from perdure.errors import DefinitionError, NotSerializable, WorkflowError
from perdure.services.effects import Change
from perdure.storage import entries as kinds
from perdure.storage.cells import Cell
from perdure.storage.encoding import Encoded, decode, encode
from perdure.storage.entries import Entry
from perdure.storage.failures import encode_failure
from perdure.storage.plain import parse
from perdure.triggers.event import ReceivedEvent

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

logger = logging.getLogger("perdure")

#: Where the ids of events are kept that senders gave, and for how long: whoever sends again does so sooner.
_SEEN_SPACE: Final = "event/seen"
_SEEN_FOR_US: Final = 30 * 86_400_000_000


class EventSent(NamedTuple):
    """An event on its way in, checked."""

    type: str
    payload: object
    resource: str | None = None
    namespace: str | None = None
    event_id: str | None = None  # the same id again is the same event


class EventReceipt(int):
    """What became of an event: the number of waiting runs that it woke.

    Attributes:
        started: the ids of the runs that it started.
        is_duplicate: whether an event of this type came before under the same `event_id`; then it did nothing.
    """

    started: tuple[str, ...]
    is_duplicate: bool

    def __new__(cls, woken: int, started: tuple[str, ...] = (), *, is_duplicate: bool = False) -> EventReceipt:
        """Make one."""
        receipt = super().__new__(cls, woken)
        receipt.started = started
        receipt.is_duplicate = is_duplicate
        return receipt

    @property
    def woken(self) -> int:
        """How many waiting runs it woke."""
        return int(self)

    def __str__(self) -> str:
        return str(int(self))  # as before there was a receipt: whoever prints it means how many it woke

    def __repr__(self) -> str:
        again = ", is_duplicate=True" if self.is_duplicate else ""
        return f"EventReceipt({int(self)}, started={self.started!r}{again})"


class Reactions:
    """What follows from events and changes, for one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.subscriptions = Subscriptions(engine.registry)
        self.cascades = Cascades(engine)

    # ── events ───────────────────────────────────────────────────────────────────────────────────

    def event(self, sent: EventSent, batch: Batch) -> EventReceipt:
        """Wake the runs that wait for this event, and start those that it triggers.

        Raises:
            NotSerializable: its payload has no lossless encoding; nothing happened.
        """
        encoded = encode(sent.payload)
        if sent.event_id is not None and not self._is_new(sent.type, sent.event_id, batch):
            return EventReceipt(0, is_duplicate=True)
        woken = self._engine.moves.event(sent.type, sent.payload, batch)
        if not self.subscriptions.wants_event(sent.type):
            return EventReceipt(woken)
        event = ReceivedEvent(*sent)
        plain: Any = parse(encoded.body)
        cause = {"kind": "event", "type": sent.type}
        optional = {"resource": sent.resource, "namespace": sent.namespace, "id": sent.event_id}
        cause.update({name: value for name, value in optional.items() if value is not None})
        found = self.subscriptions.to_event(event, plain if isinstance(plain, dict) else {})
        started = [
            self.start(Start(definition, input_of_event(definition, event), cause=cause), batch) for definition in found
        ]
        return EventReceipt(woken, tuple(run_id for run_id in started if run_id is not None))

    def _is_new(self, type: str, event_id: str, batch: Batch) -> bool:
        """Note that an event came; False when it had come before."""
        escaped = type.replace("%", "%25").replace("/", "%2F")  # an id may hold a slash: "a/b" and "c", "a" and "b/c"
        place = _SEEN_SPACE, f"{escaped}/{event_id}"
        known = batch.cells.get(place) or self._engine.ledger.cell(*place)
        if known is not None and known.is_there(batch.now):
            return False
        version = 1 if known is None else known.version + 1
        body = encode({"type": type, "id": event_id}).body
        batch.cells[place] = Cell(*place, version, batch.now, body, expires_at=batch.now + _SEEN_FOR_US)
        return True

    # ── changes ──────────────────────────────────────────────────────────────────────────────────

    def wants(self, change: Change) -> bool:
        """Whether anybody may want to know of a change."""
        wanted = self.subscriptions
        return wanted.wants_kv if change.service == KV else change.service == DATABASE and wanted.wants_db

    def changed(self, change: Change, batch: Batch) -> None:
        """Start what wants to know of a change."""
        wanted = self.subscriptions
        if change.service == KV and wanted.wants_kv:
            found = wanted.to_kv_change(change.place, change.key, change.op)
        elif change.service == DATABASE and wanted.wants_db:
            found = wanted.to_db_change(change.place, change.op)
        else:
            return
        if not found:
            return
        cause = {"kind": "change", "service": change.service, "place": change.place, "key": change.key, "op": change.op}
        try:
            told = happened(change)
        except WorkflowError as error:  # a class is gone that a value is of; what changed is written all the same
            recorded = happened_as_recorded(change)
            for definition in found:
                self._failed(Start(definition, None, encoded=recorded, cause=cause), error, batch)
            return
        for definition in found:
            self.start(Start(definition, told, cause=cause), batch)

    # ── starting ─────────────────────────────────────────────────────────────────────────────────

    def start(self, wanted: Start, batch: Batch) -> str | None:
        """Start a run that nobody asked for; what can't be started is kept as a failed run. Give its id."""
        run_id: str | None
        if wanted.run_id is not None and not wanted.is_new:
            wanted = replace(wanted, run_id=self.own_run_id(wanted.run_id, wanted.definition, batch))
        placed = self.cascades.placed(wanted, batch)
        try:
            self.cascades.count(placed, batch)
        except DefinitionError as error:
            return self._failed(wanted, error, batch)  # not placed: its retry is somebody's doing, and begins anew
        try:
            run_id = self._engine.starting.start(placed, batch)
        except WorkflowError as error:  # its input does not fit, or its queue is gone
            run_id = self._failed(placed, error, batch)
        self._engine.families.settle(batch)
        return run_id

    def own_run_id(self, run_id: str, definition: Definition, batch: Batch) -> str:
        """The id itself, or another one when a run of another workflow has it: always the same one."""
        for other in itertools.chain([run_id], (f"{run_id}~{number}" for number in itertools.count(2))):
            number = batch.created.get(other)
            if number is not None:
                workflow = next(each.name for each in batch.entries if each.run == number)
            else:
                row = self._engine.ledger.run(other)
                workflow = definition.id if row is None else row.workflow
            if workflow == definition.id:
                break
            logger.warning("Run %s is of %s, so that of %s has another id.", other, workflow, definition.id)
        return other

    def _failed(self, wanted: Start, error: WorkflowError, batch: Batch) -> str | None:
        """Record a run that can't be started as it is: it has failed before its body began."""
        engine, definition = self._engine, wanted.definition
        try:
            encoded = wanted.encoded if wanted.encoded is not None else encode(wanted.value)
        except NotSerializable:  # nothing that comes here: a payload, a value and an input were encoded before
            logger.error("A run of %s could not be started by %s: %s", definition.id, wanted.cause, error)
            return None
        run_id = wanted.run_id or engine.clock.new_run_id()
        if run_id in batch.created or (wanted.run_id is not None and engine.ledger.run(run_id) is not None):
            return run_id
        # Due as a delayed run is, so that whoever replays it knows that its body never ran.
        created = engine.starting.first_entry(wanted, run_id, encoded, batch, due=batch.now)
        number = created.run
        body, shape = encode_failure(error)
        batch.lengths[number] = 2
        batch.add(created, Entry(number, 1, kinds.FAILED, batch.now, attempt=1, body=body, shape=shape))
        batch.ended.append(number)
        logger.error("Run %s of %s failed before it began. %s", run_id, definition.id, error)
        return run_id


def fitting_input(definition: Executable, created: Entry) -> Encoded | None:
    """The input of a run that failed before it began, validated anew; None when it is as it was recorded.

    Raises:
        InvalidInput: it does not fit yet.
    """
    assert created.body is not None  # every run has an input
    encoded = definition.encode_input(decode(created.body, created.shape))
    return None if (encoded.body, encoded.shape) == (created.body, created.shape) else encoded
