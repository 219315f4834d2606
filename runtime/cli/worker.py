"""A worker's life: it opens a runtime, shows what happens, and stops in order when it is told to.

    open ──► at work ──► asked to stop ──► steps at work finish, within a limit ──► closed
                 │                                  └─► asked again: at once
                 └─► the code changed: as asked to stop, and then anew

Knows runtimes and feeds. Must not know command lines, nor how lines read.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.text import Text

from perdure.cli.activity import Observer
from perdure.cli.feed import Feed
from perdure.cli.list import workflow_row
from perdure.cli.output import STATUS_STYLES, cells, table
from perdure.cli.reloading import Reloader
from perdure.cli.stopping import Stop
from perdure.client.runtime import Runtime
from perdure.durations import Duration, duration_us
from perdure.engine.batch import Batch
from perdure.engine.clock import SystemClock
from perdure.engine.engine import Engine
from perdure.services.outside import BackEnd
from perdure.storage.ledger import ENDED, STATUSES, RunFilter
from perdure.version import __version__

#: Exit code when steps were still at work after the limit.
CUT_OFF: Final = 3

_LOOK_EVERY_S: Final = 0.5
_IDLE_LOOK_EVERY_S: Final = 0.05
#: How long closing may take after the last step was waited for. A step that swallows its cancellation never ends.
_CLOSING_MAX_S: Final = 5.0


@dataclass
class Worker:
    """One worker.

    Attributes:
        runtime: not opened yet. path: of its ledger. source: where the workflows are, as one would type it.
        drain: how long steps at work may finish.
        reloader: watches the code, None when nobody does.
        back_ends: which services are not kept in the ledger, and where they are.
    """

    runtime: Runtime
    path: Path
    source: str
    feed: Feed
    drain: Duration
    until_idle: bool = False
    reloader: Reloader | None = None
    back_ends: Mapping[str, BackEnd] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    was_told_to_stop: bool = False
    _clock: SystemClock = field(default_factory=SystemClock)

    async def work(self) -> int:
        """Work until a signal, idleness or changed code ends it; give the exit code."""
        feed = self.feed
        limit_s = duration_us(self.drain, "--drain") / 1_000_000
        stop = Stop(limit_s + _CLOSING_MAX_S, CUT_OFF, feed.close)
        feed.width = max((len(each.id) for each in self.runtime.registry.all()), default=0)
        self.runtime.prepare(self._begin)
        with feed.opened(), stop.by_signals():
            await self.runtime.__aenter__()
            try:
                await self._until_told(stop)
            except BaseException:
                await self.runtime.close()
                raise
            return await self._stop(stop)

    def _begin(self, engine: Engine) -> None:
        """Say what is there before anything happens to it, and look at all that does."""
        found = engine.ledger.count(RunFilter(limit=None))
        self.counts = _in_order(found)
        self._say_what_is_there()
        if not self.feed.silent:
            Observer(engine, self.feed.tell, prints=self.feed.form == "json")

    # ── at work ──────────────────────────────────────────────────────────────────────────────────

    async def _until_told(self, stop: Stop) -> None:
        shows = asyncio.create_task(self._show_counts())
        waits: list[asyncio.Task[object]] = [asyncio.create_task(stop.asked.wait())]
        if self.until_idle:
            waits.append(asyncio.create_task(until_idle(self.runtime)))
        if self.reloader is not None:
            waits.append(asyncio.create_task(self.reloader.changed()))
        try:
            done, _ = await asyncio.wait([*waits, shows], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (*waits, shows):
                task.cancel()
            await asyncio.gather(*waits, shows, return_exceptions=True)

    async def _show_counts(self) -> None:
        while self.feed.is_live:
            self.counts = await self._counted()
            line = Text(f"{self.path.name}  ") + counted(self.counts) + Text("   Ctrl-C stops", style="dim")
            self.feed.show(line)
            await asyncio.sleep(_LOOK_EVERY_S)
        await asyncio.Event().wait()  # nobody looks

    async def _counted(self) -> dict[str, int]:
        return _in_order(await self.runtime.ask(lambda engine, batch: engine.ledger.count(RunFilter(limit=None))))

    @property
    def _shown_source(self) -> str:
        return f"{self.source.rstrip('/')}/" if Path(self.source).is_dir() else self.source

    def _say_what_is_there(self) -> None:
        definitions = self.runtime.registry.all()
        rows = [workflow_row(each) for each in definitions]
        columns = [name for name in rows[0] if any(row[name] for row in rows)]
        number = "1 workflow" if len(definitions) == 1 else f"{len(definitions)} workflows"
        title = (
            f"perdure {__version__} works on {self.path}, process {os.getpid()}, with {number} in {self._shown_source}:"
        )
        shown = table(*columns)
        for row in rows:
            shown.add_row(*cells([row[name] for name in columns]))
        self.feed.say_table(title, shown)
        elsewhere = "".join(f" {name} is kept by {back_end!r}." for name, back_end in self.back_ends.items())
        self.feed.say(
            Text("The ledger has ") + counted(self.counts) + Text(f".{elsewhere}"),
            "worker_started",
            self._clock.now_us(),
            ledger=str(self.path),
            pid=os.getpid(),
            counts=self.counts,
            services={name: repr(back_end) for name, back_end in self.back_ends.items()},
            workflows=[{"id": each.id, "version": each.version, "digest": each.digest} for each in definitions],
        )

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    async def _stop(self, stop: Stop) -> int:
        """Close, and wait no longer than one is told to."""
        at_work = await self.runtime.ask(_at_work)
        if at_work:
            self._say_what_is_waited_for(at_work, stop)
        draining = asyncio.create_task(self.runtime.drain())
        at_once = asyncio.create_task(stop.at_once.wait())
        await asyncio.wait({draining, at_once}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()  # nothing, when it is done
        with suppress(asyncio.CancelledError):
            await draining
        at_once.cancel()
        self.counts = await self._counted()
        await self.runtime.close()
        self.was_told_to_stop = stop.asked.is_set()
        cut_off = self.runtime.cut_off
        code = stop.exit_code if stop.at_once.is_set() else CUT_OFF if cut_off else 0
        begins_anew = self.reloader is not None and self.reloader.wanted and not self.was_told_to_stop
        self.feed.say(
            Text("Beginning anew.", "cyan") if begins_anew else counted(self.counts),
            "worker_stopped",
            self._clock.now_us(),
            counts=self.counts,
            cut_off=[
                {"run_id": each.run_id, "step": each.step, "attempt": each.attempt, "runs_again": each.runs_again}
                for each in cut_off
            ],
            exit_code=code,
        )
        return code

    def _say_what_is_waited_for(self, at_work: int, stop: Stop) -> None:
        steps = "1 step" if at_work == 1 else f"{at_work:,} steps"
        then = "a second signal stops at once"
        if stop.signal in (0, signal.SIGINT):
            then = "Ctrl-C again stops at once" if stop.signal else "then it begins anew"
        if self.feed.is_live:
            self.feed.show(Text(f"{self.path.name}  stopping, {steps} at work", style="dim"))
        self.feed.say(
            Text(f"Stopping. {steps} at work may finish within {self.drain}; {then}.", "yellow"),
            "worker_stopping",
            self._clock.now_us(),
            at_work=at_work,
            signal=stop.signal or None,
        )


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    return {status: counts[status] for status in STATUSES if status in counts}


def _at_work(engine: Engine, batch: Batch) -> int:
    return sum(len(commands) for commands in engine.in_flight.values())


def counted(counts: Mapping[str, int]) -> Text:
    """How many runs there are of each status."""
    if not counts:
        return Text("no runs")
    text = Text()
    for status, count in counts.items():
        text.append(f"{count:,} {status}  ", style=STATUS_STYLES.get(status, ""))
    still_open = sum(count for status, count in counts.items() if status not in ENDED)
    return text.append(f"({still_open:,} open)")


async def until_idle(runtime: Runtime, patience_s: float | None = None) -> bool:
    """Wait until only the outside could move a run; False when `patience_s` passed first."""
    loop = asyncio.get_running_loop()
    end = None if patience_s is None else loop.time() + patience_s
    # Resuming is asked for when the runtime opens, and asks for one batch after the other: after two answers of the
    # engine all of them are done or stand before the next question.
    await runtime.ask(_is_idle)
    while True:
        if await runtime.ask(_is_idle):
            return True
        if end is not None and loop.time() >= end:
            return False
        await asyncio.sleep(_IDLE_LOOK_EVERY_S)


def worker_command(ledger: Path, workflows: str | None) -> str:
    """The command that does what another one has left to a worker."""
    return f"perdure run {ledger}" if workflows is None else f"perdure run {ledger} --workflows {workflows}"


def _is_idle(engine: Engine, batch: Batch) -> bool:
    if batch.entries or batch.perform or batch.follow:
        return False
    # A short command leaves alone what time moves, and has not to wait for it.
    times = () if engine.administers else (engine.ledger.next_due(), engine.queues.wake_at)
    return not any(engine.in_flight.values()) and all(each is None for each in times)
