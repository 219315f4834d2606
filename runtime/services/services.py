"""All services of one scope, each made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import cached_property
from typing import Final

from perdure.services.backing import Backing
from perdure.services.database import BlockingDatabase, Database
from perdure.services.kv import BlockingKv, Kv
from perdure.services.queue import BlockingMessageQueues, MessageQueues
from perdure.services.scope import Scope
from perdure.services.storage import BlockingStorage, Storage
from perdure.services.workflows import BlockingWorkflows, Workflows


class Services:
    """What a step finds on `current_step()` and `ctx`, and an application on its runtime."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._kv: Kv | None = None
        self._queue: MessageQueues | None = None

    @property
    def backing(self) -> Backing:
        """What stands behind them."""
        return self._scope.backing

    @property
    def kv(self) -> Kv:
        """Values under keys."""
        if self._kv is None:  # a cached property costs a lock on Python 3.11
            self._kv = Kv(self._scope)
        return self._kv

    @property
    def queue(self) -> MessageQueues:
        """Messages on named queues."""
        if self._queue is None:  # a cached property costs a lock on Python 3.11
            self._queue = MessageQueues(self._scope)
        return self._queue

    @cached_property
    def database(self) -> Database:
        """Documents in collections."""
        return Database(self._scope)

    @cached_property
    def workflows(self) -> Workflows:
        """Runs to start, events to send, signals to hand over."""
        return Workflows(self._scope)

    @cached_property
    def storage(self) -> Storage:
        """Blobs in buckets."""
        return Storage(self._scope)

    @property
    def platform(self) -> Services:
        """All of them, to be handed on as one."""
        return self

    def drain(self) -> None:
        """Let nobody wait for messages any more; on the services' loop."""
        self._scope.backing.arrivals.close()

    @cached_property
    def blocking(self) -> BlockingServices:
        """The same for code without asyncio, as type checkers should see them there."""
        return BlockingServices(self)


class BlockingServices:
    """`Services` for code without asyncio."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @cached_property
    def kv(self) -> BlockingKv:
        """Values under keys."""
        return BlockingKv(self._services.kv)

    @cached_property
    def queue(self) -> BlockingMessageQueues:
        """Messages on named queues."""
        return BlockingMessageQueues(self._services.queue)

    @cached_property
    def database(self) -> BlockingDatabase:
        """Documents in collections."""
        return BlockingDatabase(self._services.database)

    @cached_property
    def workflows(self) -> BlockingWorkflows:
        """Runs to start, events to send, signals to hand over."""
        return BlockingWorkflows(self._services.workflows)

    @cached_property
    def storage(self) -> BlockingStorage:
        """Blobs in buckets."""
        return BlockingStorage(self._services.storage)

    @property
    def platform(self) -> BlockingServices:
        """All of them, to be handed on as one."""
        return self


#: Gives the services of the step that works in this task or thread.
of_step: Final[ContextVar[Callable[[], Services] | None]] = ContextVar("perdure_services", default=None)
