"""Onboarding: welcome, wait three days, ask for a survey, wait a week for the answer, and follow up on what it says.

The link in the mail carries a hook's token. Nobody has to know the run to answer it, and an answer that does not fit
the survey is refused to whoever sends it, while the run waits on.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Literal

import mail
from pydantic import BaseModel, Field

from perdure.strict import HookRefused, Runtime, StepContext, current_step, step, workflow


class Signup(BaseModel):
    email: str
    survey_after: str = "3d"
    survey_open_s: float = 7 * 86_400


class Answer(BaseModel):
    score: int = Field(ge=1, le=10)
    comment: str = ""


Outcome = Literal["promoter", "content", "called back", "silent"]


@step
def write_to(email: str, subject: str, text: str) -> str:
    return mail.send(current_step().idempotency_key, email, subject, text)


@workflow(id="onboard", idempotency_key="onboard-{email}")
async def onboard(input: Signup, step: StepContext) -> Outcome:
    """Accompany one user through the first days."""
    await write_to(input.email, "Welcome", "Good to have you here.")
    await step.sleep("let them look around", input.survey_after)

    survey = step.hook(f"survey:{input.email}", schema=Answer)
    await write_to(input.email, "How is it going?", f"Tell us: https://example.com/survey/{survey.token}")
    try:
        async with asyncio.timeout(input.survey_open_s):
            answer: Answer = await survey
    except TimeoutError:
        await write_to(input.email, "We are here", "No answer needed. Write to us when something is missing.")
        return "silent"

    if answer.score >= 9:
        await write_to(input.email, "Thank you", "Would you tell others about us?")
        return "promoter"
    if answer.score <= 4:
        await write_to("support@example.com", f"Call {input.email}", answer.comment)
        return "called back"
    return "content"


def main() -> None:
    """Play three users: one is delighted, one is not, one never answers."""
    play = secrets.token_hex(2)  # so that it can be played again: an address is welcomed once, for ever
    with Runtime("onboarding.duckdb", workflows=[onboard]) as runtime:
        users = [f"{name}.{play}@example.com" for name in ("ann", "bob", "cy")]
        runs = [runtime.start(onboard, Signup(email=user, survey_after="0s", survey_open_s=2)) for user in users]
        runtime.idle()  # until only the outside, or time, can move them

        try:
            runtime.resume_hook(f"survey:{users[0]}", {"score": "eleven"})
        except HookRefused as refused:
            print(refused.message)
        runtime.resume_hook(f"survey:{users[0]}", {"score": 10})
        runtime.resume_hook(f"survey:{users[1]}", {"score": 3, "comment": "where is the export?"})
        for user, run in zip(users, runs, strict=True):
            print(user, "→", run.result(timeout="30s"), mail.subjects(user))


if __name__ == "__main__":
    main()
