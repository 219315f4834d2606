"""Message loop: a run that takes one message after another, keeps count, and ends when it is told to stop.

Messages are signals: they are kept in the order in which they came, also while the run is busy, parked or not even
begun. A history grows with every message, so after a while the loop goes on as a new run, which takes the rest.
"""

from __future__ import annotations

from pydantic import BaseModel

from perdure.strict import Runtime, StepContext, step, workflow


class Counter(BaseModel):
    """Where a counter stands. It is the input, so that the next run begins where this one ended."""

    name: str
    total: int = 0
    messages: int = 0
    renew_after: int = 1_000  # messages that one run takes before it hands on to the next


@step
def announce(name: str, total: int) -> None:
    print(f"{name} is at {total}")


@workflow(id="counter")
async def count(input: Counter, step: StepContext) -> Counter:
    """Add up numbers until "stop"."""
    state = input.model_copy()
    while True:
        message = await step.wait_for_signal("message")
        match message:
            case "stop":
                return state
            case "say":
                await announce(state.name, state.total)
            case int(number):
                state.total += number
        state.messages += 1
        if state.messages % state.renew_after == 0:
            await step.continue_as(state)


def main() -> None:
    """Send a few messages, all at once."""
    with Runtime("message_loop.duckdb", workflows=[count]) as runtime:
        run = runtime.start(count, Counter(name="visitors", renew_after=3))
        for message in (1, 2, 3, "say", 4, "what?", 5, "say", "stop"):
            run.signal("message", message)
        counter = run.result(timeout="30s")
        runs = [each for each in runtime.runs() if each.run_id.startswith(run.run_id)]
        print(f"stopped at {counter.total}, after {counter.messages} messages in {len(runs)} runs")


if __name__ == "__main__":
    main()
