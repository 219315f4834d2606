"""What stands behind the services of a runtime, put together from its ledger, its loop and its engine's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from perdure.client.orders import EngineOrders
from perdure.declare.registry import Registry
from perdure.engine.batch import Batch
from perdure.engine.clock import Clock
from perdure.engine.effects import take_effects
from perdure.engine.engine import Engine
from perdure.engine.thread import EngineThread
from perdure.errors import PerdureError
from perdure.services.backing import Backing
from perdure.services.claims import Claims
from perdure.services.effects import Effects
from perdure.services.loops import RuntimeLoop
from perdure.services.outside import BackEnd
from perdure.storage.ledger import Ledger


def backing_of(
    ledger: Ledger, loop: asyncio.AbstractEventLoop, clock: Clock, registry: Registry,
    thread: EngineThread, outside: Mapping[str, BackEnd],
) -> Backing:  # fmt: skip
    """Put it together; on the loop."""

    async def commit(effects: Effects) -> None:
        def record(engine: Engine, batch: Batch) -> None:
            for word in effects.words:
                word.check(engine, batch)
            take_effects(engine, effects, batch)

        try:
            await asyncio.shield(thread.settled(record))
        except PerdureError:
            effects.over()  # it was refused, or could not be appended, or the runtime is closed: nothing was written
            raise

    claims = Claims(loop.call_soon_threadsafe)
    return Backing(
        ledger,
        claims,
        RuntimeLoop(loop),
        clock.now_us,
        clock.new_run_id,
        EngineOrders(registry, clock.new_run_id, thread.settled),
        commit,
        outside,
    )
