"""What somebody new to the simulator runs into: right workflows stand, and a mistake is told with its fix."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, Field, field_validator

from perdure.errors import DefinitionError, RunTimeout, StepInterrupted
from perdure.strict import step, workflow
from perdure.testing import (
    Crash,
    DuplicateOutcome,
    FullDisk,
    LawBroken,
    Simulation,
    StepError,
    check_determinism,
    crash_everywhere,
    seeds,
    simulation,
)

T = TypeVar("T")


@dataclass
class Page(Generic[T]):
    items: list[T]
    following: T | None = None


class Endless(BaseModel):
    following: Endless


@step
async def fetch(number: int) -> Page[int]:
    await asyncio.sleep(0.1)
    return Page([number], number + 1)


@step(retries=0)
def publish(price: int) -> str:
    return str(price)


@step(delivery="at_most_once", retries=0)
async def mail(address: str) -> bool:
    return True


@step
async def in_a_thread() -> int:
    return await asyncio.to_thread(int)


@step
async def silent() -> None:
    await asyncio.Event().wait()


# ── right workflows stand ────────────────────────────────────────────────────────────────────────


@workflow(id="crawl")
async def crawl(input: list[int], step) -> int:
    queue: asyncio.Queue[int | None] = asyncio.Queue()

    async def add_up() -> int:
        total = 0
        while (item := await queue.get()) is not None:
            total += item
        return total

    async with asyncio.TaskGroup() as group:
        adding = group.create_task(add_up())
        for page in await step.map("fetch", fetch, sorted(input), concurrency=2):
            for item in page.items:
                await queue.put(item)
        await queue.put(None)
    return adding.result()


def test_a_generic_dataclass_is_drawn_from_a_step_s_annotation() -> None:
    kinds: set[type] = set()

    def look(simulation: Simulation) -> None:
        kinds.update(type(item) for effect in simulation.effects() for item in effect.result.items)

    check_determinism(crawl, invariants=[look], max_examples=30)
    assert kinds == {int}


@workflow(id="pricing", retries=2)
async def pricing(input: int, step, ctx) -> int:
    if ctx.attempt < 2:
        raise ValueError("not yet")
    await publish(input)
    return ctx.attempt


def test_a_fault_on_top_of_a_failure_that_the_world_has_does_not_undo_it() -> None:
    check_determinism(pricing, faults=[StepError, DuplicateOutcome], max_examples=150, seed=0)


@workflow(id="timed")
async def timed(input: int, step) -> datetime:
    await publish(input)
    return datetime.now(UTC)


def test_a_full_disk_lets_time_pass_and_a_body_may_see_it() -> None:
    check_determinism(timed, faults=[FullDisk], max_examples=50)


@workflow(id="mailing")
async def mailing(input: str, step) -> str:
    try:
        await mail(input)
    except StepInterrupted:
        return "nobody knows"
    return "sent"


def test_a_step_at_most_once_that_a_crash_cuts_off_may_end_its_run_otherwise() -> None:
    report = crash_everywhere(mailing, "a@b")
    assert (report.outcome, report.crashes, report.interrupted) == (("completed", "sent"), 6, 3)
    assert "3 that cut off an at-most-once step" in str(report)
    check_determinism(mailing, faults=[Crash], max_examples=60)


# ── mistakes ─────────────────────────────────────────────────────────────────────────────────────


def live(definition: Any, input: Any = None, **options: Any) -> Any:
    with Simulation(definition, **options) as simulation:
        return simulation.start(definition, input).result()


def test_a_function_that_gives_what_the_step_can_not_is_refused_at_its_first_call() -> None:
    for fake in (lambda price: 7, _asking(7)):
        with pytest.raises(DefinitionError, match="the fake of step 'publish' gives what the step can't: 7"):
            live(pricing, 1, steps={publish: fake})
    assert live(pricing, 1, steps={publish: lambda price: "7"}) == 2


def _asking(answer: object) -> Callable[[int], Any]:
    async def fake(price: int) -> object:
        await asyncio.sleep(3)
        return answer

    return fake


@workflow(id="threaded")
async def threaded(input: None, step) -> int:
    try:
        return await in_a_thread()
    except Exception:  # noqa: BLE001  # the claim is that it does not come here
        return -1


def test_a_step_that_wants_a_thread_is_named_and_no_body_can_hide_it() -> None:
    with pytest.raises(DefinitionError, match=r"step 'in_a_thread' called its event loop's run_in_executor") as refused:
        live(threaded)
    assert refused.value.fix == "give the step a fake: steps={'in_a_thread': fake}"
    assert not getattr(refused.value, "__notes__", [])
    assert live(threaded, steps={in_a_thread: 3}) == 3


@workflow(id="hanging")
async def hanging(input: None, step) -> None:
    await silent()


def test_a_step_that_never_answers_is_what_the_fix_speaks_of() -> None:
    with pytest.raises(RunTimeout, match="nothing can happen any more") as timeout:
        live(hanging)
    assert "let step 'silent' answer" in timeout.value.fix


@workflow(id="for-ever")
async def for_ever(input: None, step) -> None:
    while True:
        await step.sleep("1h")


def test_a_workflow_that_never_ends_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "TURNS_MAX", 50)
    with pytest.raises(DefinitionError, match="has not come to rest") as refused:
        crash_everywhere(for_ever)
    assert "run-1 (for-ever)" in refused.value.where


def test_an_invariant_that_raises_is_told_with_its_story() -> None:
    def first_page(simulation: Simulation) -> bool:
        return simulation.effects("nothing")[0].error is None

    with pytest.raises(LawBroken, match="first_page raised IndexError") as found:
        crash_everywhere(timed, 1, invariants=[first_page])
    assert "publish(1)" in found.value.story


def test_an_invariant_may_only_look() -> None:
    def starts_another(simulation: Simulation) -> None:
        simulation.start(timed, 2)

    with pytest.raises(DefinitionError, match="starts_another changed the simulation"):
        crash_everywhere(timed, 1, invariants=[starts_another])


@pytest.mark.parametrize("wrong", [["x"], len], ids=["no function", "no list"])
def test_invariants_that_can_not_be_asked_are_refused(wrong: Any) -> None:
    for call in (lambda: crash_everywhere(timed, 1, invariants=wrong), lambda: Simulation(timed, always=wrong)):
        with pytest.raises(DefinitionError, match=r"(invariants|always)="):
            call()


def test_faults_and_steps_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(DefinitionError, match="is no list"):
        Simulation(timed, faults=Crash(1))  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="give a mapping"):
        Simulation(timed, steps=[publish])  # type: ignore[arg-type]


def test_a_seed_in_the_environment_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_SEED", "abc")
    with pytest.raises(DefinitionError, match="PERDURE_SEED is 'abc'"):
        Simulation(timed)

    @seeds(3)
    def test(seed: int) -> None: ...

    with pytest.raises(DefinitionError, match="PERDURE_SEED is 'abc'"):
        test()


@workflow(id="nothing-fits")
async def nothing_fits(input: Doubtful, step) -> None: ...


@workflow(id="endless-model")
async def endless_model(input: Endless, step) -> None: ...


class Doubtful(BaseModel):
    number: int = Field(gt=5, lt=7)

    @field_validator("number")
    @classmethod
    def refuse(cls, number: int) -> int:
        raise ValueError("never")


class Priced(BaseModel):
    cents: int = Field(ge=100, lt=1_000, multiple_of=50)


@workflow(id="round-prices")
async def round_prices(input: Priced, step) -> int:
    return input.cents


def test_multiples_are_drawn_and_not_searched_for() -> None:
    seen: set[int] = set()

    def look(simulation: Simulation) -> None:
        seen.update(run.outcome()[1] for run in simulation.runs())

    check_determinism(round_prices, invariants=[look], max_examples=40)
    assert len(seen) > 5
    assert all(cents % 50 == 0 and 100 <= cents < 1_000 for cents in seen)


def test_inputs_that_can_not_be_drawn_say_so_at_once() -> None:
    with pytest.raises(DefinitionError, match="no world could be drawn for workflow 'nothing-fits'"):
        check_determinism(nothing_fits)
    with pytest.raises(DefinitionError, match="nothing can be drawn for the input of workflow 'endless-model'"):
        check_determinism(endless_model)


# ── the story ────────────────────────────────────────────────────────────────────────────────────


def test_a_story_says_which_call_had_its_effect_again() -> None:
    with Simulation(timed, faults=[Crash(2)]) as simulation:
        simulation.start(timed, 1).result()
        told = [line for line in simulation.story.lines() if "publish" in line]
    assert [line.endswith("(done again)") for line in told] == [False, True]
