"""What is open while a runtime is: its ledger, the engine on its thread, who runs the steps, the services.

Knows in which order they open, and that they close in the other. Must not know what callers ask of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from perdure.client.backing import backing_of
from perdure.client.draining import apart
from perdure.declare.registry import Registry
from perdure.engine.attempts import Performers
from perdure.engine.clock import Clock
from perdure.engine.engine import Engine
from perdure.engine.performers import ThreadedPerformers
from perdure.engine.recovery import recover
from perdure.engine.thread import EngineThread
from perdure.replay.live import LiveVerifier
from perdure.services.cell_blobs import sweep_uploads
from perdure.services.outside import BackEnd, close_all
from perdure.services.scope import OutsideScope
from perdure.services.services import Services
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.ledger import Ledger, RunFilter

#: A path, or a ledger that whoever made it closes.
Source: TypeAlias = str | os.PathLike[str] | Ledger
MakeEngine: TypeAlias = Callable[[Ledger, Performers], Engine]
logger = logging.getLogger("perdure")

_VERIFIED_AT_CLOSE_S = 1.0  # how long closing goes on with verifications that wait


class Opened:
    """The parts of an open runtime, on the event loop that it was opened on.

    Args:
        ledger: given back by `close` when it is another than the source.
        make_engine: makes the engine, for a ledger and those who run its steps.
        verified_share: of ended runs, to be verified in the background; 0 has nobody do it.
    """

    def __init__(
        self,
        ledger: Ledger,
        source: Source,
        registry: Registry,
        clock: Clock,
        back_ends: Mapping[str, BackEnd],
        make_engine: MakeEngine,
        verified_share: float,
    ) -> None:
        self.ledger = ledger
        self._owns_ledger = ledger is not source
        self._back_ends = back_ends
        self.is_drained = False
        loop = asyncio.get_running_loop()
        clock.open_on(lambda: sum(ledger.count(RunFilter(limit=None)).values()))

        def make(thread: EngineThread) -> Engine:
            backing = backing_of(ledger, loop, clock, registry, thread, back_ends)
            self.services = Services(OutsideScope(backing))
            self.performers = ThreadedPerformers(loop, thread.report, thread.tell, clock.now_us, backing)
            return make_engine(ledger, self.performers)

        self.thread = EngineThread(make)
        self._verifier = LiveVerifier(self.thread, verified_share) if verified_share else None

    @classmethod
    async def of(
        cls,
        source: Source,
        registry: Registry,
        clock: Clock,
        back_ends: Mapping[str, BackEnd],
        make_engine: MakeEngine,
        verified_share: float,
    ) -> Opened:
        """Open the ledger's file, unless an open ledger is given, and make the parts; if that fails, close the file."""
        ledger = await asyncio.to_thread(DuckDBLedger, source) if isinstance(source, (str, os.PathLike)) else source
        try:
            return cls(ledger, source, registry, clock, back_ends, make_engine, verified_share)
        except BaseException:
            if ledger is not source:
                ledger.close()
            raise

    async def begin(self) -> None:
        """Let the engine take turns, and bring back what was cut off."""
        self.thread.start()
        await sweep_uploads(self.services.backing)
        await asyncio.wrap_future(recover(self.thread))
        if self._verifier is not None:
            self._verifier.start()

    async def close(self, drain_us: int) -> None:
        """Close all parts, and give the ledger back. Runs stay as they are.

        Args:
            drain_us: how long steps at work were given; verifications get no more.
        """
        if self._verifier is not None:  # before the engine, which records what it found
            await apart(partial(self._verifier.stop, min(_VERIFIED_AT_CLOSE_S, drain_us / 1_000_000)))
        await self.services.backing.finish()
        await apart(self.thread.stop)
        await self.performers.close()  # after the engine, which would hand it more
        await self.services.backing.close()
        for error in await close_all(self._back_ends.values()):
            logger.error("A back end of a service could not be closed: %s", error)
        self.thread.engine.residents.clear()
        if self._owns_ledger:
            await apart(self.ledger.close)
