"""Click watch: who has clicked an invitation and does not answer is reminded, then called; one run for each invitee.

No run exists until the first click. A handler of the click then starts it, and claims a key in `kv` in the same commit,
so that a second click, a retry or a crash starts no second one. A handler of changes keeps a live board of where
everybody is, and tells the run when an invitation is answered or gone, so that it ends and leaves nothing behind.
"""

from __future__ import annotations

from typing import Literal

import mail
from pydantic import BaseModel

from perdure.strict import KvChange, Runtime, StepContext, current_step, on_event, on_kv_change, step, workflow

Status = Literal["clicked", "reminded", "called", "yes", "no"]
SETTLED = ("yes", "no")

INVITEES = "invitees"  # inv:EMAIL → Invitee
WATCHES = "watches"  # EMAIL → the run that watches
BOARD = "board"  # EMAIL → what anybody may see


class Invitee(BaseModel):
    email: str
    event: str
    status: Status | None = None
    patience: str = "1d"


class Click(BaseModel):
    email: str


# ── handlers: each call is a run of one step, created in the very commit of what it is called for ─


@on_event("invitation.clicked")
async def watch(click: Click) -> str | None:
    """Begin to watch an invitee at the first click; give the run's id."""
    me = current_step()
    invitee = await me.kv.namespace(INVITEES).get(f"inv:{click.email}")
    if invitee is None:
        return None  # the invitation was withdrawn
    if not await me.kv.namespace(WATCHES).put(click.email, me.run_id, if_absent=True):
        return None  # somebody watches already
    if invitee.status is None:
        await me.kv.namespace(INVITEES).put(f"inv:{click.email}", invitee.model_copy(update={"status": "clicked"}))
    return await me.workflows.start(escalate, invitee)


@on_kv_change(namespace=INVITEES, key_pattern="inv:*")
async def show(change: KvChange) -> None:
    """Keep the board, and tell the watching run when there is nothing left to wait for.

    It looks at the record as it is now, not as it was at the change, so that changes may be handled in any order.
    """
    me = current_step()
    email = change.key.removeprefix("inv:")
    invitee = await me.kv.namespace(INVITEES).get(change.key)
    if invitee is None:
        await me.kv.namespace(BOARD).delete(email)
    else:
        await me.kv.namespace(BOARD).put(email, invitee.status or "invited")
    if invitee is None or invitee.status in SETTLED:
        await me.workflows.send_event("invitation.settled", {"email": email})


# ── the watch itself ─────────────────────────────────────────────────────────────────────────────


@step
async def press(email: str, how: Status) -> str:
    """Remind or call, unless it is settled; give how things stand. Record and mail belong to the same attempt."""
    me = current_step()
    invitees = me.kv.namespace(INVITEES)
    invitee = await invitees.get(f"inv:{email}")
    if invitee is None:
        return "gone"
    if invitee.status in SETTLED:
        return str(invitee.status)
    mail.send(me.idempotency_key, email, f"{how}: will you come to {invitee.event}?")
    await invitees.put(f"inv:{email}", invitee.model_copy(update={"status": how}))
    return how


@step
async def stop_watching(email: str) -> str:
    """Free the key, so that a new invitation is watched anew; give how things stand."""
    me = current_step()
    await me.kv.namespace(WATCHES).delete(email)
    invitee = await me.kv.namespace(INVITEES).get(f"inv:{email}")
    return "gone" if invitee is None else str(invitee.status)


@workflow(id="escalate")
async def escalate(input: Invitee, step: StepContext) -> str:
    """Press an invitee a little more each time that patience runs out; give how it ended."""

    async def be_patient(name: str) -> None:
        about = {"email": input.email}
        await step.wait_for_event(name, type="invitation.settled", match=about, timeout=input.patience)

    how: Status
    for how in ("reminded", "called"):
        await be_patient(f"before being {how}")
        if await press(input.email, how) != how:  # whatever woke it, the record says how things stand
            break
    else:
        await be_patient("after the call")
    return await stop_watching(input.email)


WORKFLOWS = [watch, show, escalate]


def main() -> None:
    """Invite three: Ann answers, Bob never does, and Cy's invitation is withdrawn."""
    with Runtime("click_watch.duckdb", workflows=WORKFLOWS) as runtime:
        invitees, board = runtime.kv.namespace(INVITEES), runtime.kv.namespace(BOARD)
        people = ("ann@example.com", "bob@example.com", "cy@example.com")
        for email in people:
            invitees.put(f"inv:{email}", Invitee(email=email, event="the party", patience="1s"))
        for email in (*people, *people):  # everybody clicks twice
            runtime.send_event("invitation.clicked", {"email": email})
        runtime.idle()
        print("the board:", board.list())

        invitees.update("inv:ann@example.com", lambda ann: ann.model_copy(update={"status": "yes"}))
        invitees.delete("inv:cy@example.com")
        for status in runtime.runs(workflow="escalate"):
            print(runtime.handle(status.run_id).result(timeout="30s"))
        runtime.idle()
        print("the board:", board.list(), "still watched:", runtime.kv.namespace(WATCHES).list())
        print("\n".join(mail.sent()))


if __name__ == "__main__":
    main()
