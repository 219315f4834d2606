"""Steps that pass messages on, crashed at every commit: each message is worked on once."""

from __future__ import annotations

from perdure.strict import current_step, step, workflow
from perdure.testing import crash_everywhere


@step
async def hand_out(count: int) -> None:
    for number in range(count):
        await current_step().queue.send("jobs", number)


@step(retries=5)
async def work_on_one() -> list[int]:
    at = current_step()
    worked: list[int] = []
    for message in await at.queue.receive("jobs"):
        await message.extend("5m")
        await at.kv.update("worked", lambda numbers, new=message.payload: [*numbers, new], [])
        await message.ack()
        worked.append(message.payload)
    return worked


@step
def look() -> list[int]:
    numbers: list[int] = current_step().blocking.kv.get("worked")
    return numbers


@workflow(id="jobs")
async def jobs(input: int) -> tuple[list[list[int]], list[int]]:
    await hand_out(input)
    return [await work_on_one() for _ in range(input + 1)], await look()


def test_each_message_is_worked_on_once_whenever_it_crashes() -> None:
    report = crash_everywhere(jobs, 3)
    assert report.outcome == ("completed", ([[0], [1], [2], []], [0, 1, 2]))
    assert report.crashes >= 15
