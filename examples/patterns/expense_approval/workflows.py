"""Expense approval: small ones pass, others wait for a hook that a manager answers, big ones for finance as well.

Who does not answer in time is passed over: the next one in line is asked. A hook's token goes into a link, so that the
one who clicks it needs to know nothing of runs.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from perdure.strict import Runtime, StepContext, current_step, step, workflow

INBOX = "inbox"  # a folder of links, a file each
PASSES = Decimal(100)
NEEDS_FINANCE = Decimal(5_000)


class Expense(BaseModel):
    number: str
    who: str
    amount: Decimal = Field(gt=0, decimal_places=2)
    managers: list[str] = Field(min_length=1)
    patience_s: float = 2 * 86_400


class Verdict(BaseModel):
    approved: bool
    by: str
    why: str = ""


class Decision(BaseModel):
    status: Literal["approved", "rejected", "nobody answered"]
    trail: list[str]


@step
def ask(whom: str, expense: Expense, token: str) -> None:
    """Put a link into somebody's inbox."""
    folder = Path(INBOX)
    folder.mkdir(exist_ok=True)
    link = f"{expense.who} spent {expense.amount}: https://example.com/decide/{token}\n"
    name = f"{whom}-{current_step().idempotency_key}.txt"  # the same file, when the step is made again
    (folder / re.sub(r"[^\w.-]", "-", name)).write_text(link, encoding="utf-8")


@workflow(id="approve-expense", idempotency_key="expense-{number}")
async def approve_expense(input: Expense, step: StepContext) -> Decision:
    """Decide on one expense."""
    trail: list[str] = []

    async def decide(role: str, people: list[str]) -> Verdict | None:
        """Ask one after another until somebody answers."""
        for person in people:
            hook = step.hook(f"expense:{input.number}:{role}:{person}", schema=Verdict)
            await ask(person, input, hook.token)
            await step.emit("asked", {"whom": person, "token": hook.token})
            try:
                async with asyncio.timeout(input.patience_s):
                    verdict: Verdict = await hook
            except TimeoutError:
                hook.dispose()  # an answer that comes now is refused
                trail.append(f"{person} did not answer")
                continue
            trail.append(f"{verdict.by} {'approved' if verdict.approved else 'rejected'}: {verdict.why or '-'}")
            return verdict
        return None

    if input.amount <= PASSES:
        return Decision(status="approved", trail=["passes by itself"])
    roles = [("manager", input.managers)]
    if input.amount > NEEDS_FINANCE:
        roles.append(("finance", ["finance"]))
    for role, people in roles:
        verdict = await decide(role, people)
        if verdict is None:
            return Decision(status="nobody answered", trail=trail)
        if not verdict.approved:
            return Decision(status="rejected", trail=trail)
    return Decision(status="approved", trail=trail)


def main() -> None:
    """Play three expenses. Bob is on holiday, so that Cy is asked in his place."""
    play = secrets.token_hex(2)  # so that it can be played again: a number is one expense, for ever
    with Runtime("expense_approval.duckdb", workflows=[approve_expense]) as runtime:
        for what, amount in (("taxi", "34.50"), ("laptop", "1999.00"), ("fair", "7250.00")):
            number = f"{what}-{play}"
            expense = Expense(number=number, who="Ada", amount=Decimal(amount), managers=["Bob", "Cy"], patience_s=1.5)
            run = runtime.start(approve_expense, expense)
            for news in run.events():  # until the run ends
                whom, token = news.payload["whom"], news.payload["token"]
                if whom != "Bob":
                    runtime.resume_hook(token, Verdict(approved=whom == "Cy", by=whom, why="as agreed"))
            decision = run.result(timeout="30s")
            print(f"{what}: {decision.status} ({'; '.join(decision.trail)})")


if __name__ == "__main__":
    main()
