"""A deploy of a changed body, at any commit of a run's life: with pinned code the outcome is the old body's."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from perdure.strict import workflow
from perdure.testing import Crash, Restart, Simulation
from perdure.testing.choices import Plain

COMMITS = range(2, 14)  # before the first one nothing is recorded, so the run begins on the new code


def note(text: str) -> str:
    """A step."""
    return text


def double(number: int) -> int:
    """Another one."""
    return 2 * number


def fail_once(attempt: int) -> int:
    """A step that fails in the first attempt of its run."""
    if attempt < 2:
        raise ValueError("not yet")
    return attempt


@workflow(id="life", version="1", retries=1)
async def life(input: int, step: Any, ctx: Any) -> list[Any]:
    """A bit of everything: steps, branches, a sleep, a wait, a child, a second attempt of the run."""
    first = await step.run("first", note, "a")
    both = await asyncio.gather(step.run("left", double, input), step.run("right", double, input + 1))
    await step.sleep("night", "8h")
    event = await step.wait_for_event("paid", type="paid", timeout="1h")
    tried = await step.run("tried", fail_once, ctx.attempt, retries=0)
    child = await step.invoke("child", "small", 3)
    return [first, both, event, tried, child]


@workflow(id="small", version="1")
async def small(input: int, step: Any, ctx: Any) -> int:
    """A child."""
    await step.sleep("nap", "1m")
    return int(await step.run("double", double, input))


@workflow(id="life", version="1", retries=1)
async def added(input: int, step: Any, ctx: Any) -> list[Any]:
    """The same with more steps."""
    await step.run("audit", note, "begin")
    first = await step.run("first", note, "a")
    return [first, await step.run("end", note, "z")]


@workflow(id="life", version="1", retries=1)
async def removed(input: int, step: Any, ctx: Any) -> list[Any]:
    """The same with hardly any."""
    return []


@workflow(id="life", version="1", retries=1)
async def renamed(input: int, step: Any, ctx: Any) -> list[Any]:
    """The same under other names."""
    beginning = await step.run("beginning", note, "a")
    both = await asyncio.gather(step.run("port", double, input), step.run("starboard", double, input + 1))
    return [beginning, both]


@workflow(id="life", version="1", retries=1)
async def reordered(input: int, step: Any, ctx: Any) -> list[Any]:
    """The same in another order."""
    event = await step.wait_for_event("paid", type="paid", timeout="1h")
    both = await asyncio.gather(step.run("right", double, input + 1), step.run("left", double, input))
    return [event, both, await step.run("first", note, "a")]


@workflow(id="successor", version="1")
async def successor(input: int, step: Any, ctx: Any) -> int:
    """What is there when both are gone."""
    return input


RELEASES = {
    "a step is added": (added, small),
    "steps are removed": (removed, small),
    "steps are renamed": (renamed, small),
    "steps change places": (reordered, small),
    "the version is new": (successor, small),
    "the parent is deleted": (small,),
}
OUTCOME = ("completed", ["a", [10, 12], {"cents": 5}, 2, 6])


def lived(*faults: Any, code: Any = "pinned", seed: int | None = None) -> tuple[str, Any]:
    """One life under faults; how it stands at its end."""
    choices = Plain() if seed is None else None
    with Simulation(life, small, faults=faults, code=code, choices=choices, seed=seed) as simulation:
        run = simulation.start("life", 5)
        simulation.run(until=lambda: run.status().status == "waiting_event")
        simulation.send_event("paid", {"cents": 5})
        simulation.run()
        return run.outcome()


def test_the_life_itself() -> None:
    assert lived() == OUTCOME


@pytest.mark.parametrize("commit", COMMITS)
@pytest.mark.parametrize("release", RELEASES)
def test_a_deploy_at_any_commit_leaves_the_outcome_as_the_old_body_s(release: str, commit: int) -> None:
    assert lived(Restart(commit, RELEASES[release])) == OUTCOME


@pytest.mark.parametrize("seed", range(40))
def test_deploys_and_crashes_in_any_order_leave_the_outcome(seed: int) -> None:
    draw = Random(seed)
    releases = sorted(RELEASES)
    faults: list[Any] = [
        Restart(draw.randrange(2, 14), RELEASES[draw.choice(releases)]) for _ in range(draw.randrange(1, 4))
    ]
    faults += [Crash(draw.randrange(2, 14), draw.choice(["before", "after"])) for _ in range(draw.randrange(3))]
    assert lived(*faults, seed=seed) == OUTCOME


def test_on_today_s_code_the_same_deploy_stops_the_run() -> None:
    with pytest.raises(AssertionError, match="diverged"):
        lived(Restart(6, RELEASES["steps are renamed"]), code="today")
