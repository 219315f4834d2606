"""Many parked runs and very long ones: what is touched, and what is held."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from perdure import Runtime
from perdure.core.machine import Machine
from perdure.engine.residents import facts_of, replayed
from perdure.engine.timers import TAKEN_MAX, DueWindow
from perdure.replay.check import check_run
from perdure.sandbox import watchdog
from perdure.storage.memory_ledger import MemoryLedger
from perdure.storage.windows import Windows
from perdure.strict import workflow


async def add(number: int) -> int:
    return number + 1


@workflow(id="parked")
async def parked(input: int, step) -> int:
    paid = await step.wait_for_event("paid", type="paid", match={"order": input})
    return paid["cents"]


@workflow(id="napper")
async def napper(input: str, step) -> str:
    await step.sleep("nap", input)
    return "awake"


@workflow(id="long")
async def long(input: int, step) -> int:
    total = 0
    for number in range(input):
        total = await step.run(f"add-{number}", add, total)
    return total


class Counting(MemoryLedger):
    """Counts, by run, how often its history was read, and the most that one reading gave."""

    def __init__(self) -> None:
        super().__init__()
        self.read: Counter[int] = Counter()
        self.most = 0
        self.pages: list[int] = []

    def entries(self, run, start=0, limit=None):
        found = super().entries(run, start, limit)
        self.read[run] += 1
        self.most = max(self.most, len(found))
        return found

    def prefetch(self, runs):
        self.pages.append(len(runs))


async def test_a_restart_reads_no_history_of_parked_runs() -> None:
    ledger = Counting()
    async with Runtime(ledger, workflows=[parked, napper]) as runtime:
        await asyncio.gather(*[runtime.start("parked", number) for number in range(300)])
        await asyncio.gather(*[runtime.start("napper", "1h") for _ in range(300)])
        await runtime.idle()
    ledger.read.clear()
    async with Runtime(ledger, workflows=[parked, napper]) as runtime:
        await runtime.idle()
        assert not ledger.read


async def test_an_event_brings_back_the_run_that_it_wakes_and_no_other() -> None:
    ledger = Counting()
    async with Runtime(ledger, workflows=[parked], residents_max=0) as runtime:
        runs = await asyncio.gather(*[runtime.start("parked", number) for number in range(300)])
        await runtime.idle()
        ledger.read.clear()
        assert await runtime.send_event("paid", {"order": 123, "cents": 5}) == 1
        assert await runs[123].result(timeout="20s") == 5
        woken = ledger.run(runs[123].run_id)
        assert woken is not None
        assert set(ledger.read) == {woken.run}


async def test_an_event_for_many_has_their_histories_read_by_the_page() -> None:
    ledger = Counting()
    async with Runtime(ledger, workflows=[parked], residents_max=0) as runtime:
        runs = await asyncio.gather(*[runtime.start("parked", 7) for _ in range(450)])
        await runtime.idle()
        assert await runtime.send_event("paid", {"order": 7, "cents": 5}) == 450
        assert {await run.result(timeout="20s") for run in runs} == {5}
        assert sum(ledger.pages) == 450
        assert len(ledger.pages) == 3


def test_a_storm_of_timers_is_taken_in_bounded_parts_the_earliest_first() -> None:
    class Due:
        def due(self, until, limit):
            return [(10 + number, number) for number in range(3 * TAKEN_MAX)][:limit]

    window = DueWindow(Due())  # type: ignore[arg-type]
    taken = []
    while part := window.take(10_000_000):
        assert len(part) <= TAKEN_MAX
        taken += part
        if len(taken) < 3 * TAKEN_MAX:
            assert window.next_time(10_000_000) <= 10_000_000, "the rest is due in the very next turn"
    assert taken == list(range(3 * TAKEN_MAX))


async def test_all_runs_of_a_storm_wake(open_runtime) -> None:
    async with open_runtime(napper) as runtime:
        runs = await asyncio.gather(*[runtime.start("napper", "20ms") for _ in range(TAKEN_MAX + 100)])
        assert {await run.result(timeout="30s") for run in runs} == {"awake"}


@pytest.fixture(scope="module")
def recorded() -> tuple[MemoryLedger, str]:
    """A run of 2,000 steps that has ended."""
    ledger = MemoryLedger()

    async def live() -> str:
        async with Runtime(ledger, workflows=[long]) as runtime:
            run = await runtime.start("long", 2000)
            await run.result(timeout="60s")
            return run.run_id

    return ledger, asyncio.run(live())


def test_a_long_run_is_replayed_with_one_window_in_memory(recorded) -> None:
    ledger, run_id = recorded
    row = ledger.run(run_id)
    reads = []

    def read(start: int, stop: int):
        reads.append((start, stop))
        return ledger.entries(row.run, start, stop - start)

    machine = replayed(row, long, Windows(read, 0, row.length, 100))
    assert machine.ended
    assert machine.length == row.length
    in_order = [(start, min(start + 100, row.length)) for start in range(0, row.length, 100)]
    assert [each for each in reads if each[1] - each[0] > 1] == [each for each in in_order if each[1] - each[0] > 1]
    machine.close()


def test_a_long_run_is_verified_through_windows_and_its_divergence_is_found(recorded) -> None:
    ledger, run_id = recorded
    row = ledger.run(run_id)

    def read(start: int, stop: int):
        return ledger.entries(row.run, start, stop - start)

    assert check_run(row, long, Windows(read, 0, row.length, 64)).ok

    def altered(start: int, stop: int):
        return [each._replace(name="other") if each.position == 3001 else each for each in read(start, stop)]

    verdict = check_run(row, long, Windows(altered, 0, row.length, 64), explain=False)
    assert verdict.divergence is not None
    assert verdict.divergence.position == 3001


def test_reading_a_window_is_no_doing_of_the_body(recorded) -> None:
    ledger, run_id = recorded
    row = ledger.run(run_id)

    def read(start: int, stop: int):
        with open(__file__, "rb"):  # the audit hook would refuse it to a body
            return ledger.entries(row.run, start, stop - start)

    replayed(row, long, Windows(read, 0, row.length, 500)).close()


def test_each_wait_of_a_replay_has_the_watchdog_s_whole_time(recorded, monkeypatch) -> None:
    ledger, run_id = recorded
    row = ledger.run(run_id)
    entries = ledger.entries(row.run)
    began = []
    monkeypatch.setattr(watchdog, "again", lambda: began.append(1))
    machine = Machine(long, facts_of(row, entries[0]))
    machine.replay(entries)
    machine.close()
    assert len(began) >= 2000
