"""What stands behind the services of one runtime: where cells are read, who may write, which loop it happens on.

Knows the ledger's cells and the clock. Must not know any one service, nor the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from perdure.services.arrivals import Arrivals
from perdure.services.claims import Claims
from perdure.services.effects import Effects, Word
from perdure.services.outside import BackEnd
from perdure.storage.cells import Cell, Cells

if TYPE_CHECKING:
    from perdure.services.transaction import Transaction

T = TypeVar("T")
_AT_WORK_S: Final = 1.0  # for what was called before the runtime was closed


class Loop(Protocol):
    """Where services run: one event loop, whoever calls."""

    def run(self, work: Coroutine[Any, Any, T]) -> Any:
        """Give what the caller can use: an awaitable on an event loop, the result in a thread that has none."""
        ...

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Block until it is done. Never on the loop itself."""
        ...

    def offload(self, read: Callable[[], T]) -> Awaitable[T]:
        """Do a long read where it does not hold up the loop."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class Orders(Protocol):
    """What the engine can be asked to do in the batch that records a step's result."""

    async def start(
        self, workflow: Any, input: object, transaction: Transaction, **options: Any
    ) -> tuple[str, Word | None]:
        """Check a start now; give the id of the run that it will be, and what does it. Raises as `Runtime.start`."""
        ...

    def event(self, type: str, payload: object, **options: Any) -> Word:
        """Check an event now, and give what sends it."""
        ...

    def signal(self, run_id: str, name: str, payload: object, transaction: Transaction) -> Word:
        """Check a signal now, and give what hands it over."""
        ...

    def cancel(self, run_id: str, transaction: Transaction) -> Word:
        """Give what asks a run to stop."""
        ...


@dataclass
class Backing:
    """Everything that the services of one runtime share.

    Attributes:
        new_id: gives an id that nobody had before, also not before a restart.
        commit: has the effects of a call from outside appended; done when they are durable.
        outside: other back ends by service ("kv", "database", "storage", "queue"); what is not there is in cells.
    """

    cells: Cells
    claims: Claims
    loop: Loop
    now_us: Callable[[], int]
    new_id: Callable[[], str]
    orders: Orders
    commit: Callable[[Effects], Awaitable[None]]
    outside: Mapping[str, BackEnd] = field(default_factory=dict)
    is_closed: bool = False  # with its runtime
    at_work: int = 0  # calls from outside of steps that have begun and not ended
    arrivals: Arrivals = field(default_factory=Arrivals)
    parts: dict[str, Any] = field(default_factory=dict)  # what services keep for as long as the runtime is open
    uploads: set[str] = field(default_factory=set)  # of this process, that are not blobs yet
    _last_version: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def stage(self, cells: Sequence[Cell]) -> None:
        """Have cells written ahead of the transaction that they belong to: durable when it returns, and seen by nobody.

        It is for what is too large to be held in memory. Who stages sees to it that what came to nothing goes away.
        """
        await self.commit(Effects((), {(cell.space, cell.key): cell for cell in cells}, (), _nothing))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done on the loop beside everything else; on the loop. It handles its own errors."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for what was spawned, while it can still commit: a sweep too late stays for the next start."""
        await asyncio.sleep(0)  # what is to be spawned by what has just ended
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Refuse calls from outside, give those at work a moment, and wait for what was spawned."""
        self.is_closed = True
        begun = asyncio.get_running_loop().time()
        while self.at_work and asyncio.get_running_loop().time() - begun < _AT_WORK_S:
            await asyncio.sleep(0.005)
        await self.finish()
        self.loop.close()

    def new_version(self, now_us: int | None = None) -> int:
        """A number that no write had before; on the services' loop."""
        now = self.now_us() if now_us is None else now_us
        last = self._last_version
        self._last_version = version = now if now > last else last + 1
        return version


def _nothing() -> None:
    """Nobody claims what is staged."""
