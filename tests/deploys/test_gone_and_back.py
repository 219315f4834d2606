"""What today's code has no more stops a run as diverged, with what is missing and where; nothing is lost, and the run
goes on once it is back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from deployed import BODY, HEAD, ORDER, OUTCOME, Deploys, report

from perdure.declare.discovery import find_workflows

CHANGED = BODY.replace("charge(input.cents)", "charge(input.cents + 1)")
NO_RESERVE = HEAD.replace("async def reserve", "async def allocate")
NO_CHARGE = HEAD.replace("async def charge", "async def settle")
ONLY_RESERVE = BODY.replace("    paid = await charge(input.cents)\n", '    paid = ""\n')
HANDED = """
@workflow(id="checkout", version="1")
async def checkout(input: Order, step) -> str:
    await step.wait_for_event("go", type="go")
    return await step.run("pay", charge, input.cents)
"""
BY_FIELDS = BODY.replace("await reserve(input)", 'await step.run("reserve", str.lower, input.sku)')
IN_A_LAMBDA = HANDED.replace("charge, input.cents", "lambda: charge(input.cents)")


async def test_a_gone_step_whose_result_is_recorded_is_not_missed(deploys: Deploys) -> None:
    await deploys.begin()
    deploys.release(head=NO_RESERVE)  # the body is deleted too: it would not compile without its step
    assert await deploys.finish() == OUTCOME


@pytest.mark.parametrize("body", [BODY, HANDED, IN_A_LAMBDA], ids=["called", "handed", "in a lambda"])
async def test_a_gone_step_stops_the_run_where_it_is_asked_for_and_back_again_it_goes_on(
    body: str, deploys: Deploys
) -> None:
    await deploys.begin(body)
    deploys.release(ONLY_RESERVE if body == BODY else "", head=NO_CHARGE)
    text = await deploys.stopped()
    assert "module orders has no charge any more" in text
    assert "bring charge back to orders" in text
    assert "step gone" in text
    async with deploys.live() as runtime:  # it is tried at each start, and stays as it is
        entries = [entry.kind for entry in await runtime.handle("r").history()]
        assert entries[-2:] == ["diverged", "event_received"]
    deploys.release(CHANGED)
    assert (await deploys.finish()).endswith("charge-1250")


async def test_what_stays_diverged_is_told_once_at_a_start(deploys: Deploys, caplog: pytest.LogCaptureFixture) -> None:
    await deploys.begin()
    deploys.release(ONLY_RESERVE, head=NO_CHARGE)
    await deploys.stopped()
    caplog.clear()
    async with deploys.live() as runtime:
        await runtime.ask(lambda engine, batch: None)
    assert caplog.text.count("Run r stopped as diverged") == 1


async def test_a_step_that_no_longer_takes_the_old_arguments_stops_the_run_and_burns_no_attempt(
    deploys: Deploys,
) -> None:
    await deploys.begin()
    head = HEAD.replace("charge(cents: int)", "charge(cents: int, currency: str)")
    deploys.release(BODY.replace("charge(input.cents)", 'charge(input.cents, "EUR")'), head=head)
    text = await deploys.stopped()
    assert "step charge can't be called as the recorded body calls it: missing a required argument: 'currency'" in text
    assert "(cents: int, currency: str)" in text
    deploys.release("", head=HEAD.replace("charge(cents: int)", 'charge(cents: int, currency: str = "EUR")'))
    async with deploys.live() as runtime:
        run = runtime.handle("r")
        assert await run.result(timeout="20s") == OUTCOME
        (completed,) = [each for each in await run.history() if each.kind == "step_completed" and each.name == "charge"]
        assert completed.attempt == 1


async def test_a_step_between_two_attempts_that_is_gone_waits_for_its_return(deploys: Deploys) -> None:
    refusing = HEAD.replace('base_delay="1ms"', 'base_delay="200ms"').replace(
        'return f"charge-', 'raise ValueError("no")\n    return f"charge-'
    )
    async with deploys.live(deploys.release(head=refusing)) as runtime:
        run = await runtime.start("checkout", ORDER, run_id="r")
        await run.wait("waiting_event", timeout="20s")
        await runtime.send_event("go")
        await run.wait("awaiting_retry", timeout="20s")
    deploys.release("", head=NO_CHARGE)
    assert "has no charge any more" in await deploys.stopped()
    deploys.release("")
    assert await deploys.finish() == OUTCOME


async def test_a_step_that_a_crash_cut_off_and_that_is_gone_waits_for_its_return(deploys: Deploys) -> None:
    slow = HEAD.replace('return f"charge-', 'import asyncio; await asyncio.sleep(60)\n    return f"charge-')
    async with deploys.live(deploys.release(head=slow), drain="1ms") as runtime:
        run = await runtime.start("checkout", ORDER, run_id="r")
        await run.wait("waiting_event", timeout="20s")
        await runtime.send_event("go")
        await runtime.ask(lambda engine, batch: None)
    deploys.release("", head=NO_CHARGE)
    assert "has no charge any more" in await deploys.stopped()
    deploys.release("")
    assert await deploys.finish() == OUTCOME


async def test_a_module_that_can_not_be_imported_stops_the_run_until_it_is_back(deploys: Deploys) -> None:
    await deploys.begin()
    deploys.remove()
    text = await deploys.stopped()
    assert "the module orders of checkout v1 can't be imported: ModuleNotFoundError" in text
    assert "bring orders back" in text
    deploys.release(CHANGED)
    assert await deploys.finish() == OUTCOME


async def test_a_module_that_moved_is_found_again_through_one_that_imports_what_moved(deploys: Deploys) -> None:
    await deploys.begin(BY_FIELDS)
    deploys.remove()
    deploys.release(CHANGED, module="shop")
    head = "from shop import Order, charge, reserve\n"
    today = deploys.release("", head=head)
    assert not find_workflows(today)
    assert await deploys.finish() == "a1 charge-1250"


async def test_all_names_that_a_body_misses_are_named_at_once(deploys: Deploys) -> None:
    body = """
    class Refused(Exception):
        pass

    LIMIT = sum([1, 2])

    @workflow(id="checkout", version="1")
    async def checkout(input: Order, step) -> str:
        try:
            await step.wait_for_event("go", type="go")
            return f"{LIMIT}"
        except Refused:
            return "refused"
    """
    await deploys.begin(body)
    deploys.release("")
    text = await deploys.stopped()
    assert "needs LIMIT of module orders, Refused of module orders, which today's code has no more" in text
    deploys.release("class Refused(Exception):\n    pass\n\nLIMIT = 3\n")
    assert await deploys.finish() == "3"


async def test_a_model_that_can_not_hold_what_was_recorded_stops_the_run_until_it_can(deploys: Deploys) -> None:
    await deploys.begin(BY_FIELDS)
    today = deploys.release(BY_FIELDS, head=HEAD.replace("    cents: int\n", "    cents: int\n    country: str\n", 1))
    assert "Order" in await deploys.stopped(today)
    today = deploys.release(
        CHANGED, head=HEAD.replace("    cents: int\n", '    cents: int\n    country: str = "DE"\n', 1)
    )
    assert await deploys.finish(today) == "a1 charge-1250"


async def test_a_model_that_lost_what_the_body_reads_stops_the_run_instead_of_failing_it(deploys: Deploys) -> None:
    head = HEAD.replace("    cents: int\n", "    cents: int = 0\n    model_config = {'extra': 'ignore'}\n", 1)
    await deploys.begin(BY_FIELDS, head=head)
    gone = head.replace("    cents: int = 0\n", "", 1)
    deploys.release("", head=gone)
    text = await deploys.stopped()
    assert "misses the attribute cents of orders.Order in today's code" in text
    deploys.release("", head=head)
    assert await deploys.finish() == "a1 charge-1250"


async def test_an_error_of_the_body_s_own_fails_the_run_as_ever(deploys: Deploys) -> None:
    body = BODY.replace("paid = await charge(input.cents)", "paid = None.upper()")
    await deploys.begin(body)
    async with deploys.live(deploys.release("")) as runtime:
        await runtime.send_event("go")
        status = await runtime.handle("r").wait(timeout="20s")
        assert (status, status.error) == ("failed", "AttributeError: 'NoneType' object has no attribute 'upper'")


async def test_code_that_today_s_policy_refuses_stops_the_run_with_the_findings(
    deploys: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.sandbox import judgement

    body = BODY.replace('f"{stock} {paid}"', '"-".join([stock, paid])').replace(
        "paid = await", "_ = len(stock)\n    paid = await"
    )
    await deploys.begin(body)
    with monkeypatch.context() as stricter:
        real = judgement.of_builtin
        refusal = judgement.Judgement("refused", "len is refused by this release", "count in a step")
        stricter.setattr(judgement, "of_builtin", lambda name: [refusal] if name == "len" else real(name))
        deploys.release("")
        text = await deploys.stopped()
        assert "PolicyViolation" in text
        assert "len is refused by this release" in text
    assert await deploys.finish() == "stock-A1-charge-1250"


@pytest.mark.parametrize("where", ["body", "helper"])
async def test_recorded_code_that_was_tampered_with_is_never_run(
    where: str, deploys: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = "def shown(text: str) -> str:\n    return text\n"
    await deploys.begin(helper + BODY.replace("return f", "return shown(f").replace('paid}"', 'paid}")'))
    today = deploys.release(CHANGED)
    old, new = ("await charge(", "await charge(100 * ") if where == "body" else ("return text", "return text[:1]")
    with monkeypatch.context() as altered:
        alter_definitions(deploys, altered, old, new)
        text = await deploys.stopped(today)
    assert "LEDGER102" in text
    assert "is not the code that ran: its digest is another one" in text
    assert await deploys.finish(today) == OUTCOME


def alter_definitions(deploys: Deploys, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """Have every ledger read recorded sources otherwise than they were written."""
    from perdure.storage.duckdb_ledger import DuckDBLedger
    from perdure.storage.memory_ledger import MemoryLedger

    for kind in (DuckDBLedger, MemoryLedger):
        real: Any = kind.definition

        def altered(self: Any, digest: str, real: Any = real) -> Any:
            row = real(self, digest)
            if row is None:
                return None
            pieces = json.loads(row.source)
            for piece in pieces:
                piece["source"] = piece["source"].replace(old, new)
            return row._replace(source=json.dumps(pieces))

        monkeypatch.setattr(kind, "definition", altered)


async def test_a_run_that_waits_for_its_begin_or_its_next_attempt_stops_and_comes_back_too(deploys: Deploys) -> None:
    flaky = """
    @workflow(id="checkout", version="1", retries=RetryPolicy(max_attempts=2, base_delay="200ms"))
    async def checkout(input: Order, step, ctx) -> str:
        if ctx.attempt < 2 and input.sku == "A1":
            raise ValueError("not yet")
        return await charge(input.cents)
    """
    async with deploys.live(deploys.release(flaky)) as runtime:
        await runtime.start("checkout", {"sku": "B2", "cents": 1}, run_id="later", delay="300ms")
        await (await runtime.start("checkout", ORDER, run_id="r")).wait("awaiting_retry", timeout="20s")
    deploys.remove()
    async with deploys.live() as runtime:
        for run_id in ("r", "later"):
            run = runtime.handle(run_id)
            await run.wait("diverged", timeout="20s")
            assert "orders" in await report(run)
        assert await runtime.handle("later").cancel()
    deploys.release("", head=NO_CHARGE)
    assert "has no charge any more" in await deploys.stopped()
    async with deploys.live() as runtime:
        assert await runtime.handle("later").wait(timeout="20s") == "cancelled"
    deploys.release("")
    assert await deploys.finish() == "charge-1250"


async def test_result_of_a_stopped_run_says_what_is_missing_and_what_to_do(deploys: Deploys) -> None:
    from perdure import Divergence

    await deploys.begin()
    deploys.release(ONLY_RESERVE, head=NO_CHARGE)
    async with deploys.live() as runtime:
        await runtime.send_event("go")
        with pytest.raises(Divergence, match="module orders has no charge any more") as caught:
            await runtime.handle("r").result(timeout="20s")
    assert "bring charge back to orders" in caught.value.fix
