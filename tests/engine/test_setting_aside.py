"""A run that can't go on through a fault of ours is set aside, keeps what reached it, and takes no other run along."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from perdure import InternalError, MemoryLedger, Runtime
from perdure.core import machine
from perdure.strict import workflow


def one() -> int:
    return 1


@workflow(id="unlucky")
async def unlucky(input: int, step) -> int:
    return input + await step.run("one", one)


@workflow(id="lucky")
async def lucky(input: int, step) -> int:
    return await step.run("one", one)


def fail_for_unlucky(monkeypatch: pytest.MonkeyPatch) -> None:
    ending_of = machine.ending_of

    def failing(task: Any, executable: Any, facts: Any, *rest: Any) -> Any:
        if facts.workflow == "unlucky":
            raise KeyError("a bug of ours")
        return ending_of(task, executable, facts, *rest)

    monkeypatch.setattr(machine, "ending_of", failing)


async def test_a_run_that_fails_to_recover_stays_diverged_until_it_can(
    open_runtime: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as faulty:
        fail_for_unlucky(faulty)
        for _ in range(3):
            async with open_runtime(unlucky, lucky) as runtime:
                run = await runtime.start(unlucky, 41, run_id="u-1")
                assert await run.wait("diverged", timeout="20s") == "diverged"
                assert await (await runtime.start(lucky, 0)).result(timeout="20s") == 1
    async with open_runtime(unlucky, lucky) as runtime:
        assert await runtime.handle("u-1").result(timeout="20s") == 42
        assert (await runtime.handle("u-1").replay()).ok


async def test_whoever_asked_in_the_batch_that_stopped_the_engine_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = MemoryLedger()

    def broken(*_: object) -> None:
        raise ValueError("a bug of ours")

    async with Runtime(ledger, workflows=[lucky]) as runtime:
        monkeypatch.setattr(ledger, "append", broken)
        async with asyncio.timeout(10):
            with pytest.raises(InternalError, match="the engine stopped"):
                await runtime.start(lucky, 0)
            with pytest.raises(InternalError, match="the engine stopped"):
                await runtime.start(lucky, 0)
