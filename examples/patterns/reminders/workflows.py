"""Reminders: a week, a day and an hour before an appointment; anew when it moves, no more when it is cancelled.

Each wait ends at the next reminder's time, or when the appointment moves: one wait for a signal, with a timeout, does
both. `datetime.now` in a body is the ledger's time, so what is already past is decided alike on every replay.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel

from perdure.strict import Runtime, StepContext, current_step, step, workflow

OUTBOX = "reminders.txt"

PLAN = {"in a week": timedelta(days=7), "tomorrow": timedelta(days=1), "in an hour": timedelta(hours=1)}


class Appointment(BaseModel):
    who: str
    what: str
    at: AwareDatetime
    reminders: dict[str, timedelta] = PLAN  # what is written, and how long before; the earliest first


@step
def remind(appointment: Appointment, when: str) -> None:
    """Write one reminder; the key stands in the line, so that the reader can drop what came twice."""
    line = f"{current_step().idempotency_key}\t{appointment.who}: {appointment.what} is {when}\n"
    with Path(OUTBOX).open("a", encoding="utf-8") as outbox:
        outbox.write(line)


@workflow(id="remind-of-appointment")
async def remind_of_appointment(input: Appointment, step: StepContext) -> int:
    """Remind of one appointment until it begins; give how many reminders were written."""
    written = 0
    while True:  # once more each time that the appointment moves
        moved = None
        for when, before in (*input.reminders.items(), ("now", timedelta(0))):
            due = input.at - before
            if due <= datetime.now(UTC):
                continue  # too late for this one
            moved = await step.wait_for_signal("moved", timeout=due - datetime.now(UTC), schema=Appointment)
            if moved is not None:
                input = moved
                break
            if before:
                await remind(input, when)
                await step.emit("reminded", f"{input.what} is {when}")
                written += 1
        if moved is None:
            return written


def main() -> None:
    """Play an appointment that moves twice, and one that is cancelled."""
    now = datetime.now(UTC)
    with Runtime("reminders.duckdb", workflows=[remind_of_appointment]) as runtime:
        concert = Appointment(who="Bob", what="the concert", at=now + timedelta(days=20))
        cancelled = runtime.start(remind_of_appointment, concert)
        cancelled.cancel()
        print(cancelled.wait(timeout="10s"), "and nothing more is written of", concert.what)

        soon = {"in twenty seconds": timedelta(seconds=20)}
        dentist = Appointment(who="Ada", what="the dentist", at=now + timedelta(days=3), reminders=soon)
        run = runtime.start(remind_of_appointment, dentist)
        run.signal("moved", dentist.model_copy(update={"at": datetime.now(UTC) + timedelta(seconds=20.5)}))
        for news in run.events():  # as they come, until the run ends
            print(news.type, news.payload)
            run.signal("moved", dentist.model_copy(update={"at": datetime.now(UTC) + timedelta(seconds=0.2)}))
        print("reminders:", run.result(timeout="10s"))


if __name__ == "__main__":
    main()
