"""Claims: who may write a cell now, in which order, and who is told that it would wait for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import WorkflowError, WriteConflict
from perdure.services.author import Caller
from perdure.services.claims import Claims, Owner

A, B, C = ("kv/default", "a"), ("kv/default", "b"), ("kv/default", "c")


def on_a_loop(test: Callable[[Claims], Awaitable[Any]]) -> Any:
    """Run a test with claims on a loop of their own; one that waits for ever fails."""

    async def run() -> Any:
        async with asyncio.timeout(5):
            return await test(Claims(asyncio.get_running_loop().call_soon_threadsafe))

    return asyncio.run(run())


async def settle() -> None:
    """Let everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_is_free_is_taken_at_once_and_may_be_taken_again() -> None:
    async def test(claims: Claims) -> None:
        owner = claims.owner(Caller("one"))
        await claims.take(owner, A)
        await claims.take(owner, A)
        assert owner.names == {A}

    on_a_loop(test)


def test_waiters_are_served_in_the_order_in_which_they_came_and_nobody_gets_ahead() -> None:
    async def test(claims: Claims) -> list[str]:
        order: list[str] = []
        first = claims.owner(Caller("first"))
        await claims.take(first, A)

        async def work(owner: Owner) -> None:
            await claims.take(owner, A)
            order.append(owner.label)
            await asyncio.sleep(0)
            owner.end()

        tasks = []
        for number in range(5):
            tasks.append(asyncio.create_task(work(claims.owner(Caller(str(number))))))
            await settle()
        first.end()
        await work(claims.owner(Caller("late")))  # the cell is free now, and five others were there before
        await asyncio.gather(*tasks)
        return order

    assert on_a_loop(test) == ["0", "1", "2", "3", "4", "late"]


def test_who_only_tries_does_not_get_ahead_of_those_who_wait() -> None:
    async def test(claims: Claims) -> None:
        first, second, late = (claims.owner(Caller(name)) for name in ("first", "second", "late"))
        await claims.take(first, A)
        waiting = asyncio.create_task(claims.take(second, A))
        await settle()
        first.end()
        assert not claims.try_take(late, A)  # it is free in this moment, and somebody was there before
        await waiting
        second.end()
        assert claims.try_take(late, A)

    on_a_loop(test)


def test_a_waiter_that_is_cancelled_loses_its_place_and_nobody_else_does() -> None:
    async def test(claims: Claims) -> list[str]:
        order: list[str] = []
        first = claims.owner(Caller("first"))
        await claims.take(first, A)

        async def work(label: str) -> None:
            await claims.take(claims.owner(Caller(label)), A)
            order.append(label)

        gone, stays = asyncio.create_task(work("gone")), asyncio.create_task(work("stays"))
        await settle()
        gone.cancel()
        await settle()
        first.end()
        await stays
        return order

    assert on_a_loop(test) == ["stays"]


def test_a_waiter_cancelled_in_the_moment_of_its_turn_keeps_nobody_waiting() -> None:
    async def test(claims: Claims) -> None:
        first, second, third = (claims.owner(Caller(str(number))) for number in range(3))
        await claims.take(first, A)
        told = asyncio.create_task(claims.take(second, A))
        waits = asyncio.create_task(claims.take(third, A))
        await settle()
        first.is_over = True
        claims._let_go(first)  # it is the second one's turn, and it has not run yet
        told.cancel()
        await asyncio.gather(told, return_exceptions=True)
        second.end()
        await waits

    on_a_loop(test)


def test_a_waiter_whose_attempt_is_over_is_told_and_holds_up_nobody() -> None:
    """A synchronous step that passed its timeout goes on in its thread, and may wait for a cell."""

    async def test(claims: Claims) -> None:
        first, abandoned, third = (claims.owner(Caller(str(number))) for number in range(3))
        await claims.take(first, A)
        late = asyncio.create_task(claims.take(abandoned, A))
        waits = asyncio.create_task(claims.take(third, A))
        await settle()
        abandoned.end()
        with pytest.raises(WorkflowError, match="after its attempt was over"):
            await late
        first.end()
        await waits
        assert third.names == {A}

    on_a_loop(test)


def test_an_owner_that_is_over_takes_nothing() -> None:
    async def test(claims: Claims) -> None:
        owner = claims.owner(Caller("one"))
        await claims.take(owner, A)
        owner.end()
        for name in (A, B):
            with pytest.raises(WorkflowError, match="after its attempt was over"):
                await claims.take(owner, name)
        await claims.take(claims.owner(Caller("two")), A)

    on_a_loop(test)


def test_an_owner_may_end_in_any_thread() -> None:
    async def test(claims: Claims) -> None:
        first, second = claims.owner(Caller("first")), claims.owner(Caller("second"))
        await claims.take(first, A)
        waits = asyncio.create_task(claims.take(second, A))
        await settle()
        threading.Thread(target=first.end).start()
        await waits

    on_a_loop(test)


def test_two_that_wait_for_each_other_are_told_at_once() -> None:
    async def test(claims: Claims) -> None:
        first, second = claims.owner(Caller("first")), claims.owner(Caller("second"))
        await claims.take(first, A)
        await claims.take(second, B)
        waits = asyncio.create_task(claims.take(first, B))
        await settle()
        with pytest.raises(WriteConflict, match="second wants to write"):
            await claims.take(second, A)
        second.end()
        await waits

    on_a_loop(test)


def test_a_circle_that_goes_through_a_line_is_told() -> None:
    """`third` waits behind `second` for what `first` has: it is a circle when `second` waits for `third` too."""

    async def test(claims: Claims) -> None:
        first, second, third = (claims.owner(Caller(label)) for label in ("first", "second", "third"))
        await claims.take(first, A)
        await claims.take(third, C)
        one = asyncio.create_task(claims.take(second, A))
        await settle()
        two = asyncio.create_task(claims.take(third, A))
        await settle()
        with pytest.raises(WriteConflict):  # second: another branch of the same attempt
            await claims.take(second, C)
        first.end()
        await one
        second.end()
        await two

    on_a_loop(test)


def test_what_is_called_in_a_step_does_not_wait_for_it_and_nobody_waits_for_both() -> None:
    async def test(claims: Claims) -> None:
        step, other = Caller("step"), Caller("other")
        holder, second = claims.owner(step), claims.owner(other)
        await claims.take(holder, A)
        await claims.take(second, B)
        with pytest.raises(WorkflowError, match="step has written this") as refused:
            await claims.take(claims.owner(Caller("inner"), within=step), A)
        assert not isinstance(refused.value, WriteConflict)  # trying again would change nothing
        inner = claims.owner(Caller("inner"), within=step)
        waits = asyncio.create_task(claims.take(inner, B))
        await settle()
        with pytest.raises(WriteConflict, match="other wants to write"):
            await claims.take(second, A)  # the step waits for what it has called, and that for this one
        second.end()
        await waits
        third = claims.owner(Caller("third"))
        await claims.take(third, C)
        waits = asyncio.create_task(claims.take(third, A))
        await settle()
        with pytest.raises(WriteConflict, match="inner wants to write"):
            await claims.take(claims.owner(Caller("inner"), within=step), C)  # who has it waits for the step
        holder.end()
        await waits

    on_a_loop(test)


def test_two_operations_of_one_attempt_wait_for_one_cell_together() -> None:
    async def test(claims: Claims) -> None:
        first, second = claims.owner(Caller("first")), claims.owner(Caller("second"))
        await claims.take(first, A)
        both = [asyncio.create_task(claims.take(second, A)) for _ in range(2)]
        await settle()
        both[0].cancel()
        await settle()
        first.end()
        await both[1]
        assert second.names == {A}

    on_a_loop(test)


def test_those_who_are_over_are_forgotten() -> None:
    async def test(claims: Claims) -> int:
        for number in range(5_000):
            owner = claims.owner(Caller(str(number)))
            await claims.take(owner, ("kv/default", str(number)))
            owner.end()
        return len(claims._holders)

    assert on_a_loop(test) < 2_000


def test_claims_of_a_loop_that_is_closed_are_ended_in_peace() -> None:
    async def test(claims: Claims) -> Owner:
        first, second = claims.owner(Caller("first")), claims.owner(Caller("second"))
        await claims.take(first, A)
        waits = asyncio.create_task(claims.take(second, A))
        await settle()
        assert not waits.done()
        claims._waiting += 1  # as if it were waiting still, which its cancellation ends
        return first

    on_a_loop(test).end()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_they_want_everybody_gets_it_or_is_told_and_nobody_shares(data: st.DataObject) -> None:
    """Attempts take cells in any order, some at once, some are cancelled; each ends. Nobody waits for ever."""
    names = [("kv/default", str(number)) for number in range(3)]
    wishes = data.draw(st.lists(st.lists(st.lists(st.sampled_from(names), max_size=3), max_size=3), max_size=6))
    cancelled = data.draw(st.sets(st.integers(0, 5)))
    ended_in_thread = data.draw(st.sets(st.integers(0, 5)))

    async def test(claims: Claims) -> None:
        holders: dict[Any, Owner] = {}

        async def attempt(number: int, stages: list[list[Any]]) -> None:
            owner = claims.owner(Caller(str(number)))
            mine: set[Any] = set()
            try:
                for stage in stages:
                    await asyncio.gather(*[claims.take(owner, name) for name in stage])
                    for name in stage:
                        assert name in mine or name not in holders, "two hold one cell"
                        holders[name] = owner
                        mine.add(name)
                    await asyncio.sleep(0)
            except WriteConflict:
                pass
            finally:
                for name in mine:
                    del holders[name]
                if number in ended_in_thread:
                    await asyncio.to_thread(owner.end)
                else:
                    owner.end()

        tasks = [asyncio.create_task(attempt(number, stages)) for number, stages in enumerate(wishes)]
        await asyncio.sleep(0)
        for number in cancelled & set(range(len(tasks))):
            tasks[number].cancel()
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            assert answer is None or isinstance(answer, asyncio.CancelledError), answer
        assert not claims._lines
        assert claims._waiting == 0

    on_a_loop(test)
