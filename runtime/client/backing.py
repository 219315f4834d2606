"""What stands behind the services of a runtime, put together from its ledger, its loop and its engine's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from perdure.client.orders import EngineOrders
from perdure.declare.registry import Registry
from perdure.engine.clock import Clock
from perdure.engine.effects import recorded
from perdure.engine.thread import EngineThread
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
        await asyncio.shield(recorded(effects, thread.settled))

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
