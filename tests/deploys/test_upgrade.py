"""Open runs move to today's code when their histories replay on it, and stay on their own when they do not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from deployed import BODY, HEAD, ORDER, OUTCOME, Deploys

from perdure import DefinitionError, Runtime, UnknownRun
from perdure.replay.check import check_run
from perdure.storage import entries as kinds

#: A deploy after the place where the run waits: what is recorded replays.
LATER = BODY.replace('return f"{stock} {paid}"', 'return f"{stock} {paid} sent"')
SENT = f"{OUTCOME} sent"
#: One before it: it does not.
EARLIER = BODY.replace("    stock =", '    await step.run("audit", str, 1)\n    stock =')
SECOND = LATER.replace('version="1"', 'version="2"').replace("checkout(", "checkout2(")

FLAKY = """
@workflow(id="checkout", version="1", retries=RetryPolicy(max_attempts=3, base_delay="1h"))
async def checkout(input: Order, step) -> str:
    stock = await reserve(input)
    {trouble}
    return f"{{stock}} {{await charge(input.cents)}}"
"""


async def notes(runtime: Runtime, run_id: str = "r") -> list[dict[str, Any]]:
    return [each.detail for each in await runtime.handle(run_id).history() if each.kind == kinds.UPGRADED]


async def test_a_dry_run_says_what_would_move_and_writes_nothing(deploys: Deploys) -> None:
    await deploys.begin()
    async with deploys.live(deploys.release(LATER)) as runtime:
        before = await runtime.handle("r").history()
        (upgrade,) = await runtime.upgrade()
        assert (upgrade.run_id, upgrade.workflow, upgrade.ok, upgrade.moved) == ("r", "checkout", True, False)
        assert upgrade.before.digest != upgrade.after.digest == runtime.registry.newest("checkout").digest
        assert await runtime.handle("r").history() == before


async def test_a_run_that_moved_ends_as_today_s_code_has_it(deploys: Deploys) -> None:
    await deploys.begin()
    async with deploys.live(deploys.release(LATER)) as runtime:
        (upgrade,) = await runtime.upgrade(dry_run=False)
        assert upgrade.moved
        (note,) = await notes(runtime)
        assert note["definition"] == upgrade.after.digest == (await runtime.handle("r").status()).definition
        assert await runtime.upgrade() == []
        await runtime.send_event("go")
        assert await runtime.handle("r").result(timeout="20s") == SENT
        assert (await runtime.handle("r").replay()).ok


async def test_a_run_that_stays_ends_as_its_own_code_has_it(deploys: Deploys) -> None:
    await deploys.begin()
    async with deploys.live(deploys.release(EARLIER)) as runtime:
        (upgrade,) = await runtime.upgrade(dry_run=False)
        assert not upgrade.ok
        assert not upgrade.moved
        assert upgrade.divergence is not None
        assert upgrade.divergence.position == 1
        assert upgrade.divergence.cause == "step added"
        assert await notes(runtime) == []
        await runtime.send_event("go")
        assert await runtime.handle("r").result(timeout="20s") == OUTCOME


async def test_what_moved_stays_moved_after_a_restart_and_after_the_next_deploy(deploys: Deploys) -> None:
    await deploys.begin()
    today = deploys.release(LATER)
    async with deploys.live(today) as runtime:
        await runtime.upgrade(dry_run=False)
    assert await deploys.finish(deploys.release(EARLIER)) == SENT  # pinned to the code that it moved to


async def test_a_run_that_had_diverged_goes_on_once_it_moved(deploys: Deploys) -> None:
    await deploys.begin()
    async with deploys.live(deploys.release(EARLIER), code="today") as runtime:
        await runtime.send_event("go")
        await runtime.handle("r").wait("diverged", timeout="20s")
    # A mended body replays what is there; the event that came meanwhile is not lost. The version is another one, so
    # that opening the runtime alone does not bring the run back.
    async with deploys.live(deploys.release(SECOND), code="today") as runtime:
        assert str(await runtime.handle("r").status()) == "diverged"
        (upgrade,) = await runtime.upgrade(dry_run=False)
        assert upgrade.moved
        assert upgrade.after.version == "2"
        assert await runtime.handle("r").result(timeout="20s") == SENT


async def test_a_run_between_two_attempts_moves_when_its_failed_attempt_replays(deploys: Deploys) -> None:
    await deploys.begin(FLAKY.format(trouble='raise ValueError("no")'), status="awaiting_retry")
    same = FLAKY.format(trouble='note = "more"\n    raise ValueError("no")')
    mended = FLAKY.format(trouble='stock += "!"')
    async with deploys.live(deploys.release(same)) as runtime:
        assert [each.moved for each in await runtime.upgrade(dry_run=False)] == [True]
        assert str(await runtime.handle("r").status()) == "awaiting_retry"
    async with deploys.live(deploys.release(mended)) as runtime:
        (upgrade,) = await runtime.upgrade(dry_run=False)
        assert not upgrade.ok  # its first attempt failed, and this code does not


async def test_a_run_that_has_not_begun_moves(deploys: Deploys) -> None:
    async with deploys.live(deploys.release()) as runtime:
        await runtime.start("checkout", ORDER, run_id="r", delay="1h")
    async with deploys.live(deploys.release(EARLIER)) as runtime:
        assert [each.moved for each in await runtime.upgrade(dry_run=False)] == [True]
        assert str(await runtime.handle("r").status()) == "queued"
        assert await runtime.handle("r").cancel()


async def test_a_step_at_work_stays_at_work_and_its_outcome_reaches_the_new_body(deploys: Deploys) -> None:
    slow = (
        HEAD
        + "import asyncio\ngo = asyncio.Event()\n\n\n"
        + "async def wait_for_go() -> str:\n    await go.wait()\n    return 'went'\n"
    )
    waiting = """
    @workflow(id="checkout", version="1")
    async def checkout(input: Order, step) -> str:
        return await step.run("slow", wait_for_go) + "{more}"
    """
    old = deploys.release(waiting.format(more=""), head=slow)
    async with deploys.live(old) as runtime:
        run = await runtime.start("checkout", ORDER, run_id="r")
        while "step" not in [each.kind for each in await run.history()]:
            await asyncio.sleep(0)
        new = deploys.release(waiting.format(more=" on"), head=slow)
        runtime.registry._by_id["checkout"]["1"] = new.checkout  # as a process would have it after the deploy
        new.checkout.link()
        assert [each.moved for each in await runtime.upgrade(dry_run=False)] == [True]
        old.go.set()
        assert await run.result(timeout="20s") == "went on"
        assert [each.kind for each in await run.history()].count(kinds.STEP) == 1


@pytest.mark.parametrize("version", [None, "2"])
async def test_a_run_whose_version_is_gone_moves_to_the_newest(version: str | None, deploys: Deploys) -> None:
    await deploys.begin()
    async with deploys.live(deploys.release(SECOND)) as runtime:
        (upgrade,) = await runtime.upgrade("checkout", version=version, dry_run=False)
        assert (upgrade.before.version, upgrade.after.version, upgrade.moved) == ("1", "2", True)
        status = await runtime.handle("r").status()
        assert status.version == "2"
        await runtime.send_event("go")
        assert await runtime.handle("r").result(timeout="20s") == SENT
        assert (await runtime.handle("r").replay()).ok


async def test_a_version_that_is_registered_keeps_its_runs_unless_another_is_asked_for(deploys: Deploys) -> None:
    await deploys.begin()
    async with deploys.live(deploys.release(BODY + SECOND)) as runtime:
        assert await runtime.upgrade() == []
        (upgrade,) = await runtime.upgrade(run_id="r", version="2")
        assert upgrade.ok


async def test_what_can_not_be_checked_says_why(deploys: Deploys) -> None:
    await deploys.begin()
    async with deploys.live(deploys.release(BODY.replace('id="checkout"', 'id="sale"'))) as runtime:
        (upgrade,) = await runtime.upgrade(dry_run=False)
        assert upgrade.after is None
        assert not upgrade.moved
        assert "no workflow has the id 'checkout'" in str(upgrade.error)


async def test_a_run_that_is_not_there_or_has_ended_is_refused(deploys: Deploys) -> None:
    async with deploys.live(deploys.release(LATER)) as runtime:
        with pytest.raises(UnknownRun):
            await runtime.upgrade(run_id="r")
        run = await runtime.start("checkout", ORDER, run_id="r")
        await run.cancel()
        await run.wait(timeout="20s")
        with pytest.raises(DefinitionError, match="has ended"):
            await runtime.upgrade(run_id="r")
        with pytest.raises(DefinitionError, match="the runs of all"):
            await runtime.upgrade(version="1")


async def test_a_fork_of_a_run_that_moved_is_on_today_s_code(deploys: Deploys) -> None:
    await deploys.begin()
    async with deploys.live(deploys.release(LATER)) as runtime:
        await runtime.upgrade(dry_run=False)
        await runtime.send_event("go")
        await runtime.handle("r").result(timeout="20s")
    third = LATER.replace("sent", "sent twice")
    async with deploys.live(deploys.release(third)) as runtime:
        fork = await runtime.handle("r").fork("charge")
        assert await fork.result(timeout="20s") == f"{OUTCOME} sent twice"
        assert (await fork.status()).definition == runtime.registry.newest("checkout").digest
        assert (await fork.replay()).ok


async def test_a_history_that_moved_is_kept_as_text_and_replays(deploys: Deploys, tmp_path: Any) -> None:
    from perdure.replay.history_file import read_history, write_history

    await deploys.begin()
    async with deploys.live(deploys.release(LATER)) as runtime:
        await runtime.upgrade(dry_run=False)
        await runtime.send_event("go")
        await runtime.handle("r").result(timeout="20s")
        file = tmp_path / "r.history.jsonl"
        with file.open("w", encoding="utf-8") as text:
            write_history(runtime.handle("r").recorded(), text)
        back = read_history(file)
        assert back.definition is not None
        assert back.definition.digest == runtime.registry.newest("checkout").digest
        assert check_run(back.row, runtime.registry.newest("checkout"), back.entries).ok
        # Evidence is that of the code it was walked on last.
        older = deploys.release(EARLIER).checkout
        older.link()
        verdict = check_run(back.row, older, back.entries, recorded=back.definition)
        assert not verdict.ok
        assert verdict.divergence is not None
        assert "audit" in verdict.divergence.evidence


async def test_the_note_is_one_line_of_the_ledger(deploys: Deploys) -> None:
    await deploys.begin()
    async with deploys.live(deploys.release(LATER)) as runtime:
        await runtime.upgrade(dry_run=False)
        found = runtime.sql("SELECT kind, detail FROM entries WHERE kind = 'upgraded'")
        ((kind, detail),) = found.rows
        facts = json.loads(detail) if isinstance(detail, str) else detail
        assert kind == kinds.UPGRADED
        assert {"definition", "version", "python", "libraries"} <= facts.keys()
