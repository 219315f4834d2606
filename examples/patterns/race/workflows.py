"""Race: ask all suppliers at once, take the first answer, and give up when none came in time.

A timeout is one more runner: a durable sleep. The winner, and that it won, is recorded; a replay never runs the race
again. Who can't answer drops out, and the others run on. Who lost is cancelled, which ends its step's attempt where
that can be ended.
"""

from __future__ import annotations

import asyncio
import time

from pydantic import BaseModel

from perdure.strict import Runtime, StepContext, step, workflow


class Question(BaseModel):
    sku: str
    suppliers: dict[str, float]  # by name, how long each takes to answer
    patience_s: float = 3_600


class Quote(BaseModel):
    supplier: str
    cents: int


@step(retries=0)
async def ask(supplier: str, sku: str, takes_s: float) -> Quote:
    """Ask one supplier, who takes a while."""
    await asyncio.sleep(takes_s)
    return Quote(supplier=supplier, cents=1_000 + len(supplier) * len(sku))


@workflow(id="find-quote")
async def find_quote(input: Question, step: StepContext) -> Quote | None:
    """The first quote that comes; None when nobody answers in time."""
    asked = [asyncio.create_task(ask(name, input.sku, takes)) for name, takes in input.suppliers.items()]
    too_late = asyncio.create_task(asyncio.sleep(input.patience_s))
    running = asked
    winner = None
    while running and winner is None and not too_late.done():
        await asyncio.wait([*running, too_late], return_when=asyncio.FIRST_COMPLETED)
        winner = next((task for task in running if task.done() and task.exception() is None), None)
        running = [task for task in running if not task.done()]
    for loser in [*running, too_late]:
        loser.cancel()
    return None if winner is None else winner.result()


def main() -> None:
    """Play two races: one with a winner, one without."""
    with Runtime("race.duckdb", workflows=[find_quote]) as runtime:
        suppliers = {"slow": 20.0, "quick": 0.1, "slower": 30.0}
        began = time.monotonic()
        print(runtime.start(find_quote, Question(sku="MUG", suppliers=suppliers)).result(timeout="10s"))
        del suppliers["quick"]
        late = Question(sku="MUG", suppliers=suppliers, patience_s=0.3)
        print(runtime.start(find_quote, late).result(timeout="10s"))
        print(f"both races took {'less' if time.monotonic() - began < 10 else 'more'} than ten seconds")


if __name__ == "__main__":
    main()
