"""Changes of `workflows.sequential`, to be found in long histories: at the first step, at the last one, half-way."""

from __future__ import annotations

from workflows import nothing

from perdure.strict import workflow


@workflow(id="sequential")
async def at_the_first(input: int, step) -> int:
    total = 0
    for number in range(input):
        total += await step.run(f"step-{number}", nothing, number + 1)
    return total


@workflow(id="sequential")
async def at_the_last(input: int, step) -> int:
    total = 0
    for number in range(input):
        total += await step.run(f"step-{number}", nothing, number + number // (input - 1))
    return total


@workflow(id="sequential")
async def one_less_half_way(input: int, step) -> int:
    total = 0
    for number in range(input):
        if number != input // 2:
            total += await step.run(f"step-{number}", nothing, number)
    return total
