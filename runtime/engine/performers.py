"""Steps at work: asynchronous ones on the application's event loop, synchronous ones on worker threads.

Knows how to run a function with a timeout and report how it went. Must not know why it is run or what follows.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from perdure.engine.attempts import Attempt, Outcome, Place, is_async
from perdure.engine.channel import Channel, Tell
from perdure.engine.current_step import begin
from perdure.engine.limits import limited
from perdure.services.backing import Backing

logger = logging.getLogger("perdure")

WORKERS_MAX = 32


class ThreadedPerformers:
    """Runs steps for one engine.

    Args:
        loop: where asynchronous steps run; it must be running in another thread than the engine's.
        report: takes each outcome, from any thread.
        tell: takes what a step says while it works, from any thread, in one order with the outcomes.
        now_us: the clock by which deadlines are told.
        backing: what stands behind the services that steps use.
        workers_max: synchronous steps at a time.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        report: Callable[[Outcome], None],
        tell: Tell,
        now_us: Callable[[], int],
        backing: Backing,
        workers_max: int = WORKERS_MAX,
    ) -> None:
        self._loop = loop
        self._report = report
        self._tell = tell
        self._now_us = now_us
        self._backing = backing
        self._pool = ThreadPoolExecutor(workers_max, thread_name_prefix="perdure-step")
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._in_threads: dict[Place, Channel] = {}  # of attempts that nobody can cancel
        self._closed = False

    def perform(self, attempts: Sequence[Attempt]) -> None:
        """Start these attempts."""
        for_loop: list[Attempt] = []
        for attempt in attempts:
            call = attempt.call
            if not call.options.is_limited and not is_async(call.function):
                self._in_pool(attempt)
            else:
                for_loop.append(attempt)
        if for_loop and not self._closed:
            self._loop.call_soon_threadsafe(self._begin, for_loop)

    def _in_pool(self, attempt: Attempt) -> None:
        try:
            self._pool.submit(self._in_thread, attempt)
        except RuntimeError:  # the interpreter ends, before anyone closed the runtime: it runs at the next start
            logger.warning("Step %r of run %s can't begin any more.", attempt.call.name, attempt.run_id)

    def cancel(self, place: Place) -> None:
        """Cancel an asynchronous attempt; a synchronous one is abandoned."""
        if not self._closed:
            self._loop.call_soon_threadsafe(self._cancel, place)

    async def close(self) -> None:
        """Cancel what still runs on the loop and wait until it has stopped. Call it on the loop.

        What runs in threads goes on, and keeps nobody waiting for what it wanted to write.
        """
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        for channel in list(self._in_threads.values()):
            channel.end()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            self._follow(attempt, self._on_loop(attempt))

    def _follow(self, attempt: Attempt, work: Any) -> None:
        place = (attempt.run, attempt.command)
        task = self._loop.create_task(work)
        self._tasks[place] = task
        task.add_done_callback(lambda done: self._forget(place, done))

    def _forget(self, place: Place, done: asyncio.Task[None]) -> None:
        # A cancelled attempt may end after the next attempt of the run has begun the same step.
        if self._tasks.get(place) is done:
            del self._tasks[place]

    def _cancel(self, place: Place) -> None:
        task, channel = self._tasks.get(place), self._in_threads.get(place)
        if task is not None:
            task.cancel()
        elif channel is not None:
            channel.end()  # it goes on in its thread, and keeps nobody waiting for what it wanted to write

    # ── one attempt ──────────────────────────────────────────────────────────────────────────────

    def _enter(self, attempt: Attempt) -> Channel:
        """Let this task or thread be the attempt's."""
        channel = Channel(attempt, self._tell, self._loop, self._backing, blocks=True)
        begin(attempt.seen_from_inside(self._now_us(), channel))
        return channel

    async def _on_loop(self, attempt: Attempt) -> None:
        channel = self._enter(attempt)
        await self._follow_through(attempt, channel, self._result(attempt, channel))

    async def _result(self, attempt: Attempt, channel: Channel) -> Any:
        args, kwargs = attempt.call.values()
        if not attempt.call.options.is_limited:
            return await attempt.call.function(*args, **kwargs)
        async with limited(attempt, channel):
            function = attempt.call.function
            if is_async(function):
                return await function(*args, **kwargs)
            context = copy_context()
            result = await self._loop.run_in_executor(self._pool, lambda: context.run(function, *args, **kwargs))
            return await result if inspect.isawaitable(result) else result

    async def _follow_through(self, attempt: Attempt, channel: Channel, result: Awaitable[Any]) -> None:
        """Await an attempt's result, and report its outcome."""
        try:
            outcome = attempt.completed(await result)
            if not channel.settled_at_once():
                await channel.settled()
        except asyncio.CancelledError:
            if self._unwanted():
                channel.end()
                return
            outcome = await self._failed(attempt, channel, RuntimeError("the step cancelled itself (CancelledError)"))
        except BaseException as error:  # noqa: BLE001  # recorded as the step's failure, and raised in the body
            outcome = await self._failed(attempt, channel, error)
        self._report(channel.concluded(outcome))

    def _unwanted(self) -> bool:
        """Whether nobody wants the current task's outcome: the body dropped the step, or the runtime closes."""
        return self._closed or asyncio.current_task().cancelling() > 0  # type: ignore[union-attr]  # it is a task

    def _in_thread(self, attempt: Attempt) -> None:
        copy_context().run(self._in_context, attempt)

    def _in_context(self, attempt: Attempt) -> None:
        channel = self._enter(attempt)
        place = (attempt.run, attempt.command)
        self._in_threads[place] = channel
        try:
            args, kwargs = attempt.call.values()
            result = attempt.call.function(*args, **kwargs)
            if inspect.isawaitable(result):
                # A lambda over an async function: the loop finishes what the thread began.
                self._loop.call_soon_threadsafe(self._follow, attempt, self._finish(attempt, channel, result))
                return
            outcome = attempt.completed(result)
            if not channel.settled_at_once():
                channel.settle()
        except BaseException as error:  # noqa: BLE001  # recorded as the step's failure, and raised in the body
            if attempt.call.options.on_error is not None and attempt.delay_us(error) is None:
                self._loop.call_soon_threadsafe(self._follow, attempt, self._finish_failed(attempt, channel, error))
                return
            outcome = attempt.failed(error)
        finally:
            if self._in_threads.get(place) is channel:
                del self._in_threads[place]
        self._report(channel.concluded(outcome))

    async def _finish(self, attempt: Attempt, channel: Channel, result: Awaitable[Any]) -> None:
        begin(attempt.seen_from_inside(self._now_us(), channel))
        await self._follow_through(attempt, channel, result)

    async def _finish_failed(self, attempt: Attempt, channel: Channel, error: BaseException) -> None:
        self._report(channel.concluded(await self._failed(attempt, channel, error)))

    async def _failed(self, attempt: Attempt, channel: Channel, error: BaseException) -> Outcome:
        outcome = attempt.failed(error)
        on_error = attempt.call.options.on_error
        if outcome.kind == "failed" and on_error is not None:
            channel.end_services()  # what on_error wrote to a service would not be recorded: it is told so
            try:
                answer: Any = on_error(error)
                if inspect.isawaitable(answer):
                    await answer
            except Exception:  # the step's own error is the one that counts
                logger.exception("on_error of step %r raised.", attempt.call.name)
        return outcome
