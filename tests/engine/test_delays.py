"""How long a retry waits, by its policy."""

from __future__ import annotations

import asyncio

import pytest

from perdure import RetryPolicy
from perdure.storage import entries as kinds
from perdure.storage.failures import decode_failure
from perdure.strict import step, workflow

HOUR_US = 3_600_000_000


@pytest.mark.parametrize("backoff", ["fixed", "exponential"])
def test_a_base_delay_longer_than_the_default_maximum_is_kept(backoff) -> None:
    policy = RetryPolicy(max_attempts=9, backoff=backoff, base_delay="1h", jitter=0)
    assert [policy.delay_us(attempt, 0.5) for attempt in (1, 2, 3)] == [HOUR_US] * 3


def test_its_jitter_goes_both_ways() -> None:
    policy = RetryPolicy(backoff="fixed", base_delay="1h", jitter=0.1)
    assert [policy.delay_us(1, draw) for draw in (0, 0.5, 1)] == [HOUR_US * 9 // 10, HOUR_US, HOUR_US * 11 // 10]


def test_delays_grow_up_to_the_maximum() -> None:
    policy = RetryPolicy(max_attempts=9, base_delay="10s", factor=2, max_delay="30s", jitter=0)
    assert [policy.delay_us(attempt, 0.5) // 1_000_000 for attempt in (1, 2, 3, 4)] == [10, 20, 30, 30]


def test_a_step_waits_for_the_hour_that_was_asked_for(perdure_runtime, perdure_clock) -> None:
    @step(retries=RetryPolicy(max_attempts=2, backoff="fixed", base_delay="1h", jitter=0))
    async def busy() -> None:
        raise ConnectionError("busy")

    @workflow(id="wait")
    async def wait(input: None) -> None:
        await busy()

    with perdure_runtime(wait) as runtime:
        run = runtime.start(wait)
        perdure_clock.advance("59m59s")
        assert run.status() == "awaiting_retry"
        perdure_clock.advance("1s")
        assert run.status() == "failed"


def test_the_record_of_a_timeout_has_none_of_our_lines(perdure_runtime, perdure_clock) -> None:
    @workflow(id="endless")
    async def endless(input: None, step) -> None:
        await step.run("endless", asyncio.sleep, 3600, retries=0, timeout="1ms")

    with perdure_runtime(endless) as runtime:
        run = runtime.start(endless)
        perdure_clock.settle()
        failed = next(entry for entry in run.recorded().entries if entry.kind == kinds.STEP_FAILED)
    text = decode_failure(failed.body or "", failed.shape).traceback_text
    assert text.startswith("perdure.errors.StepTimeout: StepTimeout [STEP202]: step 'endless' took longer")
    assert "File" not in text
