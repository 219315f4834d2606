"""Workflows as data: a plan is a tree that says what a body does, and one body does whatever a plan says.

A plan is plain lists, so that it can be a run's input; the first item of each names what is done. What a plan gives is
known but for what time, order or a crash may decide, and the result says where that is: `["timed", …]` may be late,
`["once", …]` may have been interrupted, `["any"]` is not compared. `agrees` compares two results so.

Knows plans. Must not know the simulator.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from serving import serve, serve_blocking, served
from streaming import lent, write_chunks, write_slowly
from trading import heard_db, heard_kv, trade, trade_blocking, work

from perdure import ChildCancelled, ChildFailed, StepInterrupted, StepTimeout, current_step
from perdure.strict import workflow

Node = list[Any]
LATE, INTERRUPTED, REFUSED = "late", "interrupted", "refused"


class AtWork:
    """Counts the slow steps that are at work at once, from inside of them."""

    now = most = 0

    def __enter__(self) -> None:
        AtWork.now += 1
        AtWork.most = max(AtWork.most, AtWork.now)

    def __exit__(self, *_: object) -> None:
        AtWork.now -= 1

    @staticmethod
    def forget() -> None:
        """Begin to count anew."""
        AtWork.now = AtWork.most = 0


class Refused(Exception):
    """What a planned failure raises, in steps and in bodies."""


# ── steps ──


def act(name: str, fails: int, run_attempts: int, run_attempt: int) -> str:
    """Give the name; the first `fails` attempts, and all in the first `run_attempts` of the run, fail."""
    if current_step().attempt <= fails or run_attempt <= run_attempts:
        raise Refused(name)
    return name


async def act_slowly(name: str, seconds: float) -> str:
    """Give the name after some time."""
    with AtWork():
        await asyncio.sleep(seconds)
    return name


def item(number: int) -> int:
    """One item of a map."""
    return number * 2


def took(kind: str, box: str, taken: list[int]) -> str:
    """Say what a body took of its post."""
    return box


def tell(error: BaseException) -> None:
    """An `on_error` that has nothing to say."""


# ── the body ──


@workflow(id="anything", version="1")
async def anything(input: list[Any], step: Any, ctx: Any) -> Any:
    """Do what the plan says."""
    return await perform(input, step, ctx)


@workflow(id="stubborn", version="1", retries=3)
async def stubborn(input: list[Any], step: Any, ctx: Any) -> Any:
    """Do what the plan says, and try again when it fails."""
    return await perform(input, step, ctx)


@workflow(id="hurried", version="1", timeout="2h")
async def hurried(input: list[Any], step: Any, ctx: Any) -> Any:
    """Do what the plan says within two hours."""
    return await perform(input, step, ctx)


@workflow(id="looping", version="1", retries=1)
async def looping(input: list[Any], step: Any, ctx: Any) -> Any:
    """Do what the plan says three times, each time in a run of its own."""
    left, plan, results = input[1:] if input[:1] == ["round"] else (3, input, [])
    try:
        results = [*results, await perform(plan, step, ctx)]
        if left > 1:
            await step.continue_as(["round", left - 1, plan, results])
    finally:
        await step.run("tidy", item, left)
    return results


WORKFLOWS = (anything, stubborn, hurried, lent, looping, served, heard_kv, heard_db)


async def perform(node: Any, step: Any, ctx: Any) -> Any:
    """Do one node of a plan."""
    match node:
        case ["step", name, fails, retries, run_attempts]:
            arguments = (name, fails, run_attempts, ctx.attempt)
            return await step.run(name, act, *arguments, retries=retries, on_error=tell)
        case ["slow", name, seconds]:
            return await step.run(name, act_slowly, name, seconds)
        case ["random"]:
            return random.randrange(1_000_000)
        case ["say", text]:
            print(text)
            return text
        case ["fail"]:
            raise Refused("planned")
        case ["sleep", seconds]:
            await step.sleep(seconds)
            return "slept"
        case ["nap", seconds]:
            await asyncio.sleep(seconds)
            return "slept"
        case ["event", name]:
            return await step.wait_for_event(name, type=name)
        case ["map", name, count, concurrency]:
            return await step.map(name, item, range(count), concurrency=concurrency)
        case ["seq", nodes]:
            return [await perform(each, step, ctx) for each in nodes]
        case ["all", nodes]:
            return list(await asyncio.gather(*[perform(each, step, ctx) for each in nodes]))
    return await perform_other(node, step, ctx)


async def perform_other(node: Any, step: Any, ctx: Any) -> Any:
    """The nodes that combine others, and those that time or a crash decides."""
    match node:
        case ["group", nodes]:
            return await in_a_group(nodes, step, ctx)
        case ["narrow", nodes, width]:
            return await through_a_gate(nodes, width, step, ctx)
        case ["queue", nodes]:
            return await through_a_queue(nodes, step, ctx)
        case ["race", nodes]:
            return await race(nodes, step, ctx)
        case ["drop", inner]:
            return await dropped(inner, step, ctx)
        case ["patched", change, inner]:
            way = ctx.patched(change)
            result = await perform(inner, step, ctx)
            assert ctx.patched(change) is way, "the answer for one change became another one"
            await step.run(f"{change}.{way}", item, 1)  # so that a replay that went the other way would diverge
            return result
        case ["try", inner]:
            try:
                return ["tried", await perform(inner, step, ctx)]
            except Refused:
                return ["tried", REFUSED]
        case ["finally", inner, last]:
            try:
                return await perform(inner, step, ctx)
            finally:
                await perform(last, step, ctx)
        case ["invoke", name, which, plan]:
            try:
                return await step.invoke(name, which, plan)
            except (ChildFailed, ChildCancelled):
                raise Refused(name) from None
        case ["spawn", name, which, plan, then, close]:
            return await with_a_child(name, which, plan, then, close, step)
    return await perform_timed(node, step, ctx)


async def perform_timed(node: Any, step: Any, ctx: Any) -> Any:
    """The nodes whose result time or a crash decides."""
    match node:
        case ["once", name, seconds]:
            try:
                return ["once", await step.run(name, act_slowly, name, seconds, delivery="at_most_once")]
            except StepInterrupted:
                return ["once", INTERRUPTED]
        case ["limited", name, seconds, limit]:
            try:
                return ["timed", await step.run(name, act_slowly, name, seconds, timeout=limit, retries=1)]
            except StepTimeout:
                return ["timed", LATE]
        case ["maybe", name, limit]:
            payload = await step.wait_for_event(name, type=name, timeout=limit)
            return ["timed", LATE if payload is None else payload]
        case ["within", seconds, inner]:
            try:
                return ["timed", await asyncio.wait_for(perform(["try", inner], step, ctx), seconds)]
            except TimeoutError:
                return ["timed", LATE]
        case ["impatient", name, which, plan, limit]:
            try:
                return ["timed", await step.invoke(name, which, plan, timeout=limit)]
            except (StepTimeout, ChildCancelled):
                return ["timed", LATE]
            except ChildFailed:
                return ["timed", REFUSED]
    return await perform_post(node, step, ctx)


async def perform_post(node: Any, step: Any, ctx: Any) -> Any:
    """The nodes that take messages; a step's arguments say what they took."""
    match node:
        case ["signals", name, count]:
            taken = [await step.wait_for_signal(name) for _ in range(count)]
            await step.run(f"{name}.took", took, "signal_received", name, taken)
            return ["any"]
        case ["signal", name, limit]:
            number = await step.wait_for_signal(name, timeout=limit)
            return ["timed", LATE if number is None else ["any"]]
        case ["hook", name, own]:
            hook = step.hook(f"{ctx.run_id}:{name}" if own else None)
            await step.run(f"{name}.took", took, "hook_received", hook.token, [await hook])
            return ["any"]
        case ["hook", name, own, limit]:
            hook = step.hook(f"{ctx.run_id}:{name}" if own else None, timeout=limit)
            return ["timed", LATE if await hook is None else ["any"]]
        case ["hooks", name, own, count]:
            hook = step.hook(f"{ctx.run_id}:{name}" if own else None)
            taken = []
            async for number in hook:
                taken.append(number)
                if len(taken) == count:
                    hook.dispose()
            await step.run(f"{name}.took", took, "hook_received", hook.token, taken)
            return ["any"]
        case ["until", name, count, limit]:
            return await until_enough(name, count, limit, step)
        case ["emit", name]:
            await step.emit(name, {"state": (await ctx.state()).attempt == ctx.attempt})
            return name
    return await perform_streaming(node, step, ctx)


async def perform_streaming(node: Any, step: Any, ctx: Any) -> Any:
    """The nodes whose steps write streams."""
    match node:
        case ["write", name, count]:
            return await step.run(name, write_chunks, name, count)
        case ["trickle", name, count, seconds]:
            try:
                result = await step.run(name, write_slowly, name, count, seconds, heartbeat_timeout=10, retries=1)
                return ["timed", result]
            except StepTimeout:
                return ["timed", LATE]
        case ["lend", name, count]:
            try:
                return await step.invoke(name, lent, [step.stream(name), count])
            except (ChildFailed, ChildCancelled):
                raise Refused(name) from None
        case ["serve", name, fails, seconds]:
            await step.run(name, serve, name, fails, seconds, retries=9)
            return name
        case ["serve-blocking", name, fails]:
            await step.run(name, serve_blocking, name, fails)
            return name
        case ["trade", name, fails, seconds]:
            await step.run(name, trade, name, fails, seconds, retries=20)
            return name
        case ["trade-blocking", name, fails, _]:
            await step.run(name, trade_blocking, name, fails, retries=20)
            return name
        case ["work", name, fails, seconds]:
            await step.run(name, work, name, fails, seconds, retries=20)
            return name
    raise AssertionError(f"no such node: {node!r}")


async def until_enough(name: str, count: int, limit: float | None, step: Any) -> Any:
    """Collect signals in a task of their own until there are enough of them."""
    taken: list[int] = []

    async def collect() -> None:
        while True:
            taken.append(await step.wait_for_signal(name))
            await asyncio.sleep(0)

    collector = asyncio.create_task(collect())
    try:
        enough = await step.wait_until(lambda: len(taken) >= count, timeout=limit)
    finally:
        collector.cancel()
    await step.run(f"{name}.took", took, "signal_received", name, taken[:count])
    return ["timed", ["any"] if enough else LATE]


async def in_a_group(nodes: Any, step: Any, ctx: Any) -> Any:
    """Do all in a task group: the first that fails cancels the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(perform(each, step, ctx)) for each in nodes]
    except ExceptionGroup:
        raise Refused("group") from None
    return [task.result() for task in tasks]


async def through_a_gate(nodes: Any, width: int, step: Any, ctx: Any) -> Any:
    """Do all, so many at a time."""
    gate = asyncio.Semaphore(width)

    async def one(each: Any) -> Any:
        async with gate:
            return await perform(each, step, ctx)

    return list(await asyncio.gather(*[one(each) for each in nodes]))


async def through_a_queue(nodes: Any, step: Any, ctx: Any) -> Any:
    """Do all, and take the results from a queue as they come."""
    queue: Any = asyncio.Queue()

    async def one(number: int, each: Any) -> None:
        try:
            await queue.put((number, await perform(each, step, ctx)))
        except Refused:
            await queue.put((number, REFUSED))

    tasks = [asyncio.create_task(one(number, each)) for number, each in enumerate(nodes)]
    found: dict[int, Any] = {}
    try:
        for _ in nodes:
            number, result = await queue.get()
            found[number] = result
    finally:
        for task in tasks:
            task.cancel()
    return [found[number] for number in sorted(found)]


async def race(nodes: Any, step: Any, ctx: Any) -> Any:
    """Do all until the first is done, and cancel the others."""
    tasks = [asyncio.create_task(perform(["try", each], step, ctx)) for each in nodes]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    return ["any"]


async def dropped(inner: Any, step: Any, ctx: Any) -> Any:
    """Begin something, and take it back before it can be done."""
    task = asyncio.create_task(perform(["try", inner], step, ctx))
    try:
        await asyncio.sleep(0)
    finally:
        task.cancel()  # also when this is taken back itself, else the body leaves a task behind
    await asyncio.wait([task])
    return "dropped"


async def with_a_child(name: str, which: str, plan: Any, then: str, close: str, step: Any) -> Any:
    """Start a child and take its result, cancel it, or leave it alone."""
    child = await step.spawn(name, which, plan, on_parent_close=close)
    if then == "leave":
        return "left"
    if then == "cancel":
        await child.cancel()
    try:
        result = await child.result()
    except ChildCancelled:
        result = "cancelled"
    except ChildFailed:
        if then != "cancel":
            raise Refused(name) from None
        result = REFUSED
    return ["any"] if then == "cancel" else result


# ── what two results have in common ──


def agrees(one: Any, other: Any) -> bool:
    """Whether two results of a plan are equal, but for what time, order or a crash may decide."""
    if isinstance(one, list) and isinstance(other, list):
        if one[:1] == ["timed"] and other[:1] == ["timed"] and LATE in (one[1], other[1]):
            return True
        if one[:1] == ["once"] and other[:1] == ["once"] and INTERRUPTED in (one[1], other[1]):
            return True
        return len(one) == len(other) and all(map(agrees, one, other))
    return bool(one == other)


# ── drawing ──


class Draw:
    """Draws plans from a seed."""

    def __init__(self, seed: object, *, families: bool = False, budget: int = 9, names: str = "") -> None:
        self.random = random.Random(f"plan {seed}")
        self.families = families  # whether plans have many children that live long
        self.budget = budget  # nodes that may still be drawn
        self.names = 0
        self.kind = names  # with which its names begin
        self.events: list[str] = []  # that a run waits for until they come
        self.maybes: list[str] = []  # that a run waits for a while
        self.signals: list[str] = []  # names of signals

    def name(self, kind: str) -> str:
        """A name that no other node has."""
        self.names += 1
        return f"{self.kind}{kind}{self.names}"

    def plan(self) -> tuple[str, Node]:
        """Which workflow, and its input."""
        return self.workflow(), ["seq", self.several(1, 3, 0)]

    def workflow(self) -> str:
        """Which workflow does a plan."""
        return self.random.choices(["anything", "stubborn", "hurried"], [6, 3, 1])[0]

    def several(self, least: int, most: int, depth: int) -> list[Node]:
        """Some nodes."""
        return [self.node(depth + 1) for _ in range(self.random.randint(least, most))]

    def node(self, depth: int) -> Node:
        """One node; deep ones and late ones are simple."""
        self.budget -= 1
        if depth >= 4 or self.budget <= 0 or self.random.random() < 0.45:
            return self.simple()
        return self.combined(depth)

    def simple(self) -> Node:
        """A node without others inside."""
        number = self.random.randrange
        kind = self.random.choices(
            ["step", "flaky", "broken", "healing", "slow", "once", "limited", "sleep", "nap", "event", "maybe", "map",
             "random", "say", "fail", "signals", "signal", "hook", "hooks", "until", "emit", "write", "trickle",
             "lend", "serve", "serve-blocking"],
            [8, 3, 1, 1, 3, 3, 2, 3, 2, 2, 2, 2, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 2, 1, 2, 1],
        )[0]  # fmt: skip
        name = self.name(kind)
        match kind:
            case "step":
                return ["step", name, 0, 2, 0]
            case "flaky":
                return ["step", name, number(1, 3), 2, 0]
            case "broken":
                return ["step", name, 9, number(0, 2), 0]
            case "healing":
                return ["step", name, 0, 0, number(1, 4)]
            case "slow" | "once":
                return [kind, name, self.random.choice([0, 1, 60])]
            case "limited":
                return ["limited", name, self.random.choice([0, 5, 100]), 10]
            case "sleep" | "nap":
                return [kind, self.random.choice([0.5, 30, 3600, 90_000])]
            case "event":
                self.events.append(name)
                return ["event", name]
            case "maybe":
                self.maybes.append(name)
                return ["maybe", name, self.random.choice([1, 600])]
            case "map":
                return ["map", name, number(0, 4), self.random.choice([None, 1, 2])]
            case "say" | "emit":
                return [kind, name]
            case "write" | "lend":
                return [kind, name, number(0, 4)]
            case "trickle":
                return ["trickle", name, number(0, 4), self.random.choice([0, 1.5, 60])]
            case "serve":
                return ["serve", name, number(0, 2), self.random.choice([0, 1, 60])]
            case "serve-blocking":
                return ["serve-blocking", name, number(0, 2)]
            case "signals" | "signal" | "hook" | "hooks" | "until":
                return self.post(kind, name)
        return [kind]

    def post(self, kind: str, name: str) -> Node:
        """A node that takes messages."""
        own, count = self.random.random() < 0.5, self.random.randrange(1, 4)
        limit = self.random.choice([1, 600])
        if kind in ("signals", "signal", "until"):
            self.signals.append(name)
        match kind:
            case "signals":
                return ["signals", name, count]
            case "signal":
                return ["signal", name, limit]
            case "hook":
                return ["hook", name, own] if count > 1 else ["hook", name, own, limit]
            case "hooks":
                return ["hooks", name, own, count]
        return ["until", name, count, self.random.choice([None, limit])]

    def combined(self, depth: int) -> Node:
        """A node with others inside."""
        kind = self.random.choices(
            ["seq", "all", "group", "narrow", "queue", "race", "drop", "try", "finally", "within", "invoke", "spawn",
             "impatient", "patched"],
            [1, 4, 3, 2, 2, 2, 1, 4, 3, 3, 3, 20 if self.families else 4, 1, 2],
        )[0]  # fmt: skip
        inside = depth + 1
        match kind:
            case "seq" | "all" | "group" | "queue" | "race":
                return [kind, self.several(2, 3, depth)]
            case "narrow":
                return ["narrow", self.several(2, 3, depth), self.random.randrange(1, 3)]
            case "drop" | "try":
                return [kind, self.node(inside)]
            case "patched":
                return [kind, self.name("change"), self.node(inside)]
            case "finally":
                return ["finally", self.node(inside), self.simple()]
            case "within":
                return ["within", self.random.choice([0, 1, 600]), self.node(inside)]
            case "invoke":
                return ["invoke", self.name("child"), self.workflow(), self.node(inside)]
            case "impatient":
                return ["impatient", self.name("child"), self.workflow(), self.node(inside), 600]
        then = self.random.choice(["take", "take", "cancel", "leave"])
        close = self.random.choice(["cancel", "cancel", "abandon"])
        plan = ["seq", [self.node(inside), self.simple()]] if self.families else self.node(inside)
        return ["spawn", self.name("child"), self.workflow(), plan, then, close]
