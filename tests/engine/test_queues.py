"""Named queues: limits, turns, rates, debounce and singletons, across restarts, on both ledgers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from perdure import (
    ChildFailed,
    DefinitionError,
    InvalidInput,
    MemoryLedger,
    Queue,
    Rate,
    Runtime,
    RunTimeout,
    current_step,
)
from perdure.replay.check import check_run
from perdure.storage.ledger import RunFilter
from perdure.strict import workflow
from perdure.testing import Crash, Simulation


class Mail(BaseModel):
    to: str
    text: str = ""


class Gauge:
    """Counts steps at work, from inside of them; `gate` lets them end."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.seen: list[str] = []
        self.gate = asyncio.Event()

    async def work(self, name: str) -> str:
        self.seen.append(name)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
        finally:
            self.now -= 1
        return name


GAUGE: list[Gauge] = []


async def send(name: str) -> str:
    return await GAUGE[-1].work(name)


@pytest.fixture
def gauge() -> Gauge:
    GAUGE.append(Gauge())
    return GAUGE[-1]


@workflow(id="mail", queue="emails", key="{to}")
async def mail(input: Mail, step: Any) -> str:
    return await step.run("send", send, f"{input.to}{input.text}")


@workflow(id="nap")
async def nap(input: float, step: Any) -> float:
    await step.sleep(input)
    return input


@workflow(id="quick")
async def quick(input: str, step: Any) -> str:
    return input


def begun(simulation: Simulation) -> list[str]:
    """The runs that have begun, in the order of their begins."""
    rows = [row for row in simulation.ledger.runs(RunFilter(limit=None)) if row.began_at is not None]
    found = [(entry.at, row.run, row.run_id) for row in rows for entry in simulation.ledger.entries(row.run, 0, 4)
             if entry.kind == "began"]  # fmt: skip
    return [run_id for _, _, run_id in sorted(found)]


# ── limits ──


@pytest.mark.parametrize("make", [lambda path: MemoryLedger(), lambda path: path / "l.duckdb"])
async def test_no_more_runs_begin_than_a_queue_lets_and_an_end_lets_the_next_one(
    gauge: Gauge, tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    queue = Queue("emails", max_concurrent_runs=2)
    async with Runtime(make(tmp_path), workflows=[mail], queues=[queue]) as runtime:
        runs = [await runtime.start("mail", {"to": str(number)}) for number in range(5)]
        assert [str(await run.status()) for run in runs] == ["running", "running", "queued", "queued", "queued"]
        (status,) = await runtime.queues()
        assert (status.limits, status.queued, status.running, status.steps_at_work) == (queue, 3, 2, 2)
        gauge.gate.set()
        assert [await run.result("20s") for run in runs] == ["0", "1", "2", "3", "4"]
        assert gauge.most == 2
        for run in runs:
            assert (await run.replay()).ok
        (status,) = await runtime.queues()
        assert (status.queued, status.running) == (0, 0)


async def test_one_key_does_not_hold_back_another(gauge: Gauge) -> None:
    queue = Queue("emails", max_concurrent_runs_per_key=1)
    async with Runtime(MemoryLedger(), workflows=[mail], queues=[queue], drain="10ms") as runtime:
        runs = [await runtime.start("mail", {"to": to}) for to in ("ann", "ann", "bob")]
        assert [str(await run.status()) for run in runs] == ["running", "queued", "running"]
        await runs[0].cancel()
        await runs[1].wait("running", "20s")


async def test_a_step_beyond_the_limit_waits_and_its_timeout_counts_from_its_start(gauge: Gauge) -> None:
    @workflow(id="timed", queue="emails")
    async def timed(input: str, step: Any) -> str:
        return await step.run("send", send, input, timeout="30s", retries=0)

    async with Runtime(MemoryLedger(), workflows=[timed], queues=[Queue("emails", max_concurrent_steps=1)]) as runtime:
        runs = [await runtime.start("timed", str(number)) for number in range(3)]
        assert [str(await run.status()) for run in runs] == ["running"] * 3
        (status,) = await runtime.queues()
        assert (status.running, status.steps_at_work) == (3, 1)
        gauge.gate.set()
        assert [await run.result("20s") for run in runs] == ["0", "1", "2"]
        assert (gauge.most, gauge.seen) == (1, ["0", "1", "2"])


def test_a_steps_timeout_counts_from_its_start_not_from_its_intent() -> None:
    async def hold(name: str) -> str:
        deadlines.append(current_step().deadline)
        await asyncio.sleep(20)
        return name

    @workflow(id="held")
    async def held(input: str, step: Any) -> str:
        return await step.run("hold", hold, input, timeout="30s", retries=0)

    deadlines: list[Any] = []
    with Simulation(held, max_concurrent_steps=1) as simulation:
        runs = [simulation.start("held", str(number)) for number in range(3)]
        simulation.run()
        assert [run.result() for run in runs] == ["0", "1", "2"]
        assert [(each - deadlines[0]).total_seconds() for each in deadlines] == [0, 20, 40]


async def test_a_runtimes_own_limit_counts_the_runs_of_all_queues_and_of_none_but_no_children() -> None:
    @workflow(id="parent")
    async def parent(input: None, step: Any) -> str:
        return await step.invoke("child", "quick", "from the child")

    with Simulation(nap, parent, quick, queues=[Queue("q")], max_concurrent_runs=1) as simulation:
        first = simulation.start("parent")
        second = simulation.start("nap", 5.0, queue="q")
        third = simulation.start("nap", 5.0)
        simulation.run()
        assert (first.result(), second.result(), third.result()) == ("from the child", 5.0, 5.0)
        began = [simulation.ledger.run(run.run_id).began_at for run in (first, second, third)]
        assert began[1] - began[0] < 1_000_000 <= 5_000_000 <= began[2] - began[1]


# ── who is next ──


def test_smaller_priorities_begin_first_and_keys_take_turns() -> None:
    with Simulation(nap, queues=[Queue("q", max_concurrent_runs=1)]) as simulation:
        simulation.start("nap", 1.0, run_id="first", queue="q")
        for number in range(3):
            simulation.start("nap", 1.0, run_id=f"a{number}", queue="q", key="a")
        for number in range(2):
            simulation.start("nap", 1.0, run_id=f"b{number}", queue="q", key="b")
        simulation.start("nap", 1.0, run_id="later", queue="q", key="a", priority=1)
        simulation.start("nap", 1.0, run_id="urgent", queue="q", key="a", priority=-1)
        simulation.run()
        assert begun(simulation) == ["first", "urgent", "b0", "a0", "b1", "a1", "a2", "later"]


def test_a_key_that_comes_anew_again_and_again_does_not_starve_the_others() -> None:
    with Simulation(nap, queues=[Queue("q", max_concurrent_runs=1)]) as simulation:
        for number in range(3):
            simulation.start("nap", 10.0, run_id=f"old{number}", queue="q", key="old")
        for number in range(30):
            simulation.start("nap", 10.0, queue="q", key=f"new{number}", run_id=f"new{number}")
            simulation.advance(10)
        assert {"old0", "old1", "old2"} <= set(begun(simulation))


def test_turns_are_the_same_after_a_restart() -> None:
    def live(faults: list[Any]) -> list[str]:
        with Simulation(nap, queues=[Queue("q", max_concurrent_runs=1)], faults=faults) as simulation:
            for key in "aaabbc":
                simulation.start("nap", 1.0, run_id=f"{key}{len(simulation.runs())}", queue="q", key=key)
            simulation.run()
            return begun(simulation)

    quiet = live([])
    for commit in range(1, 20):
        assert live([Crash(commit, "after")]) == quiet


# ── rates ──


def test_no_more_begin_in_a_period_than_the_rate_lets_also_after_a_restart() -> None:
    queue = Queue("q", rate=Rate(2, per="1m"))
    with Simulation(quick, queues=[queue], seed=1) as simulation:
        runs = [simulation.start("quick", str(number), queue="q") for number in range(5)]
        simulation.advance("10s")
        simulation.crash()
        simulation.run()
        began = [simulation.ledger.run(run.run_id).began_at for run in runs]
        assert [round((at - began[0]) / 60_000_000) for at in began] == [0, 0, 1, 1, 2]
        assert all(later - earlier >= 60_000_000 for earlier, later in zip(began, began[2:], strict=False))


def test_a_long_period_counts_begins_of_runs_that_ended_long_before_a_restart() -> None:
    with Simulation(quick, queues=[Queue("q", rate=Rate(1, per="1h"))]) as simulation:
        runs = [simulation.start("quick", "a", queue="q") for _ in range(2)]
        simulation.advance("30m")
        simulation.crash()
        simulation.advance("1m")
        assert [run.row().status for run in runs] == ["completed", "queued"]
        simulation.run()
        began = [simulation.ledger.run(run.run_id).began_at for run in runs]
        assert began[1] - began[0] == 3_600_000_000


def test_a_keys_rate_holds_back_that_key_alone() -> None:
    with Simulation(quick, queues=[Queue("q", rate_per_key=Rate(1, per="1h"))]) as simulation:
        runs = [simulation.start("quick", key, queue="q", key=key) for key in "aab"]
        simulation.advance("1m")
        assert [run.row().status for run in runs] == ["completed", "queued", "completed"]
        simulation.run()
        assert runs[1].result() == "a"


# ── debounce and singletons ──


def test_a_later_start_takes_the_place_of_one_that_is_debounced() -> None:
    queue = Queue("emails", debounce="5s", debounce_max="12s")

    @workflow(id="sync", queue=queue, key="{to}", timeout="1h")
    async def sync(input: Mail, step: Any) -> str:
        return input.text

    with Simulation(sync) as simulation:
        first = simulation.start("sync", {"to": "ann", "text": "1"})
        other = simulation.start("sync", {"to": "bob", "text": "9"})
        for number in (2, 3, 4):
            simulation.advance("3s")
            assert simulation.start("sync", {"to": "ann", "text": str(number)}).run_id == first.run_id
        assert first.row().status == "queued"
        simulation.run()
        assert (first.result(), other.result()) == ("4", "9")
        row = first.row()
        assert row.began_at - row.created_at == 12_000_000  # not later than debounce_max after the first
        assert row.timeout_at == row.began_at + 3_600_000_000
        assert simulation.start("sync", {"to": "ann", "text": "5"}).run_id != first.run_id
        simulation.run()
        entries = simulation.ledger.entries(row.run)
        assert [entry.kind for entry in entries] == ["created", *["debounced"] * 3, "began", "completed"]
        definition = simulation.definition("sync", "1")
        assert check_run(row, definition, entries).ok
        # The newest input is what was replayed: with another one the output would differ.
        entries[3] = entries[3]._replace(body='{"to": "ann", "text": "other"}')
        assert not check_run(row, definition, entries).ok


def test_a_start_of_another_version_takes_nobodys_place() -> None:
    queue = Queue("q", debounce="5s")

    @workflow(id="sync", version="1", queue=queue)
    async def old(input: str, step: Any) -> str:
        return f"old {input}"

    @workflow(id="sync", version="2", queue=queue)
    async def new(input: str, step: Any) -> str:
        return f"new {input}"

    with Simulation(old, new) as simulation:
        runs = [simulation.start("sync", "a", version=version) for version in ("1", "2", "1")]
        simulation.run()
        assert [run.result() for run in runs] == ["old a", "new a", "old a"]
        assert runs[0].run_id == runs[2].run_id != runs[1].run_id


def test_a_later_start_with_a_longer_delay_puts_off_by_that() -> None:
    with Simulation(quick, queues=[Queue("q", debounce="5s")]) as simulation:
        run = simulation.start("quick", "a", queue="q")
        simulation.start("quick", "b", queue="q", delay="1m")
        simulation.run()
        assert run.row().began_at - run.row().created_at == 60_000_000


def test_two_starts_of_one_batch_debounce_each_other() -> None:
    queue = Queue("q", debounce="5s")

    @workflow(id="parent")
    async def parent(input: None, step: Any) -> list[str]:
        return list(await asyncio.gather(*[step.invoke(name, "quick", name) for name in "ab"]))

    with Simulation(quick, parent, queues=[queue]) as simulation:
        from concurrent.futures import Future

        from perdure.engine.engine import Request
        from perdure.engine.starting import Start

        definition = simulation.definition("quick", "1")
        messages = [
            Request(lambda engine, batch, text=text: engine.starting.start(
                Start(definition, text, queue="q"), batch), Future()) for text in "xyz"
        ]  # fmt: skip
        simulation._take_turn(messages)
        run_ids = {message.future.result() for message in messages}
        assert len(run_ids) == 1
        simulation.run()
        assert simulation.handle(*run_ids).result() == "z"
        assert simulation.ledger.run(*run_ids).length == 5


@pytest.mark.parametrize(("how", "outcomes"), [
    ("skip", ["completed"]), ("replace", ["cancelled", "cancelled", "completed"]), ("queue", ["completed"] * 3),
])  # fmt: skip
def test_a_singleton_has_one_run_at_a_time(how: Any, outcomes: list[str]) -> None:
    with Simulation(nap, queues=[Queue("one", singleton=how)]) as simulation:
        runs = [simulation.start("nap", 10.0, queue="one") for _ in range(3)]
        assert len({run.run_id for run in runs}) == len(outcomes)
        simulation.run()
        rows = sorted(simulation.ledger.runs(RunFilter(limit=None)), key=lambda row: row.run)
        assert [row.status for row in rows] == outcomes
        stays = [(row.began_at, row.finished_at) for row in rows if row.began_at is not None]
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(stays))


def test_a_singletons_keys_are_apart_and_an_ended_one_lets_the_next_begin() -> None:
    with Simulation(nap, queues=[Queue("one", singleton="skip")]) as simulation:
        first, other = (simulation.start("nap", 10.0, queue="one", key=key) for key in "ab")
        assert first.run_id != other.run_id
        simulation.run()
        assert simulation.start("nap", 10.0, queue="one", key="a").run_id != first.run_id


# ── the course of a queued run ──


def test_a_queued_run_can_be_cancelled_and_frees_its_place_in_the_line() -> None:
    with Simulation(nap, queues=[Queue("q", max_concurrent_runs=1)]) as simulation:
        runs = [simulation.start("nap", 60.0, queue="q") for _ in range(3)]
        assert runs[1].cancel()
        assert [run.row().status for run in runs] == ["sleeping", "cancelled", "queued"]
        simulation.run()
        assert [run.row().status for run in runs] == ["completed", "cancelled", "completed"]
        assert [entry.kind for entry in runs[1].entries()] == ["created", "cancel_requested", "cancelled"]


def test_a_delayed_run_on_a_queue_begins_when_it_is_due_and_has_room() -> None:
    with Simulation(nap, queues=[Queue("q", max_concurrent_runs=1)]) as simulation:
        delayed = simulation.start("nap", 1.0, queue="q", delay="1h")
        busy = simulation.start("nap", 7200.0, queue="q")
        assert (delayed.row().status, busy.row().status) == ("queued", "sleeping")
        simulation.run()
        assert delayed.row().began_at - busy.row().created_at == 7_200_000_000


def test_a_workflows_timeout_counts_from_its_begin() -> None:
    @workflow(id="hasty", timeout="10s", queue=Queue("q", max_concurrent_runs=1))
    async def hasty(input: float, step: Any) -> str:
        await step.sleep(input)
        return "in time"

    with Simulation(hasty) as simulation:
        runs = [simulation.start("hasty", seconds) for seconds in (9.0, 9.0, 11.0)]
        simulation.run()
        assert [run.result() for run in runs[:2]] == ["in time", "in time"]
        assert simulation.ledger.run(runs[2].run_id).status == "failed"


def test_a_run_that_waits_for_its_next_attempt_keeps_its_place() -> None:
    @workflow(id="again", retries=1, queue=Queue("q", max_concurrent_runs=1))
    async def again(input: None, step: Any, ctx: Any) -> int:
        if ctx.attempt == 1:
            raise ValueError("the first time")
        return int(ctx.attempt)

    with Simulation(again) as simulation:
        runs = [simulation.start("again") for _ in range(2)]
        assert [run.row().status for run in runs] == ["awaiting_retry", "queued"]
        simulation.run()
        assert [run.result() for run in runs] == [2, 2]


def test_a_run_that_continues_keeps_its_place() -> None:
    @workflow(id="loop", queue=Queue("q", max_concurrent_runs=1, rate=Rate(2, per="1h")))
    async def loop(input: int, step: Any) -> int:
        await step.sleep(1)
        if input:
            await step.continue_as(input - 1)
        return input

    with Simulation(loop) as simulation:
        first = simulation.start("loop", 5, run_id="first")
        second = simulation.start("loop", 0, run_id="second")
        simulation.run()
        assert (first.row().continued_as, second.result()) == ("first+2", 0)
        assert begun(simulation) == ["first", *[f"first+{number}" for number in range(2, 7)], "second"]
        assert simulation.ledger.run("second").began_at - first.row().began_at < 10_000_000


def test_an_ended_run_that_is_forked_leaves_its_queue_alone() -> None:
    async def main() -> None:
        queue = Queue("q", max_concurrent_runs=1, debounce="20ms")
        async with Runtime(MemoryLedger(), workflows=[quick], queues=[queue]) as runtime:
            await runtime.start("quick", "old", queue="q")
            run = await runtime.start("quick", "new", queue="q")
            assert await run.result("20s") == "new"
            for at in ("created", 2):
                fork = await run.fork(at)
                assert await fork.result("20s") == "new"
                assert (await fork.replay()).ok
            (status,) = await runtime.queues()
            assert (status.queued, status.running) == (0, 0)

    asyncio.run(main())


# ── children ──


def test_a_child_waits_on_its_workflows_queue() -> None:
    @workflow(id="slow-child", queue=Queue("line", max_concurrent_runs=1, debounce="1h", singleton="skip"))
    async def slow_child(input: str, step: Any) -> str:
        await step.sleep(10)
        return input

    @workflow(id="many")
    async def many(input: None, step: Any) -> list[str]:
        return list(await asyncio.gather(*[step.invoke(name, "slow-child", name) for name in "abc"]))

    with Simulation(slow_child, many) as simulation:
        run = simulation.start("many")
        simulation.run()
        assert run.result() == ["a", "b", "c"]
        assert simulation.clock.now_us() - run.row().created_at == 30_000_000


def test_a_child_that_could_only_begin_after_its_parent_fails_with_the_fix() -> None:
    @workflow(id="nested", queue=Queue("line", max_concurrent_runs=1))
    async def nested(input: int, step: Any) -> str:
        if input == 0:
            return "the child"
        try:
            return str(await step.invoke("inner", "nested", input - 1))
        except ChildFailed as error:
            return str(error)

    with Simulation(nested) as simulation:
        run = simulation.start("nested", 1)
        simulation.run()
        assert "would wait on queue 'line' for its parent" in run.result()


def test_a_child_under_another_key_of_a_singletons_queue_begins() -> None:
    @workflow(id="nested", queue=Queue("line", singleton="queue"), key="{to}")
    async def nested(input: Mail, step: Any) -> str:
        if input.to == "child":
            return "the child"
        return str(await step.invoke("inner", "nested", {"to": "child"}))

    with Simulation(nested) as simulation:
        run = simulation.start("nested", {"to": "parent"})
        simulation.run()
        assert run.result() == "the child"


# ── wrong use ──


@pytest.mark.parametrize(("make", "says"), [
    (lambda: Queue("emails", max_concurrent_runs=0), "max_concurrent_runs=0 can't be used"),
    (lambda: Queue("emails", max_concurrent_steps=True), "max_concurrent_steps=True can't be used"),
    (lambda: Queue("emails", rate=3), "rate=3 can't be used"),  # type: ignore[arg-type]
    (lambda: Queue(":own"), "':own' can't name a queue"),
    (lambda: Queue("emails", debounce="0s"), "debounce='0s' can't be used"),
    (lambda: Queue("emails", debounce_max="5s"), "debounce_max without debounce"),
    (lambda: Queue("emails", debounce="5s", debounce_max="1s"), "debounce_max='1s' can't be used"),
    (lambda: Queue("emails", singleton="first"), "singleton='first' can't be used"),  # type: ignore[arg-type]
    (lambda: Queue("emails", singleton="skip", max_concurrent_runs_per_key=2), "is a singleton and has"),
    (lambda: Rate(0, per="1m"), "limit=0 can't be used"),
    (lambda: Rate(1, per="soon"), "per='soon' can't be used"),
    (lambda: Rate(1, per=0), "per=0 can't be used"),
    (lambda: workflow(id="w", queue="q", priority=1.5), "priority=1.5 can't be used"),  # type: ignore[arg-type]
    (lambda: workflow(id="w", key="{to}"), "key='{to}' is given without a queue"),
    (lambda: workflow(id="w", queue="q", key="same"), "key='same' names no field"),
    (lambda: workflow(id="w", queue="q", key="{}"), "has a field without a name"),
    (lambda: Runtime(MemoryLedger(), workflows=[mail]), "workflow 'mail' is on queue 'emails', which nobody gave"),
    (lambda: Runtime(MemoryLedger(), queues=[Queue("q"), Queue("q", singleton="skip")]), "two queues are named 'q'"),
    (lambda: Runtime(MemoryLedger(), max_concurrent_steps=0), "max_concurrent_steps=0 can't be used"),
])  # fmt: skip
def test_a_wrong_limit_is_refused_where_it_is_written(make: Callable[[], object], says: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        make()
    assert says in str(refused.value)
    assert refused.value.fix


@pytest.mark.parametrize("option", ["idempotency_key", "key"])
def test_a_template_is_checked_against_the_inputs_fields_at_import(option: str) -> None:
    with pytest.raises(DefinitionError, match="names 'too', which is no field") as refused:

        @workflow(id="w", queue="q", **{option: "x-{too}"})
        async def w(input: Mail) -> None: ...

    assert refused.value.fix == "write {to}"


def test_a_template_that_only_the_input_can_answer_is_checked_at_the_start() -> None:
    @workflow(id="open", queue=Queue("q"), key="{to}")
    async def open_input(input: dict[str, str]) -> None: ...

    with Simulation(open_input) as simulation:
        with pytest.raises(InvalidInput, match=r"the key '{to}' can't be filled"):
            simulation.start("open", {"from": "ann"})
        assert simulation.runs() == []


async def test_a_start_on_a_queue_that_nobody_gave_starts_nothing() -> None:
    async with Runtime(MemoryLedger(), workflows=[quick], queues=[Queue("emails")]) as runtime:
        with pytest.raises(DefinitionError, match="no queue is named 'email'") as refused:
            await runtime.start("quick", "x", queue="email")
        assert "did you mean emails" in refused.value.fix
        with pytest.raises(DefinitionError, match="key='k' is given without a queue"):
            await runtime.start("quick", "x", key="k")
        assert await runtime.runs() == []


# ── at run time ──


async def test_a_first_limit_of_steps_counts_those_that_are_at_work(gauge: Gauge) -> None:
    async with Runtime(MemoryLedger(), workflows=[mail], queues=[Queue("emails")]) as runtime:
        runs = [await runtime.start("mail", {"to": "0"})]
        await runtime.set_queue("emails", max_concurrent_steps=1)
        runs.append(await runtime.start("mail", {"to": "1"}))
        assert (await runtime.queues())[0].steps_at_work == 1
        gauge.gate.set()
        assert [await run.result("20s") for run in runs] == ["0", "1"]


async def test_limits_change_at_run_time_and_at_once(gauge: Gauge) -> None:
    queues = [Queue("emails", max_concurrent_runs=1, max_concurrent_steps=1)]
    async with Runtime(MemoryLedger(), workflows=[mail], queues=queues) as runtime:
        runs = [await runtime.start("mail", {"to": str(number)}) for number in range(3)]
        assert [str(await run.status()) for run in runs] == ["running", "queued", "queued"]
        changed = await runtime.set_queue("emails", max_concurrent_runs=None)
        assert (changed.max_concurrent_runs, changed.max_concurrent_steps) == (None, 1)
        assert [str(await run.status()) for run in runs] == ["running"] * 3
        assert (await runtime.queues())[0].steps_at_work == 1
        await runtime.set_queue("emails", max_concurrent_steps=3)
        assert (await runtime.queues())[0].steps_at_work == 3
        with pytest.raises(DefinitionError, match="no limit 'max_runs'"):
            await runtime.set_queue("emails", max_runs=3)  # type: ignore[call-arg]
        with pytest.raises(DefinitionError, match="no queue is named 'other'"):
            await runtime.set_queue("other", max_concurrent_runs=3)
        gauge.gate.set()
        assert [await run.result("20s") for run in runs] == ["0", "1", "2"]


async def test_runs_on_a_queue_that_a_runtime_does_not_have_wait_and_are_not_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "l.duckdb"
    async with Runtime(path, workflows=[nap], queues=[Queue("old", rate=Rate(1, per="1h"))]) as runtime:
        _, *runs = [await runtime.start("nap", 0.01, queue="old") for _ in range(3)]
    async with Runtime(path, workflows=[nap]) as runtime:
        (status,) = await runtime.queues()
        assert (status.name, status.limits, status.queued) == ("old", None, 2)
        assert "2 runs wait on queue 'old', which this runtime does not have" in caplog.text
        assert await runtime.handle(runs[0].run_id).status() == "queued"
    async with Runtime(path, workflows=[nap], queues=[Queue("old")]) as runtime:
        assert [await runtime.handle(run.run_id).result("20s") for run in runs] == [0.01, 0.01]


def test_blocking_callers_have_queues_too() -> None:
    with Runtime(MemoryLedger(), workflows=[quick], queues=[Queue("q", rate=Rate(1, per="1h"))]) as runtime:
        first = runtime.start("quick", "a", queue="q", key="k", priority=3)
        second = runtime.start("quick", "b", queue="q")
        assert (first.result("20s"), str(second.status())) == ("a", "queued")
        with pytest.raises(RunTimeout):
            second.result("10ms")
        assert runtime.queues()[0].queued == 1
        runtime.set_queue("q", rate=None)
        assert second.result("20s") == "b"


async def test_closing_starts_no_step_that_waits_for_its_turn_but_those_that_may_run_only_once(gauge: Gauge) -> None:
    @workflow(id="once")
    async def once(input: str, step: Any) -> str:
        return await step.run("send", send, input, delivery="at_most_once")

    @workflow(id="often")
    async def often(input: str, step: Any) -> str:
        return await step.run("send", send, input)

    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=[once, often], max_concurrent_steps=1, drain="5s") as runtime:
        for name, which in (("first", "often"), ("waits", "often"), ("must", "once")):
            await runtime.start(which, name, run_id=name)
        asyncio.get_running_loop().call_later(0.05, gauge.gate.set)
    assert gauge.seen == ["first", "must"]
    async with Runtime(ledger, workflows=[once, often]) as runtime:
        assert [await runtime.handle(name).result("20s") for name in ("first", "waits", "must")] == [
            "first", "waits", "must",
        ]  # fmt: skip
