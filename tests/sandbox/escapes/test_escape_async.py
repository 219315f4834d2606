"""Escapes through asynchronous control: foreign awaitables, swallowed signals, code that runs when nobody watches."""
# ruff: noqa: E501  # payloads are a table, a row each

import asyncio
import gc

import pytest

from perdure.errors import PerdureError
from perdure.sandbox import load

# A body that is ended by force leaves coroutines behind that nobody awaited; that is what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine")

PAYLOADS = {
    "the real loop": "import asyncio\nasync def attack():\n    return asyncio.get_running_loop().__class__.__init__.__globals__",
    "the real loop from a lock": "import asyncio\nasync def attack():\n    return asyncio.Lock()._get_loop().__class__.__init__.__globals__",
    "a new loop": "import asyncio\ndef attack():\n    return asyncio.new_event_loop().run_until_complete.__func__.__globals__",
    "run": "import asyncio\ndef attack():\n    async def f():\n        return (lambda: 0).__globals__\n    return asyncio.run(f())",
    "a runner": "import asyncio\ndef attack():\n    return asyncio.Runner().get_loop()",
    "a task made by hand": "import asyncio\nasync def attack():\n    async def f(): return 1\n    return asyncio.Task(f(), loop=None)",
    "a task factory": "import asyncio\nasync def attack():\n    asyncio.get_running_loop().set_task_factory(None)\n    return 1",
    "call_soon": "import asyncio\nasync def attack():\n    asyncio.current_task().get_loop().call_soon(print, 1)\n    return 1",
    "a task's context": "import asyncio\nasync def attack():\n    return asyncio.current_task().get_context()",
    "another context": "import contextvars\ndef attack():\n    return contextvars.copy_context()",
    "an exception handler": "import asyncio\nasync def attack():\n    asyncio.get_running_loop().set_exception_handler(print)\n    return 1",
    "all tasks": "import asyncio\nasync def attack():\n    return [t.get_coro().cr_frame for t in asyncio.all_tasks()]",
    "a future's callbacks": "import asyncio\nasync def attack():\n    return asyncio.Future()._callbacks",
    "a future's loop": "import asyncio\nasync def attack():\n    return asyncio.Future()._loop",
    "subprocess": "import asyncio\nasync def attack():\n    return asyncio.subprocess",
    "streams": "import asyncio\nasync def attack():\n    return await asyncio.open_connection('localhost', 1)",
    "threads": "import asyncio\nasync def attack():\n    return await asyncio.to_thread(print)",
    "wrap a thread's future": "import asyncio\nasync def attack():\n    return asyncio.wrap_future(1)",
    "from another thread": "import asyncio\nasync def attack():\n    return asyncio.run_coroutine_threadsafe(None, None)",
    "the policy": "import asyncio\ndef attack():\n    return asyncio.get_event_loop_policy()",
    "frames of a group": "import asyncio\nasync def attack():\n    async with asyncio.TaskGroup() as group:\n        return group._parent_task.get_stack()",
    "asyncgen hooks": "import sys\ndef attack():\n    return sys.set_asyncgen_hooks",
    "types.coroutine": "import types\n@types.coroutine\ndef raw():\n    yield 1\nasync def attack():\n    return await raw()",
    "a finally that returns": "def attack():\n    try:\n        return (lambda: 0).__globals__\n    finally:\n        return 1",
    "control by generator.throw": "def attack():\n    def g():\n        try:\n            yield 1\n        except BaseException as e:\n            yield e.__traceback__.tb_frame\n    it = g()\n    next(it)\n    return it.throw(ValueError())",
    "await in a comprehension": "async def attack():\n    async def f(): return (lambda: 0).__globals__\n    return [await f() for _ in (1,)]",
}  # fmt: skip


@pytest.mark.parametrize("name", PAYLOADS)
def test_asynchronous_code_reaches_no_loop_thread_or_frame(name, contained):
    assert contained(PAYLOADS[name]) in ("PolicyViolation", "SandboxViolation", "ordinary")


@pytest.mark.parametrize(
    "handler",
    ["except Exception:", "except:", "except BaseException:", "except (ValueError, Exception):"],
)
def test_a_handler_does_not_swallow_the_end_of_the_budget(handler):
    module = load(f"""
def attack():
    while True:
        try:
            while True:
                pass
        {handler}
            pass
""")
    with pytest.raises(PerdureError, match="BudgetExceeded"):
        module.attack()


@pytest.mark.parametrize(
    "manager",
    ["contextlib.suppress(Exception)", "Swallow()"],
)
def test_a_context_manager_does_not_swallow_the_end_of_the_budget(manager):
    module = load(f"""
import contextlib
class Swallow:
    def __enter__(self): return self
    def __exit__(self, *error): return True
def attack():
    while True:
        with {manager}:
            while True:
                pass
""")
    with pytest.raises(PerdureError, match="BudgetExceeded"):
        module.attack()


def test_a_generator_that_dies_later_finds_no_way_out():
    module = load("""
import json
loot = []
class Cycle: pass
def attack():
    def steps():
        try:
            yield 1
        finally:
            loot.append("began")
            loot.append(getattr(json, "codecs", "nothing"))
    cycle = Cycle()
    cycle.it = steps()
    cycle.me = cycle
    next(cycle.it)
    return loot
""")
    loot = module.attack()
    gc.collect()  # the finally runs here, outside of any activation
    assert loot in ([], ["began"])


def test_an_awaitable_that_is_not_asyncios_is_refused_by_the_loop():
    module = load("""
class Foreign:
    def __await__(self):
        yield "not a future"
async def attack():
    return await Foreign()
""")

    async def drive():
        return await module.attack()

    with pytest.raises((RuntimeError, PerdureError)):
        asyncio.run(drive())
