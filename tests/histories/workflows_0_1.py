"""The workflows whose histories release 0.1 left behind. They never change: what they recorded must replay for ever."""

from __future__ import annotations

import asyncio
import collections
import functools
import random
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as daytime
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Network
from pathlib import PurePosixPath
from typing import Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from perdure.strict import (
    ChildCancelled,
    ChildFailed,
    FatalError,
    HookRefused,
    Queue,
    RetryPolicy,
    StepFailed,
    StepTimeout,
    current_step,
    step,
    workflow,
)

T = TypeVar("T")
_FAILED: list[str] = []


class Size(Enum):
    """A value that JSON doesn't have."""

    SMALL = "s"
    LARGE = "l"


class Order(BaseModel):
    """An input."""

    order_id: str
    cents: int
    items: list[str]


@dataclass
class Parcel:
    """A result."""

    weight: Decimal
    size: Size


class Rights(Flag):
    """Several at once."""

    READ = 1
    WRITE = 2


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: float = 0.5


class Box(BaseModel, Generic[T]):
    """A model with a parameter."""

    content: T
    labels: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A dataclass without a `__dict__`."""

    name: str
    children: tuple[Leaf, ...] = field(default=())


class CardDeclined(FatalError):
    """Raised by a step, caught in a body."""


@step
async def charge_card(order: Order) -> dict:
    return {"token": f"tok-{order.order_id}", "cents": order.cents, "at": datetime(2030, 1, 1, 12, tzinfo=UTC)}


@step(retries=RetryPolicy(max_attempts=3, backoff="fixed", base_delay="1m", jitter=0))
async def reserve_stock(item: str) -> str:
    if current_step().attempt < 3:
        raise ConnectionError(f"no answer about {item}")
    return f"stock of {item}"


@step(retries=0)
async def decline() -> None:
    raise CardDeclined("insufficient funds")


@step
async def remind(number: int) -> int:
    return number


@step(retries=0)
async def fail_at_first(tracking: str) -> None:
    if not _FAILED:
        _FAILED.append(tracking)
        raise ConnectionError("not yet")


@step
def pack(items: list) -> Parcel:
    return Parcel(Decimal("1.50") * len(items), Size.LARGE)


def every_kind_of_value() -> dict:
    return {
        "big": 10**40,
        "float": 0.1,
        "text": 'naïve "quotes"\n✓',
        "bytes": b"\x00\xff",
        "tuple": (1, "two", None),
        "set": {3, 1, 2},
        "keys": {1: "one", 2: "two"},
        "uuid": uuid.UUID(int=7),
        "date": date(2030, 1, 31),
        "delta": timedelta(days=1, seconds=2),
        "nested": [{"deep": [[], {}, [True, False]]}],
    }


def rare_values() -> dict:
    return {
        "frozenset": frozenset({2, 1}), "deque": collections.deque([1, 2, 3], maxlen=3),
        "ordered": collections.OrderedDict(b=1, a=2), "counter": collections.Counter("hello"),
        "defaults": collections.defaultdict(list, a=[1]), "pairs": {(1, "a"): 1, None: 2, 2.5: 3},
        "numbers": {10**20: "large", -1: "small"}, "days": {date(2030, 1, 1): "new year"},
        "mixed": [1, "two", Decimal("3.0"), (4,), None, {"five": b"5"}],
        "records": [{"id": 1, "at": date(2030, 1, 1)}, {"id": 2, "note": "n"}, {"id": None}],
        "table": {f"row {number}": (number, str(number)) for number in range(20)},
        "not a number": [float("inf"), float("-inf")], "decimals": [Decimal("1.50"), Decimal("-0"), Decimal("1E+3")],
        "fraction": Fraction(1, 3), "complex": 1 + 2j, "range": range(0, 10, 3), "bytearray": bytearray(b"ab"),
        "time": daytime(12, 30, 15, 7), "naive": datetime(2030, 1, 1), "minus": timedelta(days=-1, microseconds=1),
        "zoned": datetime(2030, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")),
        "offset": datetime(2030, 7, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        "named": datetime(2030, 7, 1, 12, tzinfo=timezone(timedelta(hours=-3), "here")),
        "twice": datetime(2030, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        "zone": ZoneInfo("Asia/Tokyo"), "path": PurePosixPath("a/b"), "address": IPv4Address("10.0.0.1"),
        "network": IPv6Network("fd00::/8"), "surrogate": "a\ud800b", "control": "\x00\x1f\u2028",
        "flag": Rights.READ | Rights.WRITE, "enums": {Size.SMALL: [Size.LARGE]}, "point": Point(1),
        "points": [Point(2, 3)],
        "leaf": Leaf("root", (Leaf("left"), Leaf("right", (Leaf("deep"),)))),
        "box": Box[Decimal](content=Decimal("1.0")), "boxes": Box[list[Box[int]]](content=[Box[int](content=1)]),
        "empty": [[], {}, (), set(), "", b""], "long": "x" * 300, "bool": [True, False, None],
    }  # fmt: skip


def fail_unspeakably() -> None:
    class Unspeakable(Exception):  # nobody can find it again
        pass

    raise Unspeakable("no words for it")


async def never_ends() -> None:
    await asyncio.sleep(3600)


async def note(text: object) -> object:
    return text


@workflow(id="ship")
async def ship(input: dict, step) -> dict:
    await step.sleep("loading", "2h")
    return {"tracking": f"T-{input['order_id']}"}


@workflow(id="lost-parcel")
async def lost_parcel(input: str) -> None:
    raise ValueError(f"{input} fell off the lorry")


@workflow(id="wait-for-ever")
async def wait_for_ever(input: str, step) -> None:
    await step.wait_for_event("never", type="never.happens", match={"id": input})


@workflow(id="fulfill-order", version="1")
async def fulfill_order(input: Order, step, ctx) -> dict:
    charge = await charge_card(input)
    stock = await asyncio.gather(*(reserve_stock(item) for item in input.items))
    try:
        await decline()
    except CardDeclined as declined:
        await step.run("declined", note, str(declined.message))
    parcel = await pack(input.items)
    values = await step.run("values", every_kind_of_value)
    await step.run("values again", note, values)
    label = await step.run("label", lambda: f"{charge['token']} {parcel.size.name}")
    paid = await step.wait_for_event("paid", type="payment.completed", match={"order_id": input.order_id})
    missed = await step.wait_for_event("missed", type="never.happens", timeout="1d")
    shipped = await step.invoke("ship", "ship", {"order_id": input.order_id})
    return {
        "label": label, "stock": list(stock), "paid": paid["by"], "missed": missed, "tracking": shipped["tracking"],
        "weight": parcel.weight, "attempt": ctx.attempt,
    }  # fmt: skip


@workflow(id="family")
async def family(input: str, step) -> list:
    seen = []
    try:
        await step.invoke("lost", "lost-parcel", input)
    except ChildFailed as failed:
        seen.append(failed.error_type)
    child = await step.spawn("ship", "ship", {"order_id": input})
    waiting = await step.spawn("wait", "wait-for-ever", input)
    seen.append((await child.result())["tracking"])
    await waiting.cancel()
    try:
        await waiting.result()
    except ChildCancelled:
        seen.append("cancelled")
    return seen


@workflow(id="at-once")
async def at_once(input: int, step) -> dict:
    """Branches, time and chance: what replays only because it is the ledger's."""
    order = []

    async def branch(number: int) -> None:
        await asyncio.sleep((number * 7) % 5)
        order.append(await step.run(f"branch-{number}", note, [number, random.randrange(1000)]))

    async with asyncio.TaskGroup() as group:
        for number in range(input):
            group.create_task(branch(number))
    patience = "enough"
    try:
        async with asyncio.timeout(60):
            await step.sleep("too long", "1h")
    except TimeoutError:
        patience = "lost"
    numbers = await step.map("square", lambda number: number * number, range(3), concurrency=2)
    return {
        "order": order, "patience": patience, "numbers": numbers, "now": datetime.now(UTC), "id": str(uuid.uuid4()),
        "letters": list({"c", "a", "b"}),
    }  # fmt: skip


@workflow(id="third-time-lucky", retries=RetryPolicy(max_attempts=3, backoff="fixed", base_delay="1h", jitter=0))
async def third_time_lucky(input: str, step, ctx) -> str:
    first = await step.run("first", note, input)
    await step.sleep("pause", "1m")
    if ctx.attempt < 3:
        raise RuntimeError(f"attempt {ctx.attempt}")
    return await step.run("second", note, f"{first} at last")


@workflow(id="undo", timeout="30d")
async def undo(input: str, step) -> None:
    await step.run("reserve", note, input)
    try:
        await step.wait_for_event("go", type="go")
    finally:
        await step.run("release", note, input)


@workflow(id="approve")
async def approve(input: str, step) -> str:
    approval = await step.wait_for_event("approval", type="approved", match={"id": input})
    return await step.run("file", note, f"{input} by {approval['by']}")


@workflow(id="sleepy")
async def sleepy(input: str, step) -> str:
    await step.run("lie down", note, input)
    await step.sleep("long", "365d")
    return "awake"


@workflow(id="values")
async def values(input: None, step) -> dict:
    """Every type that can be recorded, handed on as it came back; and what else counts as an argument."""
    rare = await step.run("rare", rare_values)
    for name, value in rare.items():
        await step.run(name, note, value)
    long, short = rare["table"], "short"
    await step.run("captured", lambda: note([len(long), short]))
    await step.run("bound", functools.partial(note, text="by name"))
    await step.run("mapped", note, list(rare["frozenset"]))
    return rare


@workflow(id="shapes")
async def shapes(input: int, step, ctx) -> dict:
    """The ways in which a body may wait, and in what order things come."""
    order: list = []
    queue: asyncio.Queue = asyncio.Queue(maxsize=1)
    lock = asyncio.Lock()

    async def produce() -> None:
        for number in range(input):
            await queue.put(await step.run(f"make {number}", note, number))

    async def consume() -> None:
        for _ in range(input):
            order.append(await queue.get())
            async with lock:
                await step.sleep("rest", "1m")

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        group.create_task(consume())
    await step.sleep_until("noon", "2030-01-02T12:00:00+01:00")
    await remind(1)
    await remind(2)
    await remind.options(name="remind again")(3)
    pending = [asyncio.create_task(asyncio.sleep(delay, delay), name=f"t{delay}") for delay in (30, 10, 20)]
    done, rest = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    order.append(sorted(task.result() for task in done))
    for first in asyncio.as_completed([step.sleep("slow", "2m"), step.sleep("quick", "1m")]):
        order.append(await first)
    try:
        await asyncio.wait_for(step.wait_for_event("nothing", type="nothing"), 5)
    except TimeoutError:
        order.append("gave up")
    try:
        await step.run("unspeakable", fail_unspeakably, retries=0)
    except StepFailed as failed:
        order.append(failed.error_type)
    try:
        await step.run("endless", never_ends, retries=0, timeout="10ms")
    except StepTimeout:
        order.append("timed out")
    try:
        await step.invoke("slow child", "wait-for-ever", "w2", timeout="1h")
    except StepTimeout:
        order.append("child timed out")
    order += await step.parallel([step.run("left", note, 1), step.run("right", note, 2)])
    once = await step.run("once", note, "only", delivery="at_most_once")
    rng = random.Random()
    return {
        "order": order, "once": once, "clock": [time.time(), time.monotonic(), time.time_ns()],
        "chance": [random.random(), random.sample(range(100), 3), rng.random(), random.gauss(0, 1)],
        "ids": [str(uuid.uuid1()), str(uuid.uuid4())], "run": [ctx.run_id, ctx.attempt, dict(ctx.tags)],
    }  # fmt: skip


@workflow(id="approve-twice")
async def approve_twice(input: str, step) -> list:
    """Two events, which come while the run is diverged: the first one makes it so."""

    async def wait(number: int) -> str:
        came = await step.wait_for_event(f"number {number}", type="approved", match={"id": input, "number": number})
        return await step.run(f"file {number}", note, f"{input} by {came['by']}")

    return list(await asyncio.gather(wait(1), wait(2)))


@workflow(id="tidy-up", retries=RetryPolicy(max_attempts=2, backoff="fixed", base_delay="1h", jitter=0))
async def tidy_up(input: str, step) -> str:
    """A step that fails in the first attempt only, with a child whose result the second attempt has already."""
    shipped = await step.invoke("ship", "ship", {"order_id": input})
    await fail_at_first(shipped["tracking"])
    return shipped["tracking"]


class Decision(BaseModel):
    """What a hook takes."""

    by: str
    yes: bool


async def write_log(text: str) -> int:
    """Write what a reader follows, and say how far it is; with one attempt more than it would need."""
    inside = current_step()
    log = inside.stream("log")
    for number, word in enumerate(text.split()):
        await log.write({"number": number, "word": word})
        inside.heartbeat({"done": number + 1})
    await inside.stream().write(b"plain")
    if inside.attempt == 1:
        raise ConnectionError("once more")
    log.close()
    return len(text)


@workflow(id="ask-around")
async def ask_around(input: str, step, ctx) -> dict:
    """Signals that were kept and awaited, hooks of both kinds, a condition over what came, and what is told."""
    votes: list = []
    decision = step.hook(f"decide:{input}", schema=Decision)
    taken = step.hook(f"decide:{input}")
    many = step.hook("votes")

    async def collect() -> None:
        async for vote in many:
            votes.append(vote)

    collecting = asyncio.create_task(collect())
    await step.run("later", note, input)
    first = await step.wait_for_signal("hello")
    second = await step.wait_for_signal("hello", timeout="10d")
    third = await step.wait_for_signal("hello", timeout="1h")
    await step.emit("greeted", {"first": first, "second": second, "third": third})
    enough = await step.wait_until(lambda: len(votes) >= 2, timeout="30d")
    many.dispose()
    await collecting
    try:
        await taken
    except HookRefused:
        refused = True
    decided = await decision
    state = await ctx.state()
    return {
        "votes": votes, "enough": enough, "decided": decided.by, "refused": refused, "entries": state.entries,
    }  # fmt: skip


@workflow(id="write-a-log")
async def write_a_log(input: str, step) -> int:
    """Chunks of two streams, and heartbeats, of a step that is tried again."""
    log = step.stream("log")
    await step.run("first", note, log.namespace)
    return await step.run("write", write_log, input, retries=1)


@workflow(id="count-down", timeout="1d")
async def count_down(input: int, step) -> str:
    """A loop without end, that ends."""
    if input == 0:
        return await step.wait_for_signal("lift-off")
    await step.sleep("tick", "1s")
    await step.continue_as(input - 1)
    return ""


@workflow(id="send-mail", queue=Queue("mail", max_concurrent_runs=1, debounce="10m"), key="{to}", timeout="2h")
async def send_mail(input: dict, step) -> str:
    """A run on a queue, begun with the newest input."""
    return await step.run("send", note, f"{input['to']}: {input['text']}")


@workflow(id="grow")
async def grow(input: str, step, ctx) -> list:
    """A body that was changed while a run of it was open, so that it was upgraded; and one that took the new way."""
    grown = [await step.run("seed", note, input)]
    if ctx.patched("water"):
        grown.append(await step.run("water", note, "water"))
    grown.append(await step.wait_for_signal("sun"))
    return grown
