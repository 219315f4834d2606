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
from datetime import UTC, datetime, timedelta
from types import FunctionType
from typing import Any

from perdure.core.lifecycle import retry_delay_us
from perdure.durations import duration_text
from perdure.engine.attempts import Attempt, Outcome, Place
from perdure.engine.current_step import CurrentStep, _current
from perdure.errors import StepTimeout
from perdure.storage.encoding import encode
from perdure.storage.failures import encode_failure

logger = logging.getLogger("perdure")

WORKERS_MAX = 32


class ThreadedPerformers:
    """Runs steps for one engine.

    Args:
        loop: where asynchronous steps run; it must be running in another thread than the engine's.
        report: takes each outcome, from any thread.
        now_us: the clock by which deadlines are told.
        workers_max: synchronous steps at a time.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        report: Callable[[Outcome], None],
        now_us: Callable[[], int],
        workers_max: int = WORKERS_MAX,
    ) -> None:
        self._loop = loop
        self._report = report
        self._now_us = now_us
        self._pool = ThreadPoolExecutor(workers_max, thread_name_prefix="perdure-step")
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._closed = False

    def perform(self, attempts: Sequence[Attempt]) -> None:
        """Start these attempts."""
        for_loop: list[Attempt] = []
        for attempt in attempts:
            call = attempt.call
            if call.options.timeout_us is None and not _is_async(call.function):
                self._pool.submit(self._in_thread, attempt)
            else:
                for_loop.append(attempt)
        if for_loop and not self._closed:
            self._loop.call_soon_threadsafe(self._begin, for_loop)

    def cancel(self, place: Place) -> None:
        """Cancel an asynchronous attempt; a synchronous one is abandoned."""
        if not self._closed:
            self._loop.call_soon_threadsafe(self._cancel, place)

    async def close(self) -> None:
        """Cancel what still runs on the loop and wait until it has stopped. Call it on the loop."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
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
        task = self._tasks.get(place)
        if task is not None:
            task.cancel()

    # ── one attempt ──────────────────────────────────────────────────────────────────────────────

    async def _on_loop(self, attempt: Attempt) -> None:
        _current.set(self._seen_from_inside(attempt))
        call = attempt.call
        limit_us = call.options.timeout_us
        try:
            args, kwargs = call.values()
            if limit_us is None:
                result = await call.function(*args, **kwargs)
            else:
                result = await self._limited(attempt, limit_us, args, kwargs)
            outcome = _completed(attempt, result)
        except asyncio.CancelledError:
            if self._unwanted():
                return
            outcome = await self._failed(attempt, RuntimeError("the step cancelled itself (CancelledError)"))
        except BaseException as error:  # noqa: BLE001  # recorded as the step's failure, and raised in the body
            outcome = await self._failed(attempt, error)
        self._report(outcome)

    def _unwanted(self) -> bool:
        """Whether nobody wants the current task's outcome: the body dropped the step, or the runtime closes."""
        return self._closed or asyncio.current_task().cancelling() > 0  # type: ignore[union-attr]  # it is a task

    async def _limited(self, attempt: Attempt, limit_us: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        function = attempt.call.function
        scope = asyncio.timeout(limit_us / 1_000_000)
        try:
            async with scope:
                if _is_async(function):
                    return await function(*args, **kwargs)
                context = copy_context()
                result = await self._loop.run_in_executor(self._pool, lambda: context.run(function, *args, **kwargs))
                return await result if inspect.isawaitable(result) else result
        except TimeoutError:
            if not scope.expired():
                raise
            raise StepTimeout(
                f"step {attempt.call.name!r} took longer than its timeout of {duration_text(limit_us)}.",
                where=f"run {attempt.run_id}, attempt {attempt.number}",
                fix="raise timeout=, or find what it waits for",
            ) from None

    def _in_thread(self, attempt: Attempt) -> None:
        copy_context().run(self._in_context, attempt)

    def _in_context(self, attempt: Attempt) -> None:
        _current.set(self._seen_from_inside(attempt))
        try:
            args, kwargs = attempt.call.values()
            result = attempt.call.function(*args, **kwargs)
            if inspect.isawaitable(result):
                # A lambda over an async function: the loop finishes what the thread began.
                self._loop.call_soon_threadsafe(self._follow, attempt, self._finish(attempt, result))
                return
            outcome = _completed(attempt, result)
        except BaseException as error:  # noqa: BLE001  # recorded as the step's failure, and raised in the body
            if attempt.call.options.on_error is not None and _delay_us(attempt, error) is None:
                self._loop.call_soon_threadsafe(self._follow, attempt, self._finish_failed(attempt, error))
                return
            outcome = _failed(attempt, error)
        self._report(outcome)

    async def _finish(self, attempt: Attempt, result: Awaitable[Any]) -> None:
        _current.set(self._seen_from_inside(attempt))
        try:
            outcome = _completed(attempt, await result)
        except asyncio.CancelledError:
            if self._unwanted():
                return
            outcome = await self._failed(attempt, RuntimeError("the step cancelled itself (CancelledError)"))
        except BaseException as error:  # noqa: BLE001  # recorded as the step's failure, and raised in the body
            outcome = await self._failed(attempt, error)
        self._report(outcome)

    async def _finish_failed(self, attempt: Attempt, error: BaseException) -> None:
        self._report(await self._failed(attempt, error))

    async def _failed(self, attempt: Attempt, error: BaseException) -> Outcome:
        outcome = _failed(attempt, error)
        on_error = attempt.call.options.on_error
        if outcome.kind == "failed" and on_error is not None:
            try:
                answer: Any = on_error(error)
                if inspect.isawaitable(answer):
                    await answer
            except Exception:  # the step's own error is the one that counts
                logger.exception("on_error of step %r raised.", attempt.call.name)
        return outcome

    def _seen_from_inside(self, attempt: Attempt) -> CurrentStep:
        limit_us = attempt.call.options.timeout_us
        deadline = None
        if limit_us is not None:
            deadline = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=self._now_us() + limit_us)
        return CurrentStep(
            attempt.run_id, attempt.command, attempt.call.name, attempt.number, attempt.idempotency_key, deadline
        )


def _completed(attempt: Attempt, result: object) -> Outcome:
    return Outcome(attempt.run, attempt.command, attempt.number, attempt.serial, "completed", encode(result))


def _failed(attempt: Attempt, error: BaseException) -> Outcome:
    value = encode_failure(error)
    delay = _delay_us(attempt, error)
    if delay is None:
        return Outcome(attempt.run, attempt.command, attempt.number, attempt.serial, "failed", value)
    return Outcome(attempt.run, attempt.command, attempt.number, attempt.serial, "retrying", value, delay)


def _delay_us(attempt: Attempt, error: BaseException) -> int | None:
    seed = f"{attempt.run_id}\0{attempt.command}"
    return retry_delay_us(attempt.call.options.policy, attempt.number, error, seed)


def _is_async(function: Callable[..., Any]) -> bool:
    if type(function) is FunctionType:
        return bool(function.__code__.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
