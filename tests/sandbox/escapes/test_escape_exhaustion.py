"""Bodies that never end: each ends in `BudgetExceeded`, or is refused."""
# ruff: noqa: E501  # payloads are a table, a row each

import asyncio
import inspect

import pytest

from perdure.errors import BudgetExceeded, PolicyViolation, SandboxViolation
from perdure.sandbox import fixed, load, watchdog
from perdure.sandbox.watchdog import limit

# A body that is ended by force leaves coroutines behind that nobody awaited; that is what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine")

PAYLOADS = {
    "while": "def attack():\n    while True:\n        pass",
    "while with a condition": "def attack():\n    x = 0\n    while x >= 0:\n        x += 1",
    "while in a handler": "def attack():\n    while True:\n        try:\n            while True: pass\n        except Exception:\n            continue",
    "for over an endless iterator": "import itertools\ndef attack():\n    for _ in itertools.count():\n        pass",
    "for over an endless generator": "def ever():\n    while True:\n        yield 1\ndef attack():\n    for _ in ever():\n        pass",
    "recursion": "def attack():\n    return attack()",
    "mutual recursion": "def other():\n    return attack()\ndef attack():\n    return other()",
    "recursion in a lambda": "f = lambda: f()\ndef attack():\n    return f()",
    "recursion in repr": "class X:\n    def __repr__(self): return repr(self)\ndef attack():\n    return repr(X())",
    "recursion caught": "def attack():\n    try:\n        return attack()\n    except Exception:\n        return attack()",
    "list of an endless iterator": "import itertools\ndef attack():\n    return list(itertools.count())",
    "sum of an endless iterator": "import itertools\ndef attack():\n    return sum(itertools.repeat(1))",
    "list of a sentinel iterator": "def attack():\n    return list(iter(int, 1))",
    "max of a long range": "def attack():\n    return max(range(10**12))",
    "sorted of an endless iterator": "import itertools\ndef attack():\n    return sorted(itertools.cycle([1]))",
    "dict of an endless iterator": "import itertools\ndef attack():\n    return dict(zip(itertools.count(), itertools.count()))",
    "set of an endless iterator": "import itertools\ndef attack():\n    return set(itertools.count())",
    "product": "import itertools\ndef attack():\n    return list(itertools.product(range(10), repeat=12))",
    "permutations": "import itertools\ndef attack():\n    return len(list(itertools.permutations(range(20))))",
    "star of an endless iterator": "import itertools\ndef attack():\n    return [*itertools.count()]",
    "star of arguments": "import itertools\ndef attack():\n    return print(*itertools.count())",
    "unpacking": "import itertools\ndef attack():\n    first, *rest = itertools.count()",
    "comprehension": "import itertools\ndef attack():\n    return [x for x in itertools.count()]",
    "dict comprehension": "import itertools\ndef attack():\n    return {x: x for x in itertools.count()}",
    "set comprehension": "import itertools\ndef attack():\n    return {x for x in itertools.count()}",
    "generator expression": "import itertools\ndef attack():\n    return all(x >= 0 for x in itertools.count())",
    "join": "import itertools\ndef attack():\n    return ''.join(itertools.repeat('a'))",
    "extend": "import itertools\ndef attack():\n    [].extend(itertools.count())",
    "deque": "import collections, itertools\ndef attack():\n    return collections.deque(itertools.count(), maxlen=1)",
    "reduce": "import functools, itertools\ndef attack():\n    return functools.reduce(lambda a, b: a, itertools.count())",
    "Counter": "import collections, itertools\ndef attack():\n    return collections.Counter(itertools.cycle('ab'))",
    "nested loops": "def attack():\n    for _ in range(10**6):\n        for _ in range(10**6):\n            pass",
    "iterator class": "class Ever:\n    def __iter__(self): return self\n    def __next__(self): return 1\ndef attack():\n    return list(Ever())",
    "getitem protocol": "class Ever:\n    def __getitem__(self, i): return i\ndef attack():\n    return list(Ever())",
    "async loop": "import asyncio\nasync def attack():\n    while True:\n        await asyncio.sleep(0)",
    "async iterator": "class Ever:\n    def __aiter__(self): return self\n    async def __anext__(self): return 1\nasync def attack():\n    async for _ in Ever():\n        pass",
    "tasks that make tasks": "import asyncio\nasync def more():\n    asyncio.create_task(more())\n    await asyncio.sleep(0)\nasync def attack():\n    await more()\n    while True:\n        await asyncio.sleep(0)",
    "membership in an endless iterator of ours": "class Ever:\n    def __iter__(self): return self\n    def __next__(self): return 1\ndef attack():\n    return 2 in Ever()",
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_budget(monkeypatch):
    """Give bodies a budget that is used up in milliseconds."""
    monkeypatch.setattr(fixed.FixedEnvironment.__init__, "__defaults__", (100_000,))


@pytest.mark.parametrize("name", PAYLOADS)
def test_what_never_ends_is_ended(name):
    with pytest.raises((BudgetExceeded, PolicyViolation, SandboxViolation)) as caught:
        call(load(PAYLOADS[name], filename="<endless>").attack)
    assert caught.value.fix or getattr(caught.value, "findings", ())


def call(attack):
    """Run an attack to its end, whatever kind of function it is."""
    result = attack()
    if inspect.isawaitable(result):

        async def drive():
            return await result

        asyncio.run(drive())


@pytest.fixture
def impatient():
    """Let the watchdog bite after a tenth of a second."""
    former = limit(0.1)
    yield
    limit(former)


def test_the_watchdog_ends_what_fuel_does_not_see(impatient):
    module = load("""
def attack():
    seen = 0
    numbers = range(10 ** 5)
    for _ in range(10 ** 6):
        seen += numbers.count(-1.5)
    return seen
""")
    with pytest.raises(BudgetExceeded) as caught:
        module.attack()
    assert isinstance(caught.value, watchdog.OutOfTime)
