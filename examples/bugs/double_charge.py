"""A planted bug: the card is charged twice when the process dies between the charge and its record.

A step that the ledger does not know as done runs again after a crash; that is what "at least once" means. So whatever a
step does to the outside must be harmless when it is done again: here, by handing on the idempotency key.
"""

from __future__ import annotations

from perdure import current_step
from perdure.strict import step, workflow
from perdure.testing import Simulation


class Gateway:
    """A payment service, as it would be seen from outside: it honours idempotency keys."""

    def __init__(self) -> None:
        self.charges: list[tuple[str, int]] = []
        self._keys: set[str] = set()

    def charge(self, order_id: str, cents: int, key: str | None = None) -> str:
        """Charge a card; the same key is the same charge."""
        if key is None or key not in self._keys:
            self.charges.append((order_id, cents))
        if key is not None:
            self._keys.add(key)
        return f"charge for {order_id}"

    def forget(self) -> None:
        """Begin a new world."""
        self.charges.clear()
        self._keys.clear()


gateway = Gateway()


@step
async def charge_card(cents: int) -> str:
    return gateway.charge("order-1", cents)


@step
async def charge_card_once(cents: int) -> str:
    return gateway.charge("order-1", cents, key=current_step().idempotency_key)


@workflow(id="double-charge")
async def buy(input: int, step) -> str:
    return await charge_card(input)


@workflow(id="double-charge-mended")
async def buy_mended(input: int, step) -> str:
    return await charge_card_once(input)


def charged_at_most_once(simulation: Simulation) -> bool:
    """The invariant that names the bug."""
    return len(gateway.charges) <= 1
