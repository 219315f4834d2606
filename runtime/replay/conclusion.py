"""Which cause of a divergence is the likely one: the rules in their order, and what pinned code adds.

Knows the rules. Must not know how a case was gathered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from perdure.errors import Divergence
from perdure.replay import changed_code, outside
from perdure.replay.case import Case
from perdure.replay.causes import (
    HIDDEN_GLOBAL,
    INPUT_MODEL_CHANGED,
    LIBRARY_DIFFERS,
    OUTSIDE_THE_SEAMS,
    PYTHON_DIFFERS,
    RESULT_MODEL_CHANGED,
    STEP_RENAMED,
    UNORDERED_ITERATION,
    Cause,
)

_RULES: Final[tuple[Callable[[Case], Cause | None], ...]] = (
    outside.unstable,
    outside.model_changed,
    outside.renamed_outside,
    outside.python_differs,
    outside.library_differs,
    outside.unordered,
    outside.hidden_global,
    changed_code.output_changed,
    changed_code.argument_changed,
    changed_code.moved_to_another_branch,
    changed_code.cancelled_otherwise,
    changed_code.names_changed,
    changed_code.order_changed,
    changed_code.count_changed,
    changed_code.branch_taken,
)

#: Causes that lie outside the code, and whose fix is right for pinned code too.
_OUTSIDE: Final = frozenset(
    {OUTSIDE_THE_SEAMS, HIDDEN_GLOBAL, UNORDERED_ITERATION, PYTHON_DIFFERS, LIBRARY_DIFFERS, INPUT_MODEL_CHANGED,
     RESULT_MODEL_CHANGED, STEP_RENAMED}
)  # fmt: skip
_LEAK_FIX: Final = (
    "find what the body reads beside its input and its steps' results, and read it in a step; if there is nothing, the "
    "sandbox let something through: send us the history of this run"
)


def likely_cause(case: Case) -> Cause:
    """Conclude why a run diverged. The rules go from what is certain to what is only likely."""
    found = (cause for rule in _RULES if (cause := rule(case)) is not None)
    cause = next(found, None) or changed_code.body_changed(case)
    if case.pinned:
        why = f"{cause.why}; the recorded code itself was replayed, so what differs came in from outside of it"
        return replace(cause, why=why, fix=cause.fix if cause.name in _OUTSIDE else _LEAK_FIX)
    return cause


def blame_the_body(divergence: Divergence, ledger: str) -> Divergence:
    """Say of a run that diverged once and replayed the next time that its body is not deterministic."""
    divergence.cause = OUTSIDE_THE_SEAMS
    divergence.evidence = "the same entries were replayed twice: once it diverged, and once it did not"
    divergence.why = f"{OUTSIDE_THE_SEAMS}: {outside.UNSTABLE_WHY}\n{divergence.evidence}"
    divergence.fix = outside.UNSTABLE_FIX
    divergence.inspect = divergence.inspect.replace(" LEDGER ", f" {ledger} ", 1)
    return divergence
