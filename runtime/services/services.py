"""All services of one scope, each made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import cached_property
from typing import Final

from perdure.services.database import BlockingDatabase, Database
from perdure.services.kv import BlockingKv, Kv
from perdure.services.scope import Scope
from perdure.services.workflows import BlockingWorkflows, Workflows


class Services:
    """What a step finds on `current_step()` and `ctx`, and an application on its runtime."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @cached_property
    def kv(self) -> Kv:
        """Values under keys."""
        return Kv(self._scope)

    @cached_property
    def database(self) -> Database:
        """Documents in collections."""
        return Database(self._scope)

    @cached_property
    def workflows(self) -> Workflows:
        """Runs to start, events to send, signals to hand over."""
        return Workflows(self._scope)

    @property
    def platform(self) -> Services:
        """All of them, to be handed on as one."""
        return self

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
    def database(self) -> BlockingDatabase:
        """Documents in collections."""
        return BlockingDatabase(self._services.database)

    @cached_property
    def workflows(self) -> BlockingWorkflows:
        """Runs to start, events to send, signals to hand over."""
        return BlockingWorkflows(self._services.workflows)

    @property
    def platform(self) -> BlockingServices:
        """All of them, to be handed on as one."""
        return self


#: Gives the services of the step that works in this task or thread.
of_step: Final[ContextVar[Callable[[], Services] | None]] = ContextVar("perdure_services", default=None)
