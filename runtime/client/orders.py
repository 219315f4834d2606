"""Orders: runs that a step starts, events and signals that it sends, recorded with the step's result.

Each is checked when it is asked for, and once more before anything of the attempt is taken, because others go on
meanwhile. Knows how a start is written down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeAlias

from perdure.client.given import check_id, check_name
from perdure.client.starts import start_of
from perdure.core.receiving import check_event_type
from perdure.declare.registry import Definition, Registry
from perdure.engine.batch import Batch
from perdure.engine.engine import Engine
from perdure.engine.postponed import soon
from perdure.engine.reactions import EventSent
from perdure.engine.starting import Start
from perdure.engine.stopping import stoppable
from perdure.errors import WriteConflict
from perdure.services.effects import Word
from perdure.services.transaction import Transaction
from perdure.services.values import encoded_value
from perdure.storage.encoding import Encoded, encode
from perdure.texts import checked_text

#: Each run that an event wakes or starts keeps the payload.
_PAYLOAD_BYTES_MAX: Final = 4 * 1024 * 1024

Ask: TypeAlias = Callable[[Callable[[Engine, Batch], Any]], Awaitable[Any]]


class EngineOrders:
    """Orders to the engine of one runtime.

    Args:
        new_run_id: gives an id that nobody had before.
        ask: has something looked up by the engine.
    """

    def __init__(self, registry: Registry, new_run_id: Callable[[], str], ask: Ask) -> None:
        self._find: Callable[[str | Definition, str | None], Definition] = registry.find
        self._new_run_id = new_run_id
        self._ask = ask

    async def start(
        self,
        workflow: str | Definition,
        input: object,
        transaction: Transaction,
        *,
        version: str | None = None,
        run_id: str | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> tuple[str, Word | None]:
        """Check a start; give the id of the run that it will be, and what does it if nothing else of the step does.

        Options as in `Runtime.start`.
        """
        definition = self._find(workflow, version)
        encoded = definition.encode_input(input)
        key = idempotency_key
        if key is None and definition.options.idempotency_key is not None:
            key = definition.run_key(definition.validated_input(input))
        own_id = self._derived(transaction, definition, encoded) if run_id is None else run_id
        mine = (definition.id, own_id if key is None else f":{key}")
        if mine in transaction.promised:
            return transaction.promised[mine], None
        wanted = start_of(definition, input, run_id=own_id, idempotency_key=key, **options)
        wanted = replace(wanted, encoded=encoded)
        promise = own_id
        if run_id is not None or key is not None or (wanted.queue or definition.options.queue_name) is not None:
            promise = await self._ask(lambda engine, batch: engine.starting.other(wanted, batch)) or own_id
        transaction.promised[mine] = promise
        return promise, StartWord(wanted, promise)

    def _derived(self, transaction: Transaction, definition: Definition, encoded: Encoded) -> str:
        """The id of a run that a step starts: the same for every attempt that starts it in the same place.

        The input is part of it, because another attempt of the whole run may call the step with other arguments.
        """
        if not transaction.idempotency_key:
            return self._new_run_id()
        run_id, command, _ = transaction.idempotency_key.rsplit(":", 2)
        said = f"{len(transaction.promised)}\0{definition.id}\0{encoded.body}\0{encoded.shape}"
        digest = blake2b(said.encode(), digest_size=6).hexdigest()
        return f"{run_id}-{command.replace('/', '-')}-{digest}"

    def event(self, type: str, payload: object, **options: Any) -> Word:
        """Check an event, and give what sends it."""
        return EventWord(event_of(type, payload, **options))

    def signal(self, run_id: str, name: str, payload: object, transaction: Transaction) -> Word:
        """Check a signal, and give what hands it over."""
        check_id("run_id", run_id)
        check_name("name", name)
        return SignalWord(run_id, name, encode(payload), run_id in transaction.promised.values())

    def cancel(self, run_id: str, transaction: Transaction) -> Word:
        """Give what asks a run to stop."""
        check_id("run_id", run_id)
        return CancelWord(run_id, run_id in transaction.promised.values())


@dataclass(frozen=True)
class StartWord:
    """A start whose run_id the step was told."""

    wanted: Start
    promise: str

    def check(self, engine: Engine, batch: Batch) -> None:
        """Refuse when it would be another run by now."""
        instead = engine.starting.other(self.wanted, batch) or self.wanted.run_id
        if instead != self.promise:
            raise WriteConflict(
                f"run {self.promise} of {self.wanted.definition.id} can't be started: run {instead} takes its place.",
                why="somebody else started it meanwhile, under the same key or on the same queue",
                fix="nothing was written; a step is tried again by itself, and then gets that run's id",
            )

    def do(self, engine: Engine, batch: Batch) -> object:
        """Start it."""
        return engine.starting.start(engine.reactions.cascades.placed(self.wanted, batch), batch)


class EventWord(NamedTuple):
    """An event to be sent."""

    sent: EventSent

    def check(self, engine: Engine, batch: Batch) -> None:
        """It can always be sent."""

    def do(self, engine: Engine, batch: Batch) -> object:
        """Send it."""
        return engine.reactions.event(self.sent, batch)


class SignalWord(NamedTuple):
    """A signal to be handed over."""

    run_id: str
    name: str
    payload: Encoded
    is_started_here: bool  # by the same attempt: so it is not there yet

    def check(self, engine: Engine, batch: Batch) -> None:
        """Refuse what the run would not take now."""
        if not self.is_started_here:
            engine.messages.check_signal(self.run_id, self.name, self.payload, batch)

    def do(self, engine: Engine, batch: Batch) -> None:
        """Hand it over."""
        soon(engine, batch, {"signal": self.run_id, "name": self.name, "payload": list(self.payload)})


class CancelWord(NamedTuple):
    """A run to be asked to stop."""

    run_id: str
    is_started_here: bool

    def check(self, engine: Engine, batch: Batch) -> None:
        """Refuse a run that is not there."""
        if not self.is_started_here:
            stoppable(engine, self.run_id, batch)

    def do(self, engine: Engine, batch: Batch) -> None:
        """Ask it."""
        soon(engine, batch, {"cancel": self.run_id})


def event_of(
    type: str,
    payload: object,
    *,
    resource: str | None = None,
    namespace: str | None = None,
    event_id: str | None = None,
) -> EventSent:
    """Check what the caller gave, and say what is sent.

    Raises:
        NotSerializable: the payload has no lossless encoding. ValueTooLarge: every run that it reaches would keep it.
    """
    check_event_type(type)
    checked_text(type, "type")
    for what, text in (("resource", resource), ("namespace", namespace), ("event_id", event_id)):
        check_id(what, text)
        checked_text(text or "", what)
    encoded_value(payload, f"the payload of event {type!r}", _PAYLOAD_BYTES_MAX, "put it in storage, and send its name")
    return EventSent(type, payload, resource, namespace, event_id)
