"""Bodies and changes of them, with what a check must say: divergences of every kind, and changes that make none.

Each is recorded with its body and checked against the changed one. Shared by the tests of causes and of mutants.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

Act = Callable[[Any, Any], Awaitable[None]]


class Change(NamedTuple):
    """A body, a change of it, and the cause of the divergence; an empty cause: both replay alike."""

    body: str  # below the recorder's head; the options of the workflow stand in it
    old: str
    new: str
    cause: str
    act: Act | None = None  # done while the run is recorded
    until: str = "completed"
    input: Any = "A1"

    @property
    def changed(self) -> str:
        """The body afterwards."""
        assert self.old in self.body
        return self.body.replace(self.old, self.new)


async def cancel(runtime: Any, handle: Any) -> None:
    await handle.wait("sleeping", timeout="20s")
    await handle.cancel()


async def pay(runtime: Any, handle: Any) -> None:
    await handle.wait("waiting_event", timeout="20s")
    await runtime.send_event("paid", {"sku": "A1", "cents": 5})


async def pay_late(runtime: Any, handle: Any) -> None:
    """Let the other branch get as far as it can first."""
    while len(await handle.history()) < 8:
        await handle.status()
    await pay(runtime, handle)


def body(text: str, *, options: str = "", after: str = "") -> str:
    """Make a module's text of the lines of a body."""
    lines = "\n".join(f"    {line}" for line in text.strip("\n").splitlines())
    head = f'\n@workflow(id="checkout", version="3"{options})\nasync def checkout(input, step, ctx):\n'
    return f"{head}{lines}\n{after}"


SEQUENCE = body("""
price = await quote(input)
stock = await reserve_stock(input)
charge = await charge_card(price["cents"])
return charge
""")
TUPLES = body('return await step.run("keep", list, (1, 2))')
PAIR = body("""
await quote(input)
return (1, 2)
""")
LEFT = body("""
import asyncio
task = asyncio.create_task(step.sleep("long", "1h"))
await asyncio.sleep(0)
return await task
""")
LOOP = body("""
for number in range(4):
    await reserve_stock(f"{input}-{number}")
return 4
""")
GATHERED = body("""
import asyncio
async def ship():
    first = await reserve_stock("a")
    return await send_receipt(first)
return await asyncio.gather(ship(), charge_card(5), quote(input))
""")
TWO_SPEEDS = body("""
import asyncio
async def quick():
    total = []
    for number in range(3):
        total.append(await reserve_stock(f"q-{number}"))
    return total
async def slow():
    return await step.wait_for_event("paid", type="paid", match={"sku": input})
return await asyncio.gather(quick(), slow())
""")
SLEEPERS = body("""
import asyncio
await asyncio.gather(step.sleep("long", "1h"), step.sleep("longer", "2h"))
""")
ABANDONED = body("""
import asyncio
task = asyncio.create_task(step.sleep("long", "1h"))
await asyncio.sleep(0)
await quote(input)
return "done"
""")
WAITING = body("""
paid = await step.wait_for_event("paid", type="paid", match={"sku": input}, timeout="1h")
return await charge_card(paid["cents"])
""")
COMPENSATED = body("""
try:
    await quote(input)
    await step.sleep("grace", "1h")
finally:
    await reserve_stock(f"undo {input}")
""")
RETRIED = body(
    """
await quote(input)
if ctx.attempt == 1:
    await charge_card(1)
    raise ConnectionError("again")
return await charge_card(2)
""",
    options=', retries=RetryPolicy(max_attempts=2, base_delay="1ms", jitter=0)',
)
PARENT = body(
    """
child = await step.invoke("ship", "shipping", {"sku": input}, timeout="1h")
return child
""",
    after="""
@workflow(id="shipping")
async def shipping(input, step):
    return await reserve_stock(input["sku"])

@workflow(id="sending")
async def sending(input, step):
    return 0
""",
)
SPAWNING = PARENT.replace(
    'child = await step.invoke("ship", "shipping", {"sku": input}, timeout="1h")',
    'spawned = await step.spawn("ship", "shipping", {"sku": input})\n    child = await spawned.result()',
)
TIMED = body("""
import asyncio
try:
    async with asyncio.timeout(0.01):
        await step.wait_for_event("paid", type="paid")
except TimeoutError:
    return "late"
""")
FAILING = body("""
await quote(input)
raise ValueError("no such sku")
""")

CHANGES: dict[str, Change] = {
    "nothing": Change(SEQUENCE, "return charge", "return charge", ""),
    "a comment": Change(SEQUENCE, "return charge", "return charge  # all of it", ""),
    "other texts of an error": Change(FAILING, "no such sku", "unknown sku", "", until="failed"),
    "nothing, with branches of two speeds": Change(TWO_SPEEDS, "total", "found", "", act=pay_late),
    "nothing, with branches": Change(GATHERED, "first", "earlier", ""),
    "nothing, with attempts": Change(RETRIED, "again", "once more", ""),
    "nothing, cancelled": Change(COMPENSATED, "finally", "finally", "", act=cancel, until="cancelled"),
    "nothing, with a child": Change(PARENT, "child", "shipped", ""),
    "nothing, with a timeout": Change(TIMED, '"late"', "'late'", ""),
    "nothing, still open": Change(SLEEPERS, "gather", "gather", "", until="sleeping"),
    "nothing, with a task left alone": Change(ABANDONED, "task =", "other =", ""),
    "a step renamed": Change(SEQUENCE, "await quote(input)", 'await step.run("price", quote, input)', "step renamed"),
    "the first step removed": Change(SEQUENCE, "price = await quote(input)", 'price = {"cents": 1250}', "step removed"),
    "the last step removed": Change(
        SEQUENCE, 'charge = await charge_card(price["cents"])', 'charge = "charge-1250"', "step removed"
    ),
    "a step added first": Change(SEQUENCE, "price =", "await send_receipt('x')\n    price =", "step added"),
    "a step added last": Change(
        SEQUENCE, "return charge", "await send_receipt(charge)\n    return charge", "step added"
    ),
    "two steps in another order": Change(
        SEQUENCE,
        'stock = await reserve_stock(input)\n    charge = await charge_card(price["cents"])',
        'charge = await charge_card(price["cents"])\n    stock = await reserve_stock(input)',
        "steps reordered",
    ),
    "the argument of the first step": Change(SEQUENCE, "quote(input)", "quote(input + '!')", "argument changed"),
    "the argument of the second step": Change(SEQUENCE, "stock(input)", "stock(input + '!')", "argument changed"),
    "the argument of the last step": Change(
        SEQUENCE, 'card(price["cents"])', 'card(price["cents"] + 1)', "argument changed"
    ),
    "the type of an argument": Change(TUPLES, "(1, 2)", "[1, 2]", "argument changed"),
    "one round more": Change(LOOP, "range(4)", "range(5)", "step added"),
    "one round less": Change(LOOP, "range(4)", "range(3)", "step removed"),
    "the argument in a late round": Change(
        LOOP, '{number}")', '{number}" + ("!" if number == 3 else ""))', "argument changed"
    ),
    "the output": Change(SEQUENCE, "return charge", "return charge + '!'", "output changed"),
    "the form of the output": Change(LOOP, "return 4", "return (4,)", "output changed"),
    "the type of the output": Change(PAIR, "(1, 2)", "[1, 2]", "output changed"),
    "an end where the run waits": Change(
        LEFT, "return await task", "return 0", "branch taken otherwise", until="sleeping"
    ),
    "a task less that nobody waits for": Change(
        ABANDONED,
        'task = asyncio.create_task(step.sleep("long", "1h"))\n    await asyncio.sleep(0)\n    ',
        "",
        "step removed",
    ),
    "the class of the failure": Change(FAILING, "ValueError", "LookupError", "output changed", until="failed"),
    "success instead of failure": Change(
        FAILING, 'raise ValueError("no such sku")', "return 0", "output changed", until="failed"
    ),
    "failure instead of success": Change(SEQUENCE, "return charge", "raise ValueError(charge)", "output changed"),
    "an end that never comes": Change(
        SEQUENCE,
        "return charge",
        "import asyncio\n    await asyncio.Event().wait()",
        "branch taken otherwise",
    ),
    "the order of branches": Change(GATHERED, "ship(), charge_card(5)", "charge_card(5), ship()", "steps reordered"),
    "branches one after another": Change(
        GATHERED,
        "return await asyncio.gather(ship(), charge_card(5), quote(input))",
        "return [await ship(), await charge_card(5), await quote(input)]",
        "body changed",
    ),
    "an argument deep in a branch": Change(
        GATHERED, "send_receipt(first)", "send_receipt(first + '!')", "argument changed"
    ),
    "a branch less": Change(GATHERED, ", quote(input))", ")", "step removed"),
    "an argument in the quick one of two branches": Change(
        TWO_SPEEDS, '"q-{number}"', '"q-{number + number // 2}"', "argument changed", act=pay_late
    ),
    "a branch less that nobody waits for": Change(
        SLEEPERS, ', step.sleep("longer", "2h")', "", "step removed", until="sleeping"
    ),
    "a task cancelled that was left alone": Change(
        ABANDONED,
        'return "done"',
        'task.cancel()\n    await asyncio.sleep(0)\n    return "done"',
        "body changed",
    ),
    "what is waited for": Change(WAITING, '"sku": input}', '"sku": input, "cents": 5}', "argument changed", act=pay),
    "the name of a wait": Change(WAITING, 'event("paid"', 'event("payment"', "step renamed", act=pay),
    "what is done after a wait": Change(
        WAITING, 'card(paid["cents"])', 'card(paid["cents"] + 1)', "argument changed", act=pay
    ),
    "the compensation": Change(
        COMPENSATED, "undo {input}", "redo {input}", "argument changed", act=cancel, until="cancelled"
    ),
    "no compensation": Change(
        COMPENSATED, 'await reserve_stock(f"undo {input}")', "pass", "step removed", act=cancel, until="cancelled"
    ),
    "the length of a sleep of an open run": Change(SLEEPERS, '"1h"', '"3h"', "argument changed", until="sleeping"),
    "the first attempt": Change(RETRIED, "charge_card(1)", "charge_card(3)", "argument changed"),
    "the second attempt": Change(RETRIED, "charge_card(2)", "charge_card(3)", "argument changed"),
    "a child's input": Change(PARENT, '{"sku": input}', '{"sku": input + "!"}', "argument changed"),
    "a child's workflow": Change(PARENT, '"shipping", {', '"sending", {', "argument changed"),
    "a child's name": Change(PARENT, '"ship", "shipping"', '"send", "shipping"', "step renamed"),
    "a spawned child's result": Change(
        SPAWNING, "child = await spawned.result()", "child = await quote(input)", "body changed"
    ),
    "the length of a timeout": Change(TIMED, "0.01", "0.02", "argument changed"),
}
