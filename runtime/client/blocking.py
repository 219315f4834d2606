"""The same runtime for code without asyncio: scripts, Flask, Django. A private loop in a thread, and nothing else.

Each method hands the asynchronous one to that loop and waits. There is no second implementation.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

from perdure.client.bulk import Progress
from perdure.client.events import BlockingRunEvents
from perdure.client.handle import RunHandle
from perdure.client.serving import BlockingServing
from perdure.client.status import HistoryEntry, RunStatus
from perdure.client.streams import BlockingRunStream
from perdure.client.triggering import BlockingTriggering
from perdure.declare.queues import Queue, QueueChanges
from perdure.declare.registry import Output, Registry, Startable
from perdure.durations import Duration
from perdure.engine.changes import UNCHANGED
from perdure.engine.queues import QueueStatus
from perdure.errors import PerdureError
from perdure.misfit import fitting_methods
from perdure.replay.check import Verdict
from perdure.replay.history_file import History
from perdure.replay.upgrade import Upgrade
from perdure.services.services import BlockingServices
from perdure.storage.ledger import SqlResult

if TYPE_CHECKING:
    from perdure.client.runtime import Runtime

T = TypeVar("T")


@fitting_methods
class BlockingRuntime(BlockingTriggering, BlockingServing):
    """A `Runtime` whose methods block; what `with Runtime(…) as runtime:` gives."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="perdure-loop", daemon=True)

    def open(self) -> BlockingRuntime:
        """Start the private loop and open the runtime on it."""
        self._thread.start()
        try:
            self.wait_for(self._runtime.__aenter__())
        except BaseException:
            self._end_loop()
            raise
        return self

    def close(self) -> None:
        """Close the runtime and end the loop."""
        try:
            self.wait_for(self._runtime.close())
        finally:
            self._end_loop()

    def drain(self) -> None:
        """Begin no attempt of a step any more and wait for those at work, as `Runtime.drain`."""
        self.wait_for(self._runtime.drain())

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the private loop and wait for it."""
        if self._loop.is_closed():
            work.close()
            raise PerdureError("the runtime is not open.", fix="use it inside its `with` block")
        if threading.current_thread() is self._thread:
            work.close()
            raise PerdureError(
                "a blocking call was made on the runtime's own loop, which would wait for itself.",
                fix="make it from another thread, or make the step a plain def",
            )
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(
        self,
        workflow: Startable[Output],
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
    ) -> BlockingRunHandle[Output]:
        """Start a run, as `Runtime.start`."""
        started = self._runtime.start(
            workflow, input, version=version, run_id=run_id, idempotency_key=idempotency_key, delay=delay, tags=tags,
            queue=queue, key=key, priority=priority,
        )  # fmt: skip
        handle = self.wait_for(started)
        return BlockingRunHandle(self, handle)

    @property
    def services(self) -> BlockingServices:
        """All services; each operation is durable when it returns."""
        return self._runtime.services.blocking

    def start_many(
        self,
        workflow: Startable[Output],
        inputs: Iterable[Any],
        *,
        version: str | None = None,
        run_ids: Iterable[str | None] | None = None,
        idempotency_keys: Iterable[str | None] | None = None,
        delay: Duration | None = None,
        tags: Mapping[str, str] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        progress: Progress | None = None,
    ) -> list[BlockingRunHandle[Output]]:
        """Start a run for each input, as `Runtime.start_many`; `progress` is called on the private loop."""
        started = self._runtime.start_many(
            workflow, inputs, version=version, run_ids=run_ids, idempotency_keys=idempotency_keys, delay=delay,
            tags=tags, queue=queue, priority=priority, progress=progress,
        )  # fmt: skip
        return [BlockingRunHandle(self, handle) for handle in self.wait_for(started)]

    def handle(self, run_id: str) -> BlockingRunHandle:
        """Make a handle on a run by its id."""
        return BlockingRunHandle(self, self._runtime.handle(run_id))

    def trigger_schedule(self, id: str) -> BlockingRunHandle:
        """Start a run of a schedule now, as `Runtime.trigger_schedule`."""
        return BlockingRunHandle(self, self.wait_for(self._runtime.trigger_schedule(id)))

    def resume_hook(self, token: str, payload: Any = None) -> str:
        """Hand a payload to a hook, as `Runtime.resume_hook`."""
        return self.wait_for(self._runtime.resume_hook(token, payload))

    def runs(
        self,
        *,
        workflow: str | None = None,
        version: str | None = None,
        status: str | Sequence[str] | None = None,
        tags: Mapping[str, str] | None = None,
        since: datetime | Duration | None = None,
        limit: int | None = 100,
    ) -> list[RunStatus]:
        """List runs, as `Runtime.runs`."""
        return self.wait_for(
            self._runtime.runs(workflow=workflow, version=version, status=status, tags=tags, since=since, limit=limit)
        )

    def cancel_runs(
        self,
        *,
        workflow: str | None = None,
        version: str | None = None,
        status: str | Sequence[str] | None = None,
        tags: Mapping[str, str] | None = None,
        since: datetime | Duration | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Ask all open runs of a filter to stop, as `Runtime.cancel_runs`; `progress` is called on the private loop."""
        return self.wait_for(
            self._runtime.cancel_runs(
                workflow=workflow, version=version, status=status, tags=tags, since=since, progress=progress
            )
        )

    def retry_runs(
        self,
        *,
        workflow: str | None = None,
        version: str | None = None,
        status: str | Sequence[str] | None = None,
        tags: Mapping[str, str] | None = None,
        since: datetime | Duration | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Retry all runs of a filter that have failed, as `Runtime.retry_runs`."""
        return self.wait_for(
            self._runtime.retry_runs(
                workflow=workflow, version=version, status=status, tags=tags, since=since, progress=progress
            )
        )

    def upgrade(
        self,
        workflow: str | None = None,
        run_id: str | None = None,
        version: str | None = None,
        *,
        dry_run: bool = True,
    ) -> list[Upgrade]:
        """See which open runs replay on today's code, or move them, as `Runtime.upgrade`."""
        return self.wait_for(self._runtime.upgrade(workflow, run_id, version, dry_run=dry_run))

    def queues(self) -> list[QueueStatus]:
        """Look at the queues, as `Runtime.queues`."""
        return self.wait_for(self._runtime.queues())

    def set_queue(self, name: str, **limits: Unpack[QueueChanges]) -> Queue:
        """Change limits of a queue, as `Runtime.set_queue`."""
        return self.wait_for(self._runtime.set_queue(name, **limits))

    def idle(self) -> None:
        """Wait until only the clock or the outside can move a run, as `Runtime.idle`."""
        self.wait_for(self._runtime.idle())

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> SqlResult:
        """Query the ledger, as `Runtime.sql`."""
        return self._runtime.sql(query, parameters)


@fitting_methods
class BlockingRunHandle(Generic[Output]):
    """A `RunHandle` whose methods block."""

    def __init__(self, runtime: BlockingRuntime, handle: RunHandle[Output]) -> None:
        self._runtime = runtime
        self._handle = handle
        self.run_id = handle.run_id

    def __repr__(self) -> str:
        return repr(self._handle)

    def status(self) -> RunStatus:
        """Look at the run, as `RunHandle.status`."""
        return self._runtime.wait_for(self._handle.status())

    def signal(self, name: str, payload: Any = None) -> None:
        """Hand the run a signal, as `RunHandle.signal`."""
        self._runtime.wait_for(self._handle.signal(name, payload))

    def events(self, start: int = 0) -> BlockingRunEvents:
        """The events that the body emits, as `RunHandle.events`: iterate over them, or call `so_far()`."""
        return BlockingRunEvents(self._runtime, self._handle.events(start))

    def stream(self, namespace: str = "default", start: int = 0) -> BlockingRunStream:
        """Read a stream, as `RunHandle.stream`; iterating blocks until the next chunk is there."""
        return BlockingRunStream(self._runtime, self._handle.stream(namespace, start))

    def history(self) -> list[HistoryEntry]:
        """Read all entries, as `RunHandle.history`."""
        return self._runtime.wait_for(self._handle.history())

    def result(self, timeout: Duration | None = None) -> Output:
        """Wait for the output, as `RunHandle.result`."""
        return self._runtime.wait_for(self._handle.result(timeout))

    def wait(self, status: str | tuple[str, ...] | None = None, timeout: Duration | None = None) -> RunStatus:
        """Wait for a status, as `RunHandle.wait`."""
        return self._runtime.wait_for(self._handle.wait(status, timeout))

    def cancel(self) -> bool:
        """Ask the run to stop, as `RunHandle.cancel`."""
        return self._runtime.wait_for(self._handle.cancel())

    def retry(self) -> None:
        """Try a run again that failed or was cancelled, as `RunHandle.retry`."""
        self._runtime.wait_for(self._handle.retry())

    def children(self) -> list[BlockingRunHandle]:
        """Find the runs that this one started, as `RunHandle.children`."""
        children = self._runtime.wait_for(self._handle.children())
        return [BlockingRunHandle(self._runtime, child) for child in children]

    def parent(self) -> BlockingRunHandle | None:
        """Find the run that started this one, as `RunHandle.parent`."""
        parent = self._runtime.wait_for(self._handle.parent())
        return None if parent is None else BlockingRunHandle(self._runtime, parent)

    def recorded(self) -> History:
        """The run as the ledger has it now, as `RunHandle.recorded`."""
        return self._handle.recorded()

    @property
    def registry(self) -> Registry:
        """The workflows of its runtime."""
        return self._handle.registry

    def fork(
        self,
        at: str | int,
        *,
        input: object = UNCHANGED,
        results: Mapping[str, object] | None = None,
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> BlockingRunHandle:
        """Start a new run that lives on from a place of this one, as `RunHandle.fork`."""
        forked = self._runtime.wait_for(self._handle.fork(at, input=input, results=results, run_id=run_id, tags=tags))
        return BlockingRunHandle(self._runtime, forked)

    def replay(self) -> Verdict:
        """Replay the run against today's code, as `RunHandle.replay`."""
        return self._runtime.wait_for(self._handle.replay())
