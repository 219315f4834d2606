"""Two runs are aligned by what they asked for, and told apart by inputs, arguments, results, order and ends."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure import MemoryLedger, RetryPolicy, Runtime, step, workflow
from perdure.replay.comparison import Comparison, Pair, Side, compare

PRICES: dict[str, int] = {}


BLOCKED: dict[str, asyncio.Event] = {}


@step(retries=0)
async def slow(what: str) -> int:
    if "go" not in BLOCKED:
        BLOCKED["go"] = asyncio.Event()
        raise ValueError("the first time it fails")
    await BLOCKED["go"].wait()
    return 1


@workflow(id="again", retries=RetryPolicy(max_attempts=2, backoff="fixed", base_delay="1ms"))
async def again(input: str) -> int:
    return await slow(input)


@step(retries=0)
async def price(what: str) -> int:
    if PRICES.get(what, 1) < 0:
        raise ValueError(f"no price for {what}")
    return PRICES.get(what, 1)


@workflow(id="shop")
async def shop(input: dict, step) -> int:
    async def one(what: str) -> int:
        return await step.run(f"price-{what}", price, what)

    if input.get("first"):
        await step.run("extra", price, "extra")
    for name in input.get("order", ["x", "y"]):
        await step.run(f"see-{name}", price, name)
    found = await asyncio.gather(*(one(what) for what in input["wanted"]))
    return sum(found)


async def record(ledger: MemoryLedger, run_id: str, value: dict, **prices: int) -> None:
    PRICES.clear()
    PRICES.update(prices)
    async with Runtime(ledger, workflows=[shop]) as runtime:
        await (await runtime.start("shop", value, run_id=run_id)).wait(timeout="20s")


async def compared(first: dict, second: dict, before: Any = (), after: Any = ()) -> Comparison:
    ledger = MemoryLedger()
    await record(ledger, "a", first, **dict(before))
    await record(ledger, "b", second, **dict(after))
    return compare(*(side(ledger, run_id) for run_id in ("a", "b")))


def side(ledger: MemoryLedger, run_id: str) -> Side:
    row = ledger.run(run_id)
    assert row is not None
    return Side(row, ledger.entries(row.run))


def names(comparison: Comparison) -> list[str]:
    return [pair.either.command.name for pair in comparison.pairs if pair.differs]


def named(comparison: Comparison, name: str) -> Pair:
    (pair,) = (pair for pair in comparison.pairs if pair.either.command.name == name)
    return pair


async def test_runs_that_did_the_same_are_equal_whenever_they_did_it():
    found = await compared({"wanted": ["a", "b"]}, {"wanted": ["a", "b"]})
    assert found.equal
    assert (names(found), len(found.pairs)) == ([], 4)
    assert all(pair.first is not None and pair.first.duration_us is not None for pair in found.pairs)


async def test_an_argument_and_a_result_that_differ_are_named_with_their_paths():
    found = await compared({"wanted": ["a", "b"]}, {"wanted": ["a", "b"]}, {"b": 2}, {"b": 3})
    assert not found.equal
    assert names(found) == ["price-b"]
    assert [str(change) for change in named(found, "price-b").result] == ["$: 2 → 3"]
    output = next(fact for fact in found.facts if fact.name == "output")
    assert [str(change) for change in output.changes] == ["$: 3 → 4"]


async def test_a_step_that_only_one_run_asked_for_does_not_shift_the_others():
    found = await compared({"wanted": ["a"]}, {"wanted": ["a"], "first": True})
    assert names(found) == ["extra"]
    extra = named(found, "extra")
    assert (extra.first, extra.moved) == (None, False)
    given = next(fact for fact in found.facts if fact.name == "input")
    assert [str(change) for change in given.changes] == ["$.first: (nothing) → true"]


async def test_another_order_is_told_from_another_step():
    found = await compared({"wanted": [], "order": ["x", "y"]}, {"wanted": [], "order": ["y", "x"]})
    moved = [pair for pair in found.pairs if pair.differs]
    assert len(moved) == 2
    assert all(pair.moved for pair in moved)
    assert len({pair.either.command.name for pair in moved}) == 1


async def test_a_branch_of_its_own_is_compared_by_itself():
    found = await compared({"wanted": ["a", "b"]}, {"wanted": ["a", "b", "c"]})
    assert names(found) == ["price-c"]
    assert named(found, "price-c").either.branch == "0.3"


async def test_another_outcome_and_another_end_are_told():
    found = await compared({"wanted": ["a"]}, {"wanted": ["a"]}, {}, {"a": -1})
    assert named(found, "price-a").outcome == ("step_completed", "step_failed")
    assert {fact.name for fact in found.facts if fact.differs} == {"status"}
    same = await compared({"wanted": ["a"]}, {"wanted": ["a"]}, {"a": -1}, {"a": -2})
    assert same.equal  # the same error


async def test_what_a_later_attempt_asked_for_again_counts_and_not_the_earlier_answer():
    ledger = MemoryLedger()
    BLOCKED.clear()
    async with Runtime(ledger, workflows=[again]) as runtime:
        run = await runtime.start("again", "x", run_id="a")
        while not any(entry.kind == "restarted" for entry in await run.history()):
            await asyncio.sleep(0.001)
        (pair,) = compare(side(ledger, "a"), side(ledger, "a")).pairs
        assert (pair.either.outcome, pair.either.duration_us) == ("unanswered", None)
        BLOCKED["go"].set()
        await run.result("20s")
    (pair,) = compare(side(ledger, "a"), side(ledger, "a")).pairs
    assert pair.either.outcome == "step_completed"
