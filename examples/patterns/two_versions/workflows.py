"""Two versions at once: users whom version 1 began to welcome are welcomed by it to the end, new ones by version 2.

Both bodies stand in the code under one id. A start takes the newest version unless told; a run keeps the one that it
began with. When no run of version 1 is open any more (`perdure list --open LEDGER`), its body can go.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from perdure.strict import Runtime, StepContext, current_step, step, workflow

OUTBOX = "outbox.txt"


class Signup(BaseModel):
    email: str
    plan: str = "free"  # came with version 2; what version 1 recorded is read with the default


@step
def write_to(email: str, subject: str) -> None:
    """Write one mail; the key stands in the line, so that the reader can drop what came twice."""
    with Path(OUTBOX).open("a", encoding="utf-8") as outbox:
        outbox.write(f"{current_step().idempotency_key}\t{email}: {subject}\n")


@workflow(id="welcome", version="1")
async def welcome_v1(input: Signup, step: StepContext) -> str:
    """Write a welcome, and ask after three days."""
    await write_to(input.email, "Welcome")
    await step.sleep("three days", "3d")
    await write_to(input.email, "How is it going?")
    return "welcomed in two mails"


@workflow(id="welcome", version="2")
async def welcome_v2(input: Signup, step: StepContext) -> str:
    """Write a welcome that fits the plan, show a tip a day later, and ask after three days."""
    await write_to(input.email, f"Welcome to your {input.plan} plan")
    await step.sleep("a day", "1d")
    await write_to(input.email, "A tip for your first project")
    await step.sleep("two days", "2d")
    await write_to(input.email, "How is it going?")
    return "welcomed in three mails"


def main() -> None:
    """Deploy version 2 while a run of version 1 is open. Its three days are still to come: they are left open here."""
    ledger = "two_versions.duckdb"
    with Runtime(ledger, workflows=[welcome_v1]) as runtime:
        runtime.start(welcome_v1, Signup(email="ann@example.com"), run_id="ann").wait("sleeping")

    with Runtime(ledger, workflows=[welcome_v1, welcome_v2]) as runtime:  # the deploy
        runtime.start("welcome", Signup(email="bob@example.com", plan="team"), run_id="bob").wait("sleeping")
        runtime.start("welcome", Signup(email="cy@example.com"), version="1", run_id="cy").wait("sleeping")
        for status in reversed(runtime.runs(workflow="welcome")):
            print(f"{status.run_id}: version {status.version}, {status.status} ({status.waits_for[0].name})")


if __name__ == "__main__":
    main()
