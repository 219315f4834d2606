"""A handle on one run: look at it, wait for it, stop it, replay it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from perdure.client.events import RunEvents
from perdure.client.given import check_id, check_name, checked_statuses, checked_tags
from perdure.client.status import HistoryEntry, RunStatus, history_entry, status_of, waiting_text
from perdure.client.streams import RunStream
from perdure.declare.registry import Output, Registry
from perdure.durations import Duration, duration_text, duration_us
from perdure.engine.batch import Batch
from perdure.engine.changes import UNCHANGED, Changes
from perdure.engine.engine import Engine, snapshot
from perdure.engine.forks import Fork, fork
from perdure.engine.retrying import retry
from perdure.engine.stopping import cancel
from perdure.errors import Divergence, PerdureError, RunCancelled, RunFailed, RunTimeout, UnknownRun
from perdure.misfit import fitting_methods
from perdure.replay.check import Verdict, check_run
from perdure.replay.history_file import History, history_of
from perdure.storage import entries as kinds
from perdure.storage.encoding import decode, encode
from perdure.storage.entries import Entry
from perdure.storage.failures import decode_failure
from perdure.storage.ledger import ENDED, RunRow, ending

if TYPE_CHECKING:
    from perdure.client.runtime import Runtime

T = TypeVar("T")


@fitting_methods
class RunHandle(Generic[Output]):
    """One run of a runtime. Made by `runtime.start` and `runtime.handle`; it holds nothing but the `run_id`."""

    def __init__(self, runtime: Runtime, run_id: str) -> None:
        self._runtime = runtime
        self.run_id = run_id

    def __repr__(self) -> str:
        return f"<run {self.run_id}>"

    async def status(self) -> RunStatus:
        """Look at the run. Raises `UnknownRun` when the ledger has none of that id."""
        row = await self._row()
        return status_of(row)

    async def history(self) -> list[HistoryEntry]:
        """Read all entries, in order; what can't be read back is told in its entry. Raises `UnknownRun`."""
        _, entries = await self._row_and_entries()
        return [history_entry(entry) for entry in entries]

    async def result(self, timeout: Duration | None = None) -> Output:
        """Wait for the run's end; give its output. Of a run that continued, that of the last one of the chain.

        Args:
            timeout: how long to wait, a duration; None waits for as long as it takes.

        Raises:
            RunFailed, RunCancelled: as it ended; `__cause__` of RunFailed is the body's own exception where it can be
                rebuilt.
            RunTimeout: the run passed its own timeout, or this wait did (the run goes on).
            Divergence: the run stopped because code and ledger disagree; it goes on once that is mended.
        """
        row = await self._until(ENDED | {"diverged"}, timeout, follow=True)
        entry = await self._runtime.ask(lambda engine, batch: ending(engine.ledger, row))
        if row.status == "completed":
            return cast(Output, decode(entry.body or "null", entry.shape))  # validated against the body's annotation
        error, cause = end_of(row, entry)
        raise error from cause

    async def wait(self, status: str | tuple[str, ...] | None = None, timeout: Duration | None = None) -> RunStatus:
        """Wait until the run has a status, or one of several; by default until it has ended.

        By default it follows a run that continued as another one, to the end of the chain.

        Raises:
            RunTimeout: `timeout` passed first. DefinitionError: there is no such status. UnknownRun.
        """
        wanted = checked_statuses(status) or sorted(ENDED)
        return status_of(await self._until(frozenset(wanted), timeout, follow=status is None))

    async def cancel(self) -> bool:
        """Ask the run to stop; its compensation runs before it ends. False when it had ended already.

        A run that continued as another one hands it on to the newest of the chain.
        """
        return await self._settled(lambda engine, batch: cancel(engine, self.run_id, batch))

    def events(self, start: int = 0) -> RunEvents:
        """The events that the body emits with `step.emit`: `await run.events()` lists those so far.

        `async for event in run.events()` gives all from the `start`-th on, as they come, until the run ends.

        Raises:
            DefinitionError: `start` is no whole number from 0 on. UnknownRun: once it is awaited or iterated.
        """
        return RunEvents(self._runtime, self.run_id, start)

    def stream(self, namespace: str = "default", start: int = 0) -> RunStream:
        """Read what steps write to one of the run's streams: `async for chunk in run.stream("logs")`.

        It gives the values from the `start`-th on, as they come, and ends when the stream is closed or the run has
        ended. A reader that comes back with `start=` the number of chunks it has seen misses and repeats nothing;
        `.chunks()` gives each with its offset, step, attempt and time. `await run.stream("logs")` lists those so far.

        Raises:
            DefinitionError: `start` is no whole number from 0 on. UnknownRun: once it is awaited or iterated.
        """
        return RunStream(self._runtime, self.run_id, namespace, start)

    async def signal(self, name: str, payload: Any = None) -> None:
        """Hand the run a signal; when this returns, it is recorded, and the run takes it in its turn.

        A run that continued as another one hands it on to the newest of the chain. A run that waits on a queue, or for
        its next attempt, keeps it.

        Args:
            name: what the body waits for: `await step.wait_for_signal(name)`.
            payload: anything that can be recorded.

        Raises:
            SignalRefused: the run has ended, or the payload does not fit the schema of what it waits for.
            UnknownRun, NotSerializable, DefinitionError: no such run, a payload that can't be recorded, no name.
        """
        check_name("name", name)
        encoded = encode(payload)
        await self._settled(lambda engine, batch: engine.messages.signal(self.run_id, name, encoded, batch))

    async def retry(self) -> None:
        """Try a run again that failed or was cancelled: completed steps are kept, the others run again.

        Spawned children that failed or were stopped are tried again with it. A parent that was told how this run ended
        does not hear of what becomes of it now. A run that was on a queue waits there until it has a place.

        Records: the next attempt, and what the body asks for in it. A timeout of the workflow counts anew.

        Raises:
            UnknownRun, UnknownWorkflow: there is no such run, or its version is not registered.
            DefinitionError: the run is open, or has completed (fork it).
        """
        await self._settled(lambda engine, batch: retry(engine, self.run_id, batch))

    async def children(self) -> list[RunHandle]:
        """Find the runs that this one started, oldest first; a chain's runs are one each. Raises `UnknownRun`."""
        await self._row()
        rows = await self._runtime.ask(lambda engine, batch: engine.ledger.children(self.run_id))
        return [RunHandle(self._runtime, row.run_id) for row in rows]

    async def parent(self) -> RunHandle | None:
        """Find the run that started this one; None when an application did. Raises `UnknownRun`."""
        row = await self._row()
        return None if row.parent_run_id is None else RunHandle(self._runtime, row.parent_run_id)

    async def fork(
        self,
        at: str | int,
        *,
        input: object = UNCHANGED,
        results: Mapping[str, object] | None = None,
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> RunHandle:
        """Start a new run that takes over what this one recorded before a place, and lives on from there.

        What comes before is replayed on today's code first; then the body is fed again, live, what made it ask for the
        place, so the named step runs anew, with whatever else was asked for at once. This run stays as it is.

        Args:
            at: the name of a step, sleep, wait or child (`name#2` for the second), or an entry's position.
            input: another input, at entry 0 only, where the whole run begins anew; by default it stays as it was.
            results: by name, results of steps that are asked for at the place: they are recorded as given, and the
                steps don't run.
            run_id: an id of your own; the same id and place give the same fork, also under races.
            tags: those of this run by default.

        Raises:
            UnknownRun, UnknownWorkflow, DefinitionError: no such run, version or place, the run_id is taken, or what is
                to be changed can't be changed there.
            InvalidInput, NotSerializable: the input, or a result, can't be used.
            Divergence: today's code does not replay what comes before. In all cases nothing was started.
        """
        check_id("run_id", run_id)
        changes = Changes(input, dict(results or {}))
        wanted = Fork(self.run_id, at, run_id, None if tags is None else checked_tags(tags), changes)
        return RunHandle(self._runtime, await self._runtime.ask(lambda engine, batch: fork(engine, wanted, batch)))

    async def replay(self) -> Verdict:
        """Replay the run against today's code, performing nothing. Raises `UnknownRun`, `UnknownWorkflow`."""
        row, entries = await self._row_and_entries()
        definition = self._runtime.registry.get(row.workflow, row.version)
        recorded = await self._runtime.ask(lambda engine, batch: engine.ledger.definition(row.definition))
        return await asyncio.to_thread(check_run, row, definition, entries, recorded=recorded)

    def recorded(self) -> History:
        """The run as the ledger has it now, by itself: to write it to a file, or to look at it in a test.

        It blocks, for a moment only. Raises `UnknownRun`.
        """

        def read(engine: Any, batch: Any) -> History | None:
            row = engine.ledger.run(self.run_id)
            return None if row is None else history_of(engine.ledger, snapshot(row))

        history = self._runtime.ask_blocking(read)
        if history is None:
            raise self._unknown()
        return history

    @property
    def registry(self) -> Registry:
        """The workflows of its runtime."""
        return self._runtime.registry

    async def _row(self) -> RunRow:
        row, _ = await self._runtime.ask(lambda engine, batch: _look(engine.ledger, self.run_id, with_entries=False))
        if row is None:
            raise self._unknown()
        return row

    async def _row_and_entries(self) -> tuple[RunRow, list[Entry]]:
        row, entries = await self._runtime.ask(
            lambda engine, batch: _look(engine.ledger, self.run_id, with_entries=True)
        )
        if row is None:
            raise self._unknown()
        return row, entries

    async def _settled(self, request: Callable[[Engine, Batch], T]) -> T:
        return await self._runtime.settled(request)

    async def _until(self, statuses: frozenset[str], timeout: Duration | None, *, follow: bool) -> RunRow:
        limit_us = None if timeout is None else duration_us(timeout, "timeout")
        run_id: str | None = self.run_id
        row: RunRow | None = None
        try:
            async with asyncio.timeout(None if limit_us is None else limit_us / 1_000_000):
                while run_id is not None:
                    future = self._runtime.watch(run_id, lambda row: row.status in statuses)
                    row = await asyncio.wrap_future(future)
                    run_id = row.continued_as if follow and row is not None else None
        except TimeoutError:
            error = RunTimeout(
                f"run {self.run_id} took longer than the {duration_text(limit_us or 0)} that the caller waited.",
                why=f"the run goes on: it is {waiting_text(await self.status())}",
                fix="wait again, or wait longer",
            )
            error.run_id = self.run_id
            raise error from None
        if row is None:
            raise self._unknown()
        return row

    def _unknown(self) -> UnknownRun:
        return UnknownRun(
            f"the ledger has no run {self.run_id!r}.", fix="look at the ids in `perdure runs LEDGER` or runtime.runs()"
        )


def _look(ledger: Any, run_id: str, *, with_entries: bool) -> tuple[RunRow | None, list[Entry]]:
    row = ledger.run(run_id)
    if row is None:
        return None, []
    return snapshot(row), ledger.entries(row.run) if with_entries else []


def end_of(row: RunRow, entry: Entry) -> tuple[PerdureError, BaseException | None]:
    """What a run that has no output raises, and what caused it."""
    where = f"{row.workflow} v{row.version}, run {row.run_id}"
    if row.status == "cancelled":
        cancelled = RunCancelled(f"run {row.run_id} was cancelled.", where=where)
        cancelled.run_id = row.run_id
        return cancelled, None
    if row.status == "diverged":
        report = entry.facts()
        diverged = Divergence(
            f"run {row.run_id} stopped as diverged: {row.error}",
            run_id=row.run_id,
            position=entry.position,
            where=where,
            why=f"{report.get('why') or 'its ledger and its code disagree'}; nothing is lost",
            fix=report.get("fix")
            or "restore the code it started with (or register both versions), and start the runtime again",
        )
        return diverged, None
    failure = decode_failure(entry.body or "null", entry.shape)
    cause = failure.exception()
    if entry.kind == kinds.FAILED and isinstance(cause, RunTimeout):
        cause.run_id = row.run_id
        return cause, None
    failed = RunFailed(
        f"run {row.run_id} failed: {failure.first_line}",
        where=where,
        why=f"after {row.attempt} attempts of the run" if row.attempt > 1 else "",
        fix="see the traceback in .traceback_text, or `perdure show`",
    )
    failed.run_id = row.run_id
    failed.error_type = failure.error_type
    failed.traceback_text = failure.traceback_text
    return failed, cause
