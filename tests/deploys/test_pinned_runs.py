"""A run goes on with the code that it started with, whatever a deploy made of it; steps are those of today."""

from __future__ import annotations

from typing import Any

import pytest
from deployed import BODY, HEAD, ORDER, OUTCOME, Deploys

from perdure.declare.discovery import find_workflows

#: What a deploy makes of the body, by what it does to the recorded steps.
CHANGES = {
    "a step is added": BODY.replace("    stock =", '    await step.run("audit", str, 1)\n    stock ='),
    "a step is removed": BODY.replace("    stock = await reserve(input)\n", '    stock = ""\n'),
    "a step is renamed": BODY.replace("await reserve(input)", 'await step.run("allocate", reserve, input)'),
    "steps change places": BODY.replace("stock = await reserve(input)", "paid = await charge(input.cents)").replace(
        "paid = await charge(input.cents)\n    return", "stock = await reserve(input)\n    return"
    ),
    "the wait is another one": BODY.replace('type="go"', 'type="paid"'),
    "arguments differ": BODY.replace("charge(input.cents)", "charge(input.cents + 1)"),
    "the output is another type": BODY.replace("-> str", "-> int").replace('f"{stock} {paid}"', "7"),
    "the parameters differ": BODY.replace("input: Order, step", "input: Order, step, ctx").replace("stock}", "ctx}"),
    "the id is another one": BODY.replace('id="checkout"', 'id="sale"'),
    "the version is another one": BODY.replace('version="1"', 'version="2"').replace("cents)", "cents * 2)"),
    "the body is deleted": "",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_run_goes_on_with_its_own_body_when(change: str, deploys: Deploys) -> None:
    await deploys.begin()
    today = deploys.release(CHANGES[change])
    assert await deploys.finish(*find_workflows(today)) == OUTCOME


async def test_new_runs_begin_with_today_s_body_while_old_ones_go_on(deploys: Deploys) -> None:
    await deploys.begin()
    today = deploys.release(BODY.replace("charge(input.cents)", "charge(input.cents + 1)"))
    async with deploys.live(today) as runtime:
        new = await runtime.start("checkout", ORDER)
        await new.wait("waiting_event", timeout="20s")
        assert await runtime.send_event("go") == 2
        assert await runtime.handle("r").result(timeout="20s") == OUTCOME
        assert await new.result(timeout="20s") == "stock-A1 charge-1251"


async def test_on_today_s_code_a_run_whose_body_changed_stops_as_diverged(deploys: Deploys) -> None:
    await deploys.begin()
    today = deploys.release(CHANGES["a step is renamed"])
    assert "allocate" in await deploys.stopped(today, code="today")
    assert await deploys.finish(today) == OUTCOME  # and goes on as soon as it is walked on its own again


async def test_steps_are_those_of_today(deploys: Deploys) -> None:
    await deploys.begin()
    head = HEAD.replace('return f"charge-', 'return f"new-charge-')
    today = deploys.release(CHANGES["a step is removed"], head=head)
    assert await deploys.finish(today) == "stock-A1 new-charge-1250"


async def test_helpers_and_constants_are_the_recorded_ones(deploys: Deploys) -> None:
    body = BODY.replace("charge(input.cents)", "charge(with_tax(input.cents))")
    helpers = "RATE = 10\n\ndef with_tax(cents: int) -> int:\n    return cents * (100 + RATE) // 100\n"
    await deploys.begin(helpers + body)
    today = deploys.release(helpers.replace("10", "20") + body)
    assert await deploys.finish(today) == "stock-A1 charge-1375"


async def test_a_run_of_a_deleted_workflow_keeps_the_options_that_it_started_with(deploys: Deploys) -> None:
    flaky = """
    @workflow(id="checkout", version="1", retries=RetryPolicy(max_attempts=3, base_delay="1ms"), max_entries=60)
    async def checkout(input: Order, step, ctx) -> str:
        await step.wait_for_event("go", type="go")
        if ctx.attempt < 3:
            raise ValueError("not yet")
        return await charge(ctx.attempt)
    """
    await deploys.begin(flaky)
    deploys.release("")
    assert await deploys.finish() == "charge-3"


async def test_a_run_that_waits_for_its_next_attempt_begins_it_on_its_own_code(deploys: Deploys) -> None:
    flaky = """
    @workflow(id="checkout", version="1", retries=RetryPolicy(max_attempts=2, base_delay="{delay}"))
    async def checkout(input: Order, step, ctx) -> str:
        stock = await reserve(input)
        if ctx.attempt < 2:
            raise ValueError("not yet")
        return stock
    """
    await deploys.begin(flaky.format(delay="300ms"), status="awaiting_retry")
    today = deploys.release(CHANGES["a step is renamed"])
    assert await deploys.finish(today) == "stock-A1"


async def test_a_run_that_waits_for_its_begin_begins_on_the_code_that_it_was_started_with(deploys: Deploys) -> None:
    body = '@workflow(id="checkout", version="1")\nasync def checkout(input: Order, step) -> str:\n    return "{}"\n'
    async with deploys.live(deploys.release(body.format("old"))) as runtime:
        await runtime.start("checkout", ORDER, run_id="r", delay="200ms")
    today = deploys.release(body.format("new"))
    assert await deploys.finish(today) == "old"


async def test_an_ended_run_that_is_retried_goes_on_with_its_own_code(deploys: Deploys) -> None:
    fails = HEAD.replace('return f"charge-', 'raise ValueError("no")\n    return f"charge-')
    async with deploys.live(deploys.release(head=fails)) as runtime:
        run = await runtime.start("checkout", ORDER, run_id="r")
        await run.wait("waiting_event", timeout="20s")
        await runtime.send_event("go")
        await run.wait("failed", timeout="20s")
    today = deploys.release(CHANGES["a step is renamed"])
    async with deploys.live(today) as runtime:
        run = runtime.handle("r")
        await run.retry()
        assert await run.result(timeout="20s") == OUTCOME


async def test_a_fork_goes_on_with_today_s_code(deploys: Deploys) -> None:
    await deploys.begin()
    await deploys.finish()
    today = deploys.release(BODY.replace("charge(input.cents)", "charge(input.cents + 1)"))
    async with deploys.live(today) as runtime:
        fork = await runtime.handle("r").fork("charge")
        assert await fork.result(timeout="20s") == "stock-A1 charge-1251"


async def test_what_a_deleted_body_returns_is_held_by_the_model_that_its_annotation_names(deploys: Deploys) -> None:
    body = BODY.replace("-> str", "-> Order").replace('f"{stock} {paid}"', '{"sku": paid, "cents": str(input.cents)}')
    await deploys.begin(body)
    today = deploys.release("")
    assert await deploys.finish() == today.Order(sku="charge-1250", cents=1250)


async def test_an_annotation_that_means_nothing_today_validates_nothing(deploys: Deploys) -> None:
    body = BODY.replace("-> str", '-> "Receipt"')
    await deploys.begin(body, head=HEAD + "Receipt = str\n")
    deploys.release("")
    assert await deploys.finish() == OUTCOME


async def test_recorded_code_is_loaded_once_however_many_runs_are_brought_back(
    deploys: Deploys, monkeypatch: Any
) -> None:
    from perdure.declare import pinned

    body = BODY
    async with deploys.live(deploys.release(body)) as runtime:
        for number in range(5):
            run = await runtime.start("checkout", ORDER, run_id=f"r{number}")
            await run.wait("waiting_event", timeout="20s")
    loads = []
    restrict = pinned.restrict_pinned

    def counted(*arguments: Any, **options: Any) -> Any:
        loads.append(arguments)
        return restrict(*arguments, **options)

    monkeypatch.setattr(pinned, "restrict_pinned", counted)
    today = deploys.release(CHANGES["a step is added"])
    async with deploys.live(today, residents_max=1) as runtime:
        assert await runtime.send_event("go") == 5
        for number in range(5):
            assert await runtime.handle(f"r{number}").result(timeout="20s") == OUTCOME
    assert len(loads) == 1
