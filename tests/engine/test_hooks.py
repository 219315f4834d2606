"""Hooks: a token hands payloads to one run; each token has one open hook, and each refusal says why."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel

from perdure import HookRefused, RunFailed, SandboxViolation
from perdure.strict import DefinitionError, Runtime, WorkflowError, workflow


class Answer(BaseModel):
    yes: bool


@workflow(id="one")
async def one(input: object, step) -> object:
    return await step.hook(input)


@workflow(id="many")
async def many(input: str, step) -> list:
    hook = step.hook(input, schema=Answer)
    answers = []
    async for answer in hook:
        answers.append(answer.yes)
        if not answer.yes:
            hook.dispose()
    return answers


def flaky(path: str) -> str:
    """Fail the first time."""
    from pathlib import Path

    if not Path(path).exists():
        Path(path).write_text("")
        raise RuntimeError("not yet")
    return "done"


@workflow(id="stubborn", retries=3)
async def stubborn(input: str, step) -> list:
    hook = step.hook()
    await step.run("flaky", flaky, input, retries=0)
    return [hook.token, await hook]


async def token_of(run) -> str:
    (token,) = (await run.status()).hooks
    return token


async def test_a_hook_without_a_token_gets_one_that_is_its_own_and_gives_one_payload(open_runtime):
    async with open_runtime(one, residents_max=0) as runtime:
        runs = [await runtime.start("one", None) for _ in range(3)]
        tokens = [await token_of(run) for run in runs]
        assert len({*tokens}) == 3
        assert all(len(token) >= 22 for token in tokens)
        for run, token in zip(runs, tokens, strict=True):
            assert await runtime.resume_hook(token, {"for": token}) == run.run_id
            assert await run.result(timeout="20s") == {"for": token}
            assert (await run.replay()).ok


async def test_a_hook_is_iterated_until_it_is_disposed_and_its_token_is_free_again(open_runtime):
    async with open_runtime(many) as runtime:
        run = await runtime.start("many", "approval:7")
        (waits,) = (await run.status()).waits_for
        assert (waits.kind, waits.name) == ("wait_hook", "approval:7")
        for yes in (True, True, False):
            await runtime.resume_hook("approval:7", {"yes": yes})
        assert await run.result(timeout="20s") == [True, True, False]
        assert (await run.replay()).ok
        with pytest.raises(HookRefused, match="no open hook has the token"):
            await runtime.resume_hook("approval:7", {"yes": True})
        again = await runtime.start("many", "approval:7")
        await runtime.resume_hook("approval:7", {"yes": False})
        assert await again.result(timeout="20s") == [False]


async def test_payloads_that_come_before_anybody_waits_are_kept_in_order(open_runtime):
    @workflow(id="later")
    async def later(input: None, step) -> list:
        hook = step.hook("t")
        await step.wait_for_signal("go")
        taken = []
        async for payload in hook:
            taken.append(payload)
            if len(taken) == 3:
                hook.dispose()
        return taken

    async with open_runtime(later, residents_max=0) as runtime:
        run = await runtime.start("later", None)
        for number in range(3):
            await runtime.resume_hook("t", number)
        await run.signal("go")
        assert await run.result(timeout="20s") == [0, 1, 2]
        assert (await run.replay()).ok


async def test_a_payload_that_does_not_fit_is_refused_and_the_run_waits_on(open_runtime):
    async with open_runtime(many, residents_max=0) as runtime:
        run = await runtime.start("many", "t")
        entries = (await run.status()).entries
        with pytest.raises(HookRefused, match="does not fit Answer: yes"):
            await runtime.resume_hook("t", {"yes": "perhaps"})
        assert (await run.status()).entries == entries
        await runtime.resume_hook("t", {"yes": False})
        assert await run.result(timeout="20s") == [False]


async def test_a_token_that_another_open_hook_holds_is_refused_in_the_body_that_asks_for_it(open_runtime):
    @workflow(id="second")
    async def second(input: str, step) -> str:
        hook = step.hook(input)
        try:
            await hook
        except HookRefused as error:
            return error.why
        return "mine"

    async with open_runtime(one, second) as runtime:
        first = await runtime.start("one", "t")
        run = await runtime.start("second", "t")
        assert await run.result(timeout="20s") == f"run {first.run_id} has an open hook with it"
        assert (await run.replay()).ok
        await runtime.resume_hook("t", 1)
        assert await first.result(timeout="20s") == 1
        run = await runtime.start("second", "t")
        await runtime.resume_hook("t", 2)
        assert await run.result(timeout="20s") == "mine"


async def test_of_two_runs_that_ask_for_a_token_at_once_one_gets_it(open_runtime):
    async with open_runtime(one) as runtime:
        runs = await asyncio.gather(*[runtime.start("one", "t") for _ in range(4)])
        assert await runtime.resume_hook("t", "won") in {run.run_id for run in runs}
        results = await asyncio.gather(*[run.result(timeout="20s") for run in runs], return_exceptions=True)
        assert results.count("won") == 1
        assert sum(isinstance(each, RunFailed) and "is taken" in str(each) for each in results) == 3


async def test_two_hooks_of_one_run_do_not_share_a_token(open_runtime):
    @workflow(id="twice")
    async def twice(input: None, step) -> str:
        step.hook("t")
        await step.hook("t")
        return "both"

    async with open_runtime(twice) as runtime:
        run = await runtime.start("twice", None)
        with pytest.raises(RunFailed, match="the token 't' is taken"):
            await run.result(timeout="20s")


async def test_a_hook_that_was_answered_says_so_while_its_run_is_open(open_runtime):
    @workflow(id="goes-on")
    async def goes_on(input: None, step) -> object:
        payload = await step.hook("t")
        await step.wait_for_signal("end")
        return payload

    async with open_runtime(goes_on, one, residents_max=0) as runtime:
        run = await runtime.start("goes-on", None)
        await runtime.resume_hook("t", 1)
        with pytest.raises(HookRefused, match="was answered already"):
            await runtime.resume_hook("t", 2)
        other = await runtime.start("one", "t")  # the token is free for others
        await runtime.resume_hook("t", 3)
        assert await other.result(timeout="20s") == 3
        await run.signal("end")
        assert await run.result(timeout="20s") == 1
        for token in ("t", "never made"):
            with pytest.raises(HookRefused, match="no open hook has the token"):
                await runtime.resume_hook(token, 4)


async def test_the_next_attempt_of_a_run_has_the_same_token_and_what_was_sent_to_it(open_runtime, tmp_path):
    async with open_runtime(stubborn) as runtime:
        run = await runtime.start("stubborn", str(tmp_path / "mark"))
        await run.wait("awaiting_retry", timeout="20s")
        token = await token_of(run)
        await runtime.resume_hook(token, "in between")
        assert await run.result(timeout="20s") == [token, "in between"]
        assert (await run.replay()).ok


async def test_a_hook_survives_a_restart(open_runtime):
    async with open_runtime(one) as runtime:
        token = await token_of(await runtime.start("one", None, run_id="r"))
    async with open_runtime(one) as runtime:
        assert await runtime.resume_hook(token, "after") == "r"
        assert await runtime.handle("r").result(timeout="20s") == "after"


async def test_a_second_await_says_to_iterate_and_a_disposed_hook_ends_who_iterates(open_runtime):
    @workflow(id="misused")
    async def misused(input: None, step) -> list:
        import asyncio

        said = []
        hook = step.hook("once")
        said.append(await hook)
        for attempt in ("await", "iterate"):
            try:
                if attempt == "await":
                    await hook
                else:
                    async for _ in hook:
                        pass
            except WorkflowError as error:
                said.append("async for" in str(error))
        other = step.hook("other")

        async def iterate() -> str:
            async for _ in other:
                pass
            return "ended"

        task = asyncio.create_task(iterate())
        await asyncio.sleep(0)
        other.dispose()
        other.dispose()
        return [*said, await task]

    async with open_runtime(misused) as runtime:
        run = await runtime.start("misused", None)
        await runtime.resume_hook("once", 1)
        assert await run.result(timeout="20s") == [1, True, True, "ended"]
        assert (await run.replay()).ok


async def test_a_hook_is_no_value_but_its_token_is(open_runtime):
    @workflow(id="recorded")
    async def recorded(input: None, step) -> list:
        hook = step.hook("t")
        return [hook.token, str(hook)]

    @workflow(id="returned")
    async def returned(input: None, step) -> object:
        return step.hook("u")

    async with open_runtime(recorded, returned) as runtime:
        run = await runtime.start("recorded", None)
        assert await run.result(timeout="20s") == ["t", "<hook t>"]
        run = await runtime.start("returned", None)
        with pytest.raises(RunFailed, match="NotSerializable"):
            await run.result(timeout="20s")


async def test_bad_tokens_say_so(open_runtime):
    async with open_runtime(one) as runtime:
        for token in ("", 5):
            run = await runtime.start("one", token)
            with pytest.raises(RunFailed, match=f"token={token!r} can't be used"):
                await run.result(timeout="20s")
        with pytest.raises(DefinitionError, match="token=None"):
            await runtime.resume_hook(None)


async def test_events_of_users_do_not_reach_hooks(open_runtime):
    @workflow(id="sly")
    async def sly(input: None, step) -> None:
        await step.wait_for_event("x", type=":hook")

    async with open_runtime(one, sly) as runtime:
        await runtime.start("one", "t")
        with pytest.raises(DefinitionError, match="begins with a colon"):
            await runtime.send_event(":hook", {"token": "t"})
        run = await runtime.start("sly", None)
        with pytest.raises(RunFailed, match="begins with a colon"):
            await run.result(timeout="20s")


async def test_a_hook_used_by_a_step_is_refused(open_runtime):
    @workflow(id="outside")
    async def outside(input: None, step) -> str:
        hook = step.hook("t")
        try:
            await step.run("s", lambda: hook.dispose(), retries=0)
        except (SandboxViolation, DefinitionError) as error:
            return type(error).__name__
        return "let through"

    async with open_runtime(outside) as runtime:
        run = await runtime.start("outside", None)
        assert await run.result(timeout="20s") == "DefinitionError"


def test_a_blocking_runtime_resumes_hooks_too(tmp_path):
    with Runtime(tmp_path / "l.duckdb", workflows=[one]) as runtime:
        run = runtime.start("one", "t")
        assert runtime.resume_hook("t", "blocking") == run.run_id
        assert run.result(timeout="20s") == "blocking"


async def test_a_hook_whose_await_was_given_up_may_be_awaited_again(open_runtime):
    @workflow(id="reminding")
    async def reminding(input: None, step) -> list:
        import asyncio

        hook = step.hook("desk")
        reminders = 0
        while True:
            try:
                async with asyncio.timeout(0.01):
                    return [reminders > 0, await hook]
            except TimeoutError:
                reminders += 1
                await step.wait_for_signal("again")

    async with open_runtime(reminding) as runtime:
        run = await runtime.start("reminding", None)
        while (await run.status()).waits_for[0].name != "again":
            await run.wait(status="waiting_event", timeout="20s")
            await asyncio.sleep(0.005)
        await runtime.resume_hook("desk", "yes")
        await run.signal("again")
        assert await run.result(timeout="20s") == [True, "yes"]
        assert (await run.replay()).ok
