"""`ctx.patched` on the machine alone: who asks when decides the way, and every replay goes it again."""

from __future__ import annotations

from typing import Any

import pytest
from driver import Driver, run_function
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import DefinitionError, Divergence
from perdure.core.facts import RunFacts
from perdure.core.history import Reused
from perdure.core.machine import Machine
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.strict import workflow


def work(number: int = 0) -> int:
    return number + 1


@workflow(id="order")
async def old(input: None, step, ctx) -> list:
    first = await step.run("first", work, 1)
    second = await step.run("second", work, first)
    return [first, second]


@workflow(id="order")
async def new(input: None, step, ctx) -> list:
    first = await step.run("first", work, 1)
    if ctx.patched("check"):
        await step.run("check", work)
    second = await step.run("second", work, first)
    return [first, second]


@workflow(id="order")
async def checked_from_the_start(input: None, step, ctx) -> list:
    checks = ctx.patched("check")
    first = await step.run("first", work, 1)
    if checks:
        await step.run("check", work)
    second = await step.run("second", work, first)
    return [first, second]


@workflow(id="order")
async def only_new(input: None, step, ctx) -> list:
    first = await step.run("first", work, 1)
    await step.run("check", work)
    second = await step.run("second", work, first)
    return [first, second]


@workflow(id="loop")
async def loop(input: None, step, ctx) -> list:
    ways = []
    for index in range(4):
        ways.append(ctx.patched("check"))
        await step.run(f"work-{index}", work)
    return ways


@workflow(id="loop")
async def old_loop(input: None, step, ctx) -> list:
    for index in range(4):
        await step.run(f"work-{index}", work)
    return []


def run_to_the_end(driver: Driver) -> Driver:
    while driver.ending is None:
        driver.answer(driver.waiting()[0], run_function)
    return driver


def continued(driver: Driver, definition: Any) -> Driver:
    """The same run on other code, after a replay of what there is."""
    later = object.__new__(Driver)
    later.definition, later.facts, later.entries = definition, driver.facts, list(driver.entries)
    later.machine = Machine(definition, driver.facts)
    later.machine.replay(later.entries)
    return later


def asked(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(each.command, each.name) for each in entries if each.kind in kinds.COMMANDS]


def test_a_new_run_takes_the_new_way_and_records_it_once():
    driver = run_to_the_end(Driver(new))
    assert asked(driver.entries) == [("0/0", "first"), ("patched/check", "check"), ("0/1", "check"), ("0/2", "second")]
    assert driver.replayed().ended


def test_a_run_that_passed_the_place_before_keeps_the_old_way():
    driver = Driver(old)
    driver.answer("0/0", run_function)  # it waits for `second`, beyond the place of the check
    later = run_to_the_end(continued(driver, new))
    assert asked(later.entries) == [("0/0", "first"), ("0/1", "second")]
    assert later.replayed().ended


def test_a_run_that_has_not_come_to_the_place_takes_the_new_way():
    later = run_to_the_end(continued(Driver(old), new))
    assert [name for _, name in asked(later.entries)] == ["first", "check", "check", "second"]


def test_commands_around_it_keep_their_identities():
    driver = run_to_the_end(Driver(checked_from_the_start))
    assert asked(driver.entries)[:2] == [("patched/check", "check"), ("0/0", "first")]
    with_check = [command for command, name in asked(driver.entries) if name != "check" or command == "0/1"]
    assert with_check == ["0/0", "0/1", "0/2"]


@given(st.integers(0, 4))
@settings(max_examples=10, deadline=None)
def test_the_answer_is_the_same_throughout_the_run_wherever_the_deploy_was(passed):
    driver = Driver(old_loop)
    for _ in range(passed):
        driver.answer(driver.waiting()[0], run_function)
    if driver.ending is not None:
        return
    later = run_to_the_end(continued(driver, loop))
    # Old code had asked for the first piece of work when it was recorded, so the run had passed the place.
    assert later.ending.body == "[false,false,false,false]"
    assert later.replayed().ended
    assert run_to_the_end(Driver(loop)).ending.body == "[true,true,true,true]"


def test_a_check_that_was_taken_out_again_leaves_its_record_unread():
    driver = run_to_the_end(Driver(new))
    machine = Machine(only_new, driver.facts)
    machine.replay(driver.entries)
    assert machine.ended


def test_a_check_may_be_asked_later_in_the_run_than_it_was():
    driver = run_to_the_end(Driver(checked_from_the_start))
    machine = Machine(new, driver.facts)
    machine.replay(driver.entries)
    assert machine.ended


def test_what_was_recorded_on_the_new_way_does_not_replay_on_the_old_code():
    driver = run_to_the_end(Driver(new))
    with pytest.raises(Divergence, match="asked for second, but the ledger has check"):
        Machine(old, driver.facts).replay(driver.entries)


def test_a_replay_writes_nothing():
    driver = Driver(new)
    driver.answer("0/0", run_function)
    machine = driver.replayed()
    assert machine.length == driver.machine.length == len(driver.entries)
    fired = driver.entries[-1]._replace(kind=kinds.STEP_COMPLETED, body="1", position=machine.length)
    assert [each.name for each in machine.feed(fired)] == ["second"]


# ── attempts ─────────────────────────────────────────────────────────────────────────────────────


def next_attempt(driver: Driver, definition: Any) -> Driver:
    reused = Reused()
    reused.learn(driver.entries)
    facts = RunFacts(1, driver.facts.run_id, definition.id, definition.version, attempt=2)
    later = object.__new__(Driver)
    later.definition, later.facts = definition, facts
    later.machine = Machine(definition, facts, reused)
    later.machine.set_input(driver.entries[0])
    later.machine.length, later.machine.last_at = len(driver.entries), driver.entries[-1].at
    restarted = later.machine.entry(kinds.RESTARTED, later.machine.last_at, attempt=2)
    later.entries = [restarted, *later.machine.feed(restarted)]
    again = Machine(definition, facts, reused)
    again.set_input(driver.entries[0])
    again.replay(later.entries)
    assert again.waiting.keys() == later.machine.waiting.keys()
    return later


def test_a_new_attempt_keeps_the_old_way_where_the_earlier_one_completed_what_follows():
    driver = Driver(old)
    driver.answer("0/0", run_function)
    driver.answer("0/1", run_function)
    later = next_attempt(driver, new)
    assert asked(later.entries) == []  # both steps have their results, and `check` is not asked for
    assert later.ending is not None


def test_a_new_attempt_takes_the_new_way_from_where_the_earlier_one_stopped():
    driver = Driver(old)
    driver.answer("0/0", run_function)
    later = next_attempt(driver, new)
    assert [name for _, name in asked(later.entries)] == ["check", "check"]


def test_a_new_attempt_gets_the_answer_of_the_earlier_one_without_a_new_entry():
    driver = Driver(new)
    driver.answer("0/0", run_function)
    driver.answer("0/1", run_function)
    later = next_attempt(driver, new)
    assert asked(later.entries) == [("0/2", "second")]


# ── who asks for what ────────────────────────────────────────────────────────────────────────────


@workflow(id="bad")
async def bad(input: Any, step, ctx) -> str:
    try:
        ctx.patched(input)
    except DefinitionError as error:
        return str(error)
    return "no error"


@pytest.mark.parametrize("change", ["", None, 7, True, ["x"], b"x"])
def test_what_is_no_id_is_refused_with_the_fix(change):
    driver = Driver(bad, change)
    assert "DefinitionError [DEF101]" in driver.ending.body
    assert 'if ctx.patched(\\"check-fraud-first\\")' in driver.ending.body


@workflow(id="surrogate")
async def surrogate(input: None, step, ctx) -> None:
    ctx.patched("check \ud800")


def test_an_id_that_no_ledger_can_keep_is_refused():
    driver = Driver(surrogate)
    assert driver.ending.kind == kinds.FAILED
    assert "lone surrogate" in driver.ending.body


def test_nobody_but_the_body_may_ask():
    with pytest.raises(DefinitionError, match="outside of the body"):
        Driver(old).machine.patches.ask("check")


@workflow(id="many", max_entries=20)
async def many(input: None, step, ctx) -> None:
    for index in range(1000):
        ctx.patched(f"change-{index}")


def test_ids_made_in_a_loop_end_at_max_entries():
    driver = Driver(many)
    assert driver.ending.kind == kinds.FAILED
    assert "BudgetExceeded" in driver.ending.body
    assert len(driver.entries) <= 21
    assert driver.replayed().ended
