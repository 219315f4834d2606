"""Runs replay on the code that the ledger recorded with them, whatever today's code has become."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from perdure.declare.discovery import find_workflows
from perdure.declare.pinned import PinnedCode, PinnedDefinition
from perdure.declare.registry import Registry
from perdure.errors import DefinitionError
from perdure.replay.selection import Selection
from perdure.replay.survey import Unchecked
from perdure.sandbox.source import digest_of
from perdure.storage.entries import DefinitionRow

EXAMPLES = Path(__file__).parents[2] / "examples"

BODY = """
@workflow(id="checkout", version="3")
async def checkout(input: str, step) -> str:
    price = await quote(input)
    return await charge_card(price["cents"])
"""

#: What a body may be made of, and a change to it after the run was recorded.
CHANGES: dict[str, tuple[str, str, str]] = {
    "body": (BODY, 'charge_card(price["cents"])', 'charge_card(price["cents"] + 1)'),
    "options": (BODY, 'version="3")', 'version="3", retries=2)'),
    "parameters": (BODY, "input: str, step)", "input: str, step, ctx)"),
    "name of the step parameter": (
        """
        @workflow(id="checkout", version="3")
        async def checkout(input: str, s) -> str:
            return await s.run("charge", lambda: input * 2)
        """,
        '"charge", lambda', '"settle", lambda',
    ),
    "helper": (
        """
        def with_tax(cents: int, rate: int = 19) -> int:
            return cents + cents * rate // 100

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            return await charge_card(with_tax(1000))
        """,
        "rate: int = 19", "rate: int = 7",
    ),
    "asynchronous helper": (
        """
        async def pay(cents: int) -> str:
            return await charge_card(cents)

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            return await pay(1000)
        """,
        "charge_card(cents)", "charge_card(cents + 1)",
    ),
    "helper of a helper": (
        """
        def rate() -> int:
            return 19

        def with_tax(cents: int) -> int:
            return cents * (100 + rate()) // 100

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            return await charge_card(with_tax(1000))
        """,
        "return 19", "return 7",
    ),
    "helper that is gone": (
        """
        def rate() -> int:
            return 19

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            return await charge_card(rate())
        """,
        "def rate() -> int:\n            return 19",
        "def percent() -> int:\n            return 19\n        rate = percent",
    ),
    "recursive helper": (
        """
        def total(count: int) -> int:
            return 0 if count == 0 else count + total(count - 1)

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            return await charge_card(total(4))
        """,
        "else count + total", "else 2 * count + total",
    ),
    "constant": (
        """
        RATE = 19

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            return await charge_card(RATE)
        """,
        "RATE = 19", "RATE = 7",
    ),
    "annotated constant of texts": (
        """
        REGIONS: tuple[str, ...] = ("eu", "us")

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> list:
            return [await step.run(f"ask-{region}", str.upper, region) for region in REGIONS]
        """,
        '("eu", "us")', '("us", "eu", "asia")',
    ),
    "lambda": (
        """
        double = lambda cents: 2 * cents

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            return await charge_card(double(1000))
        """,
        "2 * cents", "3 * cents",
    ),
    "method of a model": (
        """
        from pydantic import BaseModel

        class Line(BaseModel):
            cents: int
            count: int = 2

            def total(self) -> int:
                return self.cents * self.count

            @property
            def half(self) -> int:
                return self.total() // 2

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            return await charge_card(Line(cents=100).total() + Line(cents=5).half)
        """,
        "self.cents * self.count", "self.cents * self.count + 1",
    ),
    "method of a nested model": (
        """
        from pydantic import BaseModel

        class Line(BaseModel):
            cents: int

            def net(self) -> int:
                return self.cents - 1

        class Order(BaseModel):
            lines: list[Line]

            def total(self) -> int:
                return sum(line.net() for line in self.lines)

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            order = Order(lines=[Line(cents=10), Line(cents=20)])
            return await charge_card(order.total())
        """,
        "self.cents - 1", "self.cents - 2",
    ),
    "dataclass and class method": (
        """
        from dataclasses import dataclass

        @dataclass(frozen=True)
        class Money:
            cents: int

            @classmethod
            def of(cls, euros: int) -> "Money":
                return cls(euros * 100)

            @staticmethod
            def fee() -> int:
                return 5

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            return await charge_card(Money.of(3).cents + Money.fee())
        """,
        "euros * 100", "euros * 1000",
    ),
    "methods that call super, property setters and class bodies": (
        """
        class Base:
            def rate(self) -> int:
                return 19

        class Basket(Base):
            def __init__(self) -> None:
                self.inner = 1

            def rate(self) -> int:
                return super().rate() + 1

            @property
            def count(self) -> int:
                return self.inner * 10

            @count.setter
            def count(self, value: int) -> None:
                self.inner = value + 5

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            basket = Basket()
            basket.count = 2
            return await charge_card(basket.rate() + basket.count)
        """,
        "super().rate() + 1", "super().rate() + 2",
    ),
    "property setter": (
        """
        class Basket:
            def __init__(self) -> None:
                self.inner = 1

            @property
            def count(self) -> int:
                return self.inner * 10

            @count.setter
            def count(self, value: int) -> None:
                self.inner = value + 5

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            basket = Basket()
            basket.count = 2
            return await charge_card(basket.count)
        """,
        "value + 5", "value + 6",
    ),
    "local functions and classes": (
        """
        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            def rate() -> int:
                return 19

            class Basket:
                def total(self) -> int:
                    return rate() + 1

            return await charge_card(Basket().total())
        """,
        "rate() + 1", "rate() + 2",
    ),
    "context manager": (
        """
        from contextlib import contextmanager

        @contextmanager
        def priced(cents: int):
            yield cents + 1

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            with priced(1000) as cents:
                return await charge_card(cents)
        """,
        "yield cents + 1", "yield cents + 2",
    ),
    "cached helper": (
        """
        from functools import cache

        @cache
        def rate(country: str) -> int:
            return len(country)

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> str:
            return await charge_card(rate("de"))
        """,
        "len(country)", "len(country) + 1",
    ),
    "concurrent branches": (
        """
        import asyncio

        async def both(cents: int) -> list:
            return await asyncio.gather(charge_card(cents), reserve_stock("A1"))

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> list:
            return await both(1000)
        """,
        'charge_card(cents), reserve_stock("A1")', 'reserve_stock("A1"), charge_card(cents)',
    ),
    "time, randomness and sets": (
        """
        import random, time, uuid

        def draw() -> list:
            return [random.random(), time.time(), str(uuid.uuid4()), list({"a", "b", "c"})]

        @workflow(id="checkout", version="3")
        async def checkout(input: str, step) -> list:
            return await step.run("draw", keep, draw())

        async def keep(value: list) -> list:
            return value
        """,
        "[random.random(), time", "[random.random(), random.random(), time",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
async def test_a_run_replays_on_its_own_code_after_a_change_of(recorder: Any, name: str) -> None:
    source, old, new = CHANGES[name]
    await recorder.record(source)
    assert old in source
    verdict = recorder.check(source.replace(old, new), code="pinned")
    assert verdict.ok, verdict.divergence


#: Changes that no run of before can tell.
HARMLESS = ("options", "parameters", "helper that is gone")


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in HARMLESS])
async def test_and_diverges_on_todays_after_a_change_of(recorder: Any, name: str) -> None:
    source, old, new = CHANGES[name]
    await recorder.record(source)
    assert not recorder.check(source.replace(old, new)).ok


def unchecked(recorder: Any, module: ModuleType) -> Unchecked:
    """What a survey says of the recorded run when its code can't be loaded."""
    (finding,) = recorder.survey(module, "pinned").check_all(Selection())
    assert isinstance(finding, Unchecked), finding
    return finding


async def test_the_module_s_own_view_of_annotations_holds_for_recorded_code(recorder: Any) -> None:
    head = "from __future__ import annotations\n" + recorder.head
    body = """
    @workflow(id="checkout", version="3")
    async def checkout(input: OnlyForTypeCheckers, step) -> str:
        def rate(cents: OnlyForTypeCheckers) -> OnlyForTypeCheckers:
            return 19

        class Basket:
            total: OnlyForTypeCheckers = 5

        return await charge_card(rate(1) + Basket.total)
    """
    head += "\nOnlyForTypeCheckers = str\n"
    await recorder.record(body, head=head)
    # Today the name is gone; text that is never evaluated does not miss it.
    today = body.replace("OnlyForTypeCheckers", "str").replace("return 19", "return 20")
    assert recorder.check(today, head=head, code="pinned").ok
    assert not recorder.check(today, head=head).ok


async def test_a_version_that_today_s_code_has_no_more_replays_on_its_recorded_code(recorder: Any) -> None:
    await recorder.record(BODY)
    today = BODY.replace('version="3"', 'version="4"').replace("charge_card", "reserve_stock")
    assert recorder.check(today, code="pinned").ok
    (finding,) = recorder.survey(recorder.module(today)).check_all(Selection())
    assert isinstance(finding, Unchecked)
    assert "has no version '3'" in finding.error.message


async def test_a_workflow_that_today_s_code_has_no_more_replays_on_its_recorded_code(recorder: Any) -> None:
    await recorder.record(BODY)
    today = BODY.replace('id="checkout"', 'id="sale"').replace("charge_card", "reserve_stock")
    assert recorder.check(today, code="pinned").ok


async def test_code_whose_surroundings_are_gone_is_not_checked_and_says_why(recorder: Any) -> None:
    body = """
    from functools import wraps

    def doubled(function):
        @wraps(function)
        def twice(cents):
            return 2 * function(cents)

        return twice

    @doubled
    def with_tax(cents: int) -> int:
        return cents + 19

    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> str:
        return await charge_card(with_tax(1000))
    """
    await recorder.record(body)
    assert recorder.check(body, code="pinned").ok  # nothing changed: what is at hand is what was recorded
    finding = unchecked(recorder, recorder.module(body.replace("cents + 19", "cents + 7")))
    assert "with_tax was made by a decorator of the author's, twice" in finding.error.message
    assert "orders.py:" in finding.error.where


async def test_a_step_that_is_gone_replays_because_nobody_calls_it(recorder: Any) -> None:
    await recorder.record(BODY)
    head = recorder.head.replace("charge_card", "settle_card")
    assert recorder.check(BODY.replace("charge_card", "settle_card"), head=head, code="pinned").ok


async def test_code_that_misses_more_than_steps_is_not_checked_and_says_all_that_it_misses(recorder: Any) -> None:
    body = """
    LIMITS = {"eu": 5}

    class Refused(Exception):
        pass

    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> str:
        try:
            return await charge_card(5)
        except Refused:
            return REFUSED
    """
    head = recorder.head + "import datetime\nREFUSED = datetime.date(2030, 1, 1).isoformat().upper()\n"
    await recorder.record(body, head=head)
    finding = unchecked(recorder, recorder.module(body.replace("Refused", "Denied").replace("REFUSED", "input")))
    assert "needs REFUSED of module orders, Refused of module orders, which today's code has no more" in (
        finding.error.message
    )


async def test_code_that_the_ledger_does_not_have_is_not_checked(recorder: Any) -> None:
    await recorder.record(BODY)
    recorder.ledger._definitions.clear()
    finding = unchecked(recorder, recorder.module(BODY))
    assert "does not have the code" in finding.error.message


@pytest.mark.parametrize(("old", "new"), [("return", "retrun"), ("charge_card(", "charge_card(1 + "), ("{", "[")])
async def test_text_that_was_altered_is_not_checked(old: str, new: str, recorder: Any) -> None:
    await recorder.record(BODY)
    for digest, row in recorder.ledger._definitions.items():
        recorder.ledger._definitions[digest] = row._replace(source=row.source.replace(old, new))
    finding = unchecked(recorder, recorder.module(BODY.replace("charge_card(", "charge_card(2 + ")))
    assert finding.error.code == "LEDGER102"
    assert "is not the code that ran" in finding.error.message


async def test_recorded_code_is_loaded_once_and_so_is_what_it_can_not_be(recorder: Any) -> None:
    await recorder.record(BODY)
    module = recorder.module(BODY.replace("charge_card(", "charge_card(1 + "))
    asked: list[str] = []

    def find(digest: str) -> DefinitionRow | None:
        asked.append(digest)
        return recorder.ledger.definition(digest) if digest != "none" else None

    pinned = PinnedCode(Registry(find_workflows(module)), find)
    digest = recorder.ledger.run("run-1").definition
    assert pinned.get(digest, "checkout", "3") is pinned.get(digest, "checkout", "3")
    for _ in range(2):
        with pytest.raises(DefinitionError):
            pinned.get("none", "checkout", "3")
    assert asked == [digest, "none"]


async def test_what_differs_under_recorded_code_is_called_a_leak(recorder: Any, monkeypatch: Any) -> None:
    depot = recorder.library(monkeypatch, "RATE = 19\ndef draw():\n    return RATE\n")
    body = f"""
    import perdure
    perdure.allow("{depot.__name__}")
    import {depot.__name__} as depot

    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> str:
        return await charge_card(depot.draw())
    """
    await recorder.record(body)
    depot.RATE = 21
    divergence = recorder.check(body.replace("charge_card(", "charge_card(1 + "), code="pinned").divergence
    assert divergence.cause == "hidden global"
    assert "the recorded code itself was replayed" in divergence.why
    assert "$[0]: 19 → 21" in divergence.evidence
    assert divergence.replayed_site == divergence.recorded_site
    assert "@" not in divergence.where


@pytest.mark.parametrize("example", ["account.py", "fulfillment.py", "shop.py", "worker.py"])
def test_the_code_of_every_example_can_be_recorded_and_loaded(example: str) -> None:
    found = find_workflows(EXAMPLES / example)
    for today in found:
        row = DefinitionRow(
            "another digest, so that it is made from its text", today.id, today.version, "", today.source_json, 0
        )
        pinned = PinnedDefinition(row, today)
        assert pinned.body() is not today.body()
        assert pinned.takes == today.takes
        assert digest_of(pinned.restricted.sources) == today.digest
    assert found or example in ("account.py", "worker.py", "shop.py")
