"""`load`: module-like objects whose functions run in a small fixed world."""

from __future__ import annotations

import asyncio

import pytest

from perdure.errors import PolicyViolation, SandboxViolation
from perdure.sandbox import current, load


def test_names_of_the_text_are_attributes_of_the_module():
    module = load("RATE = 3\nclass A: pass\ndef f(x): return x * RATE")
    assert (module.RATE, module.f(2), module.A.__name__) == (3, 6, "A")
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing


def test_time_is_fixed_and_randomness_is_seeded_by_the_text():
    source = """
import time, random, uuid
from datetime import datetime, timezone
def body():
    return time.time(), datetime.now(timezone.utc).isoformat(), random.random(), str(uuid.uuid4())
"""
    first, second = load(source).body(), load(source).body()
    assert first == second
    assert first[:2] == (0.0, "1970-01-01T00:00:00+00:00")
    assert load(source + "#").body()[2] != first[2]


def test_sleeping_moves_time_and_costs_none():
    module = load(
        """
import asyncio, time
async def nap(n):
    await asyncio.sleep(n)
    return time.time()
async def body():
    return await asyncio.gather(nap(7 * 86400), nap(1)), time.time()
"""
    )
    assert asyncio.run(module.body()) == ([604800.0, 1.0], 604800.0)


def test_every_step_of_a_coroutine_is_inside_and_nothing_is_inside_afterwards():
    module = load("import asyncio\nasync def body(probe):\n    await asyncio.sleep(1)\n    return probe()")
    assert asyncio.run(module.body(lambda: current() is not None)) is True
    assert current() is None


def test_generators_run_inside_step_by_step():
    module = load("def body(probe):\n    for _ in range(3):\n        yield probe()")
    assert list(module.body(lambda: current() is not None)) == [True] * 3


def test_async_generators_run_inside_step_by_step():
    module = load("async def body():\n    for x in {3, 1}:\n        yield x")

    async def collect():
        return [x async for x in module.body()]

    assert asyncio.run(collect()) == [3, 1]


def test_waiting_for_what_nothing_will_do_is_an_error():
    module = load("import asyncio\nasync def body():\n    await asyncio.Event().wait()")
    with pytest.raises(SandboxViolation, match="nothing will do"):
        asyncio.run(module.body())


def test_module_level_runs_restricted_too():
    with pytest.raises(PolicyViolation):
        load("x = open('x')")
    with pytest.raises(SandboxViolation):
        load("def f(name): return getattr(f, name)\nx = f('__glo' + 'bals__')")


def test_text_that_is_not_python_is_a_syntax_error_with_its_place():
    with pytest.raises(SyntaxError) as caught:
        load("def body(:", filename="bad.py")
    assert (caught.value.filename, caught.value.lineno) == ("bad.py", 1)


def test_print_goes_to_the_environment(capsys):
    load("def body():\n    print('hello', 2)").body()
    assert capsys.readouterr().out == "hello 2\n"
