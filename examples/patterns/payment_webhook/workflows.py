"""Payment webhook: order a payment, wait days for the provider's callback, and take it once though it comes twice.

The hook is open before the provider hears of it, so that no callback comes too early; one that comes while the run is
busy is kept. The second callback finds the hook closed and is refused, and the provider stops asking.
"""

from __future__ import annotations

import asyncio
import json
import os
from urllib.parse import quote
from urllib.request import Request, urlopen

from endpoint import open_endpoint
from provider import open_provider
from pydantic import BaseModel, Field

from perdure.strict import Runtime, StepContext, current_step, step, workflow


class Order(BaseModel):
    order_id: str
    cents: int = Field(gt=0)
    pay_within_s: float = 3 * 86_400


class Payment(BaseModel):
    paid_cents: int
    method: str


@step
def order_payment(order: Order, token: str) -> None:
    """Ask the provider to collect the money, and to call us back under the token."""
    callback = os.environ["HOOKS_URL"] + quote(token, safe="")
    body = json.dumps({"cents": order.cents, "callback": callback}).encode()
    request = Request(os.environ["PROVIDER_URL"], body, {"Idempotency-Key": current_step().idempotency_key})
    urlopen(request, timeout=5).close()


@workflow(id="take-payment", idempotency_key="payment-{order_id}")
async def take_payment(input: Order, step: StepContext) -> str:
    """Have one order paid."""
    hook = step.hook(f"payment:{input.order_id}", schema=Payment)
    await order_payment(input, hook.token)
    try:
        async with asyncio.timeout(input.pay_within_s):
            payment: Payment = await hook
    except TimeoutError:
        return "never paid"
    if payment.paid_cents < input.cents:
        return f"{input.cents - payment.paid_cents} cents are missing"
    return f"paid by {payment.method}"


def main() -> None:
    """Take a payment from a provider that calls back twice."""
    with (
        open_provider() as provider,
        Runtime("payment_webhook.duckdb", workflows=[take_payment]) as runtime,
        open_endpoint(runtime) as endpoint,
    ):
        os.environ.update(PROVIDER_URL=provider.url, HOOKS_URL=endpoint.url)
        run = runtime.start(take_payment, Order(order_id="o1", cents=4200))
        print(run.result(timeout="30s"))
        provider.finish()
        print("the two callbacks were answered", provider.answers)


if __name__ == "__main__":
    main()
