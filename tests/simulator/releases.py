"""Another release of the workflows of plans: the same ids, versions and results, and one more step at their end.

A run that began on the first release must never ask for that step. Knows plans and faults.
"""

from __future__ import annotations

import random
from typing import Any

from plans import WORKFLOWS, item, perform

from perdure.strict import workflow
from perdure.testing import Restart, Simulation

LAST = "released"


@workflow(id="anything", version="1")
async def anything(input: list[Any], step: Any, ctx: Any) -> Any:
    """Do what the plan says, and one thing more."""
    result = await perform(input, step, ctx)
    await step.run(LAST, item, 1)
    return result


@workflow(id="stubborn", version="1", retries=3)
async def stubborn(input: list[Any], step: Any, ctx: Any) -> Any:
    """Do what the plan says, try again when it fails, and one thing more."""
    result = await perform(input, step, ctx)
    await step.run(LAST, item, 1)
    return result


@workflow(id="hurried", version="1", timeout="2h")
async def hurried(input: list[Any], step: Any, ctx: Any) -> Any:
    """Do what the plan says within two hours, and one thing more."""
    result = await perform(input, step, ctx)
    await step.run(LAST, item, 1)
    return result


CHANGED = (anything, stubborn, hurried)
RELEASE = (*CHANGED, *(each for each in WORKFLOWS if each.id not in {changed.id for changed in CHANGED}))


def deploys(seed: int, share: float = 0.1) -> tuple[Restart, ...]:
    """In a share of the lives the other release comes at some commit, and sometimes the first one comes back."""
    draw = random.Random(f"deploys {seed}")
    if draw.random() >= share:
        return ()
    there = Restart(draw.randrange(1, 16), RELEASE)
    return (there,) if draw.random() < 0.7 else (there, Restart(there.commit + draw.randrange(1, 10), WORKFLOWS))


def walked_on_their_own(simulation: Simulation) -> None:
    """A run asks for the last step of a release only when it began on it."""
    released = {each.digest for each in CHANGED}
    for run in simulation.runs():
        row = run.row()
        asked = any(each.kind == "step" and each.name == LAST for each in run.entries())
        assert not asked or row.definition in released, f"{run} asked for what its own code does not know"
        own = row.workflow in {each.id for each in CHANGED} and row.status == "completed"
        assert asked or not own or row.definition not in released, f"{run} did not ask for what its own code asks"
