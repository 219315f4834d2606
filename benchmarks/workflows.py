"""The workflows that are measured: the least that each kind of work needs."""

from __future__ import annotations

from perdure.strict import workflow


async def nothing(number: int) -> int:
    return number


@workflow(id="sequential")
async def sequential(input: int, step) -> int:
    total = 0
    for number in range(input):
        total += await step.run(f"step-{number}", nothing, number)
    return total


@workflow(id="one-step")
async def one_step(input: int, step) -> int:
    return await step.run("only", nothing, input)


@workflow(id="parked")
async def parked(input: int, step) -> int:
    """Wait for an event of its own."""
    paid = await step.wait_for_event("paid", type="paid", match={"order": input})
    return paid["cents"]


@workflow(id="sleeper")
async def sleeper(input: float, step) -> None:
    """Sleep for some seconds."""
    await step.sleep("nap", input)


@workflow(id="wide")
async def wide(input: int, step) -> int:
    """Run so many steps at once."""
    return len(await step.map("item", nothing, range(input)))
