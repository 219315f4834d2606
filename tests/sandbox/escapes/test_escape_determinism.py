"""Leaks of what differs between processes: order, addresses, hashes, clocks, zones. A body shows the same everywhere.

Every expression is evaluated in fresh processes with different hash seeds, time zones and start times; what they show
must be equal, be it a value or the name of the error.
"""
# ruff: noqa: E501  # payloads are a table, a row each

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

EXPRESSIONS = [
    "{'a', 'b', 'c'}", "{x for x in 'hello world'}", "set('hello')", "list(set('hello'))", "frozenset('hello')",
    "list(frozenset('xyz') | {'a'})", "set('abc') & set('bcd')", "set('abc') ^ set('bcd')", "set('abcdef').pop()",
    "{'a': 1, 'b': 2}.keys() & {'a', 'b', 'z'}", "sorted({'a': 1, 'b': 2}.keys() - {'b'})",
    "list({'a': 1, 'b': 2, 'c': 3}.keys() | {'z', 'y'})", "[*{'p', 'q', 'r'}]", "tuple(set('abc'))",
    "','.join(set('abcdef'))", "dict.fromkeys(set('abc'))", "max(set('abc'), key=lambda c: 0)",
    "list(map(str.upper, set('abc')))", "list(zip(set('abc'), range(3)))", "[a for a, b in enumerate(set('ab'))]",
    "json.dumps(list(set('hello')))", "str(set('hello'))", "f\"{set('hello')}\"", "'%s' % (set('hello'),)",
    "[c for c in collections.Counter('hello')]", "collections.Counter('hello').most_common()",
    "hash('text')", "hash(b'bytes')", "hash(('a', 1, None))", "hash(frozenset('abc'))", "hash(None)", "hash(1.5)",
    "hash(datetime.date(2024, 1, 2))", "hash(datetime.datetime(2024, 1, 2))", "hash(uuid.UUID(int=5))",
    "hash(Point(1, 'x'))", "hash(Plain())", "hash(int)", "hash(Colour.RED)", "hash(decimal.Decimal('1.0')) == hash(1)",
    "id('a')", "str(object())", "repr(object())", "f'{object()}'", "'%s' % object()", "'%r' % [object()]",
    "'{}'.format(object())", "str([object()])", "str(lambda: 0)", "repr(Plain())", "str(Plain().method)",
    "str(KeyError(object()))", "ascii(object())", "format(object())", "object().__repr__()", "str({1: Plain()})",
    "sorted([Plain(), Plain()], key=str)", "sorted([Plain(), Plain()], key=repr)", "sorted([Plain(), Plain()], key=hash)",
    "time.time()", "time.monotonic()", "time.perf_counter()", "time.time_ns()", "time.gmtime()", "time.localtime()",
    "time.strftime('%Y-%m-%d %H:%M')", "time.strftime('%Z')", "time.ctime()", "time.asctime()", "time.tzname",
    "datetime.datetime.now()", "datetime.datetime.utcnow()", "datetime.datetime.today()", "datetime.date.today()",
    "datetime.datetime.now(datetime.timezone.utc)", "datetime.datetime(2024, 1, 2).timestamp()",
    "datetime.datetime(2024, 1, 2).astimezone(datetime.timezone.utc)", "datetime.datetime.fromtimestamp(0)",
    "datetime.datetime.now(datetime.timezone.utc).astimezone()", "datetime.date.fromtimestamp(86400)",
    "datetime.datetime(2024, 1, 2).strftime('%s')", "datetime.datetime(2024, 1, 2).strftime('%c')",
    "datetime.datetime.strptime('2024-05-06', '%Y-%m-%d')", "datetime.datetime(2024, 1, 2).timetuple()",
    "type(datetime.datetime.now()).now()", "datetime.datetime(2024, 1, 2).now()", "datetime.date(2024, 1, 2).today()",
    "datetime.datetime.now(zoneinfo.ZoneInfo('Europe/Paris'))", "datetime.datetime.fromtimestamp(0, datetime.timezone.utc)",
    "random.random()", "random.randint(1, 10**9)", "random.choice('abcdef')", "random.sample(range(100), 5)",
    "random.Random().random()", "random.Random(5).random()", "random.gauss(0, 1)", "random.SystemRandom().random()",
    "[random.seed(3), random.random()]", "random.Random('text').random()", "random.shuffle(list(range(9)))",
    "random.uniform(1, 2)", "random.randbytes(4)", "random.getrandbits(64)", "type(random.Random(1))().random()",
    "uuid.uuid4()", "uuid.uuid1()", "uuid.uuid7()", "uuid.uuid5(uuid.NAMESPACE_DNS, 'a')", "uuid.getnode()",
    "statistics.NormalDist(0, 1).samples(2)", "decimal.Decimal(1) / 3", "str(decimal.getcontext().prec)",
    "[c.name for c in Colour]", "json.dumps({'b': 1, 'a': [1, 2]})", "re.findall('[a-c]', 'xaybzc')",
    "collections.OrderedDict.fromkeys(set('abc'))", "list(collections.ChainMap({'a': 1}, {'b': 2}))",
    "sum([0.1] * 3)", "statistics.mode(set('abc'))", "operator.mod('%s', object())", "copy.copy({'x', 'y', 'z'})",
    "copy.deepcopy({'x', 'y', ('z', 1)})", "functools.reduce(lambda a, b: a + b, set('abc'))",
    "heapq.nsmallest(2, set('cab'))", "list(itertools.chain(set('ab'), set('cd')))", "itertools.batched",
    "list(itertools.permutations(set('ab')))", "difflib.get_close_matches('ab', set(['abc', 'abd', 'x']))",
    "string.Template('$x').substitute(x=object())", "print(object())", "print(set('abc'))",
    "min({'b', 'a'} | {'c'}, key=len)", "any({0, ''})", "[x for x in {('a', 1), ('b', 2)}]", "bool(set())",
    "isinstance(set(), frozenset)", "type({1}) is set", "type(frozenset()) is frozenset", "{1} == {1.0}",
    "urllib.parse.urlencode({'a': 1, 'b': set('x')})", "ipaddress.ip_address('10.0.0.1')", "hash(ipaddress.ip_address(1))",
    "os.path.join('a', 'b')", "os.path.exists('/')", "os.getcwd()", "os.environ['TZ']", "os.cpu_count()",
]  # fmt: skip

SOURCE = """
import asyncio, collections, copy, dataclasses, datetime, decimal, difflib, enum, functools, heapq, ipaddress, itertools
import json, operator, os.path, random, re, statistics, string, time, urllib.parse, uuid, zoneinfo
@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: str
class Plain:
    def method(self): return 1
class Colour(enum.Enum):
    RED = 1
    BLUE = 2
def probe():
    return repr(EXPRESSION)
"""

ASYNC_SOURCE = """
import asyncio, random, time
async def worker(name, delay, log):
    await asyncio.sleep(delay)
    log.append((name, time.time(), round(random.random(), 12)))
    return name
async def probe():
    log = []
    tasks = [asyncio.create_task(worker(n, (7 - n) % 3, log)) for n in range(6)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    log.append([t.result() for t in done])
    log.append(len(pending))
    for next_one in asyncio.as_completed(tasks):
        log.append(await next_one)
    async with asyncio.TaskGroup() as group:
        for n in range(3):
            group.create_task(worker(10 + n, 1, log))
    cancelled = []
    async def stubborn(n):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            cancelled.append(n)
            raise
    try:
        async with asyncio.TaskGroup() as group:
            for n in range(20):
                group.create_task(stubborn(n))
            await asyncio.sleep(1)
            raise ValueError
    except* ValueError:
        pass
    log.append(cancelled)
    return log
""".replace("except* ValueError", "except ExceptionGroup")

PROBE = """
import asyncio, json, sys, warnings
warnings.simplefilter("ignore")
from perdure.sandbox import load
source, async_source, expressions = json.loads(sys.stdin.read())
shown = []
for expression in expressions:
    try:
        module = load(source.replace("EXPRESSION", expression), filename="<probe>")
        shown.append(str(module.probe()))
    except Exception as error:
        shown.append(type(error).__name__ + ": " + str(error).splitlines()[0])
module = load(async_source, filename="<probe>")
async def drive():
    return await module.probe()
shown.append(str(asyncio.run(drive())))
print(json.dumps(shown))
"""


def show_in_fresh_process(seed: str, zone: str) -> list[str]:
    """Evaluate every expression in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps([SOURCE, ASYNC_SOURCE, EXPRESSIONS]),
        env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    shown: list[str] = json.loads(result.stdout.splitlines()[-1])  # what bodies print comes before
    return shown


@pytest.fixture(scope="module")
def reference() -> list[str]:
    """Show everything under one seed and zone."""
    return show_in_fresh_process("0", "UTC")


@pytest.mark.parametrize(
    ("seed", "zone"),
    [("1", "Asia/Tokyo"), ("2", "UTC"), ("3", "America/New_York"), ("4294967295", "Asia/Tokyo"), ("random", "UTC")],
)
def test_a_body_shows_the_same_in_every_process(reference, seed, zone):
    shown = show_in_fresh_process(seed, zone)
    different = [
        (expression, here, there)
        for expression, here, there in zip([*EXPRESSIONS, "tasks"], reference, shown, strict=True)
        if here != there
    ]
    assert different == []


def test_nothing_shows_an_address(reference):
    assert [shown for shown in reference if " at 0x" in shown] == []


def test_most_of_it_is_shown_and_not_refused(reference):
    refused = [
        expression
        for expression, shown in zip(EXPRESSIONS, reference, strict=False)
        if shown.startswith(("PolicyViolation", "SandboxViolation"))
    ]
    harmless = {"hash('text')", "set('hello')", "time.time()", "datetime.datetime.now()", "random.random()", "uuid.uuid4()",
                "str(set('hello'))", "{'a': 1, 'b': 2}.keys() & {'a', 'b', 'z'}", "decimal.Decimal(1) / 3"}  # fmt: skip
    assert harmless.isdisjoint(refused)
    assert not any(shown.startswith(("NameError", "SyntaxError")) for shown in reference)
