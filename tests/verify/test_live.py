"""Runs that have ended are replayed in the background, and the verdicts become part of their histories."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel

from perdure import DefinitionError, FatalError, MemoryLedger, RetryPolicy, RunCancelled, RunFailed, Runtime
from perdure.errors import LedgerFull
from perdure.replay import live
from perdure.replay.check import Verdict
from perdure.replay.live import LiveVerifier
from perdure.replay.paced import Pace
from perdure.replay.selection import in_share
from perdure.storage import entries as kinds
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.ledger import RunRow
from perdure.storage.verify import verify
from perdure.strict import step, workflow

FAST = RetryPolicy(max_attempts=2, base_delay="1ms", jitter=0)


@step(retries=0)
async def double(number: int) -> int:
    return 2 * number


@step(retries=0)
async def fail() -> None:
    raise FatalError("no")


@workflow(id="doubles")
async def doubles(input: int, step) -> int:
    total = 0
    for number in range(input):
        total += await double(number)
    return total


@workflow(id="doubles")
async def other_doubles(input: int, step) -> int:
    total = 0
    for number in range(input):
        total += await double(number + 1)
    return total


@workflow(id="together")
async def together(input: int, step) -> list:
    return await asyncio.gather(*[double(number) for number in range(input)])


@workflow(id="fails", retries=FAST)
async def fails(input: None, step) -> None:
    await double(1)
    raise RuntimeError("again")


@workflow(id="gives-up")
async def gives_up(input: None, step) -> None:
    await fail()


@workflow(id="spins", max_ops=1000)
async def spins(input: None, step) -> None:
    await double(1)
    while True:
        pass


class Peeking(BaseModel):
    path: Annotated[Path, AfterValidator(Path.read_text)]  # a library's inside, where the policy does not look


@workflow(id="peeks")
async def peeks(input: str, step) -> None:
    with contextlib.suppress(Exception):
        Peeking(path=input)
    await double(1)


@workflow(id="waits")
async def waits(input: None, step) -> None:
    try:
        await step.wait_for_event("go", type="go")
    finally:
        await double(1)


@workflow(id="parent")
async def parent(input: int, step) -> list:
    child = await step.spawn("child", "doubles", input)
    await step.wait_for_event("go", type="go")
    return [await child.result(), await step.invoke("again", "doubles", 1)]


ALL = [doubles, together, fails, gives_up, spins, peeks, waits, parent]


async def verdict_of(runtime: Runtime, run_id: str) -> bool | None:
    """Wait for a run's verdict."""
    async with asyncio.timeout(5):
        row = await asyncio.wrap_future(runtime.watch(run_id, lambda row: row.verdict is not None))
    assert row is not None
    return row.verdict


def kinds_of(ledger: Any, run_id: str) -> list[str]:
    return [entry.kind for entry in ledger.entries(ledger.run(run_id).run)]


# ── verdicts ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("workflow_id", "input", "status"),
    [("doubles", 3, "completed"), ("together", 3, "completed"), ("fails", None, "failed"),
     ("gives-up", None, "failed"), ("spins", None, "failed"), ("peeks", __file__, "failed")],
)  # fmt: skip
async def test_a_run_gets_its_verdict_after_its_end(workflow_id: str, input: object, status: str) -> None:
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=ALL, verify="always") as runtime:
        run = await runtime.start(workflow_id, input, run_id="r")
        ended = await run.wait()
        assert await verdict_of(runtime, "r") is True
        after = await run.status()
        assert (await run.replay()).ok, "it replays with the note too"
    assert (after, after.verdict, after.finished_at, after.error) == (status, True, ended.finished_at, ended.error)
    assert kinds_of(ledger, "r")[-2:] == [status, kinds.VERIFIED]


async def test_a_cancelled_run_gets_its_verdict_too() -> None:
    async with Runtime(MemoryLedger(), workflows=ALL, verify="always") as runtime:
        run = await runtime.start("waits")
        assert await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        assert await verdict_of(runtime, run.run_id) is True
        with pytest.raises(RunCancelled):
            await run.result()


async def test_results_and_failures_are_the_same_after_the_verdict() -> None:
    async with Runtime(MemoryLedger(), workflows=ALL, verify="always") as runtime:
        done = await runtime.start("doubles", 3)
        broken = await runtime.start("fails")
        for run in (done, broken):
            await verdict_of(runtime, run.run_id)
        assert await done.result() == 6
        with pytest.raises(RunFailed, match="again"):
            await broken.result()
        assert (await done.replay()).ok
        assert (await broken.replay()).ok


async def test_a_parent_that_looks_late_finds_how_its_verified_child_ended() -> None:
    async with Runtime(MemoryLedger(), workflows=ALL, verify="always") as runtime:
        run = await runtime.start("parent", 3, run_id="p")
        await run.wait("waiting_event")
        (child,) = await runtime.runs(workflow="doubles")
        assert await verdict_of(runtime, child.run_id) is True
        await runtime.send_event("go")
        assert await run.result() == [6, 0]
        assert await verdict_of(runtime, "p") is True


async def test_the_view_says_what_replayed_it(tmp_path: Path) -> None:
    async with Runtime(tmp_path / "a.duckdb", workflows=ALL, verify="always") as runtime:
        await runtime.start("doubles", 2, run_id="r")
        await verdict_of(runtime, "r")
        found = runtime.sql("SELECT run_id, workflow, version, ok, cause, message, definition, position FROM verdicts")
        assert found.rows == (("r", "doubles", "1", True, None, None, doubles.digest, 6),)
    assert verify(tmp_path / "a.duckdb").ok


async def test_nothing_is_verified_unless_asked_for() -> None:
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=ALL) as runtime:
        run = await runtime.start("doubles", 2, run_id="r")
        await run.result()
    assert kinds.VERIFIED not in kinds_of(ledger, "r")
    assert not [thread for thread in threading.enumerate() if thread.name == "perdure-verifier"]


def test_blocking_use_verifies_too(tmp_path: Path) -> None:
    with Runtime(tmp_path / "a.duckdb", workflows=ALL, verify="always") as runtime:
        runtime.start("doubles", 2, run_id="r").result()
    with Runtime(tmp_path / "a.duckdb", workflows=ALL) as runtime:
        assert runtime.handle("r").status().verdict is True


# ── a run that does not replay ───────────────────────────────────────────────────────────────────


async def test_a_divergence_is_recorded_and_logged_and_leaves_the_run_as_it_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=[doubles]) as runtime:
        await (await runtime.start("doubles", 3, run_id="r")).result()
    with caplog.at_level(logging.ERROR, "perdure"):
        async with Runtime(ledger, workflows=[other_doubles], verify="always", code="today") as runtime:
            assert await verdict_of(runtime, "r") is False
            status = await runtime.handle("r").status()
            assert (status, status.error) == ("completed", None)
            assert await runtime.handle("r").result() == 6
    ((ok, cause, message, report, at, definition),) = ledger.sql(
        "SELECT ok, cause, message, report, diverged_at, definition FROM verdicts"
    ).rows
    assert (ok, at, definition) == (False, 1, other_doubles.digest)
    assert cause
    assert "entry" in report
    assert message in report
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "Run r of doubles v1 has ended (completed), but does not replay." in caplog.text
    assert report in caplog.text


async def test_a_long_run_that_diverges_is_recorded_without_a_search_for_its_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def explore(*arguments: object) -> None:
        pytest.fail("the cause was looked for")

    monkeypatch.setattr(live, "_EXPLAINED_MAX", 5)
    monkeypatch.setattr("perdure.replay.check.explore", explore)
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=[doubles]) as runtime:
        await (await runtime.start("doubles", 3, run_id="r")).result()
    async with Runtime(ledger, workflows=[other_doubles], verify="always", code="today") as runtime:
        assert await verdict_of(runtime, "r") is False
    assert ledger.sql("SELECT ok, diverged_at FROM verdicts").rows == ((False, 1),)


async def test_a_run_that_can_not_be_replayed_keeps_the_others_from_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check = live.check_run

    def fails_for_some(row: RunRow, *arguments: Any, **options: Any) -> Verdict:
        if row.run_id == "a":
            raise ZeroDivisionError
        return check(row, *arguments, **options)

    monkeypatch.setattr(live, "check_run", fails_for_some)
    async with Runtime(MemoryLedger(), workflows=ALL, verify="always") as runtime:
        await (await runtime.start("doubles", 2, run_id="a")).result()
        await (await runtime.start("doubles", 2, run_id="b")).result()
        assert await verdict_of(runtime, "b") is True
        assert (await runtime.handle("a").status()).verdict is None
    assert "Run a of doubles v1 can't be verified" in caplog.text


# ── which runs ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wrong", [0, 0.0, 1.5, -0.1, True, "sometimes", None, "0.5", float("nan")])
def test_a_share_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match="verify") as caught:
        Runtime(MemoryLedger(), workflows=ALL, verify=wrong)
    assert "0.01" in caught.value.fix


def test_a_share_of_runs_is_chosen_by_their_ids() -> None:
    ids = [f"order-{number}" for number in range(4000)]
    chosen = [run_id for run_id in ids if in_share(run_id, 0.1, "verify")]
    assert chosen == [run_id for run_id in ids if in_share(run_id, 0.1, "verify")]
    assert 300 < len(chosen) < 500
    assert all(in_share(run_id, 0.2, "verify") for run_id in chosen)
    assert all(in_share(run_id, 1, "verify") for run_id in ids)


async def test_a_share_of_the_runs_is_verified() -> None:
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=ALL, verify=0.3) as runtime:
        for number in range(30):
            await (await runtime.start("doubles", 1, run_id=f"order-{number}")).result()
    verified = {run_id for (run_id,) in ledger.sql("SELECT run_id FROM verdicts").rows}
    assert verified == {f"order-{number}" for number in range(30) if in_share(f"order-{number}", 0.3, "verify")}
    assert 0 < len(verified) < 30


# ── what was left out ────────────────────────────────────────────────────────────────────────────


async def test_what_closing_dropped_is_verified_after_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    async with Runtime(path, workflows=ALL) as runtime:
        for number in range(3):
            await (await runtime.start("doubles", number, run_id=f"r{number}")).result()
    async with Runtime(path, workflows=ALL, verify="always") as runtime:
        assert [await verdict_of(runtime, f"r{number}") for number in range(3)] == [True] * 3


async def test_closing_verifies_what_waits_when_there_is_time(tmp_path: Path) -> None:
    async with Runtime(tmp_path / "a.duckdb", workflows=ALL, verify="always") as runtime:
        runs = await asyncio.gather(*[runtime.start("doubles", 5) for _ in range(20)])
        await asyncio.gather(*[run.result() for run in runs])
    ledger = DuckDBLedger(tmp_path / "a.duckdb", read_only=True)
    assert ledger.sql("SELECT count(*) FROM verdicts WHERE ok").rows == ((20,),)
    ledger.close()


async def test_closing_without_time_drops_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = MemoryLedger()
    resting, go_on = threading.Event(), threading.Event()

    def rest(self: Pace) -> None:
        resting.set()
        assert go_on.wait(20)
        original(self)

    original = Pace.rest
    monkeypatch.setattr(Pace, "rest", rest)
    async with Runtime(ledger, workflows=ALL, drain=0, verify="always") as runtime:
        await (await runtime.start("doubles", 3, run_id="a")).result()
        await (await runtime.start("doubles", 3, run_id="b")).result()
        await asyncio.to_thread(resting.wait, 20)
        stop = LiveVerifier.stop

        def stop_and_go_on(self: LiveVerifier, seconds: float) -> None:
            self._pace.hurry(seconds)
            go_on.set()
            stop(self, seconds)

        monkeypatch.setattr(LiveVerifier, "stop", stop_and_go_on)
    assert ledger.sql("SELECT * FROM verdicts").rows == ()
    monkeypatch.setattr(Pace, "rest", original)
    async with Runtime(ledger, workflows=ALL, verify="always") as runtime:
        assert [await verdict_of(runtime, run_id) for run_id in "ab"] == [True, True]


async def test_what_did_not_fit_into_the_queue_is_found_in_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_QUEUE_MAX", 1)
    monkeypatch.setattr(live, "_PAGE", 2)
    async with Runtime(MemoryLedger(), workflows=ALL, verify="always") as runtime:
        runs = await asyncio.gather(*[runtime.start("doubles", 5) for _ in range(20)])
        await asyncio.gather(*[run.result() for run in runs])
        assert {await verdict_of(runtime, run.run_id) for run in runs} == {True}


async def test_a_run_is_verified_on_the_code_that_it_was_walked_on() -> None:
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=[doubles]) as runtime:
        await (await runtime.start("doubles", 3, run_id="r")).result()
    async with Runtime(ledger, workflows=[other_doubles], verify="always") as runtime:
        assert await verdict_of(runtime, "r") is True
    assert ledger.sql("SELECT definition FROM verdicts").rows == ((doubles.digest,),)
    assert doubles.digest != other_doubles.digest


async def test_runs_of_workflows_that_are_not_registered_are_verified_on_their_recorded_code() -> None:
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=ALL) as runtime:
        await (await runtime.start("together", 2, run_id="a")).result()
    async with Runtime(ledger, workflows=[doubles], verify="always") as runtime:
        assert await verdict_of(runtime, "a") is True


async def test_runs_of_workflows_that_are_not_registered_are_left_alone_on_today_s_code() -> None:
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=ALL) as runtime:
        await (await runtime.start("together", 2, run_id="a")).result()
        await (await runtime.start("doubles", 2, run_id="b")).result()
    async with Runtime(ledger, workflows=[doubles], verify="always", code="today") as runtime:
        assert await verdict_of(runtime, "b") is True
    assert ledger.sql("SELECT run_id FROM verdicts").rows == (("b",),)


async def test_a_run_that_moved_on_meanwhile_gets_no_note() -> None:
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=ALL) as runtime:
        await (await runtime.start("doubles", 2, run_id="r")).result()
        row = ledger.run("r")
        assert row is not None
        verdict = Verdict("r", "doubles", "1", row.length)
        verifier = object.__new__(LiveVerifier)
        for seen, noted in ((replace(row, length=row.length - 1), False), (row, True), (row, True)):
            finding = live._Finding(seen, "d", verdict)
            await runtime.ask(lambda engine, batch, finding=finding: verifier._note(engine, batch, [finding]))
            assert (kinds_of(ledger, "r")[-1] == kinds.VERIFIED) == noted
    assert kinds_of(ledger, "r").count(kinds.VERIFIED) == 1


# ── giving way ───────────────────────────────────────────────────────────────────────────────────


async def test_a_replay_in_the_background_lets_other_bodies_run_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies run one at a time in a process: here another one runs whenever the long replay rests."""
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=ALL) as runtime:
        await (await runtime.start("doubles", 200, run_id="long")).result()
    ran: list[int] = []
    other = Runtime(MemoryLedger(), workflows=ALL)
    with other as blocking:

        def rest(self: Pace) -> None:
            self.strides = 50
            if len(ran) < 4:
                ran.append(blocking.start("doubles", 2).result("20s"))

        monkeypatch.setattr(Pace, "rest", rest)
        async with Runtime(ledger, workflows=ALL, verify="always") as runtime:
            assert await verdict_of(runtime, "long") is True
    assert ran == [2] * 4


@pytest.mark.parametrize("strides", [1, 2, 3])
async def test_resting_changes_no_verdict(strides: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rests = []

    def rest(self: Pace) -> None:
        rests.append(self.strides)
        self.strides = strides

    monkeypatch.setattr(Pace, "rest", rest)
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=ALL) as runtime:
        for id, input in (("doubles", 7), ("together", 4), ("fails", None), ("spins", None)):
            await (await runtime.start(id, input, run_id=id)).wait()
    async with Runtime(ledger, workflows=[other_doubles, *ALL[1:]], verify="always", code="today") as runtime:
        found = {id: await verdict_of(runtime, id) for id in ("doubles", "together", "fails", "spins")}
    assert found == {"doubles": False, "together": True, "fails": True, "spins": True}
    assert rests.count(strides) > 4


def test_a_pace_rests_as_long_as_it_worked_and_waits_while_others_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    now, busy, waited = [0.0], [1], list[float]()

    def is_busy() -> bool:
        busy[0] -= 1
        return busy[0] >= 0

    monkeypatch.setattr("perdure.replay.paced.time.thread_time", lambda: now[0])
    pace = Pace(is_busy)
    monkeypatch.setattr(pace, "wait", waited.append)
    now[0] = 0.004
    strides = pace.strides
    pace.rest()
    assert waited == [0.004, 0.01]
    assert pace.strides == strides // 2, "it worked for too long"
    waited.clear()
    now[0] += 0.0001
    pace.rest()
    assert waited == [], "for so little work it need not rest"
    assert pace.strides == strides
    now[0] += 0.0009
    pace.rest()
    assert waited == [pytest.approx(0.001)]
    busy[0] = 10**6
    now[0] += 0.001
    pace.rest()
    assert 1 < len(waited) < 9, "it goes on some time, though others never rest"


async def test_a_full_disk_delays_verdicts_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(MemoryLedger):
        refusals = 2

        def append(self, entries: Any, definitions: Any = (), cells: Any = ()) -> None:
            if entries and entries[0].kind == kinds.VERIFIED and self.refusals:
                self.refusals -= 1
                raise LedgerFull("no room.")
            super().append(entries, definitions, cells)

    monkeypatch.setattr(live, "_PAUSE_AFTER_FULL_DISK_S", 0.01)
    ledger = Full()
    async with Runtime(ledger, workflows=ALL) as runtime:
        await (await runtime.start("doubles", 2, run_id="r")).result()
    async with Runtime(ledger, workflows=ALL, verify="always") as runtime:
        assert await verdict_of(runtime, "r") is True
    assert ledger.refusals == 0


def test_a_verdict_says_what_it_was_found_with() -> None:
    finding = live._Finding(replace(_row(), length=3), "digest", Verdict("r", "doubles", "1", 3))
    facts = json.loads(finding.detail())
    assert facts.keys() == {"ok", "definition", "python", "perdure"}
    assert facts["ok"] is True


def _row() -> RunRow:
    return RunRow(1, "r", "doubles", "1", "digest", "completed", 1, 0, 0)
