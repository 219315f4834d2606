"""A planted bug: an order that is cancelled after it was paid is not refunded.

A cancelled run gets `asyncio.CancelledError` where it waits, and that is no `Exception`: `except Exception` does not
see it. Compensation belongs under `except BaseException`, or in `finally`.
"""

from __future__ import annotations

from perdure.strict import step, workflow
from perdure.testing import Simulation


@step
async def charge_card(order_id: str) -> str:
    return f"charge for {order_id}"


@step
async def refund(order_id: str) -> None:
    """Pay back whatever was charged for this order; nothing if nothing was."""


@step
async def ship(order_id: str) -> str:
    return f"parcel for {order_id}"


@workflow(id="lost-refund")
async def buy(input: str, step) -> str:
    try:
        await charge_card(input)
        await step.sleep("packing", "1h")
        return await ship(input)
    except Exception:
        await refund(input)
        raise


@workflow(id="lost-refund-mended")
async def buy_mended(input: str, step) -> str:
    try:
        await charge_card(input)
        await step.sleep("packing", "1h")
        return await ship(input)
    except BaseException:
        await refund(input)
        raise


def shipped_or_refunded(simulation: Simulation) -> bool:
    """Whoever paid has a parcel or the money back, once the run has ended."""
    ended = all(run.status().status in ("completed", "failed", "cancelled") for run in simulation.runs())
    paid, back = simulation.effects("charge_card"), simulation.effects("refund") or simulation.effects("ship")
    return not ended or not paid or bool(back)
