"""Nightly reconcile: every night at three the day before is compared, payment by payment, with the bank's statement.

Each night is one run, also when the process was down at three: what was missed is caught up. A statement that is late
is asked for again every ten minutes. Differences become documents in the commit of the step that files them, once
however often a night is compared, and each new one is told to accounting by a handler of the change.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import bank
from pydantic import BaseModel

from perdure.strict import (
    DbChange,
    RetryableError,
    RetryPolicy,
    Runtime,
    Schedule,
    ScheduledInput,
    current_step,
    on_db_change,
    step,
    workflow,
)

LOG = "accounting.txt"
ZONE = "Europe/Berlin"
NIGHTLY = Schedule("0 0 3 * * *", timezone=ZONE, catch_up="all")  # no night may be left out
PAYMENTS, DIFFERENCES = "payments", "differences"  # collections


class Difference(BaseModel):
    order: str
    booked: int | None
    at_bank: int | None


@step(retries=RetryPolicy(max_attempts=200))
def fetch_statement(day: str) -> dict[str, int]:
    lines = bank.statement(day)
    if lines is None:
        raise RetryableError(f"the bank has no statement of {day} yet", delay="10m")
    return lines


@step
async def fetch_payments(day: str) -> dict[str, int]:
    """What our own books say of a day."""
    payments = await current_step().database[PAYMENTS].find({"day": day})
    return {payment["order"]: payment["cents"] for payment in payments}


@step
async def file_differences(day: str, differences: list[Difference]) -> None:
    """Keep each difference under its day and order, so that comparing a night again files nothing twice."""
    filed = current_step().database[DIFFERENCES]
    for each in differences:
        await filed.update_one({"_id": f"{day}/{each.order}"}, {"$set": each.model_dump()}, upsert=True)


@on_db_change(collection=DIFFERENCES, op="insert")
def tell_accounting(change: DbChange) -> None:
    """Write one line for each difference that was not known before."""
    found: dict[str, Any] = change.document or {}
    with Path(LOG).open("a", encoding="utf-8") as log:
        log.write(f"{found['_id']}: booked {found['booked']}, the bank has {found['at_bank']}\n")


def compare(booked: dict[str, int], at_bank: dict[str, int]) -> list[Difference]:
    """Find what is missing on one side, or not the same. Pure, so the body calls it as it is."""
    return [
        Difference(order=order, booked=booked.get(order), at_bank=at_bank.get(order))
        for order in sorted(booked | at_bank)
        if booked.get(order) != at_bank.get(order)
    ]


def day_before(tick: datetime) -> date:
    """The day that had ended at a tick, by the clocks of the zone."""
    return tick.astimezone(ZoneInfo(ZONE)).date() - timedelta(days=1)


@workflow(id="reconcile", trigger=NIGHTLY)
async def reconcile(input: ScheduledInput) -> str:
    """Compare one day."""
    day = day_before(input["scheduled_at"]).isoformat()
    at_bank = await fetch_statement(day)
    booked = await fetch_payments(day)
    differences = compare(booked, at_bank)
    await file_differences(day, differences)
    return f"{day}: {len(booked)} payments, {len(differences)} differences"


def main() -> None:
    """Catch up with two nights, one of them with a difference, and say when the next one is."""
    with Runtime("nightly_reconcile.duckdb", workflows=[reconcile, tell_accounting]) as runtime:
        today = datetime.now(ZoneInfo(ZONE)).replace(hour=0, minute=0, second=0, microsecond=0)
        for ago, paid in ((3, {"o3": 800}), (2, {"o1": 1250, "o2": 4900})):
            day = str(today.date() - timedelta(days=ago))
            for order, cents in paid.items():
                payment = {"day": day, "order": order, "cents": cents}
                runtime.database[PAYMENTS].replace_one({"_id": f"{day}/{order}"}, payment, upsert=True)
            bank.put_statement(day, {order: cents for order, cents in paid.items() if order != "o2"})

        runtime.backfill_schedule("reconcile", today - timedelta(days=2), today)
        for status in reversed(runtime.runs(workflow="reconcile")):
            print(runtime.handle(status.run_id).result(timeout="30s"))
        runtime.idle()
        print(Path(LOG).read_text(encoding="utf-8").strip())
        (schedule,) = runtime.schedules()
        print("next:", ", ".join(schedule.local(tick) for tick in schedule.next_ticks(2)))


if __name__ == "__main__":
    main()
