"""The machine alone: causes in, commands out, and a replay is the same walk."""

from __future__ import annotations

import random

import pytest
from driver import Driver, run_function
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import Divergence, RetryPolicy
from perdure.core.history import Reused, split_attempts
from perdure.core.machine import Machine
from perdure.storage import entries as kinds
from perdure.strict import workflow


def work(number: int) -> int:
    return number + 1


@workflow(id="tree")
async def tree(input: list, step, ctx) -> list:
    """Runs a drawn program: lists are branches, numbers are steps, None is a sleep, and each branch draws a number."""
    import asyncio
    import random

    async def branch(program: list, path: str) -> list:
        done = []
        for index, part in enumerate(program):
            name = f"{path}.{index}"
            if part is None:
                await asyncio.sleep(1)
                done.append(None)
            elif isinstance(part, int):
                done.append(await step.run(name, work, part))
            else:
                below = [branch(each, f"{name}.{number}") for number, each in enumerate(part)]
                done.append(await asyncio.gather(*below))
        done.append(random.randrange(1000))
        return done

    return await branch(input, "top")


parts = st.recursive(
    st.integers(0, 9) | st.none(), lambda below: st.lists(st.lists(below, max_size=3), min_size=1, max_size=3)
)
programs = st.lists(parts, max_size=4)


def run_in_some_order(program: list, seed: int) -> Driver:
    driver = Driver(tree, program)
    chance = random.Random(seed)
    while driver.ending is None:
        driver.answer(chance.choice(driver.waiting()), run_function)
    return driver


@given(programs, st.integers(), st.integers())
@settings(max_examples=150, deadline=None)
def test_identities_and_outcome_do_not_depend_on_who_finishes_first(program, one, other):
    first, second = run_in_some_order(program, one), run_in_some_order(program, other)
    assert first.ending[8:10] == second.ending[8:10]

    def asked(driver: Driver) -> set:
        return {(e.command, e.kind, e.name, e.body) for e in driver.entries if e.kind in kinds.COMMANDS}

    assert asked(first) == asked(second)


@given(programs, st.integers(), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_replay_of_what_was_recorded_stands_where_the_recording_stood(program, seed, part):
    driver = Driver(tree, program)
    chance = random.Random(seed)
    stop = part * 2 * len(repr(program))
    while driver.ending is None and len(driver.entries) < stop:
        driver.answer(chance.choice(driver.waiting()), run_function)
    machine = driver.replayed()
    assert machine.waiting.keys() == driver.machine.waiting.keys()
    assert (machine.length, machine.last_at) == (driver.machine.length, driver.machine.last_at)
    if driver.ending is None:
        # Going on from the replay is going on from the recording.
        command = chance.choice(driver.waiting())
        before = len(driver.entries)
        driver.answer(command, run_function)
        cause, *rest = driver.entries[before:]
        fields = {name: getattr(cause, name) for name in ("command", "name", "body", "shape")}
        assert machine.entry(cause.kind, cause.at, **fields) == cause
        assert machine.feed(cause) == rest


@given(programs, st.integers(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_history_that_was_altered_does_not_replay(program, seed, data):
    driver = run_in_some_order(program, seed)
    commands = [e for e in driver.entries if e.kind == kinds.STEP]
    if not commands:
        return
    victim = data.draw(st.sampled_from(commands))
    change = data.draw(st.sampled_from(["name", "body", "gone", "doubled"]))
    entries = list(driver.entries)
    at = entries.index(victim)
    if change == "gone":
        del entries[at]
    elif change == "doubled":
        entries.insert(at, victim._replace(command=victim.command + "9"))
    else:
        entries[at] = victim._replace(**{change: "[77]"})
    machine = Machine(tree, driver.facts)
    with pytest.raises(Divergence):
        machine.replay(entries)
    machine.close()


def test_one_more_random_number_in_one_branch_shifts_no_other():
    def make(more: bool):
        @workflow(id="random")
        async def body(input: bool, step, ctx) -> list:
            import asyncio
            import random

            async def draw(extra: bool) -> float:
                if extra:
                    random.random()
                return random.random()

            return await asyncio.gather(draw(input), draw(False), draw(False))

        return Driver(body, more)

    plain, more = make(False), make(True)
    one, two = eval(plain.ending.body), eval(more.ending.body)
    assert one[0] != two[0]
    assert one[1:] == two[1:]
    assert len(set(one)) == 3
    other = Driver(plain.definition, False, run_id="another run")
    assert eval(other.ending.body) != one


def test_time_in_a_body_is_the_time_of_the_cause():
    @workflow(id="time")
    async def body(input: None, step, ctx) -> list:
        import time

        first = time.time()
        await step.run("a", work, 1)
        return [first, time.time()]

    driver = Driver(body)
    driver.answer("0/0", run_function)
    assert driver.ending.body == "[1.0,1.001]"


def test_a_new_attempt_gets_what_the_earlier_one_completed_without_new_entries():
    failing = [True]

    @workflow(id="attempts", retries=RetryPolicy(max_attempts=2, jitter=0))
    async def body(input: None, step, ctx) -> list:
        first = await step.run("first", work, 1)
        if ctx.attempt == 1:
            raise RuntimeError("once")
        second = await step.run("second", work, first)
        return [first, second]

    assert failing
    driver = Driver(body)
    driver.answer("0/0", run_function)
    assert driver.ending.kind == kinds.RETRYING
    reused = Reused()
    for attempt in split_attempts(driver.entries):
        reused.learn(attempt)
    facts = driver.facts
    again = Machine(body, type(facts)(facts.run, facts.run_id, facts.workflow, facts.version, 2), reused)
    again.set_input(driver.entries[0])
    again.length = len(driver.entries)
    asked = again.feed(again.entry(kinds.RESTARTED, 5_000_000, attempt=2))
    assert [(entry.kind, entry.name) for entry in asked] == [("step", "second")]


def test_a_dropped_command_is_recorded_and_its_late_answer_is_not_wanted():
    @workflow(id="dropped")
    async def body(input: None, step, ctx) -> str:
        import asyncio

        try:
            async with asyncio.timeout(1):
                await step.run("slow", work, 1)
        except TimeoutError:
            return "too slow"

    driver = Driver(body)
    assert [waiting.kind for waiting in driver.machine.waiting.values()] == ["sleep", "step"]
    driver.answer("0/0")
    assert [entry.kind for entry in driver.entries] == [
        "created",
        "sleep",
        "step",
        "timer_fired",
        "dropped",
        "completed",
    ]
    assert driver.replayed().ended


def test_a_run_with_too_many_entries_ends_with_its_limit():
    @workflow(id="endless", max_entries=20)
    async def body(input: None, step, ctx) -> None:
        number = 0
        while True:
            number += 1
            await step.run(f"s{number}", work, number)

    driver = Driver(body)
    while driver.ending is None:
        driver.answer(driver.waiting()[0], run_function)
    assert "max_entries" in driver.ending.body
    assert len(driver.entries) <= 22
    assert driver.replayed().ended


def test_branches_and_compensation_that_the_limit_refused_are_refused_on_replay_too():
    @workflow(id="endless", max_entries=20)
    async def body(input: None, step, ctx) -> None:
        import asyncio

        async def branch(name: str) -> None:
            try:
                for number in range(100):
                    await step.run(f"{name}{number}", work, number)
            finally:
                await step.run(f"{name} undone", work, 0)

        await asyncio.gather(branch("a"), branch("b"))

    driver = Driver(body)
    while driver.ending is None:
        driver.answer(driver.waiting()[0], run_function)
        again = driver.replayed()
        assert again.ended == (driver.ending is not None)
        again.close()
    driver.machine.close()
    assert "max_entries" in driver.ending.body


def test_an_endless_loop_ends_with_its_line():
    @workflow(id="loop", max_ops=10_000)
    async def body(input: None, step, ctx) -> None:
        while True:
            pass

    driver = Driver(body)
    assert driver.ending.kind == kinds.FAILED
    assert "BudgetExceeded" in driver.ending.body
    assert "test_machine.py:" in driver.ending.body


def test_closing_a_body_that_waits_runs_nothing_of_it_any_more():
    @workflow(id="closed")
    async def body(input: None, step, ctx) -> None:
        try:
            await step.run("a", work, 1)
        finally:
            print("never shown")
            await step.run("b", work, 2)

    driver = Driver(body)
    driver.machine.close()
    assert driver.machine.output == []
    assert len(driver.entries) == 2
