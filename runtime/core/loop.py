"""The event loop on which bodies run: first in, first out, and no clock, sockets or threads of its own.

It is enough of an asyncio loop for asyncio's own tasks, futures, locks, queues, timeouts and groups. Its time is ledger
time and its timers are durable commands, both supplied by the machine. It must not know what a ledger is.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol, TypeVar

from perdure.core.branch import Branch
from perdure.core.sites import site
from perdure.errors import SandboxViolation
from perdure.sandbox import discard

T = TypeVar("T")


class Timers(Protocol):
    """What the loop needs of its machine."""

    def now_us(self) -> int: ...

    def set_timer(self, due_us: int, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back at `due_us`, durably; give a function that drops the timer."""
        ...

    def report(self, context: dict[str, Any]) -> None:
        """Take what asyncio would log, such as a task's exception that nobody retrieved."""
        ...


class _Closed:
    """The timers of a loop whose body is gone: what still asks is not heard."""

    def now_us(self) -> int:
        return 0

    def set_timer(self, due_us: int, callback: Callable[[], object]) -> Callable[[], None]:
        return lambda: None

    def report(self, context: dict[str, Any]) -> None:
        """Nobody is there to be told."""


_NONE = _Closed()


class BodyTask(asyncio.Task[T]):
    """A task that knows its branch."""

    branch: Branch
    heard = False  # whether anybody ever waited for it
    made_at = ""  # the line that created it

    def add_done_callback(self, fn: Callable[[BodyTask[T]], object], /, *, context: Any = None) -> None:
        """Call back when it is done; `await`, `gather`, `wait` and groups all come here."""
        self.heard = True
        super().add_done_callback(fn, context=context)

    def discard(self) -> None:
        """Close the coroutine without asyncio complaining that it was pending: the run is evicted, not forgotten."""
        self._log_destroy_pending = False
        coroutine = self.get_coro()
        if coroutine is not None:
            with contextlib.suppress(Exception):  # whatever it still did is forgotten: replay runs it anew
                discard(coroutine)


class Callback:
    """A call that waits for its turn; asyncio holds on to it to cancel it."""

    __slots__ = ("arguments", "call", "cancelled_", "context", "drop")

    def __init__(self, call: Callable[..., object], arguments: tuple[Any, ...], context: contextvars.Context | None):
        self.call = call
        self.arguments = arguments
        self.context = context
        self.cancelled_ = False
        self.drop: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Take the call back; of a timer, durably."""
        if not self.cancelled_:
            self.cancelled_ = True
            if self.drop is not None:
                self.drop()

    def cancelled(self) -> bool:
        return self.cancelled_


class BodyLoop(asyncio.AbstractEventLoop):
    """The deterministic loop of one run."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self.ready: deque[Callback] = deque()  # what runs next, in order
        self.tasks: list[BodyTask[Any]] = []  # in order of creation; finished ones are dropped now and then
        self._sweep_at = 64
        self._closed = False

    def run_ready(self) -> None:
        """Run callbacks in order until nothing is ready: the body then waits, or has ended."""
        ready = self.ready
        while ready:
            callback = ready.popleft()
            if callback.cancelled_:
                continue
            if callback.context is None:
                callback.call(*callback.arguments)
            else:
                callback.context.run(callback.call, *callback.arguments)

    @property
    def at_rest(self) -> bool:
        """Whether every task is done and nothing is to be called."""
        return not self.ready and all(task.done() for task in self.tasks)

    def report_unheard(self) -> None:
        """Report the exceptions of tasks that nobody retrieved, as asyncio does when it forgets such a task."""
        for task in self.tasks:
            if task.done() and task._log_traceback:
                # Asking for the exception keeps asyncio from reporting it again.
                self.call_exception_handler(
                    {"message": f"{task.get_name()} failed, and nobody awaited it", "exception": task.exception()}
                )

    def discard(self) -> None:
        """Close every coroutine that still waits; later calls are ignored.

        Afterwards nothing of the body leads in a circle, so that it goes at once and no garbage collection has to find
        it: many a parked run would keep that busy.
        """
        self._closed = True
        self.ready.clear()
        for task in self.tasks:
            if not task.done():
                task.discard()
        self.tasks.clear()
        self.ready.clear()
        self._timers = _NONE

    # ── what asyncio calls ──

    # asyncio only ever cancels what these give, and a Callback is quicker to make than its Handle.

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Callback:
        entry = Callback(callback, args, context)
        if not self._closed:
            self.ready.append(entry)
        return entry

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Callback:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Callback:
        due_us = round(when * 1_000_000)
        if due_us <= self._timers.now_us():
            return self.call_soon(callback, *args, context=context)
        entry = Callback(callback, args, context)
        entry.drop = self._timers.set_timer(due_us, lambda: None if entry.cancelled_ else self.ready.append(entry))
        return entry

    def time(self) -> float:
        return self._timers.now_us() / 1_000_000

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
        **_: Any,  # eager_start of later Python versions: order must not depend on it
    ) -> BodyTask[T]:
        parent = self.current_task()
        # Only the machine creates the body's own task from outside, and it sets the root branch itself.
        branch = parent.branch.child() if parent is not None else Branch("0", "")
        task: BodyTask[T] = BodyTask(coro, loop=self, name=str(name or f"task-{branch.path}"), context=context)
        task.branch = branch
        if parent is not None:
            task.made_at = site()
        if len(self.tasks) >= self._sweep_at:
            self.tasks = [each for each in self.tasks if not each.done()]
            self._sweep_at = 2 * len(self.tasks) + 64
        self.tasks.append(task)
        return task

    def current_task(self) -> BodyTask[Any] | None:
        """The task that runs now."""
        return asyncio.current_task(self)  # type: ignore[return-value]  # create_task makes no others

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self._closed

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._closed:
            self._timers.report(context)

    def _timer_handle_cancelled(self, handle: object) -> None:
        """asyncio calls it for its own handles; ours drop themselves."""


def _refusing(name: str) -> Callable[..., object]:
    """A method that says why a body's loop has none of that name; asyncio's own raises a bare NotImplementedError."""

    def refuse(self: BodyLoop, *_: object, **__: object) -> object:
        raise SandboxViolation(
            f"a body's event loop has no {name}().",
            why="it has no sockets, threads, processes or signals; those are not deterministic",
            fix="move the call into a step: await step.run(…)",
        )

    return refuse


for _name, _member in list(vars(asyncio.AbstractEventLoop).items()):
    if callable(_member) and not _name.startswith("_") and _name not in vars(BodyLoop):
        setattr(BodyLoop, _name, _refusing(_name))
