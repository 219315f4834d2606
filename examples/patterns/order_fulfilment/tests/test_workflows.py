"""Every order is charged once and ends delivered or refunded, wherever its process dies."""

from pathlib import Path

import pytest
import shop
from workflows import Decision, Delivery, Order, fulfil_order, ship_parcel

from perdure.testing import RuntimeClock, RuntimeFactory, SimulatedRun, Simulation, assert_replays, crash_everywhere

MUG = Order(order_id="o1", sku="MUG", cents=1250)


@pytest.fixture(autouse=True)
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "shop.sqlite"
    monkeypatch.setattr(shop, "FILE", str(file))
    return file


def times(what: str) -> int:
    return shop.done("o1").count(what)


@pytest.mark.parametrize("mugs", [4_000, 1])
def test_a_delivered_order_was_charged_once_wherever_the_process_dies(
    books: Path, monkeypatch: pytest.MonkeyPatch, mugs: int
) -> None:
    monkeypatch.setitem(shop.STOCK, "MUG", mugs)  # the last one too: a second attempt does not find its own shelf empty

    def once_each(simulation: Simulation) -> bool:
        return sorted(shop.done("o1")) == ["charged", "labelled", "pickup", "reserved"]

    report = crash_everywhere(
        fulfil_order, MUG, workflows=[ship_parcel], signals={"delivered": {"signed_by": "Ada"}},
        invariants=[once_each], before=lambda: books.unlink(missing_ok=True),
    )  # fmt: skip
    assert report.outcome == ("completed", "o1: delivered, signed by Ada")


def test_a_parcel_that_is_lost_twice_is_refunded_once(books: Path) -> None:
    def decide(simulation: Simulation, run: SimulatedRun) -> None:
        """Support has the parcel shipped again, as often as it is asked."""
        if any(wait.name == "decided" for wait in run.status().waits_for):
            run.signal("decided", Decision(do="ship-again", by="Bob"))

    report = crash_everywhere(
        fulfil_order, MUG, workflows=[ship_parcel], during=decide,
        invariants=[lambda simulation: (times("charged"), times("refunded"), times("labelled")) == (1, 1, 2)],
        before=lambda: books.unlink(missing_ok=True),
    )  # fmt: skip
    assert report.outcome[0] == "completed"


def test_support_has_all_the_time_in_the_world(perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock) -> None:
    with perdure_runtime(fulfil_order, ship_parcel) as runtime:
        run = runtime.start(fulfil_order, MUG)
        perdure_clock.advance("9d")
        assert run.status().waits_for[0].name == "delivered"
        perdure_clock.advance("90d")
        assert run.status().waits_for[0].name == "decided"
        run.signal("decided", Decision(do="ship-again", by="Bob"))
        perdure_clock.advance("2d")
        run.signal("delivered", Delivery(signed_by="Ada"))
        assert run.result(timeout="10s") == "o1: delivered, signed by Ada"
        assert_replays(run)


def test_an_order_of_what_is_not_there_costs_nothing(perdure_runtime: RuntimeFactory) -> None:
    with perdure_runtime(fulfil_order, ship_parcel) as runtime:
        run = runtime.start(fulfil_order, Order(order_id="o1", sku="GONE", cents=1))
        assert run.wait() == "failed"
    assert shop.done("o1") == []
