"""Runtimes for tests, driven by a clock that the test moves: what the fixtures of the pytest plugin give.

When a move of the clock is over, everything that became due on the way has been handled, each thing at its own time,
so no test has to sleep or to poll.

Knows runtimes and a clock. Must not know pytest.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from perdure.client.runtime import Runtime
from perdure.declare.queues import Queue
from perdure.durations import Duration, duration_us, moment_text, moment_us
from perdure.engine.definitions import Code
from perdure.engine.residents import RESIDENTS_MAX
from perdure.errors import PerdureError
from perdure.storage.ledger import Ledger
from perdure.storage.memory_ledger import MemoryLedger
from perdure.testing.clock import SimulatedClock

#: How long a step may take, in real time, before a move of the clock gives up on it.
_PATIENCE_S: Final = 10.0
_PAGE: Final = 10_000

Where: TypeAlias = str | os.PathLike[str] | Ledger | None


class _Done:
    """Something to await when there is nothing to wait for any more."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


class RuntimeClock:
    """The time of a test's runtimes. It stands still until the test moves it.

    In an asynchronous test its moves are awaited, `await clock.advance("7d")`; in an ordinary one they are plain calls.
    Either way they return when everything that became due has been handled: timers fired, retries made, the steps that
    followed have ended.
    """

    def __init__(self, clock: SimulatedClock | None = None) -> None:
        self._clock = clock if clock is not None else SimulatedClock()
        self._runtimes: list[Runtime] = []

    def __repr__(self) -> str:
        return repr(self._clock)

    @property
    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        return self._clock.now

    def now_us(self) -> int:
        """Microseconds since 1970 UTC."""
        return self._clock.now_us()

    def new_run_id(self) -> str:
        """A run id, the same ones in every run of the test."""
        return self._clock.new_run_id()

    def new_token(self) -> str:
        """A token of a hook, the same ones in every run of the test."""
        return self._clock.new_token()

    def open_on(self, count_runs: Callable[[], int]) -> None:
        """Give ids from now on that no run of a ledger has, which a runtime opens."""
        self._clock.open_on(count_runs)

    def advance(self, duration: Duration) -> Awaitable[None]:
        """Let time pass, stopping wherever something is due: a week of daily reminders sends seven.

        Raises:
            PerdureError: a step took longer than ten real seconds.
        """
        return self._wait_for(self._pass_until(self.now_us() + duration_us(duration)))

    def set(self, when: datetime | str) -> Awaitable[None]:
        """Make it a moment: time passes until then, or is set back."""
        return self._wait_for(self._pass_until(moment_us(when)))

    def settle(self) -> Awaitable[None]:
        """Handle what is due now and let the steps at work end, without moving the clock."""
        return self._wait_for(self._pass_until(self.now_us()))

    def drive(self, runtime: Runtime) -> None:
        """Have the moves of this clock handled by a runtime that was made with it."""
        self._runtimes.append(runtime)

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> Awaitable[None]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(work)
            return _Done()
        return work

    async def _pass_until(self, target: int) -> None:
        await self._settled()
        while (due := await self._next_due(target)) is not None:
            self._clock.set(moment_text(due))
            await self._settled()
        self._clock.set(moment_text(target))
        await self._settled()

    def _open(self) -> list[Runtime]:
        return [runtime for runtime in self._runtimes if runtime.is_open]

    async def _next_due(self, target: int) -> int | None:
        """The next time after now, and up to the target, at which a run wants to be moved."""
        now = self.now_us()
        times: list[int] = []
        for runtime in self._open():
            rows = await runtime.ask(lambda engine, batch: engine.ledger.due(target, _PAGE))
            # Only what lies ahead: whatever was due and could not be handled must not hold up time.
            times += [due for due, _ in rows if due > now][:1]
            wakes = await runtime.ask(lambda engine, batch: (engine.queues.wake_at, engine.schedules.wake_at))
            times += [wake_at for wake_at in wakes if wake_at is not None and now < wake_at <= target]
        return min(times, default=None)

    async def _settled(self) -> None:
        for runtime in self._open():
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await runtime.idle()
            except TimeoutError:
                raise PerdureError(
                    f"a step took longer than {_PATIENCE_S:g} real seconds, and the clock waits for it.",
                    where=await _at_work(runtime),
                    why="moving the clock ends when everything that it set off has ended",
                    fix="let the step's fake return, or release what it waits for before moving the clock",
                ) from None


async def _at_work(runtime: Runtime) -> str:
    def names(engine: Any, batch: Any) -> list[str]:
        found = []
        for run, commands in engine.in_flight.items():
            row = engine.ledger.run_numbered(run)
            if row is not None:
                found += [f"{row.pending[each].name} of run {row.run_id}" for each in commands if each in row.pending]
        return found

    return ", ".join(await runtime.ask(names))


class RuntimeFactory:
    """Makes runtimes on one ledger and one clock: `async with perdure_runtime(fulfill_order) as runtime:`.

    What is opened after another was closed finds its runs, as after a restart. `with` gives a blocking one.

    Args:
        clock: drives all of them.
        folder: where ledgers in files are made.
    """

    def __init__(self, clock: RuntimeClock, folder: Path) -> None:
        self.clock = clock
        self._folder = folder
        self._memory = MemoryLedger()

    def __call__(
        self,
        *workflows: object,
        ledger: Where = None,
        drain: Duration = "1s",
        residents_max: int = RESIDENTS_MAX,
        code: Code = "pinned",
        queues: Sequence[Queue] = (),
    ) -> Runtime:
        """Make a runtime.

        Args:
            workflows: definitions, modules, names of modules, paths.
            ledger: in memory by default; a file's name, in the test's own folder, or a ledger of yours.
            drain, residents_max, code, queues: as `Runtime` takes them.
        """
        source: str | os.PathLike[str] | Ledger = self._memory
        if isinstance(ledger, (str, os.PathLike)):
            source = self._folder / ledger
        elif ledger is not None:
            source = ledger
        runtime = Runtime(
            source, workflows=list(workflows), drain=drain, residents_max=residents_max, clock=self.clock, code=code,
            queues=queues,
        )  # fmt: skip
        self.clock.drive(runtime)
        return runtime
