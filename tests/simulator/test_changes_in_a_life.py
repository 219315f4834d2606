"""A deploy of a change behind `ctx.patched`, and a move to today's code, at any commit of a run's life."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from perdure.engine.batch import Unsettled
from perdure.engine.upgrade import move
from perdure.errors import Divergence
from perdure.replay.upgrade import Targets, check_upgrade
from perdure.storage import entries as kinds
from perdure.storage.ledger import ENDED
from perdure.strict import workflow
from perdure.testing import Crash, Restart, Simulation
from perdure.testing.choices import Plain

COMMITS = range(1, 12)


def note(text: str) -> str:
    """A step."""
    return text


def fail_once(attempt: int) -> int:
    """A step that fails in the first attempt of its run."""
    if attempt < 2:
        raise ValueError("not yet")
    return attempt


@workflow(id="life", version="1", retries=1)
async def life(input: int, step: Any, ctx: Any) -> list[Any]:
    """Steps, branches, a sleep, a second attempt of the run."""
    first = await step.run("first", note, "a")
    both = await asyncio.gather(step.run("left", note, "l"), step.run("right", note, "r"))
    await step.sleep("night", "8h")
    return [first, both, await step.run("tried", fail_once, ctx.attempt, retries=0)]


@workflow(id="life", version="1", retries=1)
async def changed(input: int, step: Any, ctx: Any) -> list[Any]:
    """The same with a change at its beginning, in a branch, and before its end."""

    async def right() -> str:
        if ctx.patched("louder"):
            return str(await step.run("loud", note, "R"))
        return str(await step.run("right", note, "r"))

    if ctx.patched("audit"):
        await step.run("audit", note, "begin")
    first = await step.run("first", note, "a")
    both = await asyncio.gather(step.run("left", note, "l"), right())
    await step.sleep("night", "8h")
    tried = await step.run("tried", fail_once, ctx.attempt, retries=0)
    return [first, both, tried, "new" if ctx.patched("end") else "old", ctx.patched("audit")]


@workflow(id="life", version="1", retries=1)
async def later(input: int, step: Any, ctx: Any) -> list[Any]:
    """The first with another end: it replays whatever the first has recorded, but for its end."""
    first = await step.run("first", note, "a")
    both = await asyncio.gather(step.run("left", note, "l"), step.run("right", note, "r"))
    await step.sleep("night", "8h")
    tried = await step.run("tried", fail_once, ctx.attempt, retries=0)
    return [first, both, tried, await step.run("more", note, "m")]


OLD = ["a", ["l", "r"], 2]


def lived(*faults: Any, seed: int | None = None) -> tuple[list[Any], list[Any]]:
    """One life on today's code, whatever that is; its output, and the changes that it recorded."""
    choices = Plain() if seed is None else None
    with Simulation(life, faults=faults, code="today", choices=choices, seed=seed) as simulation:
        run = simulation.start("life", 5, run_id="r")
        simulation.run()
        status, output = run.outcome()
        assert status == "completed"
        row = simulation.ledger.run("r")
        assert row is not None
        entries = simulation.ledger.entries(row.run)
        return output, [each.name for each in entries if each.kind == kinds.PATCHED]


def coherent(output: list[Any], changes: list[Any]) -> None:
    """What the body did is what its recorded answers say."""
    if output == OLD:
        assert changes == []
        return
    first, (left, right), tried, end, audited = output
    assert (first, left, tried, end) == ("a", "l", 2, "new")
    assert right == ("R" if "louder" in changes else "r")
    assert audited is ("audit" in changes)
    assert len(changes) == len(set(changes)) or changes.count("end") == 2


def test_without_a_deploy_the_life_is_the_old_one() -> None:
    assert lived() == (OLD, [])


@pytest.mark.parametrize("commit", COMMITS)
def test_a_deploy_of_a_change_at_any_commit_stops_no_run(commit: int) -> None:
    coherent(*lived(Restart(commit, (changed,))))


def test_early_deploys_take_every_change_and_late_ones_only_what_is_still_ahead() -> None:
    taken = [len(lived(Restart(commit, (changed,)))[1]) for commit in COMMITS]
    assert taken == sorted(taken, reverse=True)
    assert taken[0] == 3
    assert taken[-1] <= 1


@pytest.mark.parametrize("seed", range(40))
def test_with_crashes_too(seed: int) -> None:
    draw = Random(seed)
    faults: list[Any] = [Restart(draw.randrange(1, 12), (changed,))]
    faults += [Crash(draw.randrange(2, 14), draw.choice(["before", "after"])) for _ in range(draw.randrange(1, 4))]
    coherent(*lived(*faults, seed=seed))


# ── moving to today's code ───────────────────────────────────────────────────────────────────────


def moved(simulation: Simulation) -> bool:
    """Move the run, as a runtime does that checks it at the moment of the move."""

    def request(engine: Any, batch: Any) -> bool:
        row = engine.ledger.run("r")
        target = Targets(engine.registry).of(row)
        if row.status in ENDED or Targets(engine.registry).is_there(row):
            return False
        if row.run in batch.touched:
            raise Unsettled
        if not check_upgrade(row, target, engine.ledger.entries(row.run)).ok:
            return False
        move(engine, row, target, batch)
        return True

    return simulation.ask(request)


@pytest.mark.parametrize("after", [None, 1])
@pytest.mark.parametrize("turns", range(0, 16, 2))
def test_a_run_may_move_at_any_moment_and_a_crash_may_follow(turns: int, after: int | None) -> None:
    with Simulation(life, faults=[Restart(2, (later,))], choices=Plain()) as simulation:
        run = simulation.start("life", 5, run_id="r")
        for _ in range(turns):
            simulation.turn()
        went = moved(simulation)
        if after is not None:
            simulation.crash()
        simulation.run()
        status, output = run.outcome()
        assert status == "completed"
        assert output == ([*OLD, "m"] if went else OLD)


def test_the_moves_above_happen() -> None:
    with Simulation(life, faults=[Restart(2, (later,))], choices=Plain()) as simulation:
        simulation.start("life", 5, run_id="r")
        for _ in range(6):
            simulation.turn()
        assert moved(simulation)
        assert not moved(simulation)


def test_what_would_diverge_is_refused_by_the_move_itself() -> None:
    with Simulation(life, faults=[Restart(4, (changed_at_once,))], choices=Plain()) as simulation:
        simulation.start("life", 5, run_id="r")
        simulation.run(until=lambda: simulation.runs()[0].status().status == "sleeping")

        def request(engine: Any, batch: Any) -> None:
            row = engine.ledger.run("r")
            move(engine, row, engine.registry.newest("life"), batch)

        length = simulation.runs()[0].row().length
        with pytest.raises(Divergence):
            simulation.ask(request)
        assert simulation.runs()[0].row().length == length
        simulation.run()
        assert simulation.runs()[0].outcome() == ("completed", OLD)


@workflow(id="life", version="1", retries=1)
async def changed_at_once(input: int, step: Any, ctx: Any) -> list[Any]:
    """Another life."""
    return [await step.run("other", note, "o")]
