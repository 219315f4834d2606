"""Ordinary modern Python works in a body, and does what it does outside."""

# ruff: noqa: E501  # a construct a line reads best

from __future__ import annotations

import sys

import pytest

CONSTRUCTS = {
    "arithmetic": "def body():\n    return (1 + 2) * 3 // 2 % 5, 2 ** 10, 7 / 2, -3, ~5, 6 & 3, 6 | 1, 6 ^ 2, 1 << 4, 32 >> 2",
    "augmented_item": "def body():\n    d = {'a': 1}\n    d['a'] += 4\n    l = [1, 2]\n    l[0] *= 9\n    return d, l",
    "augmented_attribute": """
class Box:
    def __init__(self): self.n = 1
def body():
    box = Box()
    box.n += 5
    return box.n
""",
    "augmented_item_evaluates_once": """
def body():
    seen = []
    def key():
        seen.append(1)
        return 'k'
    d = {'k': 1}
    d[key()] += 2
    return d, seen
""",
    "annotated": "def body():\n    x: int = 1\n    y: list[int] = [x]\n    z: str\n    return x, y",
    "annotated_attribute": """
class A:
    def __init__(self, n: int) -> None:
        self.n: int = n
def body() -> int:
    return A(3).n
""",
    "async_for_with": """
class Manager:
    async def __aenter__(self): return 5
    async def __aexit__(self, *error): return False
async def numbers():
    for i in range(3):
        yield i
async def body():
    total = 0
    async with Manager() as five:
        async for n in numbers():
            total += n * five
    return total, [n async for n in numbers() if n], {n: n async for n in numbers()}
""",
    "await_in_augmented_item": """
async def two(): return 2
async def body():
    d = {'k': 1}
    d['k'] += await two()
    return d
""",
    "gather": """
import asyncio
async def double(n): return n * 2
async def body():
    return await asyncio.gather(double(1), double(2))
""",
    "match": """
from dataclasses import dataclass
@dataclass
class Point:
    x: int
    y: int
def body():
    found = []
    for value in (Point(0, 3), [1, 2, 3], {"kind": "a", "more": 1}, "text", 5, None, (1, 2)):
        match value:
            case Point(x=0, y=far): found.append(("axis", far))
            case [first, *rest] if len(rest) == 2: found.append((first, rest))
            case {"kind": kind, **others}: found.append((kind, others))
            case str() as text: found.append(text)
            case 5 | 6: found.append("five")
            case None: found.append(None)
            case _: found.append("else")
    return found
""",
    "try_everything": """
def body():
    trace = []
    for attempt in range(3):
        try:
            if attempt == 0: raise KeyError("k")
            if attempt == 1: raise ValueError("v") from None
            trace.append("fine")
        except KeyError as error:
            trace.append(("key", error.args))
        except (ValueError, TypeError) as error:
            trace.append(str(error))
        else:
            trace.append("else")
        finally:
            trace.append("finally")
    return trace
""",
    "return_in_try_runs_finally": """
def body():
    seen = []
    def inner():
        try:
            return "value"
        finally:
            seen.append("finally")
    return inner(), seen
""",
    "f_strings": "def body():\n    x, w = 3.14159, 8\n    return f'{x:.2f}|{x:{w}.1f}|{w!r}|{w=}|{[w]}|{{}}'",
    "format_methods": "def body():\n    return '{} {a} {b[0]}'.format(1, a=2, b=[3]), '{x}'.format_map({'x': 1}), '%s-%d' % ('a', 2)",
    "walrus": "def body():\n    return [y for x in range(5) if (y := x * 2) > 3], y",
    "nonlocal": """
def body():
    count = 0
    def add():
        nonlocal count
        count += 1
        return count
    add()
    return add(), count
""",
    "comprehensions": """
def body():
    pairs = [(x, y) for x in range(3) for y in range(x) if x != y]
    return pairs, {x: y for x, y in pairs}, sum(x for x, _ in pairs), [[z for z in range(w)] for w in range(3)]
""",
    "set_operations": "def body():\n    a, b = {1, 2, 3}, set([2, 5])\n    return sorted(a | b), a & b == {2}, len(a - b), 2 in a, {x % 2 for x in a} == {0, 1}",
    "decorators": """
def twice(function):
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs) * 2
    return wrapper
@twice
def three(): return 3
def body():
    @twice
    def local(n, *, add=0): return n + add
    return three(), local(4, add=1)
""",
    "classes": """
class Base:
    kind = "base"
    def __init__(self, n): self._n = n
    @property
    def n(self): return self._n
    @n.setter
    def n(self, value): self._n = value
    @classmethod
    def make(cls): return cls(7)
    @staticmethod
    def plus(a, b): return a + b
    def __eq__(self, other): return self._n == other._n
    def __hash__(self): return 1
    def __lt__(self, other): return self._n < other._n
class Derived(Base):
    kind = "derived"
    def __init__(self, n):
        super().__init__(n + 1)
        self.__secret = 5
    def secret(self): return self.__secret
def body():
    d = Derived.make()
    d.n = d.n + 1
    d.n += 1
    return d.n, d.kind, Base.plus(1, 2), d.secret(), d == Derived(9), sorted([Base(3), Base(1)])[0].n, isinstance(d, Base)
""",
    "dataclass_and_enum": """
from dataclasses import dataclass, field, replace
from enum import Enum, auto
class Color(Enum):
    RED = auto()
    BLUE = auto()
@dataclass(frozen=True, order=True)
class Item:
    name: str
    price: int = 0
    tags: list = field(default_factory=list)
def body():
    item = Item("a", 3)
    return replace(item, price=4) > item, item == Item("a", 3), Color.RED.name, [c.value for c in Color], Color["BLUE"] is Color.BLUE
""",
    "datetime_methods": """
from datetime import datetime, timedelta, timezone
def body():
    aware = datetime(2024, 5, 6, 7, 8, tzinfo=timezone.utc)
    zone = timezone(timedelta(hours=2))
    return aware.timestamp(), aware.astimezone(zone), aware.astimezone(tz=zone).hour, datetime(2024, 5, 6).strftime("%Y-%m-%d")
""",
    "local_class": """
def body():
    class Counter:
        def __init__(self): self.hits = 0
        def hit(self):
            self.hits += 1
            return self
    return Counter().hit().hit().hits
""",
    "generators": """
def numbers(n):
    got = yield n
    while True:
        got = yield got
def flat(items):
    for item in items:
        if isinstance(item, list):
            yield from flat(item)
        else:
            yield item
def body():
    g = numbers(1)
    return next(g), g.send(5), list(flat([1, [2, [3]], 4]))
""",
    "unpacking": """
def body():
    a, (b, *c), d = 1, (2, 3, 4), 5
    [e, f] = [6, 7]
    first, *rest = range(4)
    def f2(*args, **kwargs): return args, kwargs
    return a, b, c, d, e, f, first, rest, [*rest, *c], {**{'x': 1}, 'y': 2}, f2(*rest, **{'k': 1})
""",
    "underscore": "def body():\n    _, x = 1, 2\n    _y = 3\n    for _ in range(2): pass\n    return x, _y, _",
    "lambda_closures": "def body():\n    k = 3\n    f = lambda x, *, y=k: x * y\n    return f(2), sorted([3, 1, 2], key=lambda v: -v), (lambda: k)()",
    "with_statement": """
from contextlib import contextmanager
@contextmanager
def managed(log):
    log.append("in")
    try:
        yield 4
    finally:
        log.append("out")
def body():
    log = []
    with managed(log) as four, managed(log):
        log.append(four)
    return log
""",
    "while_else_break": """
def body():
    out = []
    n = 0
    while n < 5:
        n += 1
        if n == 2: continue
        if n == 4: break
        out.append(n)
    else:
        out.append("never")
    for x in []: pass
    else: out.append("for else")
    return out
""",
    "delete_and_global_reads": "LIMIT = 4\ndef body():\n    d = {1: 2, 3: 4}\n    del d[1]\n    x = 1\n    del x\n    return d, LIMIT",
    "ternary_slices_chains": "def body():\n    l = list(range(10))\n    return l[2:8:3], l[-1], (1 if l else 2), 1 < 2 < 3, not l, ..., l[::-1][:2]",
    "imports_in_a_body": "def body():\n    import math\n    from collections import Counter, OrderedDict as OD\n    return math.floor(2.5), Counter('aab')['a'], list(OD(a=1))",
    "exceptions_of_ones_own": """
class Declined(Exception):
    def __init__(self, code):
        super().__init__(f"declined {code}")
        self.code = code
def body():
    try:
        raise Declined(5)
    except Declined as error:
        return error.code, str(error), type(error).__name__, error.__class__ is Declined
""",
    "getattr_and_friends": """
class A:
    x = 1
    def f(self): return self.x
def body():
    a = A()
    setattr(a, "y", 2)
    return getattr(a, "y"), hasattr(a, "z"), getattr(a, "z", 3), getattr(a, "f")()
""",
    "string_iteration_and_join": "def body():\n    return ''.join(c.upper() for c in 'abc'), ','.join(map(str, (x for x in range(3)))), list(zip('ab', range(9)))",
}


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_construct_does_what_plain_python_does(name, alike):
    alike(CONSTRUCTS[name])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="PEP 695 is Python 3.12's")
def test_type_parameters_are_erased(alike):
    alike(
        """
        def first[T](items: list[T]) -> T:
            return items[0]
        class Box[T]:
            def __init__(self, item: T) -> None: self.item = item
        def body():
            return first([4, 5]), Box(3).item
        """
    )


def test_set_literal_keeps_insertion_order_in_a_body():
    from perdure.sandbox import load

    module = load("def body():\n    return [x for x in {30, 10, 20}] + list({'b', 'a'}) + list(set([5, 3]))")
    assert module.body() == [30, 10, 20, "b", "a", 5, 3]


def test_functions_keep_signature_doc_and_kind():
    import inspect

    from perdure.sandbox import load

    module = load('async def body(a, /, b=1, *, c):\n    """Says so."""\n    return a')
    assert inspect.iscoroutinefunction(module.body)
    assert str(inspect.signature(module.body)) == "(a, /, b=1, *, c)"
    assert module.body.__doc__ == "Says so."
