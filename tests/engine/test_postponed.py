"""What a step asked for and only the next batch can do is done once, by whoever finds it noted."""

from __future__ import annotations

from typing import Any

from perdure.engine.batch import Batch
from perdure.engine.engine import Engine
from perdure.engine.postponed import take_up
from perdure.storage.cells import Cell
from perdure.storage.encoding import encode
from perdure.strict import current_step, step, workflow
from perdure.testing import FullDisk, Simulation


@workflow(id="listens")
async def listens(input: None, step: Any) -> list[Any]:
    return [await step.wait_for_signal("go"), await step.wait_for_signal("go", timeout="1h")]


@step(retries=0)
async def start_and_signal() -> None:
    workflows = current_step().workflows
    await workflows.signal(await workflows.start("listens", run_id="heard"), "go", 1)


@workflow(id="signals")
async def signals() -> None:
    await start_and_signal()


def noted(engine: Engine, batch: Batch) -> int:
    return len(engine.ledger.cells("step/postponed"))


def test_who_finds_it_noted_twice_does_it_once() -> None:
    with Simulation(listens) as world:
        run = world.start("listens", run_id="heard")
        world.run()

        def note(engine: Engine, batch: Batch) -> None:
            body, shape = encode({"signal": "heard", "name": "go", "payload": ["1", None]})
            batch.cells["step/postponed", "k"] = Cell("step/postponed", "k", 1, batch.now, body, shape)

        world.ask(note)
        world.ask(lambda engine, batch: (take_up(engine), take_up(engine)))
        world.run()
        assert world.ask(noted) == 0
        world.advance("2h")
        assert run.result() == [1, None]


def test_a_full_disk_at_any_commit_has_it_done_once() -> None:
    for commit in range(1, 8):
        with Simulation(signals, listens, faults=[FullDisk(commit, times=2)]) as world:
            world.start("signals", run_id="s")
            world.run()
            assert world.ask(noted) == 0
            world.advance("2h")
            assert world.handle("heard").result() == [1, None]
