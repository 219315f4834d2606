"""Rate-limited batch: a newsletter to many, through a queue that lets a few mails begin each second, and one summary.

The parent spawns a child for every reader at once. The queue holds them back in the ledger, not in memory, so that the
limit also holds over a restart, and for two newsletters that go out on the same day.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

from pydantic import BaseModel

from perdure.strict import ChildFailed, FatalError, Queue, Rate, Runtime, StepContext, current_step, step, workflow

MAILS = "mails.sqlite"  # plays the mail gateway

#: What the gateway allows, shared by all newsletters.
GATEWAY = Queue("gateway", max_concurrent_runs=4, rate=Rate(10, per="1s"))


class Mail(BaseModel):
    to: str
    subject: str


class Newsletter(BaseModel):
    subject: str
    readers: list[str]


class Summary(BaseModel):
    sent: int
    refused: list[str]


class AddressRefused(FatalError):
    """The gateway does not take the address; asking again would not help."""


@step(delivery="at_most_once", retries=0)
def hand_over(mail: Mail) -> None:
    """Give one mail to the gateway. It knows no keys, so a mail that may have gone out is not sent again."""
    if "@" not in mail.to:
        raise AddressRefused(f"{mail.to!r} is no address")
    with closing(sqlite3.connect(MAILS, timeout=10)) as mails, mails:
        mails.execute("CREATE TABLE IF NOT EXISTS mails (key, recipient, at)")
        row = (current_step().idempotency_key, mail.to, time.time())
        mails.execute("INSERT INTO mails VALUES (?, ?, ?)", row)


@workflow(id="send-mail", queue=GATEWAY)
async def send_mail(input: Mail) -> None:
    """Send one mail, when the gateway has room for it."""
    await hand_over(input)


@workflow(id="send-newsletter")
async def send_newsletter(input: Newsletter, step: StepContext) -> Summary:
    """Send a mail to every reader, and say who could not be reached."""
    children = [
        await step.spawn(f"mail {number}", send_mail, Mail(to=reader, subject=input.subject))
        for number, reader in enumerate(input.readers)
    ]
    refused = []
    for reader, child in zip(input.readers, children, strict=True):
        try:
            await child.result()
        except ChildFailed:
            refused.append(reader)
    return Summary(sent=len(input.readers) - len(refused), refused=refused)


def main() -> None:
    """Send thirty mails, ten a second."""
    readers = [f"reader{number}@example.com" for number in range(29)] + ["nobody"]
    with Runtime("rate_limited_batch.duckdb", workflows=[send_newsletter, send_mail]) as runtime:
        run = runtime.start(send_newsletter, Newsletter(subject="What is new", readers=readers))
        summary = run.result(timeout="60s")
    print(f"sent {summary.sent}, refused {summary.refused}")
    with closing(sqlite3.connect(MAILS)) as mails:
        (seconds,) = mails.execute("SELECT max(at) - min(at) FROM mails").fetchone()
    print(f"the gateway saw at most ten a second: {'yes' if seconds > 1.8 else 'no'}")


if __name__ == "__main__":
    main()
