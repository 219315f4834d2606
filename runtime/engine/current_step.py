"""`current_step()`: what a step may know about itself while it runs."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

from perdure.errors import WorkflowError


@dataclass(frozen=True, slots=True)
class CurrentStep:
    """One attempt of a step, seen from inside.

    Attributes:
        run_id, step_id, name: of which run, which command (`"0/3"`), under which name.
        attempt: 1 on the first.
        idempotency_key: the same on every attempt and after every restart; give it to services that can use one.
        deadline: when the attempt's timeout ends it, aware; None without a timeout.
    """

    run_id: str
    step_id: str
    name: str
    attempt: int
    idempotency_key: str
    deadline: datetime | None


_current: ContextVar[CurrentStep | None] = ContextVar("perdure_current_step", default=None)


def current_step() -> CurrentStep:
    """Give the step that runs in this task or thread.

    Raises:
        WorkflowError: called outside a step, or in a body.
    """
    step = _current.get()
    if step is None:
        raise WorkflowError(
            "current_step() was called outside of a step.",
            why="only a step that a runtime runs has a name, an attempt and an idempotency key",
            fix='call it in the function that a body runs: await step.run("…", fn)',
        )
    return step
