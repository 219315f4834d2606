"""A fork shares no open hook with the run that it comes from: one token, one open hook."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import RunFailed, Runtime
from perdure.strict import MemoryLedger, workflow


@workflow(id="asking")
async def asking(input: str, step) -> list:
    hook = step.hook(input or None)
    first = await step.run("remember", str, hook.token)
    await step.sleep("pause", "1ms")
    return [first, await hook]


async def waiting(runtime: Runtime, token: str) -> tuple[Any, str]:
    run = await runtime.start("asking", token)
    await run.wait("waiting_event", timeout="20s")
    (held,) = (await run.status()).hooks
    return run, held


@pytest.mark.parametrize("given", ["desk", ""])
async def test_while_the_first_run_has_the_hook_open_the_fork_is_told_and_the_first_gets_the_payload(given) -> None:
    async with Runtime(MemoryLedger(), workflows=[asking]) as runtime:
        run, token = await waiting(runtime, given)
        fork = await run.fork("pause")
        with pytest.raises(RunFailed, match="is taken") as failed:
            await fork.result(timeout="20s")
        assert (await fork.replay()).ok
        assert failed.value.run_id == fork.run_id
        assert await runtime.resume_hook(token, 1) == run.run_id
        assert await run.result(timeout="20s") == [token, 1]


@pytest.mark.parametrize("given", ["desk", ""])
async def test_once_the_first_run_is_over_the_fork_has_the_token(given) -> None:
    async with Runtime(MemoryLedger(), workflows=[asking]) as runtime:
        run, token = await waiting(runtime, given)
        await run.cancel()
        fork = await run.fork("pause")
        await fork.wait("waiting_event", timeout="20s")
        assert await runtime.resume_hook(token, 2) == fork.run_id
        assert await fork.result(timeout="20s") == [token, 2]
        assert (await fork.replay()).ok


@workflow(id="kept")
async def kept(input: None, step) -> list:
    hook = step.hook("desk")
    await step.wait_for_signal("go")
    await step.sleep("pause", "1ms")
    taken = []
    async for payload in hook:
        taken.append(payload)
        if payload == "last":
            break
    return taken


async def test_a_payload_from_before_the_cut_is_the_forks_too() -> None:
    async with Runtime(MemoryLedger(), workflows=[kept]) as runtime:
        run = await runtime.start("kept", None)
        await run.wait("waiting_event", timeout="20s")
        await runtime.resume_hook("desk", "last")
        await run.signal("go")
        await run.result(timeout="20s")
        again = await runtime.start("kept", None)
        await again.wait("waiting_event", timeout="20s")
        fork = await run.fork("pause")
        assert await fork.result(timeout="20s") == ["last"]
        assert (await fork.replay()).ok
