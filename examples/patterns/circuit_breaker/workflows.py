"""Circuit breaker: after a few failures in a row nobody calls the service for a while; then one trial decides.

The breaker is a plain object of the body: its state is what the recorded results make of it, so a restart in the
middle of the pause finds it as it was. Jobs are not lost while the circuit is open; the one that failed is tried again
after it.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from perdure.strict import Context, FatalError, Runtime, StepContext, step, workflow


class Batch(BaseModel):
    jobs: list[str]
    trips_after: int = 3
    pause_s: float = 60
    pause_s_max: float = 3_600


class Outcome(BaseModel):
    done: list[str]
    refused: list[str]
    pauses_s: list[float]


class Unavailable(Exception):
    """The service is down; it may come back."""


class BadJob(FatalError):
    """The service is fine, and the job is not. That says nothing of the service, so the circuit stays closed."""


@step(retries=0, timeout="5s")  # trying again is the breaker's business
def call_service(job: str) -> str:
    """Call a service that is up as long as a file says so."""
    if not job.isalpha():
        raise BadJob(f"{job!r} is no job")
    calls = Path("calls.txt")
    number = len(calls.read_text().split()) + 1 if calls.exists() else 1
    with calls.open("a") as file:
        file.write(f"{job}\n")
    first, last = (int(each) for each in os.environ.get("SERVICE_DOWN", "0-0").split("-"))
    if first <= number <= last:
        raise Unavailable(f"call {number} was not answered")
    return job.upper()


class CircuitBreaker:
    """Lets calls through while the service answers. Open, it waits, longer each time that the trial fails."""

    def __init__(self, step: StepContext, batch: Batch) -> None:
        self.step = step
        self.batch = batch
        self.failures = 0  # in a row
        self.pauses_s: list[float] = []
        self.pause_s = batch.pause_s

    async def call(self, call: Callable[[], Awaitable[str]]) -> str:
        """Make a call until the service answers."""
        while True:
            if self.failures >= self.batch.trips_after:  # open: one trial after each pause
                self.pauses_s.append(self.pause_s)
                await self.step.sleep(f"circuit open {len(self.pauses_s)}", self.pause_s)
                self.pause_s = min(self.pause_s * 2, self.batch.pause_s_max)
            try:
                result = await call()
            except Unavailable:
                self.failures += 1
            else:
                self.failures, self.pause_s = 0, self.batch.pause_s
                return result


@workflow(id="call-guarded")
async def call_guarded(input: Batch, step: StepContext, ctx: Context) -> Outcome:
    """Do all jobs of a batch, without hammering a service that is down."""
    breaker = CircuitBreaker(step, input)
    outcome = Outcome(done=[], refused=[], pauses_s=[])
    for job in input.jobs:
        try:
            outcome.done.append(await breaker.call(partial(call_service, job)))
        except BadJob as bad:
            ctx.log.warning("refused", job=job, why=bad.message)
            outcome.refused.append(job)
    outcome.pauses_s = breaker.pauses_s
    return outcome


def main() -> None:
    """Do five jobs at a service that is down from its third call to its seventh."""
    os.environ["SERVICE_DOWN"] = "3-7"
    Path("calls.txt").unlink(missing_ok=True)
    with Runtime("circuit_breaker.duckdb", workflows=[call_guarded]) as runtime:
        batch = Batch(jobs=["ann", "bob", "cy", "d4", "eve"], pause_s=0.1)
        outcome = runtime.start(call_guarded, batch).result(timeout="30s")
    print(f"done: {', '.join(outcome.done)}; refused: {', '.join(outcome.refused)}")
    print(f"the circuit was open for {outcome.pauses_s} s")


if __name__ == "__main__":
    main()
