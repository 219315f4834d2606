"""Each kind of change of a body is found at its entry, shown from both sides, and named by its cause."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import pytest

import perdure
from perdure.declare.libraries import library_versions
from perdure.declare.workflow import WorkflowDefinition

SHOP = """
@workflow(id="checkout", version="3")
async def checkout(input: str, step) -> str:
    price = await quote(input)
    stock = await reserve_stock(input)
    charge = await charge_card(price["cents"])
    await send_receipt(charge)
    return charge
"""
#: The head of the module, which the recorder puts before each body, and the blank line that the body begins with.
HEAD_LINES = 20


def site(source: str, text: str) -> str:
    """Where a line of the body stands in its module."""
    number = next(index for index, each in enumerate(source.splitlines(), start=1) if text in each)
    return f"orders.py:{HEAD_LINES + number}"


def position(entries: Any, kind: str, name: str) -> int:
    """Where the ledger has an entry."""
    return next(entry.position for entry in entries if (entry.kind, entry.name) == (kind, name))


async def test_a_renamed_step_is_found_as_renamed(recorder: Any) -> None:
    entries = await recorder.record(SHOP)
    today = SHOP.replace("await charge_card(", "await settle_card(")
    new_step = "\n@step\nasync def settle_card(cents: int) -> str:\n    return f'charge-{cents}'\n"
    divergence = recorder.diverge(today + new_step)
    assert divergence.cause == "step renamed"
    assert divergence.position == position(entries, "step", "charge_card")
    assert divergence.recorded.startswith("charge_card(1250)")
    assert divergence.replayed.startswith("settle_card(1250)")
    assert divergence.recorded_site == site(SHOP, "charge_card(")
    assert divergence.replayed_site == site(today, "settle_card(")
    assert divergence.recorded.index("orders.py") == divergence.replayed.index("orders.py")
    assert '-    charge = await charge_card(price["cents"])' in divergence.evidence
    assert '+    charge = await settle_card(price["cents"])' in divergence.evidence
    assert 'name="charge_card"' in divergence.fix


async def test_a_named_step_that_runs_the_same_function_is_found_as_renamed_with_other_arguments(recorder: Any) -> None:
    body = """
    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> str:
        return await step.run("charge", ask, 1250)

    async def ask(cents: int) -> str:
        return str(cents)
    """
    await recorder.record(body)
    divergence = recorder.diverge(body.replace('"charge", ask, 1250', '"settle", ask, 1300'))
    assert divergence.cause == "step renamed"
    assert "same function" in divergence.why


async def test_a_removed_step_is_found_as_removed(recorder: Any) -> None:
    entries = await recorder.record(SHOP)
    divergence = recorder.diverge(SHOP.replace("    stock = await reserve_stock(input)\n", ""))
    assert divergence.cause == "step removed"
    assert divergence.position == position(entries, "step", "reserve_stock")
    assert divergence.recorded.startswith('reserve_stock("A1")')
    assert divergence.replayed.startswith("charge_card(1250)")
    assert "-    stock = await reserve_stock(input)" in divergence.evidence


async def test_a_step_removed_at_the_end_is_found_though_nothing_is_asked_in_its_place(recorder: Any) -> None:
    entries = await recorder.record(SHOP)
    divergence = recorder.diverge(SHOP.replace("    await send_receipt(charge)\n", ""))
    assert divergence.cause == "step removed"
    assert divergence.position == position(entries, "step", "send_receipt")
    assert divergence.replayed.startswith('completed "charge-1250"')


async def test_an_added_step_is_found_as_added(recorder: Any) -> None:
    entries = await recorder.record(SHOP)
    added = '    await step.run("audit", audit, input)\n    stock ='
    today = SHOP.replace("    stock =", added) + "\ndef audit(sku):\n    return None\n"
    divergence = recorder.diverge(today)
    assert divergence.cause == "step added"
    assert divergence.position == position(entries, "step", "reserve_stock")
    assert divergence.recorded.startswith('reserve_stock("A1")')
    assert divergence.replayed.startswith('audit("A1")')
    assert divergence.replayed_site == site(today, '"audit"')


async def test_a_step_added_at_the_end_is_found_where_the_run_ended(recorder: Any) -> None:
    entries = await recorder.record(SHOP)
    divergence = recorder.diverge(
        SHOP.replace("    return charge", '    await step.sleep("grace", "1h")\n    return charge')
    )
    assert divergence.cause == "step added"
    assert divergence.position == entries[-1].position
    assert "the run's end (completed)" in divergence.message


async def test_steps_in_another_order_are_found_as_reordered(recorder: Any) -> None:
    entries = await recorder.record(SHOP)
    lines = SHOP.splitlines()
    index = next(number for number, each in enumerate(lines) if "reserve_stock" in each)
    lines[index], lines[index + 1] = lines[index + 1], lines[index]
    divergence = recorder.diverge("\n".join(lines) + "\n")
    assert divergence.cause == "steps reordered"
    assert divergence.position == position(entries, "step", "reserve_stock")
    assert "quote → reserve_stock → charge_card → send_receipt" in divergence.evidence
    assert "quote → charge_card → reserve_stock → send_receipt" in divergence.evidence


async def test_a_changed_argument_is_shown_at_its_path(recorder: Any) -> None:
    body = """
    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> str:
        return await step.run("charge", ask, {"sku": input, "lines": [{"cents": 1250}]})

    async def ask(order: dict) -> str:
        return "done"
    """
    entries = await recorder.record(body)
    divergence = recorder.diverge(body.replace("1250", "1300"))
    assert divergence.cause == "argument changed"
    assert divergence.position == position(entries, "step", "charge")
    assert "$[0].lines[0].cents: 1250 → 1300" in divergence.evidence
    assert "with other arguments than the ledger has" in divergence.message


async def test_a_changed_type_of_an_equal_looking_argument_is_an_argument_changed(recorder: Any) -> None:
    body = """
    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> str:
        return await step.run("charge", ask, (1, 2))

    async def ask(pair) -> str:
        return "done"
    """
    await recorder.record(body)
    divergence = recorder.diverge(body.replace("(1, 2)", "[1, 2]"))
    assert divergence.cause == "argument changed"
    assert "$ (types)" in divergence.evidence


async def test_what_a_lambda_captured_is_an_argument(recorder: Any) -> None:
    body = """
    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> str:
        cents = 1250
        return await step.run("charge", lambda: str(cents))
    """
    await recorder.record(body)
    divergence = recorder.diverge(body.replace("1250", "1300"))
    assert divergence.cause == "argument changed"
    assert "$.captured.cents: 1250 → 1300" in divergence.evidence


async def test_a_sleep_of_another_length_is_an_argument_changed(recorder: Any) -> None:
    body = """
    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> str:
        await step.sleep("grace", "1ms")
        return "done"
    """
    entries = await recorder.record(body)
    divergence = recorder.diverge(body.replace("1ms", "2ms"))
    assert divergence.cause == "argument changed"
    assert divergence.position == position(entries, "sleep", "grace")


async def test_a_branch_taken_otherwise_names_the_value_that_was_read_before(recorder: Any) -> None:
    body = """
    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> str:
        price = await quote(input)
        if price["cents"] > 1000:
            return await charge_card(price["cents"])
        return await reserve_stock(input)
    """
    entries = await recorder.record(body)
    divergence = recorder.diverge(body.replace("> 1000", "> 2000"))
    assert divergence.cause == "branch taken otherwise"
    assert divergence.position == position(entries, "step", "charge_card")
    assert 'entry 2, step_completed quote: {"sku":"A1","cents":1250}' in divergence.evidence
    assert '+    if price["cents"] > 2000:' in divergence.evidence


async def test_a_branch_that_skips_to_the_end_is_a_branch_taken_otherwise(recorder: Any) -> None:
    body = """
    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> str:
        price = await quote(input)
        if price["cents"] > 1000:
            await charge_card(price["cents"])
        return "done"
    """
    await recorder.record(body)
    divergence = recorder.diverge(body.replace("> 1000", "> 2000"))
    assert divergence.cause == "branch taken otherwise"
    assert "completed" in divergence.replayed


async def test_one_more_round_of_a_loop_is_a_step_added_and_one_less_a_step_removed(recorder: Any) -> None:
    body = """
    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> int:
        for index in range(3):
            await step.run(f"part-{index}", part, index)
        return 0

    async def part(index: int) -> int:
        return index
    """
    await recorder.record(body)
    assert recorder.diverge(body.replace("range(3)", "range(4)")).cause == "step added"
    assert recorder.diverge(body.replace("range(3)", "range(2)")).cause == "step removed"


async def test_another_output_is_found_at_the_end_with_its_path(recorder: Any) -> None:
    body = """
    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> dict:
        price = await quote(input)
        return {"outcome": "done", "cents": price["cents"]}
    """
    entries = await recorder.record(body)
    divergence = recorder.diverge(body.replace('"done"', '"finished"'))
    assert divergence.cause == "output changed"
    assert divergence.position == entries[-1].position
    assert '$.outcome: "done" → "finished"' in divergence.evidence


async def test_a_body_that_raises_where_it_went_on_says_what_it_raised(recorder: Any) -> None:
    await recorder.record(SHOP)
    divergence = recorder.diverge(SHOP.replace('price["cents"]', 'price["dollars"]'))
    assert divergence.cause == "body changed"
    assert "KeyError" in divergence.why
    assert "raised" in divergence.message


async def test_a_failure_of_another_class_is_an_output_changed(recorder: Any) -> None:
    body = """
    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> str:
        await quote(input)
        raise ValueError("no such sku")
    """
    await recorder.record(body)
    assert recorder.check(body.replace("no such", "unknown")).ok  # the text of an error is not what a run did
    divergence = recorder.diverge(body.replace("ValueError", "LookupError"))
    assert divergence.cause == "output changed"


async def test_steps_that_ran_at_once_and_now_one_after_another_are_a_body_changed(recorder: Any) -> None:
    body = """
    import asyncio

    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> list:
        return await asyncio.gather(reserve_stock(input), charge_card(5))
    """
    await recorder.record(body)
    today = body.replace(
        "await asyncio.gather(reserve_stock(input), charge_card(5))",
        "[await reserve_stock(input), await charge_card(5)]",
    )
    divergence = recorder.diverge(today)
    assert divergence.cause == "body changed"
    assert "another branch" in divergence.message
    assert "0.1/0" in divergence.evidence


async def test_a_changed_helper_counts_as_the_body(recorder: Any) -> None:
    body = """
    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> str:
        return await charge_card(with_tax(1000))

    def with_tax(cents: int) -> int:
        return cents + 190
    """
    await recorder.record(body)
    divergence = recorder.diverge(body.replace("+ 190", "+ 70"))
    assert divergence.cause == "argument changed"
    assert "$[0]: 1190 → 1070" in divergence.evidence
    assert "in with_tax, orders.py:" in divergence.evidence
    assert "+    return cents + 70" in divergence.evidence


async def test_a_difference_in_a_later_attempt_of_the_run_is_found_there(recorder: Any) -> None:
    body = """
    @workflow(id="checkout", version="3", retries=RetryPolicy(max_attempts=2, base_delay="1ms", jitter=0))
    async def checkout(input: str, step, ctx) -> str:
        await quote(input)
        if ctx.attempt == 1:
            raise ConnectionError("again")
        return await charge_card(1250)
    """
    entries = await recorder.record(body)
    divergence = recorder.diverge(body.replace("1250", "1300"))
    assert divergence.cause == "argument changed"
    assert divergence.position == position(entries, "step", "charge_card") > position(entries, "restarted", "")
    assert f"of {len(entries)}" in divergence.where


# ── the code is the same ─────────────────────────────────────────────────────────────────────────

VOUCHED = """
import perdure
perdure.allow("DEPOT")
import DEPOT as depot

@workflow(id="checkout", version="3")
async def checkout(input: str, step) -> str:
    price = await quote(input)
    return await step.run("charge", charge, depot.draw())

async def charge(value) -> str:
    return "done"
"""


async def test_randomness_of_a_library_is_outside_the_seams(recorder: Any, monkeypatch: Any) -> None:
    depot = recorder.library(monkeypatch, "import random\ndef draw():\n    return random.random()\n")
    body = VOUCHED.replace("DEPOT", depot.__name__)
    entries = await recorder.record(body)
    divergence = recorder.diverge(body)
    assert divergence.cause == "random or time outside the seams"
    assert divergence.position == position(entries, "step", "charge")
    assert "replayed twice in a row" in divergence.evidence
    assert "await step.run(" in divergence.fix


async def test_a_value_of_the_process_is_a_hidden_global(recorder: Any, monkeypatch: Any) -> None:
    depot = recorder.library(monkeypatch, "RATE = 19\ndef draw():\n    return RATE\n")
    body = VOUCHED.replace("DEPOT", depot.__name__)
    await recorder.record(body)
    depot.RATE = 21
    divergence = recorder.diverge(body)
    assert divergence.cause == "hidden global", str(divergence)
    assert "$[0]: 19 → 21" in divergence.evidence
    assert "depot" in divergence.evidence


async def test_the_same_parts_in_another_order_are_an_unordered_iteration(recorder: Any, monkeypatch: Any) -> None:
    depot = recorder.library(monkeypatch, "SHELVES = ['a', 'b', 'c']\ndef draw():\n    return list(SHELVES)\n")
    body = VOUCHED.replace("DEPOT", depot.__name__)
    await recorder.record(body)
    depot.SHELVES.reverse()
    divergence = recorder.diverge(body)
    assert divergence.cause == "unordered iteration"
    assert "sorted" in divergence.fix


async def test_commands_in_another_order_under_the_same_code_are_an_unordered_iteration(
    recorder: Any, monkeypatch: Any
) -> None:
    depot = recorder.library(monkeypatch, "SHELVES = ['a', 'b', 'c']\ndef draw():\n    return list(SHELVES)\n")
    body = VOUCHED.replace("DEPOT", depot.__name__)
    body = body.replace(
        'return await step.run("charge", charge, depot.draw())',
        'return [await step.run(f"charge-{each}", charge, each) for each in depot.draw()][0]',
    )
    await recorder.record(body)
    depot.SHELVES.reverse()
    divergence = recorder.diverge(body)
    assert divergence.cause == "unordered iteration"
    assert "charge-a → charge-b → charge-c" in divergence.evidence


async def test_the_same_code_under_another_python_names_the_versions(recorder: Any, monkeypatch: Any) -> None:
    import perdure.engine.created

    depot = recorder.library(monkeypatch, "RATE = 19\ndef draw():\n    return RATE\n")
    body = VOUCHED.replace("DEPOT", depot.__name__)
    monkeypatch.setattr(perdure.engine.created, "PYTHON", "3.9")
    await recorder.record(body)
    depot.RATE = 21
    divergence = recorder.diverge(body)
    assert divergence.cause == "Python version differs"
    assert "Python 3.9" in divergence.why


async def record_with(recorder: Any, body: str, libraries: dict[str, str], monkeypatch: Any) -> None:
    """Record a run as if other releases had been installed."""
    with monkeypatch.context() as then:
        then.setattr(WorkflowDefinition, "libraries", property(lambda _: {**library_versions(()), **libraries}))
        await recorder.record(body)


async def test_the_libraries_that_a_body_can_call_are_recorded_with_their_versions(
    recorder: Any, monkeypatch: Any
) -> None:
    depot = recorder.library(monkeypatch, "__version__ = '2.1'\ndef draw():\n    return 1\n")
    entries = await recorder.record(VOUCHED.replace("DEPOT", depot.__name__))
    recorded = json.loads(entries[0].detail)["libraries"]
    assert recorded == {"perdure": perdure.__version__, "pydantic": metadata.version("pydantic"), depot.__name__: "2.1"}


@pytest.mark.parametrize(
    ("use", "reached"),
    [
        ("return depot.draw()", True),
        ("return charge.of(depot)", True),
        ("return await step.run('draw', depot.draw)", False),
        ("return await charge_card(5)", False),
    ],
)
async def test_only_what_the_body_itself_can_call_counts(
    recorder: Any, monkeypatch: Any, use: str, reached: bool
) -> None:
    depot = recorder.library(monkeypatch, "__version__ = '2.1'\ndef draw():\n    return 1\n")
    body = VOUCHED[: VOUCHED.index("    price")].replace("DEPOT", depot.__name__)
    helper = "\nclass charge:\n    @staticmethod\n    def of(library):\n        return depot.draw()\n"
    entries = await recorder.record(body + f"    {use}\n" + helper)
    assert (depot.__name__ in json.loads(entries[0].detail)["libraries"]) == reached


async def test_the_same_code_with_another_release_of_a_library_names_both_versions(
    recorder: Any, monkeypatch: Any
) -> None:
    depot = recorder.library(monkeypatch, "__version__ = '2.1'\ndef draw():\n    return 19\n")
    body = VOUCHED.replace("DEPOT", depot.__name__)
    await record_with(recorder, body, {depot.__name__: "1.9", "gone": "3"}, monkeypatch)
    assert recorder.check(body).ok  # another release alone is no divergence
    depot.draw = lambda: 21
    divergence = recorder.diverge(body)
    assert divergence.cause == "library version differs"
    assert f"{depot.__name__} 1.9 → 2.1" in divergence.evidence
    assert "gone 3 → gone" in divergence.evidence
    assert "$[0]: 19 → 21" in divergence.evidence
    assert "pydantic" not in divergence.evidence
    assert depot.__name__ in divergence.fix


async def test_a_library_is_not_blamed_when_the_code_changed(recorder: Any, monkeypatch: Any) -> None:
    await record_with(recorder, SHOP, {"pydantic": "1.0"}, monkeypatch)
    assert recorder.diverge(SHOP.replace('price["cents"]', '5 + price["cents"]')).cause == "argument changed"


async def test_another_release_of_perdure_stands_behind_a_value_that_the_code_reads(
    recorder: Any, monkeypatch: Any
) -> None:
    depot = recorder.library(monkeypatch, "RATE = 19\ndef draw():\n    return RATE\n")
    body = VOUCHED.replace("DEPOT", depot.__name__)
    await record_with(recorder, body, {"perdure": "0.0.1"}, monkeypatch)
    depot.RATE = 21
    divergence = recorder.diverge(body)
    assert divergence.cause == "hidden global"
    assert f"perdure 0.0.1 → {perdure.__version__}" in divergence.evidence


async def test_runs_of_before_versions_were_recorded_blame_no_library(recorder: Any, monkeypatch: Any) -> None:
    depot = recorder.library(monkeypatch, "RATE = 19\ndef draw():\n    return RATE\n")
    body = VOUCHED.replace("DEPOT", depot.__name__)
    with monkeypatch.context() as then:
        then.setattr(WorkflowDefinition, "libraries", property(lambda _: {}))
        await recorder.record(body)
    depot.RATE = 21
    assert recorder.diverge(body).cause == "hidden global"


async def test_a_step_function_renamed_behind_an_alias_is_a_step_renamed(recorder: Any) -> None:
    body = """
    async def ask(cents: int) -> str:
        return "done"

    charge = step(ask)

    @workflow(id="checkout", version="3")
    async def checkout(input: str) -> str:
        return await charge(1250)
    """
    await recorder.record(body)
    divergence = recorder.diverge(body.replace("ask", "demand"))
    assert divergence.cause == "step renamed"
    assert divergence.recorded.startswith("ask(1250)")
    assert divergence.replayed.startswith("demand(1250)")


# ── models ───────────────────────────────────────────────────────────────────────────────────────

MODELS = """
from pydantic import BaseModel

class Order(BaseModel):
    sku: str

class Stock(BaseModel):
    shelf: int

@step
async def look(sku: str) -> Stock:
    return Stock(shelf=4)

@workflow(id="checkout", version="3")
async def checkout(input: Order, step) -> str:
    stock = await look(input.sku)
    return await step.run("charge", charge, input, stock)

async def charge(order, stock) -> str:
    return "done"
"""


MORE_ORDER = ("    sku: str\n\n", "    sku: str\n    gift: bool = False\n\n")
MORE_STOCK = ("    shelf: int\n", "    shelf: int\n    bin: int = 0\n")
#: The same, with a body that hands on what the models hold, and not the models.
DUMPED = MODELS.replace("charge, input, stock", "charge, input.model_dump(), stock.model_dump()")


@pytest.mark.parametrize("change", [MORE_ORDER, MORE_STOCK])
async def test_a_model_that_gained_a_field_with_a_default_and_is_handed_on_replays(
    recorder: Any, change: tuple[str, str]
) -> None:
    await recorder.record(MODELS, {"sku": "A1"})
    assert recorder.check(MODELS.replace(*change)).ok
    assert recorder.check(MODELS.replace(*change), code="pinned").ok


async def test_a_model_that_lost_a_field_and_is_handed_on_replays(recorder: Any) -> None:
    await recorder.record(MODELS.replace(*MORE_ORDER), {"sku": "A1"})
    assert recorder.check(MODELS).ok


async def test_another_value_of_a_model_that_gained_a_field_is_still_another_argument(recorder: Any) -> None:
    await recorder.record(MODELS, {"sku": "A1"})
    changed = MODELS.replace(*MORE_ORDER).replace("charge, input,", 'charge, Order(sku="B2"),')
    assert recorder.diverge(changed).cause in ("argument changed", "input model changed")


async def test_an_input_model_that_gained_a_field_is_named(recorder: Any) -> None:
    await recorder.record(DUMPED, {"sku": "A1"})
    divergence = recorder.diverge(DUMPED.replace(*MORE_ORDER))
    assert divergence.cause == "input model changed"
    assert "$.gift: (nothing) → false" in divergence.evidence


async def test_a_result_model_that_gained_a_field_is_named(recorder: Any) -> None:
    await recorder.record(DUMPED, {"sku": "A1"})
    divergence = recorder.diverge(DUMPED.replace(*MORE_STOCK))
    assert divergence.cause == "result model changed"
    assert "look" in divergence.why


async def test_an_input_that_can_not_be_read_any_more_is_a_divergence_at_the_beginning(recorder: Any) -> None:
    await recorder.record(MODELS, {"sku": "A1"})
    divergence = recorder.diverge(MODELS.replace("Order", "Purchase"))
    assert divergence.cause == "input model changed"
    assert divergence.position == 0
    assert "can't read" in divergence.message
