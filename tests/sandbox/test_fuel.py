"""Fuel is counted exactly, everything that doesn't end ends in BudgetExceeded, and the watchdog sees the rest."""

from __future__ import annotations

import asyncio
import pickle
import time

import pytest

from perdure.errors import BudgetExceeded
from perdure.sandbox import fuel, load, watchdog
from perdure.sandbox.activation import activation
from perdure.sandbox.fixed import FixedEnvironment


@pytest.fixture(autouse=True)
def _released():
    yield
    fuel.release()


@pytest.mark.parametrize("budget", [1, 2, 100, fuel.CHUNK - 1, fuel.CHUNK, fuel.CHUNK + 1, 3 * fuel.CHUNK + 7])
@pytest.mark.parametrize("spent_before", [0, 1, fuel.CHUNK - 3, fuel.CHUNK])
def test_exactly_the_budget_can_be_spent_whatever_was_left(budget, spent_before):
    fuel.refill(2 * fuel.CHUNK)
    for _ in range(spent_before):
        fuel.tick()
    fuel.refill(budget)
    assert fuel.remaining() == budget
    for _ in range(budget):
        assert fuel.tick() is True
    assert fuel.remaining() == 0
    for _ in range(3):  # it stays empty
        with pytest.raises(BudgetExceeded):
            fuel.tick()
    fuel.refill(2)
    assert [fuel.tick(), fuel.tick()] == [True, True]
    with pytest.raises(BudgetExceeded):
        fuel.tick()


def test_nothing_is_counted_outside_of_bodies():
    fuel.refill(1)
    fuel.release()
    for _ in range(3 * fuel.CHUNK):
        fuel.tick()


def test_refill_is_cheap():
    fuel.refill(10_000_000)
    began = time.perf_counter()
    for _ in range(10_000):
        fuel.refill(10_000_000)
    assert (time.perf_counter() - began) / 10_000 < 5e-6  # about 0.5 µs; a busy machine is slower


ENDLESS = {
    "while": ("def body():\n    while True: pass", 2),
    "while_swallowing": (
        "def body():\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
        4,
    ),
    "for": ("import itertools\ndef body():\n    for x in itertools.count(): pass", 3),
    "sentinel": ("def body():\n    return list(iter(int, 1))", 2),
    "max": ("def body():\n    return max(range(10**12))", 2),
    "sum": ("def body():\n    return sum(x for x in range(10**12))", 2),
    "product": ("import itertools\ndef body():\n    return len(list(itertools.product(range(1000), repeat=5)))", 3),
    "any": ("def body():\n    return any(iter(int, 1))", 2),
    "alias": ("def body():\n    a = any\n    return a(iter(int, 1))", 3),
    "join": ("def body():\n    return ''.join(iter(str, 'x'))", 2),
    "extend": ("def body():\n    x = []\n    x.extend(iter(int, 1))", 3),
    "unpack": ("def body():\n    a, *b = iter(int, 1)", 2),
    "star": ("def body():\n    return [*iter(int, 1)]", 2),
    "in": ("def body():\n    return 5 in iter(int, 1)", 2),
    "comprehension": ("def body():\n    return {x: 1 for x in iter(int, 1)}", 2),
    "lambda": ("def body():\n    f = lambda f: f(f)\n    return f(f)", 2),
    "recursion": ("def body(n=0):\n    return body(n + 1)", 2),
    "repeat": ("def body():\n    return [0] * (10**9 + len(''))", 2),
    "repeat_text": ("def body():\n    n = 10**9\n    return n * 'ab'", 3),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDLESS)
def test_what_does_not_end_ends_in_budget_exceeded_with_its_line(name, monkeypatch):
    source, line = ENDLESS[name]
    monkeypatch.setattr("perdure.sandbox.fixed.DEFAULT_MAX_OPS", 20_000)
    module = load(source, filename="endless.py")
    with pytest.raises(BudgetExceeded) as caught:
        module.body()
    assert f"endless.py:{line}" in caught.value.where


def test_async_loop_spends_fuel(monkeypatch):
    monkeypatch.setattr("perdure.sandbox.fixed.DEFAULT_MAX_OPS", 200)
    module = load("import asyncio\nasync def body():\n    while True: await asyncio.sleep(0)")
    with pytest.raises(BudgetExceeded):
        asyncio.run(module.body())


def test_budget_is_per_activation():
    environment = FixedEnvironment("seed", max_ops=10)
    for _ in range(3):
        with activation(environment):
            fuel.refill(environment.max_ops)
            for _ in range(10):
                fuel.tick()


def test_same_program_spends_the_same_fuel_every_time():
    module = load("def body():\n    return sum([x for x in range(100) if [y for y in range(x)]])")
    spent = set()
    for _ in range(3):
        module.body()
        spent.add(fuel.remaining())
    assert len(spent) == 1


def test_watchdog_ends_what_fuel_cannot_see():
    former = watchdog.limit(0.2)
    try:
        module = load("import re\ndef body():\n    while True:\n        re.fullmatch('(a+)+', 'a' * 22 + 'b')")
        with pytest.raises(BudgetExceeded, match="longer than the watchdog"):
            module.body()
    finally:
        watchdog.limit(former)
    assert pickle.loads(pickle.dumps(watchdog.OutOfTime())).message.startswith("the body ran longer")


def test_watchdog_throws_nothing_once_the_body_has_left_nor_outside_of_it():
    former = watchdog.limit(0.05)
    try:
        watchdog.begin()
        time.sleep(0.2)  # long enough for the patrol to look; this is no restricted code
        watchdog.end()
        module = load("def body(n):\n    return sum(range(n))")
        assert module.body(10) == 45
    finally:
        watchdog.limit(former)


def test_task_that_swallows_what_the_watchdog_throws_does_not_go_on_for_ever():
    former = watchdog.limit(0.2)
    try:
        module = load(
            """
import asyncio, re
async def stuck():
    while True:
        re.fullmatch('(a+)+', 'a' * 20 + 'b')
        await asyncio.sleep(0)
async def body():
    await asyncio.gather(*[stuck() for _ in range(3)], return_exceptions=True)
"""
        )
        began = time.monotonic()
        with pytest.raises(BudgetExceeded):
            asyncio.run(module.body())
        assert time.monotonic() - began < 20
    finally:
        watchdog.limit(former)
