"""Steps that pass messages on, crashed at every commit: each message is worked on once."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import RunFailed
from perdure.strict import current_step, step, workflow
from perdure.testing import Crash, Simulation, crash_everywhere


@step
async def hand_out(count: int) -> None:
    for number in range(count):
        await current_step().queue.send("jobs", number)


@step(retries=5)
async def work_on_one() -> None:
    at = current_step()
    # A process that died has the message still, until its time is up.
    for message in await at.queue.receive("jobs", wait="10m"):
        await message.extend("5m")
        await at.kv.update("worked", lambda numbers, new=message.payload: [*numbers, new], [])
        await message.ack()


@step(retries=5)
def work_on_those_in_sight() -> None:
    at = current_step().blocking
    for message in at.queue.receive("jobs", limit=10):
        message.extend("5m")
        at.kv.update("worked", lambda numbers, new=message.payload: [*numbers, new], [])
        message.ack()


@step
def look() -> list[int]:
    numbers: list[int] = current_step().blocking.kv.get("worked", [])
    return sorted(numbers)


@workflow(id="jobs")
async def jobs(input: int) -> list[int]:
    await hand_out(input)
    for _ in range(input):
        await work_on_one()
    return await look()


@workflow(id="jobs-blocking")
async def jobs_blocking(input: int, step) -> list[int]:
    await hand_out(input)
    while len(done := await look()) < input:
        await work_on_those_in_sight()
        await step.sleep("1m")
    return done


@pytest.mark.parametrize("working", [jobs, jobs_blocking], ids=["async def", "def"])
def test_each_message_is_worked_on_once_whenever_it_crashes(working: Any) -> None:
    report = crash_everywhere(working, 3)
    assert report.outcome == ("completed", [0, 1, 2])
    assert report.crashes >= 15


@step(retries=3)
def impatient() -> int:
    return len(current_step().blocking.queue.receive("jobs", visibility_timeout="1m"))


@workflow(id="one-receives-and-dies")
async def receives_and_dies(input: None) -> int:
    await hand_out(1)
    return await impatient()


@pytest.mark.parametrize(("when", "got"), [("before", 1), ("after", 0)])
def test_a_message_that_a_dead_process_had_received_is_out_of_sight(when: Any, got: int) -> None:
    """As in production: receiving is a commit of its own, ahead of the step's result."""
    with Simulation(receives_and_dies, faults=[Crash(3, when)]) as simulation:
        run = simulation.start(receives_and_dies)
        simulation.run()
        assert run.result() == got
    assert simulation.lives == 2


@step(retries=0)
def waits_for_mail() -> int:
    """A plain function that waits where nobody else goes on."""
    return len(current_step().blocking.queue.receive("jobs", wait="1m"))


@step(retries=0)
async def blocks_its_own_loop() -> None:
    current_step().blocking.kv.put("key", 1)


@workflow(id="blocked")
async def blocked(input: str) -> None:
    if input == "waits":
        await waits_for_mail()
    await blocks_its_own_loop()


@pytest.mark.parametrize(
    ("how", "told"), [("waits", "make it an async def"), ("blocks", "which would wait for itself")]
)
def test_a_step_that_could_never_go_on_is_told_so(how: str, told: str) -> None:
    with Simulation(blocked) as simulation:
        run = simulation.start(blocked, how)
        simulation.run()
        assert run.status().status == "failed"
        with pytest.raises(RunFailed) as failed:
            run.result()
        assert told in str(failed.value.__cause__)


@step(timeout="10s")
def put_in_time() -> int:
    """A plain function just calls, also when there is a limit to its time."""
    kv: Any = current_step().kv
    kv.put("key", 1)
    return int(kv.get("key"))


@workflow(id="in-time")
async def in_time(input: None) -> int:
    return await put_in_time()


def test_a_plain_step_with_a_timeout_just_calls() -> None:
    assert crash_everywhere(in_time).outcome == ("completed", 1)
