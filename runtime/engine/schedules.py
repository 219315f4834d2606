"""Ticks of schedules become runs: each is created in the batch that moves the schedule's cursor over its tick.

The law is one run per tick. A crash can't separate a run from its tick, because both are in one batch. Nor can a clock
that goes back: a run's id is made from its tick, so that a tick that comes again finds its run. And of two versions of
a workflow only the newest has a schedule here (`Subscriptions`).

What passed while nothing was running is found at the start, and after the clock jumped forward; the schedule says what
becomes of it (`owed.py`). Must not append.
"""

from __future__ import annotations

import heapq
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from perdure.declare.subscriptions import Scheduled, found_schedule
from perdure.declare.triggers import scheduled_input
from perdure.durations import moment, moment_text, moment_us
from perdure.engine.batch import Batch
from perdure.engine.cursors import SPACE, Cursor, cell_of, cursor_in, read_cursors
from perdure.engine.owed import (
    REMOVED_US,
    cursor_for,
    followed,
    last_owed,
    next_owed,
    paused,
    resumed,
    ticks_owed,
    undeclared,
)
from perdure.engine.starting import Start

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

logger = logging.getLogger("perdure")

#: A tick that is later than this was missed, and the schedule's `catch_up` says what becomes of it.
MISSED_US: Final = 60_000_000
#: Runs that one turn starts, so that others are served in between.
_STARTED_PER_BATCH: Final = 200
#: How a tick is written in the id of its run.
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_STAMP_LENGTH: Final = 16
#: A clock that goes back by less is being adjusted.
_ADJUSTED_US: Final = 1_000_000


class Schedules:
    """The schedules of one engine's workflows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._all = engine.reactions.subscriptions.schedules
        self._declares = bool(engine.registry.all())  # else it only looks, and says nothing about what is declared
        self._cursors: dict[str, Cursor] | None = None  # None: to be read
        self._lacking: dict[str, Cursor] = {}  # those of the ledger that no workflow here declares
        self._noted_at: int | None = None  # when that is noted again
        self._next: dict[str, int | None] = {}  # the next tick of each; None while it is paused
        self._heap: list[tuple[int, str]] = []  # the same as (tick, id), with some that hold no more
        self._seen = 0  # the time of the turn before
        self.held = False  # True lets ticks wait for another process, because this one is here for something else

    @property
    def wake_at(self) -> int | None:
        """When the next tick is; None when there is none, or none is to be started."""
        if self._rests:
            return None
        times = [self._noted_at, self._heap[0][0] if self._heap else None]
        return min((each for each in times if each is not None), default=None)

    def begin(self, batch: Batch) -> None:
        """Start the runs of the ticks that have come."""
        if self._rests:
            return
        if batch.now < self._seen - _ADJUSTED_US:
            self.forget()  # the clock was put back: ticks that it shows again find their runs
        self._seen = batch.now
        cursors = self._look(batch)
        self._note_lacking(batch)
        room = _STARTED_PER_BATCH
        while room > 0 and self._heap and self._heap[0][0] <= batch.now:
            tick, id = heapq.heappop(self._heap)
            if tick == self._next[id]:  # else it was paused, or moved on, since it was noted
                room -= self._follow(self._all[id], cursors[id], tick, batch, room)

    @property
    def _rests(self) -> bool:
        """Whether `begin` does nothing; then nobody may be woken for it either, who would be woken again at once."""
        return not self._declares or self._engine.draining or self.held

    def forget(self) -> None:
        """Start over from the ledger, after a batch that could not be appended."""
        self._cursors = None
        self._heap.clear()

    # ── for callers ──────────────────────────────────────────────────────────────────────────────

    def find(self, id: str) -> Scheduled:
        """Find a schedule by its id, or by its workflow's when that has no other.

        Raises:
            DefinitionError: there is none.
        """
        return found_schedule(self._all, id)

    def listed(self, batch: Batch) -> list[tuple[Scheduled, Cursor]]:
        """All schedules with how far they have come, by id."""
        cursors = self._look(batch)
        return [(self._all[id], cursors[id]) for id in sorted(self._all)]

    def pause(self, id: str, batch: Batch) -> bool:
        """Let ticks pass without runs; False when they do already."""
        scheduled = self.find(id)
        cursor = self._look(batch)[scheduled.id]
        if not cursor.paused:
            self._set(scheduled, paused(cursor, batch.now), batch)
        return not cursor.paused

    def resume(self, id: str, batch: Batch, *, skip_missed: bool = False) -> bool:
        """Go on; False when it was not paused. What passed meanwhile was not missed, what was before it still is."""
        scheduled = self.find(id)
        cursor = self._look(batch)[scheduled.id]
        if cursor.paused:
            self._set(scheduled, resumed(scheduled.schedule, cursor, batch.now, skip_missed=skip_missed), batch)
        return cursor.paused

    def trigger(self, id: str, batch: Batch) -> str:
        """Start a run now, beside the ticks; give its id."""
        scheduled = self.find(id)
        wanted = Start(
            scheduled.definition,
            scheduled_input(scheduled.definition, scheduled.schedule, batch.now),
            cause={"kind": "schedule", "schedule": scheduled.id, "tick": batch.now, "how": "triggered"},
        )
        return self._engine.starting.start(wanted, batch)

    def backfill(self, id: str, after: int, until: int, limit: int, batch: Batch) -> tuple[int, int | None]:
        """Start the runs of ticks after one time and up to another that have none yet.

        Args:
            limit: of ticks that are looked at.

        Returns:
            How many were started, and the last tick that was looked at if there may be more.
        """
        scheduled = self.find(id)
        cursor = self._look(batch)[scheduled.id]
        ticks = scheduled.schedule.ticks_between(after, until, limit)
        started = 0
        for tick in ticks:
            run_id = self._engine.reactions.own_run_id(run_id_of(scheduled, tick), scheduled.definition, batch)
            if run_id not in batch.created and self._engine.ledger.run(run_id) is None:
                started += self._start(scheduled, tick, "backfill", batch, own_id=run_id) is not None
        if ticks and ticks[-1] > cursor.highest_tick:  # one that was missed, and is not caught up with yet
            self._set(scheduled, cursor.moved(highest_tick=ticks[-1]), batch)
        return started, ticks[-1] if len(ticks) == limit else None

    def note_taken(self, run_id: str, batch: Batch) -> None:
        """Note that somebody takes a run id which may be a tick's, so that the tick will look for its run."""
        workflow, name, tick = _tick_in(run_id)
        if tick is None:
            return
        id = f"{workflow}/{name}"
        if id in self._all:
            cursor = self._look(batch)[id]
        else:  # of a schedule that another process knows
            cell = batch.cells.get((SPACE, id)) or self._engine.ledger.cell(SPACE, id)
            cursor = Cursor("", "", batch.now) if cell is None else cursor_in(cell)
        if tick <= cursor.highest_tick:
            return
        cursor = cursor.moved(highest_tick=tick)
        if id in self._all:
            self._set(self._all[id], cursor, batch)
        else:
            batch.cells[SPACE, id] = cell_of(id, cursor, None, batch.now)
            if id in self._lacking:
                self._lacking[id] = cursor

    # ── ticks ────────────────────────────────────────────────────────────────────────────────────

    def _look(self, batch: Batch) -> dict[str, Cursor]:
        """The cursors; read once, and made for those that have none."""
        if self._cursors is not None:
            return self._cursors
        known = read_cursors(self._engine.ledger)
        self._cursors = {}
        self._heap.clear()
        for id, scheduled in self._all.items():
            before = known.get(id)
            cursor = cursor_for(scheduled.schedule, before, batch.now)
            if before is not None and before.undeclared is not None:
                _tell_back(scheduled, before.undeclared)
            if cursor is not before:
                self._set(scheduled, cursor, batch)
            else:
                self._wait_for(scheduled, cursor, batch.now)
        # One without an expression is only a note that somebody took the id of a tick.
        self._lacking = {id: cursor for id, cursor in known.items() if id not in self._all and cursor.cron}
        self._noted_at = batch.now if self._lacking else None
        return self._cursors

    def _note_lacking(self, batch: Batch) -> None:
        """Note, once an hour, that this runtime is at work and has no such schedule."""
        if self._noted_at is None or batch.now < self._noted_at:
            return
        for id, before in self._lacking.items():
            cursor = undeclared(before, batch.now)
            if cursor is not before:
                self._lacking[id] = cursor
                batch.cells[SPACE, id] = cell_of(id, cursor, None, batch.now)
            if before.undeclared is None:
                logger.warning(
                    "No workflow here declares schedule %s any more: its ticks start nothing. When it is declared "
                    "again within an hour, they are caught up with.", id,
                )  # fmt: skip
        self._noted_at = batch.now + REMOVED_US

    def _follow(self, scheduled: Scheduled, cursor: Cursor, tick: int, batch: Batch, room: int) -> int:
        """Do what is to be done for the ticks of one schedule that have come; give how many runs that started.

        Args:
            tick: the first of them. It is done with already where a clock was put back that had skipped it.
        """
        schedule, done = scheduled.schedule, min(cursor.done_until, tick - 1)
        ticks: list[int] = []
        if schedule.catch_up != "all":
            newest = last_owed(schedule, cursor, done, batch.now - MISSED_US)
            if newest is not None:
                logger.info(
                    "Ticks of schedule %s were missed, the last at %s; catch_up is %r.",
                    scheduled.id, moment_text(newest), schedule.catch_up,
                )  # fmt: skip
                done = newest
                ticks = [newest] if schedule.catch_up == "last" else []
        ticks += ticks_owed(schedule, cursor, done, batch.now, max(1, room - len(ticks)))
        last_run_id, last_tick, highest = cursor.last_run_id, cursor.last_tick, cursor.highest_tick
        for tick in ticks:
            run_id = self._start(scheduled, tick, "tick", batch, is_new=tick > highest)
            if run_id is not None:
                last_run_id, last_tick = run_id, tick
        reached = {"last_tick": last_tick, "last_run_id": last_run_id, "highest_tick": max([highest, *ticks])}
        self._set(scheduled, followed(cursor, max([done, *ticks]), **reached), batch)
        return len(ticks)

    def _start(
        self,
        scheduled: Scheduled,
        tick: int,
        how: str,
        batch: Batch,
        *,
        is_new: bool = False,
        own_id: str | None = None,  # that nobody has
    ) -> str | None:
        cause = {"kind": "schedule", "schedule": scheduled.id, "tick": tick, "how": how}
        value = scheduled_input(scheduled.definition, scheduled.schedule, tick)
        run_id = own_id or run_id_of(scheduled, tick)
        wanted = Start(scheduled.definition, value, run_id=run_id, is_new=is_new or own_id is not None, cause=cause)
        return self._engine.reactions.start(wanted, batch)

    def _set(self, scheduled: Scheduled, cursor: Cursor, batch: Batch) -> None:
        """Have the ledger keep a cursor, and wait for its next tick."""
        tick = self._wait_for(scheduled, cursor, batch.now)
        cell = cell_of(scheduled.id, cursor, tick, batch.now)
        batch.cells[cell.space, cell.key] = cell

    def _wait_for(self, scheduled: Scheduled, cursor: Cursor, now: int) -> int | None:
        assert self._cursors is not None  # whoever moves one has looked
        # A cursor in the future is from before the clock was put back.
        tick = None if cursor.paused else next_owed(scheduled.schedule, cursor, min(cursor.done_until, now))
        self._cursors[scheduled.id] = cursor
        self._next[scheduled.id] = tick
        if tick is not None:
            heapq.heappush(self._heap, (tick, scheduled.id))
        return tick


def run_id_of(scheduled: Scheduled, tick: int) -> str:
    """The id of a tick's run: always the same one."""
    return f"{scheduled.definition.id}:{scheduled.schedule.name}:{moment(tick).strftime(_STAMP)}"


def _tell_back(scheduled: Scheduled, lacked: tuple[int, int]) -> None:
    """Say what became of the ticks of a schedule that was undeclared for a while."""
    begin, end = lacked
    count = scheduled.schedule.count_between(begin, end)
    if end - begin < REMOVED_US:
        logger.info("Schedule %s is declared again, and goes on where it was.", scheduled.id)
        return
    logger.warning(
        "Schedule %s is declared again. From %s to %s it was not, so its %s of that time start nothing. To start them: "
        "perdure schedules backfill LEDGER %s --from %s --to %s",
        scheduled.id, moment_text(begin), moment_text(end), "1 tick" if count == 1 else f"{count:,} ticks",
        scheduled.id, moment_text(begin), moment_text(end),
    )  # fmt: skip


def _tick_in(run_id: str) -> tuple[str, str, int | None]:
    """The workflow, the schedule's name and the tick that an id is made of, as `run_id_of` does; else no tick."""
    parts = run_id.rsplit(":", 2)
    if len(parts) == 3 and len(parts[2]) == _STAMP_LENGTH:
        try:
            return parts[0], parts[1], moment_us(datetime.strptime(parts[2], _STAMP).replace(tzinfo=UTC))
        except ValueError:
            pass  # it only looks like one
    return "", "", None
