"""`current_step()`: what a step may know about itself while it runs."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from perdure.core.stream import Stream, Writer, checked_namespace, writers
from perdure.errors import WorkflowError
from perdure.services.author import Author, at_work
from perdure.services.database import Database
from perdure.services.kv import Kv
from perdure.services.queue import MessageQueues
from perdure.services.services import BlockingServices, Services, of_step
from perdure.services.storage import Storage
from perdure.services.workflows import Workflows
from perdure.storage.encoding import Encoded, decode


class Voice(Writer, Protocol):
    """What a step at work may say to the engine."""

    @property
    def author(self) -> Author:
        """Whose writes those of this attempt are."""
        ...

    def heartbeat(self, details: object) -> None:
        """Take a sign of life."""
        ...

    def services(self) -> Services:
        """Give the services as this attempt uses them."""
        ...


@dataclass(frozen=True, slots=True)
class CurrentStep:
    """One attempt of a step, seen from inside.

    Attributes:
        run_id, step_id, name: of which run, which command (`"0/3"`), under which name.
        attempt: 1 on the first.
        idempotency_key: the same on every attempt and after every restart; give it to services that can use one.
        deadline: when the attempt's timeout ends it, aware; None without a timeout.
    """

    run_id: str
    step_id: str
    name: str
    attempt: int
    idempotency_key: str
    deadline: datetime | None
    _voice: Voice = field(repr=False, compare=False)
    _heartbeat: Encoded | None = field(default=None, repr=False, compare=False)

    def stream(self, namespace: str = "default") -> Stream:
        """Give a stream of this run, to write chunks to: `current_step().stream("logs").write(line)`."""
        return Stream(self.run_id, checked_namespace(namespace))

    def heartbeat(self, details: Any = None) -> None:
        """Say that the step is alive, and how far it has come. It does not wait, and any thread may call it.

        Args:
            details: shown as `heartbeat` in `status().waits_for`, and given to the next attempt as `last_heartbeat`;
                any value that has a lossless encoding.

        Records: at most once a second; the newest details of a second when it is over, or with the outcome.

        Raises:
            NotSerializable: `details` has no lossless encoding.
        """
        self._voice.heartbeat(details)

    @property
    def kv(self) -> Kv:
        """Values under keys; what is written is recorded with the step's result."""
        return self._voice.services().kv

    @property
    def queue(self) -> MessageQueues:
        """Messages on named queues; what is sent and acknowledged goes with the step's result."""
        return self._voice.services().queue

    @property
    def database(self) -> Database:
        """Documents in collections; what is written is recorded with the step's result."""
        return self._voice.services().database

    @property
    def storage(self) -> Storage:
        """Blobs in buckets; what is written is recorded with the step's result."""
        return self._voice.services().storage

    @property
    def workflows(self) -> Workflows:
        """Runs to start, events to send, signals to hand over; it happens when the step's result is recorded."""
        return self._voice.services().workflows

    @property
    def platform(self) -> Services:
        """All services, to be handed on as one."""
        return self._voice.services()

    @property
    def blocking(self) -> BlockingServices:
        """All services, as type checkers should see them in a plain `def`."""
        return self._voice.services().blocking

    @property
    def last_heartbeat(self) -> Any:
        """The newest details that an earlier attempt, or this one before a crash, gave; None when there are none."""
        return None if self._heartbeat is None else decode(*self._heartbeat)


_current: ContextVar[CurrentStep | None] = ContextVar("perdure_current_step", default=None)


def current_step() -> CurrentStep:
    """Give the step that runs in this task or thread.

    Raises:
        WorkflowError: called outside a step, or in a body.
    """
    step = _current.get()
    if step is None:
        raise WorkflowError(
            "current_step() was called outside of a step.",
            why="only a step that a runtime runs has a name, an attempt and an idempotency key",
            fix='call it in the function that a body runs: await step.run("…", fn)',
        )
    return step


def begin(step: CurrentStep) -> None:
    """Say that this task or thread works on a step now."""
    _current.set(step)
    writers.set(step._voice)
    of_step.set(step._voice.services)
    at_work.set(step._voice.author)
