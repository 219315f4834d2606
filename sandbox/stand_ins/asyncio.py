"""`asyncio` in a body: tasks, timeouts, queues and locks as always, on the run's own loop, and nothing that leaves it.

This file knows which members a body gets. It must not know which loop runs.
"""

from __future__ import annotations

import asyncio as real
from collections.abc import Coroutine
from typing import Any, Final, NoReturn, TypeVar

from perdure.errors import SandboxViolation
from perdure.sandbox.activation import current
from perdure.sandbox.stand_ins.facade import StandInType, refuse_subclass
from perdure.sandbox.stand_ins.waiting import TaskGroup, as_completed, wait, wait_for

T = TypeVar("T")


async def sleep(delay: float, result: Any = None) -> Any:
    """Sleep durably for `delay` seconds; zero or less only lets other tasks run, and is not recorded."""
    environment = current()
    if environment is None or delay <= 0:
        return await real.sleep(delay, result)
    await environment.sleep(delay)
    return result


def create_task(coro: Coroutine[Any, Any, T], *, name: str | None = None) -> real.Task[T]:
    """Run a coroutine concurrently, as a branch of its own."""
    return real.get_running_loop().create_task(coro, name=name)


def current_task() -> real.Task[Any] | None:
    """Give the task that runs now."""
    return real.current_task()


def iscoroutinefunction(func: object, /) -> bool:
    """Tell whether calling `func` gives a coroutine."""
    return real.iscoroutinefunction(func)


class Future(real.Future[Any], metaclass=StandInType):
    """`asyncio.Future`; calling it makes one on the run's own loop."""

    _real = real.Future

    def __new__(cls) -> real.Future[Any]:  # type: ignore[misc]  # the real class, on purpose
        return real.get_running_loop().create_future()

    def __init_subclass__(cls) -> None:
        raise refuse_subclass(cls.__mro__[1])


class Task(real.Task[Any], metaclass=StandInType):
    """`asyncio.Task`, for annotations and `isinstance`."""

    _real = real.Task

    def __new__(cls, *_: object, **__: object) -> NoReturn:
        raise SandboxViolation(
            "asyncio.Task(…) can't be called in a body.",
            why="the run has to know of the branch",
            fix="use asyncio.create_task(…)",
        )

    def __init_subclass__(cls) -> None:
        raise refuse_subclass(cls.__mro__[1])


_AS_THEY_ARE: Final = (
    "ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION", "Barrier", "BoundedSemaphore", "BrokenBarrierError",
    "CancelledError", "Condition", "Event", "InvalidStateError", "LifoQueue", "Lock", "PriorityQueue", "Queue",
    "QueueEmpty", "QueueFull", "QueueShutDown", "Semaphore", "Timeout", "TimeoutError", "ensure_future", "gather",
    "iscoroutine", "isfuture", "shield", "timeout", "timeout_at",
)  # fmt: skip

STAND_INS: Final[dict[str, object]] = {
    "Future": Future,
    "Task": Task,
    "TaskGroup": TaskGroup,
    "as_completed": as_completed,
    "create_task": create_task,
    "current_task": current_task,
    "iscoroutinefunction": iscoroutinefunction,
    "sleep": sleep,
    "wait": wait,
    "wait_for": wait_for,
}

#: Members that need no stand-in, as far as this Python version has them.
HARMLESS: Final = tuple(name for name in _AS_THEY_ARE if hasattr(real, name))
