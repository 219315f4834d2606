"""Idempotent charge: hand the step's key to the bank, and no lost answer, retry or crash charges a card twice.

`current_step().idempotency_key` is the same on every attempt of a step and after every restart, and another one for
every other step. A bank that knows keys does for the same key what it did the first time.
"""

from __future__ import annotations

import json
import os
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from bank import open_bank
from pydantic import BaseModel, Field

from perdure.strict import FatalError, RetryPolicy, Runtime, current_step, step, workflow


class Payment(BaseModel):
    customer: str
    cents: int = Field(gt=0)


class CardDeclined(FatalError):
    """The bank said no; asking again would not help."""


@step(retries=RetryPolicy(max_attempts=8, base_delay="50ms", max_delay="10s"), timeout="10s")
def charge_card(payment: Payment) -> str:
    """Charge a card; give the bank's number for it."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": current_step().idempotency_key}
    request = Request(os.environ["BANK_URL"], payment.model_dump_json().encode(), headers)
    try:
        with urlopen(request, timeout=5) as answer:
            return str(json.load(answer)["charge_id"])
    except HTTPError as error:
        if error.code == 402:
            raise CardDeclined("the bank declined the card") from None
        raise  # 503 and the like: the step is tried again, under the same key


@workflow(id="charge")
async def charge(input: Payment) -> str:
    """Charge a customer once."""
    charge_id = await charge_card(input)
    return f"{input.customer} paid {input.cents / 100:.2f}: {charge_id}"


def main() -> None:
    """Charge two customers at a bank that loses its first answer to everybody."""
    with open_bank() as bank, Runtime("idempotent_charge.duckdb", workflows=[charge]) as runtime:
        os.environ["BANK_URL"] = bank.url
        payments = [Payment(customer="Ada", cents=4200), Payment(customer="Bob", cents=999)]
        for run in [runtime.start(charge, payment) for payment in payments]:
            print(run.result(timeout="30s"))
        print(f"{bank.requests} requests, {len(bank.charges)} charges")


if __name__ == "__main__":
    main()
