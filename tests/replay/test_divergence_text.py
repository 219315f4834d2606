"""What a divergence says follows one template, and long arguments are shown where they differ."""

from __future__ import annotations

import pickle
from typing import Any

from perdure.core.elided import elide_equal

BODY = """
@workflow(id="checkout", version="3")
async def checkout(input: str, step) -> str:
    await reserve_stock(input)
    return await charge_card(1250)
"""


async def test_the_message_follows_the_template(recorder: Any) -> None:
    await recorder.record(BODY, run_id="run-1")
    divergence = recorder.diverge(BODY.replace("    await reserve_stock(input)\n", ""))
    lines = str(divergence).splitlines()
    assert lines[0] == "Divergence [REPLAY201]: step 1 asked for charge_card, but the ledger has reserve_stock there."
    assert lines[1] == "  where     checkout v3, orders.py:24, run run-1, entry 1 of 6"
    assert lines[2] == '  recorded  reserve_stock("A1")   orders.py:24'
    assert lines[3] == "  replayed  charge_card(1250)     orders.py:24"
    assert lines[4].startswith("  why       step removed: ")
    labels = [line[2:11].strip() for line in lines[1:] if line[2:3].strip()]
    assert labels == ["where", "recorded", "replayed", "why", "fix", "inspect"]
    assert lines[-1] == "  inspect   perdure show orders.duckdb run-1 --at 1"


async def test_a_divergence_pickles_with_everything_it_knows(recorder: Any) -> None:
    await recorder.record(BODY)
    divergence = recorder.diverge(BODY.replace("1250", "1300"))
    again = pickle.loads(pickle.dumps(divergence))
    assert str(again) == str(divergence)
    assert (again.cause, again.position, again.recorded_site) == ("argument changed", 3, "orders.py:25")


async def test_a_handle_gives_the_same_cause_as_the_check(recorder: Any) -> None:
    from perdure import Runtime

    await recorder.record(BODY)
    module = recorder.module(BODY.replace("1250", "1300"))
    async with Runtime(recorder.ledger, workflows=module) as runtime:
        verdict = await runtime.handle("run-1").replay()
    assert not verdict.ok
    assert verdict.divergence.cause == "argument changed"
    assert "$[0]: 1250 → 1300" in verdict.divergence.evidence


def test_short_texts_are_left_whole() -> None:
    assert elide_equal('charge("o1", 1)', 'charge("o1", 2)') == ('charge("o1", 1)', 'charge("o1", 2)')


def test_equal_parts_of_long_texts_are_elided_at_the_same_places() -> None:
    padding = "x" * 500
    first, second = elide_equal(f'charge("{padding}", 1250, "{padding}")', f'charge("{padding}", 1300, "{padding}")')
    assert first.startswith('charge("xxx')
    assert "1250" in first
    assert "1300" in second
    assert len(first) == len(second) < 120
    assert first.count("…") == 2
    assert first.index("1250") == second.index("1300")


def test_several_differences_of_long_texts_are_all_shown() -> None:
    padding = "x" * 300
    first, second = elide_equal(f"f(1, '{padding}', 2, '{padding}')", f"f(3, '{padding}', 4, '{padding}')")
    assert first.startswith("f(1, '")
    assert second.startswith("f(3, '")
    assert ", 2, " in first
    assert ", 4, " in second


def test_very_long_differences_are_cut_and_say_how_long_they_were() -> None:
    first, _ = elide_equal("a" * 10_000, "b" * 10_000)
    assert "(10,000 characters)" in first
    assert len(first) < 250
