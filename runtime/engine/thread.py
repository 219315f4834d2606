"""The engine's own thread: an inbox, and a turn whenever something is in it or a time is due.

Group commit falls out of it: what arrives while a batch is being synced is the next batch.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

from perdure.engine.answers import Answer, Burst, Reply
from perdure.engine.attempts import Outcome
from perdure.engine.batch import Batch, Unsettled
from perdure.engine.effects import forget_effects
from perdure.engine.engine import Engine, Message, Request
from perdure.errors import InternalError, PerdureError

T = TypeVar("T")
logger = logging.getLogger("perdure")

_BATCH_MAX = 2_000
_PAUSE_AFTER_FAILED_APPEND_S = 1.0
_LOOK_AT_THE_CLOCK_S = 30.0  # it may have been put back, and what was hours away be due soon


class EngineThread:
    """Drives one engine. `call` and `report` may be used from any thread."""

    def __init__(self, make: Callable[[EngineThread], Engine]) -> None:
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._stopping = False
        self.is_idle = False  # whether it waits for something to do; a verifier leaves it the machine meanwhile
        self._lock = threading.Lock()
        self._burst = Burst()
        self.engine = make(self)
        self._thread = threading.Thread(target=self._run, name="perdure-engine", daemon=True)

    def start(self) -> None:
        """Begin to take turns."""
        self._thread.start()

    def tell(self, word: Callable[[Engine, Batch], T]) -> Future[T]:
        """Take what a step says while it works: as `call`, but a full disk does not refuse it, it waits for room."""
        return self.call(word, kept=True)

    def call(self, request: Callable[[Engine, Batch], T], *, kept: bool = False) -> Future[T]:
        """Have `request` done in the next batch; the future is answered after the append."""
        future: Future[T] = Future()
        if not self._accept(Request(request, future, kept)):
            future.set_exception(self._why_closed())
        return future

    def ask(self, request: Callable[[Engine, Batch], T]) -> asyncio.Future[T]:
        """The same for a caller on an event loop: awaited there."""
        answer: Answer[T] = Answer(asyncio.get_running_loop(), self._burst)
        if not self._accept(Request(request, answer)):
            answer.future.set_exception(self._why_closed())
        return answer.future

    async def settled(self, request: Callable[[Engine, Batch], T]) -> T:
        """The same for what wants to know how things stand: asked again while something else moves the run."""
        while True:
            try:
                return await self.ask(request)
            except Unsettled:
                continue

    def _accept(self, message: Message) -> bool:
        with self._lock:
            if self._stopping or self._failure is not None:
                return False
            self._inbox.put(message)
            return True

    def report(self, outcome: Outcome) -> None:
        """Take a step's outcome from a performer. One that comes too late is forgotten: the step runs again."""
        if not self._accept(outcome):
            forget_effects(outcome)

    def stop(self) -> None:
        """Finish the turn that runs, answer nobody any more, and end the thread."""
        with self._lock:
            self._stopping = True
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join()
        self._refuse_rest()

    def _why_closed(self) -> PerdureError:
        if self._failure is not None:
            return InternalError(
                f"the engine stopped: {self._failure!r}",
                why="it is our bug; nothing that was acknowledged is lost",
                fix="start the runtime again, and send us the log's traceback",
            )
        return PerdureError("the runtime is closed.", fix="use it inside its `async with` or `with` block")

    def _run(self) -> None:
        engine = self.engine
        try:
            while True:
                messages = self._take()
                if messages is None:
                    break
                engine.turn(messages)
                self._burst.hand_over()
                del messages  # else the last batch would stay in memory for as long as nothing comes
        except BaseException as error:  # whoever waits must hear of it, or would wait forever
            logger.critical("The engine stopped; this is a bug of Perdure.", exc_info=True)
            with self._lock:  # whoever asks from now on is told at once
                self._failure = error
            self._refuse_rest()

    def _take(self) -> list[Message] | None:
        """Wait for messages or the next due time; None is the end."""
        engine = self.engine
        if not engine.unrecorded_may_go:
            wait_s = _PAUSE_AFTER_FAILED_APPEND_S
        elif engine.unrecorded:
            wait_s = 0.0
        else:
            wait_s = max(0.0, (engine.next_time() - engine.clock.now_us()) / 1_000_000)
            wait_s = min(wait_s, _LOOK_AT_THE_CLOCK_S)
        messages: list[Message] = []
        try:
            self.is_idle = True
            message = self._inbox.get(timeout=wait_s)
            self.is_idle = False
            while True:
                if message is None:
                    engine.unrecorded.extend(messages)  # refused, with whoever else still waits
                    return None
                messages.append(message)
                if len(messages) >= _BATCH_MAX:
                    break
                message = self._inbox.get_nowait()
        except queue.Empty:
            self.is_idle = False
        return messages

    def _refuse_rest(self) -> None:
        """Answer whoever still waits, also those that watch a run, or for a cell that an attempt claims."""
        error = self._why_closed()
        waiting: list[Reply] = [*self.engine.forget_watchers()]
        messages: list[Message | None] = [*self.engine.unrecorded]
        self.engine.unrecorded = []
        with suppress(queue.Empty):
            while True:
                messages.append(self._inbox.get_nowait())
        for message in messages:
            if isinstance(message, Outcome):
                forget_effects(message)
        waiting += [message.future for message in messages if isinstance(message, Request)]
        for future in waiting:
            if not future.done() and (future.running() or future.set_running_or_notify_cancel()):
                future.set_exception(error)
        self._burst.hand_over()
