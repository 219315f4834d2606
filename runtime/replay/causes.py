"""The likely causes of a divergence: their names, what is said of one, and the words that several rules share.

Knows what a case holds. Must not conclude: the rules do (`outside.py`, `changed_code.py`), in the order that
`conclusion.py` gives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from perdure.replay.case import Case
from perdure.replay.values import changes
from perdure.storage.entries import Entry

STEP_RENAMED: Final = "step renamed"
STEP_REMOVED: Final = "step removed"
STEP_ADDED: Final = "step added"
STEPS_REORDERED: Final = "steps reordered"
ARGUMENT_CHANGED: Final = "argument changed"
BRANCH_TAKEN_OTHERWISE: Final = "branch taken otherwise"
OUTPUT_CHANGED: Final = "output changed"
BODY_CHANGED: Final = "body changed"
INPUT_MODEL_CHANGED: Final = "input model changed"
RESULT_MODEL_CHANGED: Final = "result model changed"
UNORDERED_ITERATION: Final = "unordered iteration"
OUTSIDE_THE_SEAMS: Final = "random or time outside the seams"
HIDDEN_GLOBAL: Final = "hidden global"
PYTHON_DIFFERS: Final = "Python version differs"
LIBRARY_DIFFERS: Final = "library version differs"

CAUSES: Final = (
    STEP_RENAMED, STEP_REMOVED, STEP_ADDED, STEPS_REORDERED, ARGUMENT_CHANGED, BRANCH_TAKEN_OTHERWISE, OUTPUT_CHANGED,
    BODY_CHANGED, INPUT_MODEL_CHANGED, RESULT_MODEL_CHANGED, UNORDERED_ITERATION, OUTSIDE_THE_SEAMS, HIDDEN_GLOBAL,
    PYTHON_DIFFERS, LIBRARY_DIFFERS,
)  # fmt: skip


@dataclass(frozen=True)
class Cause:
    """A likely cause.

    Attributes:
        name: one of CAUSES. why: a sentence. evidence: lines that show what it was concluded from. fix: what to do.
    """

    name: str
    why: str
    fix: str
    evidence: tuple[str, ...] = ()


def renamed(case: Case, recorded: Entry, replayed: Entry) -> Cause:
    """A recorded result is found by its name, and the name changed."""
    same = "with equal arguments" if recorded[8:10] == replayed[8:10] else "which runs the same function"
    return Cause(
        STEP_RENAMED,
        f"the body asks for {replayed.name} where {recorded.name} was, {same}: a recorded result is found by its name",
        f'keep the recorded name, as in step.run("{recorded.name}", …) or .options(name="{recorded.name}"), '
        f"or {new_version(case)}",
        (*case.lines(), *case.diff()),
    )


def new_version(case: Case) -> str:
    """What to do when the change is meant."""
    return (
        f"register the old body as version {case.facts.version} of {case.facts.workflow} and the new one under a new "
        "version; old runs finish on the old one"
    )


def both_orders(case: Case) -> list[str]:
    """What was asked for in the branch, then and today."""
    return [f"recorded order: {case.asked_before()}", f"today's order:  {case.asked_today()}"]


def value_evidence(case: Case) -> list[str]:
    """Where the values of the two sides differ."""
    recorded, replayed = case.difference.recorded, case.difference.replayed
    if recorded is None or replayed is None or recorded.kind != replayed.kind or recorded.name != replayed.name:
        return []
    return [str(change) for change in changes(recorded.body, recorded.shape, replayed.body, replayed.shape)]
