"""`asyncio` in a body: asyncio's own contracts, and an order that depends on nothing but what was written."""

from __future__ import annotations

import asyncio as real

import pytest

from perdure.errors import SandboxViolation
from perdure.sandbox.activation import activation
from perdure.sandbox.fixed import FixedEnvironment
from perdure.sandbox.libraries import resolve
from perdure.sandbox.stand_ins import asyncio
from perdure.sandbox.stand_ins.waiting import TaskGroup, as_completed, wait


def run(function):
    """Run a coroutine function as a body, on a deterministic loop, and give its result."""
    environment = FixedEnvironment("asyncio")
    with activation(environment):
        return environment.loop.run(function())


async def after(delay, value=None):
    """Give `value` after `delay` seconds, raising it if it is an exception."""
    await asyncio.sleep(delay)
    if isinstance(value, Exception):
        raise value
    return value


# ── wait ──


def test_wait_gives_tasks_in_the_order_given_whatever_the_order_of_completion():
    async def body():
        tasks = [asyncio.create_task(after((5 - n) % 3, n)) for n in range(20)]
        done, pending = await wait(tasks)
        assert not pending
        assert isinstance(done, set)
        return [task.result() for task in done] == list(range(20))

    assert run(body)


def test_wait_for_the_first_leaves_the_rest_pending_and_in_order():
    async def body():
        tasks = [asyncio.create_task(after(delay, delay)) for delay in (3, 1, 2, 4)]
        done, pending = await wait(tasks, return_when=real.FIRST_COMPLETED)
        assert [task.result() for task in done] == [1]
        assert [tasks.index(task) for task in pending] == [0, 2, 3]
        assert done.isdisjoint(pending)
        assert done | pending == set(tasks)
        await wait(pending)

    run(body)


def test_wait_for_the_first_exception_ends_at_it():
    async def body():
        plan = ((1, "a"), (2, ValueError("no")), (9, "b"))
        tasks = [asyncio.create_task(after(delay, value)) for delay, value in plan]
        done, pending = await wait(tasks, return_when=real.FIRST_EXCEPTION)
        assert [tasks.index(task) for task in done] == [0, 1]
        assert [tasks.index(task) for task in pending] == [2]
        with pytest.raises(ValueError, match="no"):
            tasks[1].result()
        await wait(pending)

    run(body)


def test_wait_with_a_timeout_ends_when_it_is_over_and_cancels_nothing():
    async def body():
        loop = real.get_running_loop()
        began = loop.time()
        tasks = [asyncio.create_task(after(delay)) for delay in (1, 100)]
        done, pending = await wait(tasks, timeout=5)
        assert loop.time() - began == 5
        assert (len(done), len(pending)) == (1, 1)
        await wait(pending)
        assert not tasks[1].cancelled()

    run(body)


@pytest.mark.parametrize(
    ("given", "error"),
    [(list, ValueError), (lambda: [real.get_running_loop().create_future(), after(1)], TypeError)],
)
@pytest.mark.filterwarnings("ignore:coroutine")
def test_wait_refuses_nothing_and_coroutines_as_asyncio_does(given, error):
    async def body():
        things = given()
        with pytest.raises(error):
            await wait(things)
        for thing in things:
            getattr(thing, "close", thing.cancel if hasattr(thing, "cancel") else None)()

    run(body)


def test_wait_refuses_unordered_sets_and_bad_options():
    async def body():
        task = asyncio.create_task(after(0))
        with pytest.raises(SandboxViolation, match="set that no body made"):
            await wait({task})
        with pytest.raises(ValueError, match="return_when"):
            await wait([task], return_when="SOON")
        with pytest.raises(TypeError, match="iterable"):
            await wait(task)
        await task

    run(body)


def test_a_cancelled_wait_takes_its_callbacks_back():
    async def body():
        inner = asyncio.create_task(after(10, "late"))
        outer = asyncio.create_task(wait([inner]))
        await asyncio.sleep(1)
        outer.cancel()
        with pytest.raises(real.CancelledError):
            await outer
        return await inner

    assert run(body) == "late"


# ── as_completed ──


def test_as_completed_goes_by_completion_and_equal_times_by_the_order_given():
    async def body():
        order = []
        for coroutine in as_completed([after(delay, (delay, n)) for n, delay in enumerate((3, 1, 2, 1, 3))]):
            order.append(await coroutine)
        return order

    assert run(body) == [(1, 1), (1, 3), (2, 2), (3, 0), (3, 4)]


def test_as_completed_gives_the_tasks_themselves_to_async_for():
    async def body():
        tasks = [asyncio.create_task(after(delay, delay)) for delay in (2, 1)]
        order = []
        async for task in as_completed(tasks):
            order.append(tasks.index(task))
        return order

    assert run(body) == [1, 0]


def test_as_completed_with_a_timeout_raises_for_those_that_are_late():
    async def body():
        tasks = [asyncio.create_task(after(delay, delay)) for delay in (1, 50, 60)]
        seen = []
        for coroutine in as_completed(tasks, timeout=5):
            try:
                seen.append(await coroutine)
            except TimeoutError:
                seen.append("late")
        await wait(tasks)
        return seen

    assert run(body) == [1, "late", "late"]


def test_as_completed_raises_what_an_awaitable_raised_and_takes_duplicates_once():
    async def body():
        task = asyncio.create_task(after(1, ValueError("no")))
        coroutines = list(as_completed([task, task]))
        assert len(coroutines) == 1
        with pytest.raises(ValueError, match="no"):
            await coroutines[0]

    run(body)


# ── the rest ──


def test_a_group_cancels_its_tasks_in_order_of_creation():
    async def body():
        cancelled = []

        async def stubborn(n):
            try:
                await asyncio.sleep(1000)
            except real.CancelledError:
                cancelled.append(n)
                raise

        async def fail_beside_many():
            async with TaskGroup() as group:
                for n in range(100):
                    group.create_task(stubborn(n))
                await asyncio.sleep(1)
                raise ValueError

        with pytest.raises(ExceptionGroup):
            await fail_beside_many()
        return cancelled

    assert run(body) == list(range(100))


def test_a_group_is_asyncios_and_gives_results():
    async def body():
        async with TaskGroup() as group:
            assert isinstance(group, real.TaskGroup)
            tasks = [group.create_task(after(delay, delay)) for delay in (2, 1)]
        return [task.result() for task in tasks]

    assert run(body) == [2, 1]


def test_wait_for_makes_no_task_of_what_it_waits_for_on_any_version():
    async def body():
        async def inner():
            await asyncio.sleep(1)
            return real.current_task()

        facade = resolve(real)
        for timeout in (10, None):
            assert await facade.wait_for(inner(), timeout) is real.current_task()
        task = facade.create_task(after(10))
        with pytest.raises(TimeoutError):
            await facade.wait_for(task, timeout=1)
        assert task.cancelled()
        with pytest.raises(TimeoutError):
            await facade.wait_for(after(1), 0)
        done = facade.create_task(after(0, "done"))
        await done
        return await facade.wait_for(done, 0)

    assert run(body) == "done"


def test_what_is_asyncios_own_works_on_the_bodys_loop():
    async def body():
        facade = resolve(real)
        assert await facade.gather(after(2, "a"), after(1, "b")) == ["a", "b"]
        with pytest.raises(TimeoutError):
            await facade.wait_for(after(10), timeout=1)
        with pytest.raises(TimeoutError):
            async with facade.timeout(1):
                await asyncio.sleep(10)
        queue = facade.Queue(maxsize=1)
        producer = facade.create_task(_produce(queue))
        assert [await queue.get() for _ in range(3)] == [0, 1, 2]
        await producer
        lock, log = facade.Lock(), []

        async def hold(n):
            async with lock:
                await asyncio.sleep(1)
                log.append(n)

        await facade.gather(*(hold(n) for n in range(5)))
        assert log == list(range(5))
        assert await facade.shield(after(1, "kept")) == "kept"
        assert facade.current_task().get_name()
        semaphore, event = facade.Semaphore(1), facade.Event()
        event.set()
        await event.wait()
        async with semaphore:
            pass
        return True

    assert run(body)


async def _produce(queue):
    for n in range(3):
        await queue.put(n)


def test_sleep_is_the_environments_and_zero_is_only_a_turn():
    slept = []

    class Sleepless(FixedEnvironment):
        async def sleep(self, seconds):
            slept.append(seconds)

    environment = Sleepless("sleep")

    async def body():
        assert await asyncio.sleep(5, "result") == "result"
        return await asyncio.sleep(0, "turn")

    with activation(environment):
        assert environment.loop.run(body()) == "turn"
    assert slept == [5]


def test_futures_are_real_ones_and_tasks_are_not_made_by_hand():
    async def body():
        future = asyncio.Future()
        assert type(future) is real.Future
        assert isinstance(future, asyncio.Future)
        task = asyncio.create_task(after(0))
        assert isinstance(task, asyncio.Task)
        assert isinstance(task, asyncio.Future)
        future.set_result(1)
        with pytest.raises(SandboxViolation, match="called in a body"):
            asyncio.Task(None)
        await task
        return await future

    assert run(body) == 1


@pytest.mark.parametrize(
    "name",
    ["run", "new_event_loop", "get_event_loop", "get_running_loop", "to_thread", "open_connection",
     "create_subprocess_exec", "run_coroutine_threadsafe", "all_tasks", "Runner", "events", "SelectorEventLoop",
     "subprocess", "sys"],
)  # fmt: skip
def test_what_leaves_the_loop_is_refused_with_a_fix(name):
    with pytest.raises(SandboxViolation) as caught:
        getattr(resolve(real), name)
    assert caught.value.why
    assert caught.value.fix


async def test_outside_of_bodies_waiting_and_sleeping_work_on_a_real_loop():
    tasks = [asyncio.create_task(after(0, n)) for n in range(3)]
    done, _ = await wait(tasks)
    assert [task.result() for task in done] == [0, 1, 2]
    assert await asyncio.sleep(0.001, "slept") == "slept"
    assert [await each for each in as_completed([after(0, 1)])] == [1]
