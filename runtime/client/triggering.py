"""What an application does about triggers: it sends events, and looks after schedules.

Knows what callers give. Must not know how ticks and events become runs.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from perdure.client.given import checked_count
from perdure.client.orders import event_of
from perdure.declare.subscriptions import Scheduled
from perdure.durations import moment, moment_us
from perdure.engine.batch import Batch
from perdure.engine.clock import Clock
from perdure.engine.cursors import Cursor
from perdure.engine.engine import Engine
from perdure.engine.owed import next_owed
from perdure.engine.reactions import EventReceipt
from perdure.errors import DefinitionError
from perdure.misfit import fitting_methods
from perdure.triggers.schedule import CatchUp, Schedule
from perdure.triggers.zones import zone

if TYPE_CHECKING:
    from perdure.client.runtime import Runtime

T = TypeVar("T")

#: Ticks of a backfill in one batch.
_TICKS_PER_BATCH: Final = 200
#: Ticks that a backfill takes without being told how many are meant.
BACKFILLED_MAX: Final = 1_000


@dataclass(frozen=True)
class ScheduleStatus:
    """A schedule of a registered workflow, and how far it has come.

    Attributes:
        id: `<workflow>/<name>`. workflow, version, name: whose it is.
        cron, timezone, catch_up: as declared.
        paused: whether its ticks pass without runs.
        next_at: the next tick, or None: it is paused.
        last_at, last_run_id: the newest tick that started a run, and that run; None before the first.
        seen_at: when this was so.
    """

    id: str
    workflow: str
    version: str
    name: str
    cron: str
    timezone: str
    catch_up: CatchUp
    paused: bool
    next_at: datetime | None
    last_at: datetime | None
    last_run_id: str | None
    seen_at: datetime

    def next_ticks(self, count: int = 5) -> list[datetime]:
        """List the ticks that come after `seen_at`, also of a paused schedule, which lets them pass."""
        schedule = Schedule(self.cron, self.timezone)
        return [moment(tick) for tick in schedule.ticks_between(moment_us(self.seen_at), 2**62, count)]

    def local(self, tick: datetime) -> str:
        """A tick as the clocks of the schedule's zone show it."""
        return tick.astimezone(zone(self.timezone)).strftime("%a %Y-%m-%d %H:%M:%S %z")

    def as_json(self) -> dict[str, Any]:
        """The same as plain JSON data; times as ISO 8601."""
        facts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in facts.items()}


class _Asking(Protocol):
    _clock: Clock

    async def ask(self, request: Callable[[Engine, Batch], T]) -> T: ...


@fitting_methods
class Triggering:
    """The part of `Runtime` for events and schedules."""

    async def send_event(
        self: _Asking,
        type: str,
        payload: Any = None,
        *,
        resource: str | None = None,
        namespace: str | None = None,
        event_id: str | None = None,
    ) -> EventReceipt:
        """Send an event: wake the runs that wait for it now, and start those that it triggers, all in one commit.

        Args:
            resource, namespace: what it is about; triggers may ask for them.
            event_id: what you know it by. An event of the same type with the same id does nothing for 30 days.

        Returns:
            How many waiting runs it woke, as a number that also says which runs it `started`.

        Raises:
            NotSerializable: the payload has no lossless encoding; nobody got it.
            DefinitionError: the type, or another name, can't be used.
        """
        sent = event_of(type, payload, resource=resource, namespace=namespace, event_id=event_id)
        return await self.ask(lambda engine, batch: engine.reactions.event(sent, batch))

    async def schedules(self: _Asking) -> list[ScheduleStatus]:
        """List the schedules of the registered workflows, by id, with how far each has come."""
        return await self.ask(_listed)

    async def pause_schedule(self: _Asking, id: str) -> bool:
        """Let a schedule's ticks pass without runs, also after a restart; False when they do already.

        Args:
            id: the schedule's, `<workflow>/<name>`, or its workflow's when that has one schedule.

        Raises:
            DefinitionError: there is none.
        """
        return await self.ask(lambda engine, batch: engine.schedules.pause(id, batch))

    async def resume_schedule(self: _Asking, id: str, *, skip_missed: bool = False) -> bool:
        """Have a paused schedule go on; False when it was not paused.

        What passed during the pause was not missed. What was missed before it, while nothing was running, still is: it
        is caught up with now, as the schedule's `catch_up` says.

        Args:
            skip_missed: go on with the next tick, and leave out what was missed before the pause too.
        """
        return await self.ask(lambda engine, batch: engine.schedules.resume(id, batch, skip_missed=skip_missed))

    async def backfill_schedule(
        self: _Asking, id: str, start: datetime | str, end: datetime | str, *, limit: int | None = BACKFILLED_MAX
    ) -> int:
        """Start a run for every tick from `start` up to `end` that has none; give how many.

        A tick that had its run is left alone, so it can be called again. Other requests are served in between.

        Args:
            start, end: aware datetimes or ISO-8601 texts with an offset; both may be ticks.
            limit: of the ticks in the range, so that a wrong year does not start a million runs; None is any number.

        Raises:
            DefinitionError: `end` is before `start`, or has not come yet; or there are more ticks than `limit`.
        """
        after, until = moment_us(start) - 1, moment_us(end)
        if until < after + 1 or until > self._clock.now_us():
            raise DefinitionError(
                f"nothing can be backfilled from {start} to {end}.",
                why="its end is before its start"
                if until < after + 1
                else "it ends in the future, which comes by itself",
                fix="give a range that has passed",
            )
        most = checked_count("limit", limit)
        ticks = await self.ask(lambda engine, batch: engine.schedules.find(id).schedule.count_between(after, until))
        if most is not None and ticks > most:
            raise _too_many(id, start, end, ticks, most)
        started, rest = 0, after
        while True:
            page = partial(_backfilled, id=id, after=rest, until=until)
            count, last = await self.ask(page)
            started += count
            if last is None:
                return started
            rest = last


class _Waiting(Protocol):
    _runtime: Runtime

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T: ...


@fitting_methods
class BlockingTriggering:
    """The same, blocking: the part of `BlockingRuntime`."""

    def send_event(
        self: _Waiting,
        type: str,
        payload: Any = None,
        *,
        resource: str | None = None,
        namespace: str | None = None,
        event_id: str | None = None,
    ) -> EventReceipt:
        """Send an event, as `Runtime.send_event`."""
        return self.wait_for(
            self._runtime.send_event(type, payload, resource=resource, namespace=namespace, event_id=event_id)
        )

    def schedules(self: _Waiting) -> list[ScheduleStatus]:
        """List the schedules, as `Runtime.schedules`."""
        return self.wait_for(self._runtime.schedules())

    def pause_schedule(self: _Waiting, id: str) -> bool:
        """Pause a schedule, as `Runtime.pause_schedule`."""
        return self.wait_for(self._runtime.pause_schedule(id))

    def resume_schedule(self: _Waiting, id: str, *, skip_missed: bool = False) -> bool:
        """Resume a schedule, as `Runtime.resume_schedule`."""
        return self.wait_for(self._runtime.resume_schedule(id, skip_missed=skip_missed))

    def backfill_schedule(
        self: _Waiting, id: str, start: datetime | str, end: datetime | str, *, limit: int | None = BACKFILLED_MAX
    ) -> int:
        """Start runs for ticks that have passed, as `Runtime.backfill_schedule`."""
        return self.wait_for(self._runtime.backfill_schedule(id, start, end, limit=limit))


def _listed(engine: Engine, batch: Batch) -> list[ScheduleStatus]:
    return [status_of_schedule(scheduled, cursor, batch.now) for scheduled, cursor in engine.schedules.listed(batch)]


def _too_many(id: str, start: datetime | str, end: datetime | str, ticks: int, limit: int) -> DefinitionError:
    return DefinitionError(
        f"schedule {id!r} has {ticks:,} ticks from {start} to {end}, which is more than limit={limit:,}.",
        why="each that has no run yet would start one; nothing was started",
        fix=f"give a shorter range; or, when that many are meant, limit={ticks:_} or limit=None",
    )


def status_of_schedule(scheduled: Scheduled, cursor: Cursor, now: int) -> ScheduleStatus:
    """Say how far a schedule has come."""
    definition, schedule = scheduled
    next_at = None if cursor.paused else next_owed(schedule, cursor, min(cursor.done_until, now))
    return ScheduleStatus(
        id=scheduled.id,
        workflow=definition.id,
        version=definition.version,
        name=schedule.name or "",
        cron=schedule.cron,
        timezone=schedule.timezone,
        catch_up=schedule.catch_up,
        paused=cursor.paused,
        next_at=None if next_at is None else moment(next_at),
        last_at=None if cursor.last_tick is None else moment(cursor.last_tick),
        last_run_id=cursor.last_run_id,
        seen_at=moment(now),
    )


def _backfilled(engine: Engine, batch: Batch, id: str, after: int, until: int) -> tuple[int, int | None]:
    return engine.schedules.backfill(id, after, until, _TICKS_PER_BATCH, batch)
