"""The services of a runtime by their names, for applications: each operation is durable when it returns.

Knows the names. Must not know what stands behind them.
"""

from __future__ import annotations

from abc import abstractmethod

from perdure.services.database import BlockingDatabase, Database
from perdure.services.kv import BlockingKv, Kv
from perdure.services.queue import BlockingMessageQueues, MessageQueues
from perdure.services.services import BlockingServices, Services
from perdure.services.storage import BlockingStorage, Storage
from perdure.services.workflows import BlockingWorkflows, Workflows


class Serving:
    """What has services."""

    @property
    @abstractmethod
    def services(self) -> Services:
        """All services; outside of steps each operation is durable when it returns."""

    @property
    def kv(self) -> Kv:
        """Values under keys."""
        return self.services.kv

    @property
    def queue(self) -> MessageQueues:
        """Messages on named queues. (Queues of runs are `queues()`.)"""
        return self.services.queue

    @property
    def database(self) -> Database:
        """Documents in collections."""
        return self.services.database

    @property
    def storage(self) -> Storage:
        """Blobs in buckets."""
        return self.services.storage

    @property
    def workflows(self) -> Workflows:
        """Runs to start and to move, as steps do: for functions that are handed `services`."""
        return self.services.workflows

    @property
    def platform(self) -> Services:
        """All services, to be handed on as one."""
        return self.services


class BlockingServing:
    """What has services for code without asyncio."""

    @property
    @abstractmethod
    def services(self) -> BlockingServices:
        """All services; each operation is durable when it returns."""

    @property
    def kv(self) -> BlockingKv:
        """Values under keys."""
        return self.services.kv

    @property
    def queue(self) -> BlockingMessageQueues:
        """Messages on named queues. (Queues of runs are `queues()`.)"""
        return self.services.queue

    @property
    def database(self) -> BlockingDatabase:
        """Documents in collections."""
        return self.services.database

    @property
    def storage(self) -> BlockingStorage:
        """Blobs in buckets."""
        return self.services.storage

    @property
    def workflows(self) -> BlockingWorkflows:
        """Runs to start and to move, as steps do: for functions that are handed `services`."""
        return self.services.workflows

    @property
    def platform(self) -> BlockingServices:
        """All services, to be handed on as one."""
        return self.services
