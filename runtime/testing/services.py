"""The services of a simulated process: on the steps' loop, over the simulated ledger.

Nothing waits for a real thread here: what a step asks for is done at once, or when the loop comes to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from perdure.client.orders import EngineOrders
from perdure.declare.registry import Registry
from perdure.engine.batch import Batch
from perdure.engine.clock import Clock
from perdure.engine.engine import Engine
from perdure.errors import InternalError
from perdure.services.backing import Backing
from perdure.services.claims import Claims
from perdure.services.effects import Effects
from perdure.services.transaction import Transaction
from perdure.storage.cells import Cell
from perdure.storage.encoding import Encoded
from perdure.storage.ledger import Ledger
from perdure.testing.step_loop import StepLoop

T = TypeVar("T")


class SimulatedLoop:
    """The loop of simulated steps, as services use it."""

    def run(self, work: Coroutine[Any, Any, T]) -> Any:
        """Give the coroutine to an asynchronous step, the result to one that blocks."""
        return work if asyncio._get_running_loop() is not None else self.wait(work)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it to its end: nothing in it takes time."""
        try:
            work.send(None)
        except StopIteration as done:
            result: T = done.value
            return result
        work.close()
        raise InternalError("an operation of a service waits in a simulation.", fix="send us the step")

    async def offload(self, read: Callable[[], T]) -> T:
        """Read at once."""
        return read()

    def close(self) -> None:
        """It holds nothing."""


class SimulatedBacking(Backing):
    """What stands behind the services of one life; what is staged waits for the result with everything else."""

    async def stage(self, transaction: Transaction, cells: Sequence[Cell]) -> None:
        """Keep them in memory: a step's call takes no time here, and so no commit of its own."""
        for cell in cells:
            value = None if cell.body is None else Encoded(cell.body, cell.shape)
            transaction.keep(cell.space, cell.key, value, data=cell.data)


def simulated_backing(
    ledger: Ledger, loop: StepLoop, clock: Clock, registry: Registry, engine: Callable[[], Engine]
) -> Backing:
    """Put it together for one life."""

    async def ask(request: Callable[[Engine, Batch], Any]) -> Any:
        return request(engine(), Batch(clock.now_us()))  # steps run between turns, and it only looks

    async def commit(effects: Effects) -> None:
        raise InternalError("a simulation has no services outside of steps.", fix="write in a step")

    orders = EngineOrders(registry, clock.new_run_id, ask)
    claims = Claims(loop.call_soon_threadsafe)
    return SimulatedBacking(
        ledger, claims, SimulatedLoop(), clock.now_us, clock.new_run_id, orders, commit, commits_apart=False
    )
