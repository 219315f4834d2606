"""`workflows`: runs that a step starts, events that it sends, signals that it hands over.

Knows what is asked for. Must not know how a run begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.durations import Duration
from perdure.services.operation import Blocking, blocking, operation
from perdure.services.scope import Scope


class Workflows:
    """Other runs, as a step moves them: what it asks for happens in the very batch that records its result.

    An attempt that fails has started and sent nothing. Outside of steps (`runtime.workflows`) each is recorded when it
    returns.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __repr__(self) -> str:
        return "<workflows>"

    @operation
    async def start(
        self,
        workflow: Any,
        input: Any = None,
        *,
        version: str | None = None,
        run_id: str | None = None,
        idempotency_key: str | None = None,
        delay: Duration | None = None,
        tags: Mapping[str, str] | None = None,
        queue: str | None = None,
        key: str | None = None,
        priority: int | None = None,
    ) -> str:
        """Start a run; give its run_id. Arguments as in `Runtime.start`.

        The run is no child: it goes on whatever becomes of this one. Its id follows from the step and the input, unless
        `run_id` gives one. When the idempotency key is taken it is the id of the run that has it.

        Raises:
            UnknownWorkflow, InvalidInput, NotSerializable, DefinitionError: nothing is started.
        """
        options = {
            "version": version, "run_id": run_id, "idempotency_key": idempotency_key, "delay": delay, "tags": tags,
            "queue": queue, "key": key, "priority": priority,
        }  # fmt: skip
        async with self._scope.writing() as transaction:
            promise, word = await self._scope.backing.orders.start(workflow, input, transaction, **options)
            if word is not None:
                transaction.order(word)
            return promise

    @operation
    async def send_event(
        self,
        type: str,
        payload: Any = None,
        *,
        resource: str | None = None,
        namespace: str | None = None,
        event_id: str | None = None,
    ) -> None:
        """Send an event to the runs that wait for it and to what it triggers, as `Runtime.send_event`.

        Raises:
            NotSerializable, DefinitionError: nobody gets it.
        """
        word = self._scope.backing.orders.event(
            type, payload, resource=resource, namespace=namespace, event_id=event_id
        )
        async with self._scope.writing() as transaction:
            transaction.order(word)

    @operation
    async def signal(self, run_id: str, name: str, payload: Any = None) -> None:
        """Hand a run a signal, as `RunHandle.signal`.

        Raises:
            NotSerializable, DefinitionError: at once. SignalRefused, UnknownRun: in a step when its result is to be
                recorded, which then fails with that.
        """
        async with self._scope.writing() as transaction:
            transaction.order(self._scope.backing.orders.signal(run_id, name, payload, transaction))

    @operation
    async def cancel(self, run_id: str) -> None:
        """Ask a run to stop, as `RunHandle.cancel`; nothing happens when it has ended.

        Raises:
            UnknownRun: in a step when its result is to be recorded, which then fails with that.
        """
        async with self._scope.writing() as transaction:
            transaction.order(self._scope.backing.orders.cancel(run_id, transaction))


class BlockingWorkflows(Blocking):
    """`Workflows` for code without asyncio."""

    start = blocking(Workflows.start)
    send_event = blocking(Workflows.send_event)
    signal = blocking(Workflows.signal)
    cancel = blocking(Workflows.cancel)
