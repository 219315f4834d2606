"""The services of a simulated process: on the steps' loop, over the simulated ledger.

Nothing waits for a real thread here: what a step asks for is done at once, or when the loop comes to it. What is
committed ahead of a step's result (chunks of a large blob, the receipt of a message) is a commit of its own, as in
production: one that an asynchronous step waits for, and that a blocking one takes within its call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from perdure.client.orders import EngineOrders
from perdure.declare.registry import Registry
from perdure.engine.batch import Batch, Unsettled
from perdure.engine.clock import Clock
from perdure.engine.effects import recorded
from perdure.engine.engine import Engine
from perdure.errors import InternalError
from perdure.services.backing import Backing
from perdure.services.claims import Claims
from perdure.services.effects import Effects
from perdure.services.loops import waits_for_itself
from perdure.storage.ledger import Ledger
from perdure.testing.step_loop import StepLoop

T = TypeVar("T")


class Asking(Protocol):
    """The inbox of one life's engine."""

    def look(self, request: Callable[[Engine, Batch], Any], /) -> Any:
        """Have the engine asked between its turns."""
        ...

    def later(self, request: Callable[[Engine, Batch], Any], /) -> asyncio.Future[Any]:
        """Have something done in the next turn. On the steps' loop."""
        ...

    def now(self, request: Callable[[Engine, Batch], Any], /) -> Any:
        """Have something done in a turn that is taken within this call. Raises SimulatedCrash when that kills us."""
        ...


class SimulatedLoop:
    """The loop of simulated steps, as services use it."""

    def run(self, work: Coroutine[Any, Any, T]) -> Any:
        """Give the coroutine to an asynchronous step, the result to one that blocks."""
        return work if asyncio._get_running_loop() is not None else self.wait(work)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it to its end: nothing in it takes time."""
        if asyncio._get_running_loop() is not None:
            work.close()
            raise waits_for_itself()
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


def simulated_backing(ledger: Ledger, loop: StepLoop, clock: Clock, registry: Registry, asking: Asking) -> Backing:
    """Put it together for one life."""

    async def ask(request: Callable[[Engine, Batch], Any]) -> Any:
        return asking.look(request)  # steps run between turns, and it only looks

    async def settled(request: Callable[[Engine, Batch], None]) -> None:
        while True:
            try:
                await asking.later(request)
            except Unsettled:
                continue
            return

    async def settled_now(request: Callable[[Engine, Batch], None]) -> None:
        asking.now(request)

    async def commit(effects: Effects) -> None:
        if asyncio._get_running_loop() is None:
            await recorded(effects, settled_now)
        else:
            await asyncio.shield(recorded(effects, settled))

    orders = EngineOrders(registry, clock.new_run_id, ask)
    claims = Claims(loop.call_soon_threadsafe)
    return Backing(ledger, claims, SimulatedLoop(), clock.now_us, clock.new_run_id, orders, commit)
