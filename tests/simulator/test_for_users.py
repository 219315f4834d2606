"""What a team calls: crash_everywhere, check_determinism, WorkflowMachine, and the bugs planted in examples/bugs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from pydantic import BaseModel, Field

from perdure.errors import DefinitionError
from perdure.strict import step, workflow
from perdure.testing import (
    CancelRun,
    Crash,
    LawBroken,
    Simulation,
    StepError,
    WorkflowMachine,
    assert_replays,
    check_determinism,
    crash_everywhere,
    idempotent,
    strategies,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "bugs"))
import double_charge
import hidden_cache
import lost_refund
import order_dependence

# ── the planted bugs: found within 200 examples, shrunk to the least that shows them ─────────────


@dataclass(frozen=True)
class Planted:
    """A bug and its mended twin."""

    broken: Any
    mended: Any
    law: str  # what is said to be broken
    lines: int  # of the shortest story that shows it
    faults: tuple[Any, ...] = ()  # of the least schedule
    arguments: Callable[[Any], dict[str, Any]] = lambda workflow: {}


PLANTED = {
    "double charge": Planted(
        double_charge.buy,
        double_charge.buy_mended,
        "charged_at_most_once",
        lines=4,
        faults=(Crash(2),),
        arguments=lambda each: {
            "steps": {
                double_charge.charge_card: double_charge.charge_card,
            }
            if each is double_charge.buy
            else {double_charge.charge_card_once: double_charge.charge_card_once},
            "invariants": [double_charge.charged_at_most_once],
            "before": double_charge.gateway.forget,
        },
    ),
    "lost refund": Planted(
        lost_refund.buy,
        lost_refund.buy_mended,
        "shipped_or_refunded",
        lines=3,
        faults=(CancelRun(2),),
        arguments=lambda each: {"invariants": [lost_refund.shipped_or_refunded], "faults": [Crash, CancelRun]},
    ),
    "order dependence": Planted(
        order_dependence.best_shop, order_dependence.best_shop_mended, "did not end as it does in plain order", lines=3
    ),
    "hidden cache": Planted(hidden_cache.convert, hidden_cache.convert_mended, "hidden global", lines=2),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found_and_shrunk_to_the_least_story(name: str) -> None:
    planted = PLANTED[name]
    with pytest.raises(LawBroken) as found:
        check_determinism(planted.broken, max_examples=200, seed=0, **planted.arguments(planted.broken))
    assert planted.law in found.value.law
    assert len(found.value.story.splitlines()) == planted.lines
    assert found.value.faults == planted.faults


@pytest.mark.parametrize("name", PLANTED)
def test_the_mended_twin_stands(name: str) -> None:
    planted = PLANTED[name]
    report = check_determinism(planted.mended, max_examples=60, seed=0, **planted.arguments(planted.mended))
    assert report.examples >= 60
    assert report.crashes > 0


def test_another_seed_finds_the_same_least_story() -> None:
    stories, planted = set(), PLANTED["double charge"]
    for seed in (1, 2):
        with pytest.raises(LawBroken) as found:
            check_determinism(planted.broken, seed=seed, **planted.arguments(planted.broken))
        stories.add(found.value.story)
    assert len(stories) == 1


# ── crash_everywhere ─────────────────────────────────────────────────────────────────────────────


@step
async def add(number: int) -> int:
    return number + 1


@workflow(id="twenty")
async def twenty(input: int, step) -> int:
    for _ in range(20):
        input = await add(input)
    return input


def test_every_commit_is_crashed_before_after_and_in_its_middle() -> None:
    report = crash_everywhere(twenty, 1)
    assert report.outcome == ("completed", 21)
    assert (report.commits, report.crashes) == (21, 63)
    # Once without a crash; then 20 each time, and one more wherever a result was lost: 20 commits before, 20 torn.
    assert report.calls == 20 + 63 * 20 + 40


@workflow(id="paying")
async def paying(input: str, step) -> str:
    payment = await step.wait_for_event("paid", type="paid", match={"order": input}, timeout="3d")
    return "late" if payment is None else payment["by"]


def test_events_come_to_whoever_waits_in_every_life() -> None:
    assert crash_everywhere(paying, "o1", events={"paid": {"by": "card"}}).outcome == ("completed", "card")
    assert crash_everywhere(paying, "o1").outcome == ("completed", "late")


def test_crash_everywhere_names_the_crash_that_broke_an_invariant() -> None:
    def charged_once(simulation: Simulation) -> bool:
        return len(simulation.effects("add")) <= 20

    with pytest.raises(LawBroken, match="charged_once does not hold") as found:
        crash_everywhere(twenty, 1, invariants=[charged_once])
    assert found.value.faults == (Crash(2),)
    assert crash_everywhere(twenty, 1, steps={add: idempotent(1)}, invariants=[charged_once]).outcome[0] == "completed"


# ── check_determinism: what is drawn ─────────────────────────────────────────────────────────────


class Order(BaseModel):
    order_id: str = Field(min_length=1)
    cents: int = Field(gt=0, lt=100)


@step
async def price(order: Order) -> int:
    raise AssertionError("a step is never called for real unless a test says so")


@workflow(id="drawn")
async def drawn(input: Order, step) -> list[int]:
    return list(await asyncio.gather(price(input), price(input)))


def test_inputs_fit_their_model_and_results_their_annotation() -> None:
    seen: list[Any] = []

    def look(simulation: Simulation) -> None:
        for effect in simulation.effects():
            seen.append((effect.args[0], effect.result))

    check_determinism(drawn, invariants=[look], max_examples=30)
    assert len({order.cents for order, _ in seen}) > 3
    assert all(isinstance(order, Order) and order.order_id and 0 < order.cents < 100 for order, _ in seen)
    assert all(type(result) is int for _, result in seen)


def test_failures_are_part_of_the_world_and_the_same_in_both_lives() -> None:
    outcomes: set[str] = set()

    def look(simulation: Simulation) -> None:
        outcomes.update(run.status() for run in simulation.runs())

    check_determinism(drawn, invariants=[look], faults=[Crash, StepError], max_examples=60)
    assert outcomes == {"completed", "failed"}


def test_a_given_function_stands_in_and_a_strategy_is_drawn() -> None:
    results: set[int] = set()

    def look(simulation: Simulation) -> None:
        results.update(effect.result for effect in simulation.effects())

    check_determinism(drawn, steps={price: lambda order: order.cents}, invariants=[look], max_examples=20)
    assert results <= set(range(1, 100))
    results.clear()
    check_determinism(drawn, steps={"price": st.just(7)}, invariants=[look], max_examples=5)
    assert results == {7}


@workflow(id="untold")
async def untold(input: str, step) -> object:
    return await step.run("ask", lambda: None)


def test_a_step_that_says_nothing_of_its_result_is_named_with_the_fix() -> None:
    with pytest.raises(DefinitionError, match="nothing says what step 'ask' gives") as refused:
        check_determinism(untold)
    assert "steps={'ask': strategy}" in refused.value.fix
    assert check_determinism(untold, steps={"ask": st.none()}, max_examples=3).examples == 3


@workflow(id="first")
async def first(input: None, step) -> object:
    tasks = [asyncio.create_task(step.run(name, int, name)) for name in ("1", "2")]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return [task.result() for task in done]


def test_a_workflow_that_takes_the_first_may_say_so() -> None:
    steps = {"1": 1, "2": 2}
    with pytest.raises(LawBroken, match="did not end as it does in plain order"):
        check_determinism(first, steps=steps)
    check_determinism(first, steps=steps, same_outcome=False, max_examples=50)


def test_arguments_that_can_not_be_used_are_refused() -> None:
    with pytest.raises(DefinitionError, match="max_examples=0"):
        check_determinism(twenty, max_examples=0)
    with pytest.raises(DefinitionError, match="is no workflow"):
        check_determinism(twenty.function)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="no workflow here has a step of that name"):
        check_determinism(twenty, steps={"ad": 1})


# ── strategies ───────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=20, deadline=None)
@given(strategies.histories(drawn))
def test_drawn_histories_replay(history: Any) -> None:
    assert_replays(history, drawn)


@settings(max_examples=30, deadline=None)
@given(strategies.schedules(commits=5, calls=5))
def test_schedules_strike_within_their_bounds(faults: tuple[Any, ...]) -> None:
    assert len(faults) <= 3
    assert all(1 <= getattr(fault, "commit", 1) <= 5 and 1 <= getattr(fault, "call", 1) <= 5 for fault in faults)
    Simulation(twenty, faults=faults).close()


# ── the state machine ────────────────────────────────────────────────────────────────────────────


def charged_once_a_run(simulation: Simulation) -> bool:
    keys = [effect.key for effect in simulation.effects("charge_card")]
    return len(keys) == len(set(keys))


class Orders(WorkflowMachine):
    workflows = (lost_refund.buy_mended,)
    at_the_end = (lost_refund.shipped_or_refunded,)

    @rule()
    def order(self) -> None:
        if not self.simulation.runs():
            self.simulation.start("lost-refund-mended", "o1")

    @rule()
    def cancel(self) -> None:
        for run in self.simulation.runs():
            run.cancel()


class ChargedTwice(Orders):
    always = (charged_once_a_run,)


BRIEF = settings(
    max_examples=60,
    stateful_step_count=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
)


def test_a_machine_finds_the_crash_between_effect_and_record() -> None:
    with pytest.raises(LawBroken, match="charged_once_a_run does not hold") as found:
        run_state_machine_as_test(ChargedTwice, settings=settings(BRIEF, max_examples=300))
    assert [type(fault) for fault in found.value.faults] == [Crash]


def test_a_machine_without_a_bug_stands() -> None:
    lived: list[int] = []

    class Counted(Orders):
        def teardown(self) -> None:
            super().teardown()
            lived.append(self.simulation.lives)

    run_state_machine_as_test(Counted, settings=BRIEF)
    assert len(lived) >= 60
    assert max(lived) > 1, "no rule ever killed a process"


def test_a_machine_without_workflows_says_so() -> None:
    class Empty(WorkflowMachine):
        pass

    with pytest.raises(DefinitionError, match="Empty has no workflows"):
        Empty()
