"""`Runtime`: what an application holds in its hands. It opens a ledger, walks its runs, and gives handles on them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack

from perdure.client.bulk import Progress, cancel_all, retry_all
from perdure.client.draining import CutOff, drain, to_its_end
from perdure.client.given import (
    check_clock,
    check_name,
    checked_count,
    run_filter,
)
from perdure.client.handle import RunHandle
from perdure.client.opened import Opened, Source
from perdure.client.serving import Serving
from perdure.client.starts import Starts, start_all, start_of
from perdure.client.status import RunStatus, status_of
from perdure.client.triggering import Triggering
from perdure.client.upgrade import upgrade_runs
from perdure.client.watching import idle, watch
from perdure.declare.discovery import find_workflows
from perdure.declare.queues import Queue, QueueChanges, check_limit, named_by
from perdure.declare.registry import Output, Registry, Startable
from perdure.durations import Duration, duration_us
from perdure.engine.attempts import Performers
from perdure.engine.batch import Batch
from perdure.engine.clock import Clock, SystemClock
from perdure.engine.definitions import checked_code
from perdure.engine.engine import Condition, Engine, snapshot
from perdure.engine.queues import QueueStatus
from perdure.engine.residents import RESIDENTS_MAX
from perdure.errors import DefinitionError, PerdureError
from perdure.misfit import fitting_methods
from perdure.replay.live import share_of
from perdure.replay.upgrade import Upgrade
from perdure.services.outside import BackEnd, checked_back_ends
from perdure.services.services import Services
from perdure.storage.encoding import encode
from perdure.storage.ledger import Ledger, RunRow, SqlResult

if TYPE_CHECKING:
    from perdure.client.blocking import BlockingRuntime

T = TypeVar("T")


@fitting_methods
class Runtime(Triggering, Serving):
    """A ledger, the workflows that are known, and the engine that moves their runs.

    Use it as `async with Runtime("orders.duckdb", workflows=[fulfill_order]) as runtime:`, or without asyncio as
    `with Runtime(…) as runtime:`, whose methods then block.

    Args:
        ledger: a path, made if it is not there, or a ledger such as `MemoryLedger()`.
        workflows: definitions, a module, the name of a module, or a path to a file or folder.
        drain: how long closing waits for steps at work, a duration. What is cut off then runs again at the next start;
            `cut_off` names it.
        verify: "always" replays every run that has ended, in the background, and records whether it replays (see the
            view `verdicts`); a number above 0 and up to 1 does so for that share of the runs.
        residents_max: bodies of waiting runs that are kept in memory; others come back by replay.
        code: "pinned" walks every run on the code that it started with, which the ledger has, also after a deploy
            changed or deleted it; steps are today's. "today" walks open runs on what is registered now, as one wants it
            in development: a run whose history does not fit stops as diverged.
        queues: the queues that workflows and starts name; those that workflows bring themselves need not be given.
        max_concurrent_runs: runs that have begun and not ended, on all queues and on none. Others wait. Children are
            not counted: their parents are, and wait for them.
        max_concurrent_steps: attempts of steps at work. Others wait; their timeouts count from their start.
        services: back ends that keep a service's values elsewhere, by the service's name, such as
            `{"kv": RedisKv("redis://localhost")}`; what is not named is kept in the ledger.

    Raises:
        LedgerLocked, LedgerCorrupt, LedgerTooNew, LedgerReadOnly: on entering.
        DefinitionError, PolicyViolation: the workflows can't be used.
    """

    def __init__(
        self,
        ledger: Source,
        *,
        workflows: object = (),
        drain: Duration = "10s",
        verify: Literal["off", "always"] | float = "off",
        residents_max: int = RESIDENTS_MAX,
        code: Literal["pinned", "today"] = "pinned",
        queues: Iterable[Queue] = (),
        max_concurrent_runs: int | None = None,
        max_concurrent_steps: int | None = None,
        services: Mapping[str, BackEnd] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.registry = Registry(find_workflows(workflows))
        self.registry.log_missing()
        self._queues = named_by(self.registry.all(), queues)
        check_limit("max_concurrent_runs", max_concurrent_runs)
        check_limit("max_concurrent_steps", max_concurrent_steps)
        self._max_concurrent_runs = max_concurrent_runs
        self._max_concurrent_steps = max_concurrent_steps
        if not isinstance(ledger, (str, os.PathLike)) and not hasattr(ledger, "append"):
            raise DefinitionError(
                f"ledger={ledger!r} is neither a path nor a ledger.",
                fix='give a path such as "orders.duckdb" (an environment variable that is not set gives None), '
                "or MemoryLedger()",
            )
        self._source = ledger
        self._back_ends = checked_back_ends(services)
        self._drain_us = duration_us(drain, "drain")
        self._verified_share = share_of(verify)
        count = checked_count("residents_max", residents_max)
        self._residents_max = RESIDENTS_MAX if count is None else count
        self._code = checked_code(code)
        check_clock(clock)
        self._clock = clock if clock is not None else SystemClock()
        self._opened: Opened | None = None
        self._blocking: BlockingRuntime | None = None
        self._prepare: Callable[[Engine], None] | None = None
        self.cut_off: tuple[CutOff, ...] = ()  # what was still at work when it was drained

    # ── opening and closing ──────────────────────────────────────────────────────────────────────

    async def __aenter__(self) -> Runtime:
        if self._opened is not None:
            raise PerdureError("the runtime is open already.", fix="make another Runtime for another ledger")
        self._opened = await Opened.of(
            self._source, self.registry, self._clock, self._back_ends, self._make_engine, self._verified_share
        )
        try:
            await self._opened.begin()
        except BaseException:
            await self.close()  # nobody else will: `async with` calls __aexit__ only after this has returned
            raise
        return self

    def _make_engine(self, ledger: Ledger, performers: Performers) -> Engine:
        engine = Engine(
            ledger, self.registry, self._clock, performers,
            residents_max=self._residents_max, code=self._code, queues=self._queues,
            max_concurrent_runs=self._max_concurrent_runs, max_concurrent_steps=self._max_concurrent_steps,
        )  # fmt: skip
        if self._prepare is not None:
            self._prepare(engine)
        return engine

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __enter__(self) -> BlockingRuntime:
        from perdure.client.blocking import BlockingRuntime

        self._blocking = BlockingRuntime(self)
        return self._blocking.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        blocking, self._blocking = self._blocking, None
        if blocking is not None:
            blocking.close()

    async def drain(self) -> None:
        """Begin no attempt of a step any more, and wait for those at work, for as long as `drain=` says.

        The runtime stays open: it still records what comes, and answers. Cancelled, this waits no longer. `cut_off` has
        what is at work at its end.
        """
        opened = self._at_hand()
        if opened.is_drained:
            return
        opened.is_drained = True
        opened.services.drain()
        cut_off: list[CutOff] = []
        try:
            await drain(opened.thread, self._drain_us, cut_off)
        finally:
            self.cut_off = tuple(cut_off)

    async def close(self) -> None:
        """Let steps at work finish for as long as `drain` says, then give the ledger back. Runs stay as they are.

        It drains first. Cancelled while it waits for steps, it waits no longer and closes.
        """
        if self._opened is None:
            return
        try:
            await self.drain()
        finally:  # also when whoever waited for the steps had enough
            opened, self._opened = self._opened, None
            if opened is not None:  # else somebody else closed it meanwhile
                await to_its_end(opened.close(self._drain_us))

    def _at_hand(self) -> Opened:
        if self._opened is None:
            raise PerdureError("the runtime is not open.", fix="use it inside its `async with` or `with` block")
        return self._opened

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────

    async def start(
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
    ) -> RunHandle[Output]:
        """Start a run; when this returns, it is recorded.

        Args:
            workflow: a workflow or its id.
            input: validated against the body's annotation.
            version: the version registered last by default.
            run_id: an id of your own; the same id is the same run, also under races.
            idempotency_key: the same key of the same workflow is the same run, also under races.
            delay: how long the run stays `queued`, a duration.
            tags: texts by which `runs(tags=…)` finds it.
            queue: the name of the queue on which it waits for its turn; the workflow's by default.
            key: what the queue's limits per key go by; filled from the workflow's template by default.
            priority: smaller numbers begin first; the workflow's by default, which is 0.

        A queue that debounces or is a singleton may give a run that was started before.

        Raises:
            UnknownWorkflow, InvalidInput, NotSerializable, DefinitionError: nothing was started.
        """
        wanted = start_of(
            self.registry.find(workflow, version), input, run_id=run_id, idempotency_key=idempotency_key, delay=delay,
            tags=tags, queue=queue, key=key, priority=priority,
        )  # fmt: skip
        return RunHandle(self, await self.ask(lambda engine, batch: engine.starting.start(wanted, batch)))

    async def start_many(
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
    ) -> list[RunHandle[Output]]:
        """Start a run for each input; when this returns, all are recorded. Arguments as in `start`, for all of them.

        All inputs are validated first. Then it goes in batches of a few hundred, so that other requests are served in
        between; what was started by then stays so when this is cut off. With ids or keys it can be called again.

        Args:
            inputs: one for each run; the handles come in the same order.
            run_ids, idempotency_keys: one for each input, or None.
            progress: called after each batch with how many were started, and of how many.

        Raises:
            InvalidInput, NotSerializable: an input can't be used; its index is named, and nothing was started.
            UnknownWorkflow, DefinitionError: likewise; or an id belongs to another workflow, which comes to light when
                it is its turn.
        """
        usual = start_of(
            self.registry.find(workflow, version), None, delay=delay, tags=tags, queue=queue, priority=priority
        )
        run_ids = await start_all(self, Starts(usual, inputs, run_ids, idempotency_keys), progress)
        return [RunHandle(self, run_id) for run_id in run_ids]

    def handle(self, run_id: str) -> RunHandle:
        """Make a handle on a run by its id; whether there is one shows on first use (`UnknownRun`)."""
        return RunHandle(self, run_id)

    async def trigger_schedule(self, id: str) -> RunHandle:
        """Start a run of a schedule now, beside its ticks, also of a paused one; `scheduled_at` is now."""
        return RunHandle(self, await self.ask(lambda engine, batch: engine.schedules.trigger(id, batch)))

    @property
    def services(self) -> Services:
        """All services; outside of steps each operation is durable when it returns."""
        return self._at_hand().services

    async def resume_hook(self, token: str, payload: Any = None) -> str:
        """Hand a payload to the run whose open hook has this token; give its run_id once that is recorded.

        Raises:
            HookRefused: no open hook has it (it was never made, was answered or disposed, or its run has ended), or
                the payload does not fit the hook's schema. NotSerializable: it can't be recorded.
        """
        check_name("token", token)
        encoded = encode(payload)
        return await self.settled(lambda engine, batch: engine.messages.resume_hook(token, encoded, batch))

    async def runs(
        self,
        *,
        workflow: str | None = None,
        version: str | None = None,
        status: str | Sequence[str] | None = None,
        tags: Mapping[str, str] | None = None,
        since: datetime | timedelta | Duration | None = None,
        limit: int | None = 100,
    ) -> list[RunStatus]:
        """List runs, newest first.

        Args:
            status: one or several of the statuses.
            tags: all of them must be equal.
            since: created at or after this moment, or at most this long ago.
            limit: at most this many; None is all of them.
        """
        wanted = run_filter(self._clock.now_us(), workflow, version, status, tags, since, limit)
        rows = await self.ask(lambda engine, batch: [snapshot(row) for row in engine.ledger.runs(wanted)])
        return [status_of(row) for row in rows]

    async def cancel_runs(
        self,
        *,
        workflow: str | None = None,
        version: str | None = None,
        status: str | Sequence[str] | None = None,
        tags: Mapping[str, str] | None = None,
        since: datetime | timedelta | Duration | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Ask all open runs of a filter to stop; give how many were asked. Arguments as in `runs`.

        It goes in batches of a few, so that other requests are served in between; what was asked by then stays so when
        this is cut off.

        Args:
            progress: called after each batch with how many runs were looked at, and of how many.
        """
        wanted = run_filter(self._clock.now_us(), workflow, version, status, tags, since)
        return await cancel_all(self, wanted, progress)

    async def retry_runs(
        self,
        *,
        workflow: str | None = None,
        version: str | None = None,
        status: str | Sequence[str] | None = None,
        tags: Mapping[str, str] | None = None,
        since: datetime | timedelta | Duration | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Retry all runs of a filter that have failed, as `RunHandle.retry` does; give how many. As `cancel_runs`.

        Args:
            status: "failed" by default; "cancelled" retries those.
        """
        wanted = run_filter(self._clock.now_us(), workflow, version, status, tags, since)
        return await retry_all(self, wanted, progress)

    async def upgrade(
        self,
        workflow: str | None = None,
        run_id: str | None = None,
        version: str | None = None,
        *,
        dry_run: bool = True,
    ) -> list[Upgrade]:
        """See which open runs replay on today's code, and move those over with `dry_run=False`.

        A run's whole history is replayed on the code that it would move to: what is registered as its version, else the
        newest version. Those that part from it stay on their code. Runs that are on that code are left out.

        Args:
            workflow, run_id: only runs of this workflow, or only this run; all open ones by default.
            version: the version to move to; it wants a workflow or a run.
            dry_run: only look.

        Records: a note of kind `upgraded` for each run that moves. One that had diverged goes on.

        Raises:
            UnknownRun, DefinitionError: there is no such run, or it has ended; a version for all workflows.
        """
        return await upgrade_runs(self, workflow=workflow, run_id=run_id, version=version, dry_run=dry_run)

    async def queues(self) -> list[QueueStatus]:
        """Look at the queues: those that this runtime was given, and those that the ledger has runs on."""
        return await self.ask(lambda engine, batch: engine.queues.statuses(batch))

    async def set_queue(self, name: str, **limits: Unpack[QueueChanges]) -> Queue:
        """Change limits of a queue: `await runtime.set_queue("emails", max_concurrent_runs=20)`; give those in force.

        It takes effect at once, and until the runtime closes: the next one begins with what it is given. What has
        begun goes on when a limit becomes smaller.

        Raises:
            DefinitionError: there is no such queue or limit, or a value is out of its range.
        """
        return await self.ask(lambda engine, batch: engine.queues.change(name, limits))

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> SqlResult:
        """Run one read-only query over the views `runs`, `steps`, `entries`, `events`, `definitions`. It blocks."""
        return self._at_hand().ledger.sql(query, parameters)

    # ── for handles, and for tests ───────────────────────────────────────────────────────────────

    @property
    def is_open(self) -> bool:
        """Whether it is between entering and leaving its block."""
        return self._opened is not None

    def prepare(self, prepare: Callable[[Engine], None]) -> None:
        """Have something done to the engine before its first turn, by whoever wants to see all that it does."""
        self._prepare = prepare

    async def ask(self, request: Callable[[Engine, Batch], T]) -> T:
        """Have something done by the engine in its next batch; answered when that is durable."""
        return await self._at_hand().thread.ask(request)

    async def settled(self, request: Callable[[Engine, Batch], T]) -> T:
        """The same for what wants to know how things stand: asked again while something else moves the run."""
        return await self._at_hand().thread.settled(request)

    def ask_blocking(self, request: Callable[[Engine, Batch], T]) -> T:
        """Have something done by the engine and block for it, a moment only: the engine waits for no loop."""
        return self._at_hand().thread.call(request).result()

    async def idle(self) -> None:
        """Wait until no step is at work and nothing is due: only the clock or the outside can move a run then."""
        await asyncio.wrap_future(idle(self._at_hand().thread))

    def watch(self, run_id: str, condition: Condition) -> Future[RunRow | None]:
        """Get the run's row as soon as `condition` is true of it; None when there is no such run."""
        return watch(self._at_hand().thread, run_id, condition)
