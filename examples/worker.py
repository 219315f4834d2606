"""A worker: takes the orders, hands on the payments, and says on stdout, one JSON line each, which orders have ended.

Kill it whenever you like and start it again with the same ledger: it goes on where it was.

Usage: SHOP_URL=http://127.0.0.1:8642 python examples/worker.py orders.duckdb examples/orders.csv
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import logging
import os
from pathlib import Path
from urllib.request import urlopen

from fulfillment import Order, Outcome, fulfill_order, ship_order

from perdure import RunHandle, Runtime


def say(event: str, **facts: object) -> None:
    """Tell whoever reads our stdout. If nobody does any more, the broken pipe ends the worker."""
    print(json.dumps({"event": event, **facts}), flush=True)


async def take_orders(runtime: Runtime, orders: list[Order], pace_s: float, runs: dict[str, RunHandle]) -> None:
    """Start a run per order, as they come in. An order that a run was started for is that run: the key says so."""
    known = {run.idempotency_key for run in await runtime.runs(workflow="fulfill-order", limit=None)}
    for order in orders:
        runs[order.order_id] = await runtime.start(fulfill_order, order)
        if order.order_id not in known:
            await asyncio.sleep(pace_s)


async def report(order_id: str, run: RunHandle) -> None:
    """Wait for one run's end and say it."""
    status = await run.wait()
    outcome: Outcome | None = await run.result() if status == "completed" else None
    say("ended", order_id=order_id, status=status.status, outcome=outcome and outcome.status, error=status.error)


def confirmed_payments() -> list[str]:
    with urlopen(os.environ["SHOP_URL"] + "/payments/confirmed", timeout=10) as answer:
        confirmed: list[str] = json.load(answer)
    return confirmed


async def hand_on_payments(runtime: Runtime) -> None:
    """Turn the shop's confirmations into events, again and again until a run has taken each.

    An event reaches the runs that wait for it now; this one may come while its run still sleeps.
    """
    taken: set[str] = set()
    while True:
        for order_id in await asyncio.to_thread(confirmed_payments):
            if order_id not in taken and await runtime.send_event("payment.confirmed", {"order_id": order_id}):
                taken.add(order_id)
        await asyncio.sleep(0.1)


async def work(ledger: Path, orders: list[Order], pace_s: float) -> None:
    async with Runtime(ledger, workflows=[fulfill_order, ship_order]) as runtime:
        say("open", pid=os.getpid())
        payments = asyncio.create_task(hand_on_payments(runtime))
        runs: dict[str, RunHandle] = {}
        taking = asyncio.create_task(take_orders(runtime, orders, pace_s, runs))
        async with asyncio.TaskGroup() as reports:
            reported = 0
            while reported < len(orders):
                for order_id, run in list(runs.items())[reported:]:
                    reports.create_task(report(order_id, run))
                    reported += 1
                await asyncio.sleep(0.01)
        await taking
        payments.cancel()
    say("done")


def read_orders(path: Path, count: int | None) -> list[Order]:
    with path.open(newline="", encoding="utf-8") as file:
        return [Order.model_validate(row) for row in csv.DictReader(file)][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ledger", type=Path)
    parser.add_argument("orders", type=Path)
    parser.add_argument("--count", type=int, help="take only the first orders of the file")
    parser.add_argument("--pace", type=float, default=0.03, help="seconds between two orders")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)-7s %(name)s: %(message)s")
    asyncio.run(work(arguments.ledger, read_orders(arguments.orders, arguments.count), arguments.pace))


if __name__ == "__main__":
    main()
