"""What a machine answers a body that asks for what can't be: the errors, in words. Knows texts, and nothing else."""

from __future__ import annotations

from perdure.core.sites import site
from perdure.errors import BudgetExceeded, DefinitionError, DuplicateStepName, InternalError


def outside_of_body(where: str) -> DefinitionError:
    """`step` was used by somebody who is not its body."""
    return DefinitionError(
        "step was used outside of the body that it belongs to.",
        where=f"{site()}, {where}",
        why="only the body asks for durable work: a step that starts steps could not be replayed",
        fix="call the function directly in the step, or make the call in the body",
    )


def name_used_twice(name: str, here: str, first: str) -> DuplicateStepName:
    """`step.run` was given a name for the second time."""
    return DuplicateStepName(
        f"step.run used the name {name!r} twice in one run.",
        where=f"{here}, first {first or 'earlier in this run'}",
        fix=f'make it differ, for instance with a counter: f"{name}-{{index}}"',
    )


def too_long(limit: int, where: str) -> BudgetExceeded:
    """The run has as many entries as it may have."""
    return BudgetExceeded(
        f"the run has {limit:,} entries, its max_entries.",
        where=f"{where}, {site()}",
        fix="end the loop, raise max_entries, or split the work into child runs",
    )


def no_entropy() -> str:
    """Stand where a live body's maker of tokens stands: a replay reads its tokens from the ledger."""
    raise InternalError("a body that only replays asked for a new token.", fix="send us this traceback")


#: A body that spends more than one operation in so many on looking at the clock is waiting for it to move.
_OPERATIONS_PER_READ = 20


def explain(violation: BaseException | None, reads: int, max_ops: int) -> None:
    """Say of a budget that went into looking at the clock, over and over, that it never moves."""
    if isinstance(violation, BudgetExceeded) and reads > max_ops // _OPERATIONS_PER_READ:
        violation.why = (
            f"it looked at the clock {reads:,} times, and time stands still in a body until the next wait: "
            "a loop that waits for a moment never ends"
        )
        violation.fix = (
            "await step.sleep_until(moment), or give the wait a timeout; what takes long belongs into a step"
        )
