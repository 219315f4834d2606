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
