"""The account that the demo gives: what the ledger had at the kill, held against what the shop counted.

It must not know how the worker works; it judges it by its traces.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from shop import Shop, fate

EXPECTED = {"out-of-stock": "out-of-stock", "card-declined": "card-declined", "never-pays": "payment-timeout"}


class Claim(NamedTuple):
    """Something that the demo says, and whether it is so."""

    text: str
    holds: bool


class Account:
    """What is known of the orders, from the worker's news, the ledger and the shop's books."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.outcomes: dict[str, str] = {}  # by order
        self._first_worker = ""
        self._recorded: set[str] = set()  # idempotency keys of the steps whose end the ledger had at the kill

    def killed(self, worker: str, recorded: set[str]) -> None:
        """Note who was killed, and which steps had ended by then."""
        self._first_worker = worker
        self._recorded = recorded

    def ended(self, order_id: str, outcome: str) -> None:
        """Note how an order ended. Both workers may say so; they must say the same."""
        said = self.outcomes.setdefault(order_id, outcome)
        if said != outcome:
            self.outcomes[order_id] = f"{said}, then {outcome}"

    def counted(self) -> list[tuple[str, int]]:
        """Outcomes and how many orders had them, the most frequent first."""
        return Counter(self.outcomes.values()).most_common()

    def claims(self, total: int, log: str) -> list[Claim]:
        """Everything that the demo claims, each held against the traces."""
        return [
            self._all_ended(total),
            self._nothing_recorded_again(),
            self._unfinished_again(),
            self._charges(),
            self._receipts(),
            self._books(),
            self._log(log),
        ]

    def _all_ended(self, total: int) -> Claim:
        odd = [order for order, outcome in self.outcomes.items() if not _plausible(order, outcome)]
        text = f"{len(self.outcomes)} of {total} orders ended, each as it should"
        return _claim(text, odd, len(self.outcomes) == total)

    def _nothing_recorded_again(self) -> Claim:
        again = sorted(self._keys_after() & self._recorded)
        text = f"{len(self._recorded)} steps were recorded at the kill: {len(again)} of them were called again"
        return _claim(text, again, bool(self._recorded))

    def _unfinished_again(self) -> Claim:
        before, after = self._keys_before(), self._keys_after()
        unfinished = (before & after) - self._recorded
        text = f"{len(unfinished)} were at work or waited for a retry: called again, under the same keys"
        return _claim(text, [], bool(before) and bool(after))

    def _keys_before(self) -> set[str]:
        return {call.key for call in self.shop.calls if call.worker == self._first_worker}

    def _keys_after(self) -> set[str]:
        return {call.key for call in self.shop.calls if call.worker != self._first_worker}

    def _charges(self) -> Claim:
        per_order = Counter(order for order, _ in self.shop.charged.values())
        twice = [order for order, count in per_order.items() if count > 1]
        asked = sum(1 for call in self.shop.calls if call.path == "/cards/charge")
        return _claim(
            f"{len(per_order)} cards were charged, in {asked} calls: {len(twice)} of them twice", twice, bool(per_order)
        )

    def _receipts(self) -> Claim:
        per_order = Counter(self.shop.receipts)
        twice = [order for order, count in per_order.items() if count > 1]
        text = f"{len(per_order)} receipts were mailed, at most once each: {len(twice)} of them twice"
        return _claim(text, twice, bool(per_order))

    def _books(self) -> Claim:
        """Shipped means paid, reserved, one label, one pickup; anything else keeps neither money nor goods."""
        kept = Counter(order for charge, (order, _) in self.shop.charged.items() if charge not in self.shop.refunded)
        reserved = Counter(self.shop.stock.values())
        labels, pickups = Counter(self.shop.labels), Counter(self.shop.pickups)
        wrong = []
        for order, outcome in self.outcomes.items():
            due = 1 if outcome == "shipped" else 0
            if any(books[order] != due for books in (kept, reserved, labels, pickups)):
                wrong.append(order)
        text = f"the books are straight: parcels are paid for, {len(self.shop.refunded)} payments were given back"
        return _claim(text, wrong, True)

    def _log(self, log: str) -> Claim:
        lines = Counter(line for line in log.splitlines() if "perdure.run.fulfill-order" in line)
        twice = [line for line, count in lines.items() if count > 1]
        return _claim(
            f"{sum(lines.values())} lines were logged by the bodies: {len(twice)} of them twice", twice, bool(lines)
        )


def _plausible(order: str, outcome: str) -> bool:
    destined = fate(order)
    if destined in EXPECTED:
        return outcome == EXPECTED[destined]
    # On a machine that is much too slow a payment may come too late, which is an outcome and no mistake.
    return outcome in ("undeliverable" if destined == "unreachable" else "shipped", "payment-timeout")


def _claim(text: str, against: list[str], plausible: bool) -> Claim:
    """A claim holds when nothing speaks against it, and when there was something to speak of at all."""
    if against:
        text += f" (such as {', '.join(against[:3])})"
    return Claim(text, plausible and not against)
