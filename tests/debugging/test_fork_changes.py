"""Forks that change something: another input, or a given result; and that a fork shares exactly the prefix."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure import DefinitionError, InvalidInput, MemoryLedger, Runtime
from perdure.strict import workflow

calls: list[str] = []


def work(name: str) -> str:
    calls.append(name)
    return name


@workflow(id="three")
async def three(input: int, step) -> list:
    first = await step.run("first", work, "first")
    second, third = await asyncio.gather(step.run("second", work, "second"), step.run("third", work, "third"))
    return [input, first, second, third]


@pytest.fixture(autouse=True)
def no_calls():
    calls.clear()


async def done(runtime, run_id: str = "r"):
    run = await runtime.start("three", 1, run_id=run_id)
    await run.result(timeout="20s")
    calls.clear()
    return run


async def test_a_given_result_stands_for_the_step_which_does_not_run(open_runtime):
    async with open_runtime(three) as runtime:
        run = await done(runtime)
        fork = await run.fork("first", results={"first": "given"})
        assert await fork.result(timeout="20s") == [1, "given", "second", "third"]
        assert sorted(calls) == ["second", "third"]
        (completed,) = [entry for entry in await fork.history() if entry.detail.get("given")]
        assert (completed.kind, completed.name, completed.value) == ("step_completed", "first", "given")
        assert (await fork.replay()).ok


async def test_several_steps_of_the_place_may_be_given(open_runtime):
    async with open_runtime(three) as runtime:
        run = await done(runtime)
        fork = await run.fork("second", results={"third": "3", "second": "2"})
        assert await fork.result(timeout="20s") == [1, "first", "2", "3"]
        assert calls == []
        assert (await fork.replay()).ok


async def test_a_result_of_a_step_that_is_not_asked_for_there_is_refused(open_runtime):
    async with open_runtime(three) as runtime:
        run = await done(runtime)
        with pytest.raises(DefinitionError) as refused:
            await run.fork("first", results={"second": "2"})
        assert "it asks there for: first" in str(refused.value)
        assert "at='second'" in str(refused.value)
        assert len(await runtime.runs()) == 1


@pytest.mark.parametrize("at", [0, "created"])
async def test_a_whole_run_begins_anew_with_another_input(open_runtime, at):
    async with open_runtime(three) as runtime:
        run = await done(runtime)
        fork = await run.fork(at, input=5)
        assert await fork.result(timeout="20s") == [5, "first", "second", "third"]
        assert (await fork.replay()).ok


async def test_another_input_after_the_body_acted_on_it_is_refused_and_so_is_one_that_does_not_fit(open_runtime):
    async with open_runtime(three) as runtime:
        run = await done(runtime)
        with pytest.raises(DefinitionError, match="can't have another input"):
            await run.fork("second", input=5)
        with pytest.raises(InvalidInput):
            await run.fork(0, input="five")
        assert len(await runtime.runs()) == 1


def test_blocking_fork_with_changes():
    with Runtime(MemoryLedger(), workflows=[three]) as runtime:
        run = runtime.start("three", 1)
        run.result("20s")
        fork = run.fork("created", input=2, results={"first": "given"})
        assert fork.result("20s") == [2, "given", "second", "third"]


# ── the prefix ──


@workflow(id="drawn")
async def drawn(input: list, step) -> list:
    """Do what each word says."""
    results = []
    for number, word in enumerate(input):
        if word == "step":
            results.append(await step.run(f"step-{number}", work, f"{number}"))
        elif word == "sleep":
            await step.sleep(f"sleep-{number}", 0.001)
        elif word == "both":
            results += await asyncio.gather(
                step.run(f"left-{number}", work, "left"), step.run(f"right-{number}", work, "right")
            )
        else:
            results.append(await step.invoke(f"child-{number}", "drawn", ["step"]))
    return results


def comparable(entries, run_id):
    """What must be equal in a fork's prefix: everything but the run, the digest, and who it is."""
    shown = []
    for entry in entries:
        detail = json.loads(entry.detail) if entry.kind != "created" and (entry.detail or "").startswith("{") else {}
        shown.append((entry._replace(run=0, digest=b"", detail=None), detail))
    return shown


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(["step", "sleep", "both", "child"]), min_size=1, max_size=4), data=st.data())
def test_a_fork_shares_exactly_the_prefix_and_ends_alike(words, data):
    async def live():
        ledger = MemoryLedger()
        async with Runtime(ledger, workflows=[drawn]) as runtime:
            run = await runtime.start("drawn", words, run_id="r")
            result = await run.result(timeout="20s")
            entries = ledger.entries(ledger.run("r").run)
            causes = [entry for entry in entries if entry.kind.endswith(("completed", "fired")) and entry.command]
            at = data.draw(st.sampled_from(causes)).position
            fork = await run.fork(at, run_id="f")
            assert await fork.result(timeout="20s") == result
            forked = ledger.entries(ledger.run("f").run)
            assert comparable(forked[:at], "f") == comparable(entries[:at], "r")
            live = forked[at]
            assert (live.kind, live.command, live.body) == (entries[at].kind, entries[at].command, entries[at].body)
            assert live.at >= forked[at - 1].at
            assert (await fork.replay()).ok

    asyncio.run(live())
