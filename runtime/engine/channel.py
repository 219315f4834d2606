"""An attempt's channel: what a step says to the engine while it works, chunks and heartbeats, in order.

    rules   1. What is said before the outcome is in the engine's inbox before it.
            2. Nobody has to await a write: one that was refused and that nobody heard of fails the attempt.
            3. Heartbeats are recorded once a second, and the newest one with the outcome at the latest.

Any thread of the step may use it. Knows the engine's inbox. Must not know what is recorded of it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from perdure.core.stream import Durable, Stream
from perdure.engine.attempts import Attempt, Outcome
from perdure.engine.batch import Batch
from perdure.errors import WorkflowError
from perdure.services.backing import Backing
from perdure.services.scope import StepScope
from perdure.services.services import Services
from perdure.storage.encoding import Encoded, encode

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

#: Chunks of a synchronous step that are not durable yet; it waits when there are more.
WRITES_MAX = 64
HEARTBEAT_EVERY_S = 1.0

Word: TypeAlias = "Callable[[Engine, Batch], object]"


class Tell(Protocol):
    """Put something into the engine's inbox; the future is answered when it is durable, also if that takes retries."""

    def __call__(self, word: Word, /) -> Future[Any]: ...


class Channel:
    """One attempt's way to the engine.

    Args:
        loop: where its timers run.
        blocks: whether a thread without an event loop may be made to wait.
        backing: what stands behind the services that it may use.
    """

    __slots__ = (
        "_armed", "_attempt", "_backing", "_beat_at", "_blocks", "_closing", "_lock", "_loop", "_newest", "_open",
        "_over", "_scope", "_services", "_services_over", "_tell", "_timer", "heard_at",
    )  # fmt: skip

    def __init__(
        self, attempt: Attempt, tell: Tell, loop: asyncio.AbstractEventLoop, backing: Backing, *, blocks: bool
    ) -> None:
        self._attempt = attempt
        self._tell = tell
        self._loop = loop
        self._blocks = blocks
        self._backing = backing
        self._scope: StepScope | None = None  # once it has used a service
        self._services: Services | None = None
        self._services_over = False
        self._lock = threading.Lock()
        self._open: dict[Future[Any], None] = {}  # writes that are not durable, or refused and not heard of; in order
        self._closing: dict[tuple[str, str], None] = {}  # streams, as (run_id, namespace)
        self._over = False
        self.heard_at = 0.0  # by the loop's clock: when the step last gave a sign of life
        self._beat_at: float | None = None  # when a heartbeat was last told
        self._newest: Encoded | None = None  # details that were not told yet
        self._armed = False
        self._timer: asyncio.TimerHandle | None = None

    # ── chunks ───────────────────────────────────────────────────────────────────────────────────

    def write(self, stream: Stream, chunk: object) -> Durable:
        """Hand over a chunk of a stream."""
        encoded = encode(chunk)
        attempt = self._attempt
        with self._lock:
            self._refuse_if_over()
            if (stream.run_id, stream.namespace) in self._closing:
                raise _closed_by_itself(stream)
            self.heard_at = self._loop.time()
            refused = self._refused()
            if refused is None:
                # In the lock, so that the inbox has them in the order of the calls.
                future = self._tell(lambda engine, batch: engine.streams.write(attempt, stream, encoded, batch))
                self._open[future] = None
        if refused is not None:
            raise refused
        future.add_done_callback(self._settle_one)
        # A thread that runs an event loop is not made to wait: the loop has others to serve, and `await` is its way.
        if self._blocks and len(self._open) > WRITES_MAX and asyncio._get_running_loop() is None:
            self.settle(WRITES_MAX // 2)
        return Durable(future, self._hear)

    def close(self, stream: Stream) -> Durable:
        """Note that a stream is closed once the attempt is completed."""
        with self._lock:
            self._refuse_if_over()
            self._closing[stream.run_id, stream.namespace] = None
            last = next(reversed(self._open), None)
        if last is None:
            last = Future()
            last.set_result(None)
        return Durable(last, self._hear)

    @property
    def is_settled(self) -> bool:
        """Whether every write is durable, or was refused and heard of."""
        return not self._open and (self._scope is None or self._scope.is_concluded)

    def settled_at_once(self) -> bool:
        """Settle if nothing has to be waited for; give whether that was all. Raises as `settled`."""
        if self._open:
            return False
        scope = self._scope
        if scope is not None:
            scope.conclude()
            return not scope.transaction.writes_outside
        return True

    async def settled(self) -> None:
        """Wait until every write is durable; raise what was refused and nobody heard of."""
        while self._open and (future := self._first()) is not None:
            await Durable(future, self._hear)
        if self._scope is not None:
            self._scope.conclude()
            if self._scope.transaction.writes_outside:
                await self._scope.transaction.settle()

    def settle(self, left: int = 0) -> None:
        """The same, for a worker thread; `left` writes may be on their way still."""
        while len(self._open) > left and (future := self._first()) is not None:
            try:
                future.result()
            finally:
                self._hear(future)
        if not left and self._scope is not None:
            self._scope.conclude()
            if self._scope.transaction.writes_outside:
                self._backing.loop.wait(self._scope.transaction.settle())

    def _first(self) -> Future[Any] | None:
        with self._lock:
            return next(iter(self._open), None)

    def _settle_one(self, future: Future[Any]) -> None:
        if future.exception() is None:
            self._hear(future)

    def _hear(self, future: Future[Any]) -> None:
        with self._lock:
            self._open.pop(future, None)

    def _refused(self) -> BaseException | None:
        """The first write that was refused and that nobody heard of; now it is heard of."""
        for future in self._open:
            error = future.exception() if future.done() else None
            if error is not None:
                del self._open[future]
                return error
        return None

    def _refuse_if_over(self) -> None:
        if self._over:
            attempt = self._attempt
            raise over(attempt.call.name, attempt.run_id, attempt.number)

    # ── heartbeats ───────────────────────────────────────────────────────────────────────────────

    def heartbeat(self, details: object) -> None:
        """Take a sign of life. An attempt that is over gives none any more."""
        encoded = encode(details)
        with self._lock:
            if self._over:
                return
            now = self.heard_at = self._loop.time()
            if self._beat_at is None or now - self._beat_at >= HEARTBEAT_EVERY_S:
                self._tell_heartbeat(encoded, now)
                return
            self._newest = encoded
            arm, self._armed = not self._armed, True
        if arm:
            with suppress(RuntimeError):  # the loop is closed: the runtime is, and records nothing any more
                self._loop.call_soon_threadsafe(self._arm)

    def _arm(self) -> None:
        with self._lock:
            if self._over or self._beat_at is None:
                return
            self._timer = self._loop.call_later(
                max(0.0, self._beat_at + HEARTBEAT_EVERY_S - self._loop.time()), self._tell_newest
            )

    def _tell_newest(self) -> None:
        with self._lock:
            self._armed = False
            if not self._over and self._newest is not None:
                self._tell_heartbeat(self._newest, self._loop.time())

    def _tell_heartbeat(self, details: Encoded, now: float) -> None:
        attempt = self._attempt
        self._beat_at, self._newest = now, None
        self._tell(lambda engine, batch: engine.streams.heartbeat(attempt, details, batch))

    # ── services ─────────────────────────────────────────────────────────────────────────────────

    @property
    def author(self) -> Attempt:
        """Whose writes those of this attempt are."""
        return self._attempt

    def services(self) -> Services:
        """The services as this attempt uses them."""
        with self._lock:
            if self._services is None:
                self._scope = StepScope(self._backing, self._attempt)
                self._services = Services(self._scope)
                if self._over or self._services_over:  # an attempt that was abandoned, and goes on without knowing
                    self._scope.end()
            return self._services

    def end_services(self) -> None:
        """Refuse what is still asked of them: the attempt has failed, and writes nothing."""
        with self._lock:
            self._services_over = True
            scope = self._scope
        if scope is not None:
            scope.end()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def concluded(self, outcome: Outcome) -> Outcome:
        """End with an attempt's outcome; give it with the streams that it closes."""
        if outcome.kind != "completed":
            self.end()
            return outcome
        self._say_last()
        effects = None if self._scope is None else self._scope.effects()
        if effects is None and not self._closing:
            return outcome
        closes = tuple(Stream(*each) for each in self._closing) if self._closing else ()
        return Outcome(*outcome[:-2], closes, effects)  # half the time of `_replace`

    def end(self) -> None:
        """Say the newest heartbeat if it is not said, and nothing more; nothing was written to the services."""
        self._say_last()
        if self._scope is not None:
            self._scope.end()

    def _say_last(self) -> None:
        with self._lock:
            if self._over:
                return
            if self._newest is not None:
                self._tell_heartbeat(self._newest, self._loop.time())
            self._over = True
            timer, self._timer = self._timer, None
        if timer is not None and not timer.cancelled():
            with suppress(RuntimeError):  # the loop is closed, and its timers with it
                self._loop.call_soon_threadsafe(timer.cancel)


def over(step: str, run_id: str, attempt: int) -> WorkflowError:
    """The error of a write by an attempt that nobody waits for any more."""
    return WorkflowError(
        f"step {step!r} wrote to a stream after its attempt was over.",
        where=f"run {run_id}, attempt {attempt}",
        why="it had given its result, passed its timeout, or was not wanted any more",
        fix="write while the step runs, and wait for the threads and tasks that write before it returns",
    )


def _closed_by_itself(stream: Stream) -> WorkflowError:
    return WorkflowError(
        f"stream {stream.namespace!r} was closed by this step.",
        where=f"run {stream.run_id}",
        fix="write first, and close it last",
    )
