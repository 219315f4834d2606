"""A worker that is killed around ticks and events. Its clock runs two hundred times as fast as ours.

Usage: tick_worker.py LEDGER FIRST_EVENT EVENTS
"""

from __future__ import annotations

import asyncio
import sys

from perdure import Runtime
from perdure.engine.clock import SystemClock
from perdure.strict import Event, KvChange, Schedule, current_step, on_event, on_kv_change, workflow

SPEED = 200
#: When both clocks show the same.
BEGIN_US = 1_767_225_600_000_000
EVERY_SECOND = Schedule("* * * * * *")
EVERY_TEN = Schedule("*/10 * * * * *", "Australia/Lord_Howe", name="ten")


class FastClock(SystemClock):
    """Time that flies."""

    def now_us(self) -> int:
        return BEGIN_US + (super().now_us() - BEGIN_US) * SPEED


@workflow(id="every-second", trigger=EVERY_SECOND)
async def every_second() -> None: ...


@workflow(id="every-ten", trigger=EVERY_TEN)
async def every_ten() -> None: ...


@workflow(id="on-order", trigger=Event("order"))
async def on_order(input: int) -> int:
    return input


@on_event("order")
async def write_down(number: int) -> int:
    await current_step().kv.put(f"order:{number}", number)
    return number


@on_kv_change(key_pattern="order:*")
async def written_down(change: KvChange) -> str:
    return change.key


ALL = [every_second, every_ten, on_order, write_down, written_down]


async def main(ledger: str, first: int, events: int) -> None:
    async with Runtime(ledger, workflows=ALL, clock=FastClock()) as runtime:
        print("open", flush=True)
        for number in range(first, first + events):
            await runtime.send_event("order", number, event_id=f"order-{number}")
            print(f"sent {number}", flush=True)
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.2)
        while await runtime.runs(status=["running", "awaiting_retry"], limit=1):
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
