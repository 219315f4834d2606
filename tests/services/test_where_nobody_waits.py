"""Calls from outside of steps that are cancelled: they hold nothing, whatever becomes of what they asked for."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from perdure import LedgerFull, MemoryLedger, Runtime


async def test_a_call_that_nobody_waits_for_any_more_and_a_full_disk_refuses_holds_nothing() -> None:
    """Else nobody could write that key before the next start."""

    class Full(MemoryLedger):
        full = True

        def append(self, entries: Any, definitions: Any = (), cells: Any = ()) -> None:
            if cells and self.full:
                asked.set()
                may_go_on.wait(60)
                raise LedgerFull("there is no room on the disk.")
            super().append(entries, definitions, cells)

    asked, may_go_on, ledger = threading.Event(), threading.Event(), Full()
    async with Runtime(ledger) as runtime:
        writing = asyncio.ensure_future(runtime.kv.put("a", 1))
        assert await asyncio.to_thread(asked.wait, 60)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        ledger.full = False
        may_go_on.set()
        assert await asyncio.wait_for(runtime.kv.put("a", 2), 20)
        assert await runtime.kv.get("a") == 2
