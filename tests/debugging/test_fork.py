"""A fork takes over what was recorded before a place, and lives on from there; the run it comes from stays as it is."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime
from typing import Any

import pytest
from leaping import Leaping

from perdure import DefinitionError, Divergence, RetryPolicy, UnknownRun, step, workflow
from perdure.errors import ChildFailed, RunCancelled, RunFailed, RunTimeout

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def no_calls_yet() -> None:
    CALLS.clear()


@step(retries=0)
async def charge(what: str) -> str:
    CALLS.append(f"charge {what}")
    return f"{what} {len(CALLS)}"


@step(retries=0)
def keyed(what: str) -> str:
    from perdure import current_step

    CALLS.append(f"keyed {what}")
    return current_step().idempotency_key


@workflow(id="order")
async def order(input: str, step, ctx) -> list:
    first = await charge("one")
    lucky = random.random()
    second = await charge("two")
    who = await step.run("who", keyed, input)
    return [first, second, lucky, who, random.random()]


async def names(run: Any) -> list[tuple[str, str]]:
    return [(entry.kind, entry.name) for entry in await run.history()]


async def test_a_fork_keeps_what_came_before_and_runs_the_rest_anew(open_runtime):
    async with open_runtime(order) as runtime:
        run = await runtime.start("order", "o1", run_id="r1")
        first = await run.result("20s")
        before = await run.history()
        CALLS.clear()
        fork = await run.fork("charge#2", run_id="f1")
        again = await fork.result("20s")
        assert CALLS == ["charge two", "keyed o1"]
        assert again[0] == first[0]
        assert again[1] != first[1]
        assert await run.history() == before
        status = await fork.status()
        assert (status.forked_from, fork.run_id) == ("r1", "f1")
        assert status.created_at > (await run.status()).created_at


async def test_random_numbers_of_the_body_stay_the_same_and_keys_of_steps_are_the_forks_own(open_runtime):
    async with open_runtime(order) as runtime:
        run = await runtime.start("order", "o1", run_id="r1")
        first = await run.result("20s")
        fork = await run.fork("charge")
        again = await fork.result("20s")
        assert again[2] == first[2]
        assert again[4] == first[4]
        assert (first[3], again[3]) == ("r1:0/2", f"{fork.run_id}:0/2")


async def test_a_fork_survives_a_restart_and_replays_clean(open_runtime):
    async with open_runtime(order) as runtime:
        run = await runtime.start("order", "o1", run_id="r1")
        await run.result("20s")
        await (await run.fork("who", run_id="f1")).result("20s")
        await (await runtime.handle("f1").fork("charge#2", run_id="f2")).result("20s")
    async with open_runtime(order) as runtime:
        for run_id in ("r1", "f1", "f2"):
            assert (await runtime.handle(run_id).replay()).ok
        assert (await runtime.handle("f2").status()).forked_from == "f1"


@pytest.mark.parametrize("at", ["nothing", 99, -1, True])
async def test_a_place_that_is_not_there_is_refused_with_those_that_are(open_runtime, at):
    async with open_runtime(order) as runtime:
        run = await runtime.start("order", "o1")
        await run.result("20s")
        with pytest.raises(DefinitionError) as caught:
            await run.fork(at)
        assert "charge, charge#2, who" in str(caught.value) or "0 to 7" in str(caught.value)
        assert len(await runtime.runs()) == 1
        with pytest.raises(UnknownRun):
            await runtime.handle("x").fork("charge")


async def test_the_same_id_and_place_give_the_same_fork_and_another_place_is_refused(open_runtime):
    async with open_runtime(order) as runtime:
        run = await runtime.start("order", "o1", run_id="r1")
        await run.result("20s")
        forks = await asyncio.gather(*(run.fork("who", run_id="f1") for _ in range(5)))
        assert {fork.run_id for fork in forks} == {"f1"}
        await forks[0].result("20s")
        assert (await run.fork("who", run_id="f1")).run_id == "f1"
        with pytest.raises(DefinitionError, match="belongs to another run"):
            await run.fork("charge", run_id="f1")
        with pytest.raises(DefinitionError, match="belongs to another run"):
            await run.fork("charge", run_id="r1")
        assert len(await runtime.runs()) == 2


@workflow(id="telling")
async def telling(input: str, step, ctx) -> list:
    early = await step.run("early", keyed, f"{ctx.run_id} {ctx.tags.get('tenant')}")
    await step.run("late", keyed, f"{ctx.run_id} {ctx.tags.get('tenant')}")
    return [early, ctx.run_id]


async def test_a_body_that_tells_its_run_id_to_steps_can_be_forked_and_forked_again(open_runtime):
    async with open_runtime(telling) as runtime:
        run = await runtime.start("telling", "x", run_id="r1", tags={"tenant": "1"})
        await run.result("20s")
        fork = await run.fork("late", run_id="f1", tags={"tenant": "2"})
        assert await fork.result("20s") == ["r1:0/0", "f1"]
        again = await fork.fork("late", run_id="f2")
        assert await again.result("20s") == ["r1:0/0", "f2"]
        earlier = await again.fork("early", run_id="f3")
        assert await earlier.result("20s") == ["f3:0/0", "f3"]
        assert CALLS == [
            "keyed r1 1", "keyed r1 1", "keyed f1 2", "keyed f2 2", "keyed f3 2", "keyed f3 2",
        ]  # fmt: skip
    async with open_runtime(telling) as runtime:
        for run_id in ("f1", "f2", "f3"):
            assert (await runtime.handle(run_id).replay()).ok


FAILING = {"on": True}


@step(retries=0)
async def flaky(what: str) -> str:
    CALLS.append(f"flaky {what}")
    if FAILING["on"]:
        raise ValueError("the other side is down")
    return what


@workflow(id="fails", retries=1)
async def fails(input: str) -> str:
    await charge(input)
    return await flaky(input)


async def test_a_failed_run_lives_on_in_a_fork_in_the_attempt_that_asked_last(open_runtime, monkeypatch):
    async with open_runtime(fails) as runtime:
        run = await runtime.start("fails", "x")
        with pytest.raises(RunFailed):
            await run.result("20s")
        monkeypatch.setitem(FAILING, "on", False)
        CALLS.clear()
        fork = await run.fork("flaky")
        assert await fork.result("20s") == "x"
        assert CALLS == ["flaky x"]
        assert (await fork.status()).attempt == 2
        from_first_attempt = await run.fork("charge")
        assert await from_first_attempt.result("20s") == "x"
        assert (await from_first_attempt.status()).attempt == 1
    async with open_runtime(fails) as runtime:
        for forked in (fork, from_first_attempt):
            assert (await runtime.handle(forked.run_id).replay()).ok


GATE: dict[str, asyncio.Event] = {}


@step(retries=0)
async def gated(what: str) -> str:
    CALLS.append(f"gated {what}")
    await GATE[what].wait()
    return what


@workflow(id="branches")
async def branches(input: str, step) -> list:
    async def left() -> str:
        return await gated("left")

    async def right() -> list:
        await gated("right")
        return [await charge("after right"), await step.sleep("nap", "1ms")]

    return list(await asyncio.gather(left(), right()))


async def test_what_other_branches_had_asked_for_is_done_by_the_fork_itself(open_runtime):
    GATE.update(left=asyncio.Event(), right=asyncio.Event())
    async with open_runtime(branches) as runtime:
        run = await runtime.start("branches", "x", run_id="r1")
        GATE["right"].set()
        while "charge after right" not in CALLS:
            await asyncio.sleep(0.001)
        await run.wait("running", timeout="20s")
        GATE["left"].set()
        await run.result("20s")
        CALLS.clear()
        fork = await run.fork("charge")
        assert (await fork.result("20s"))[0] == "left"
        assert sorted(CALLS) == ["charge after right", "gated left"]
        assert (await fork.replay()).ok


TRIES = {"failures": 1}


@step(retries=RetryPolicy(max_attempts=3, backoff="fixed", base_delay="150ms"))
async def unlucky() -> str:
    CALLS.append("unlucky")
    if TRIES["failures"] > 0:
        TRIES["failures"] -= 1
        raise ConnectionError("not yet")
    return "lucky"


@step(delivery="at_most_once")
async def once() -> str:
    CALLS.append("once")
    await GATE["once"].wait()
    return "once"


@workflow(id="waiting-branches")
async def waiting_branches(input: str, step) -> list:
    async def naps() -> str:
        await step.sleep("nap", "200ms")
        return "slept"

    async def goes_on() -> str:
        await charge("before")
        await charge("cut")
        return "went on"

    return list(await asyncio.gather(naps(), unlucky(), once(), goes_on()))


async def test_what_waits_for_the_clock_in_other_branches_keeps_its_time_and_cut_off_steps_run_once(
    open_runtime, monkeypatch
):
    GATE["once"] = asyncio.Event()
    monkeypatch.setitem(TRIES, "failures", 1)
    async with open_runtime(waiting_branches) as runtime:
        run = await runtime.start("waiting-branches", "x", run_id="r1")
        GATE["once"].set()
        assert await run.result("20s") == ["slept", "lucky", "once", "went on"]
        first = {entry.name: entry for entry in await run.history() if entry.kind == "sleep"}
        CALLS.clear()
        fork = await run.fork("charge#2")
        assert await fork.result("20s") == ["slept", "lucky", "once", "went on"]
        assert CALLS.count("charge cut") == 1
        assert CALLS.count("charge before") == 0
        again = {entry.name: entry for entry in await fork.history() if entry.kind == "sleep"}
        assert again["nap"].due == first["nap"].due
        assert (await fork.replay()).ok


@workflow(id="waits")
async def waits(input: str, step) -> list:
    started = datetime.now()
    paid = await step.wait_for_event("paid", type="paid")
    charged = await charge(paid)
    await step.sleep("week", "7d")
    return [charged, started.isoformat()]


async def test_an_open_run_is_forked_and_keeps_the_event_that_only_the_first_one_received(open_runtime):
    async with open_runtime(waits) as runtime:
        run = await runtime.start("waits", "x")
        await run.wait("waiting_event", timeout="20s")
        await runtime.send_event("paid", "cash")
        await run.wait("sleeping", timeout="20s")
        fork = await run.fork("charge")
        await fork.wait("sleeping", timeout="20s")
        assert CALLS == ["charge cash", "charge cash"]
        waiting = await run.fork("paid")
        await waiting.wait("waiting_event", timeout="20s")
        await runtime.send_event("paid", "card")
        await waiting.wait("sleeping", timeout="20s")
        assert CALLS[2:] == ["charge card"]
    async with open_runtime(waits) as runtime:
        for each in (run, fork, waiting):
            assert await runtime.handle(each.run_id).status() == "sleeping"
            assert (await runtime.handle(each.run_id).replay()).ok


async def test_a_body_that_changed_before_the_place_is_refused_and_nothing_starts(open_runtime):
    @workflow(id="order")
    async def other(input: str, step, ctx) -> list:
        await charge("zero")
        return [await charge("two")]

    async with open_runtime(order) as runtime:
        await (await runtime.start("order", "o1", run_id="r1")).result("20s")
    CALLS.clear()
    async with open_runtime(other) as runtime:
        with pytest.raises(Divergence) as caught:
            await runtime.handle("r1").fork("charge#2")
        assert "run r1" in str(caught.value)
        assert [run.run_id for run in await runtime.runs()] == ["r1"]
        fork = await runtime.handle("r1").fork("charge")  # what changed comes after
        assert (await fork.result("20s"))[0].startswith("two")
        assert CALLS == ["charge zero", "charge two"]


@workflow(id="diverging")
async def diverging(input: str, step) -> str:
    await charge("one")
    await step.wait_for_event("go", type="go")
    return await charge("two")


async def test_a_diverged_run_is_forked_before_the_place_that_diverged(open_runtime):
    @workflow(id="diverging")
    async def changed(input: str, step) -> str:
        await charge("one")
        await step.wait_for_event("go on", type="go")
        return await charge("two")

    async with open_runtime(diverging) as runtime:
        run = await runtime.start("diverging", "x", run_id="r1")
        await run.wait("waiting_event", timeout="20s")
    async with open_runtime(changed, code="today") as runtime:
        run = runtime.handle("r1")
        await runtime.send_event("go")
        await run.wait("diverged", timeout="20s")
        fork = await run.fork("go", run_id="f1")
        await fork.wait("waiting_event", timeout="20s")
        await runtime.send_event("go")
        assert (await fork.result("20s")).startswith("two")
        assert await run.status() == "diverged"


async def test_a_place_that_was_reached_when_a_diverged_run_recovered_can_be_forked(open_runtime):
    @workflow(id="diverging")
    async def changed(input: str, step) -> str:
        return await step.wait_for_event("other", type="go")

    async with open_runtime(diverging) as runtime:
        run = await runtime.start("diverging", "x", run_id="r1")
        await run.wait("waiting_event", timeout="20s")
    async with open_runtime(changed, code="today") as runtime:
        await runtime.send_event("go")
        await runtime.handle("r1").wait("diverged", timeout="20s")
    async with open_runtime(diverging) as runtime:
        first = await runtime.handle("r1").result("20s")
        CALLS.clear()
        fork = await runtime.handle("r1").fork("charge#2", run_id="f1")
        assert (await fork.result("20s"), CALLS) == ("two 1", ["charge two"])
        assert first.startswith("two")
        assert "diverged" not in [kind for kind, _ in await names(fork)]
        assert (await fork.replay()).ok


@workflow(id="limited", timeout="1h")
async def limited(input: str, step) -> str:
    await charge("one")
    await step.wait_for_event("go", type="go")
    return await charge("two")


async def test_a_run_that_ran_out_of_time_has_its_whole_time_again_in_a_fork(open_runtime):
    clock = Leaping()
    async with open_runtime(limited, clock=clock) as runtime:

        async def run_out_of_time(run) -> None:
            await run.wait("waiting_event", timeout="20s")
            clock.leap("2h")
            await runtime.send_event("look at the clock")
            with pytest.raises(RunTimeout, match="the run passed its timeout"):
                await run.result("20s")

        run = await runtime.start("limited", "x")
        await run_out_of_time(run)
        fork = await run.fork("go")
        await fork.wait("waiting_event", timeout="20s")
        await runtime.send_event("go")
        assert (await fork.result("20s")).startswith("two")
        await run_out_of_time(await run.fork("go"))
        cancelled = await run.fork((await run.status()).entries - 1)  # the timeout itself is what was fed last
        with pytest.raises(RunTimeout):
            await cancelled.result("20s")


@workflow(id="delayed")
async def delayed(input: str, step) -> str:
    return await charge(input)


async def test_a_run_that_never_began_can_only_be_forked_from_its_beginning(open_runtime):
    async with open_runtime(delayed) as runtime:
        run = await runtime.start("delayed", "x", delay="1h")
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result("20s")
        with pytest.raises(DefinitionError, match="no body was running"):
            await run.fork(1)
        fork = await run.fork(0)
        assert (await fork.result("20s")).startswith("x")
        begun = await runtime.start("delayed", "y", delay="1ms")
        await begun.result("20s")
        assert (await (await begun.fork("charge")).result("20s")).startswith("y")


@workflow(id="child")
async def child(input: str) -> str:
    return await charge(input) if input != "fails" else await flaky(input)


@workflow(id="parent")
async def parent(input: str, step) -> list:
    async def invoked() -> str:
        return await step.invoke("invoked", "child", "invoked")

    async def others() -> list:
        spawned = await step.spawn("spawned", "child", "spawned")
        await charge("between")
        return [spawned.run_id, await spawned.result()]

    return list(await asyncio.gather(invoked(), others()))


async def test_children_that_had_answered_stay_and_others_are_the_forks_own(open_runtime):
    async with open_runtime(parent, child) as runtime:
        run = await runtime.start("parent", "x", run_id="r1")
        first = await run.result("20s")
        CALLS.clear()
        late = await run.fork("spawned.result", run_id="f1")
        assert (await late.result("20s"))[1] == first[1]
        early = await run.fork("charge", run_id="f2")
        again = await early.result("20s")
        assert again[1] == first[1]  # the spawned child has completed, so it is shared
        assert "charge spawned" not in CALLS
        assert CALLS.count("charge invoked") == 1  # it had not answered when the fork begins
        children = [each.run_id for each in await runtime.runs(workflow="child")]
        assert sorted(children) == ["f2-0.1-0", "r1-0.1-0", "r1-0.2-0"]
    async with open_runtime(parent, child) as runtime:
        for run_id in ("f1", "f2"):
            assert (await runtime.handle(run_id).replay()).ok


@workflow(id="spawner")
async def spawner(input: str, step) -> list:
    spawned = await step.spawn("spawned", "child", "fails")
    await charge("between")
    try:
        return [spawned.run_id, await spawned.result()]
    except ChildFailed as failed:
        return [failed.child_run_id]


async def test_a_spawned_child_that_failed_is_started_anew_by_a_fork_that_has_not_heard_of_it(
    open_runtime, monkeypatch
):
    async with open_runtime(spawner, child) as runtime:
        run = await runtime.start("spawner", "x", run_id="r1")
        assert await run.result("20s") == ["r1-0-0"]
        monkeypatch.setitem(FAILING, "on", False)
        fork = await run.fork("charge", run_id="f1")
        assert await fork.result("20s") == ["f1-0-0", "fails"]
        child_run = await runtime.handle("f1-0-0").status()
        assert (child_run.parent_run_id, child_run) == ("f1", "completed")
    async with open_runtime(spawner, child) as runtime:
        assert (await runtime.handle("f1").replay()).ok


@workflow(id="tries-again", retries=1)
async def tries_again(input: str, step) -> list:
    spawned = await step.spawn("spawned", "child", "spawned")
    await flaky("first")
    return [spawned.run_id, await spawned.result()]


async def test_a_spawned_child_keeps_its_id_in_the_next_attempt_of_its_run(open_runtime, monkeypatch):
    monkeypatch.setitem(FAILING, "on", True)
    async with open_runtime(tries_again, child) as runtime:
        run = await runtime.start("tries-again", "x", run_id="r1")
        await run.wait("awaiting_retry", timeout="20s")
        FAILING["on"] = False
        found = await run.result("20s")
        assert (found[0], found[1][:7]) == ("r1-0-0", "spawned")
        fork = await run.fork("flaky")
        assert await fork.result("20s") == found  # it has completed, so it is shared


def test_blocking_runs_can_be_forked(tmp_path):
    from perdure import Runtime

    with Runtime(tmp_path / "l.duckdb", workflows=[order]) as runtime:
        run = runtime.start("order", "o1")
        first = run.result("20s")
        fork = run.fork("who", run_id="f1", tags={"tenant": "1"})
        assert fork.result("20s")[:3] == first[:3]
        assert [status.run_id for status in runtime.runs(tags={"tenant": "1"})] == ["f1"]
        found = runtime.sql("SELECT run_id, forked_from FROM runs ORDER BY run").rows
        assert found == ((run.run_id, None), ("f1", run.run_id))


def test_a_ledger_with_forks_is_sound(tmp_path):
    from perdure import Runtime
    from perdure.storage.verify import verify

    path = tmp_path / "l.duckdb"
    with Runtime(path, workflows=[order]) as runtime:
        run = runtime.start("order", "o1")
        run.result("20s")
        run.fork("who").result("20s")
    verdict = verify(path)
    assert (verdict.ok, verdict.runs) == (True, 2)
