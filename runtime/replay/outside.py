"""Why a run diverged though its code is the same, or whatever its code: rules over a case.

Each gives a cause with its evidence and its fix, or passes. Knows what a case holds. Must not walk bodies or read
ledgers: `check.py` gathers the case.
"""

from __future__ import annotations

from typing import Final

from perdure.core.elided import shortened
from perdure.replay.case import Case, shown_command
from perdure.replay.causes import (
    HIDDEN_GLOBAL,
    INPUT_MODEL_CHANGED,
    LIBRARY_DIFFERS,
    OUTSIDE_THE_SEAMS,
    PYTHON_DIFFERS,
    RESULT_MODEL_CHANGED,
    UNORDERED_ITERATION,
    Cause,
    both_orders,
    new_version,
    renamed,
    value_evidence,
)
from perdure.replay.closures import unpinned_names
from perdure.replay.values import only_order_differs
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry

UNSTABLE_WHY: Final = (
    "the body reads something that changes from one replay to the next, and that the ledger does not have"
)
UNSTABLE_FIX: Final = (
    "use the body's own time, random and uuid (they are replayed), or read it in a step: "
    'await step.run("draw", …); its result is recorded'
)


def unstable(case: Case) -> Cause | None:
    """Two walks of the same code over the same entries must ask for the same."""
    walked = case.first.error is None and case.second.error is None
    if not walked or case.first.same_as(case.second):
        return None
    evidence = ["replayed twice in a row, the same code asked for different things:"]
    pairs = [*zip(case.first.asked, case.second.asked, strict=False), (case.first.ending, case.second.ending)]
    for one, other in pairs:
        if one is None or other is None or one[4:10] != other[4:10] or one.kind != other.kind:
            evidence += [f"  once  {shown_command(one)}", f"  again {shown_command(other)}"]
            break
    return Cause(
        OUTSIDE_THE_SEAMS,
        UNSTABLE_WHY,
        UNSTABLE_FIX,
        (*evidence, *case.lines()),
    )


def model_changed(case: Case) -> Cause | None:
    """A class gained or lost a field, so that what was recorded comes back as something else."""
    recorded, replayed = case.difference.recorded, case.difference.replayed
    same_command = recorded is not None and replayed is not None and recorded.name == replayed.name
    if not case.reread or (case.code_changed and not same_command):
        return None
    entry, evidence, _ = case.reread[0]
    is_input = entry.kind == kinds.CREATED
    what = "the recorded input" if is_input else f"the recorded result of {entry.name} (entry {entry.position})"
    return Cause(
        INPUT_MODEL_CHANGED if is_input else RESULT_MODEL_CHANGED,
        f"{what} comes back as something else: its class changed",
        f"keep the class as it was for version {case.facts.version}, or {new_version(case)}",
        (*evidence, *value_evidence(case), *case.lines()),
    )


def python_differs(case: Case) -> Cause | None:
    recorded, today = case.pythons
    if case.code_changed or not recorded or recorded == today:
        return None
    return Cause(
        PYTHON_DIFFERS,
        f"the code is the same, but the run was recorded under Python {recorded}, and this is Python {today}",
        f"replay under Python {recorded}, and let open runs end there before you move to {today}",
        (*value_evidence(case), *case.changed_libraries, *case.lines()),
    )


def library_differs(case: Case) -> Cause | None:
    changed = case.changed_libraries
    if case.code_changed or not changed:
        return None
    if all(each.startswith("perdure ") for each in changed) and unpinned_names(case.today):
        return None  # a value that the code reads is the likelier one; the release stands among its evidence
    names = ", ".join(each.split()[0] for each in changed)
    return Cause(
        LIBRARY_DIFFERS,
        f"the code is the same, but the run was recorded with another version of what it can call: {names}",
        f"install the recorded version of {names} and let open runs end there, or move what the library does into a "
        "step; its result is recorded",
        (*changed, *value_evidence(case), *case.lines()),
    )


def unordered(case: Case) -> Cause | None:
    difference = case.difference
    recorded, replayed = difference.recorded, difference.replayed
    if case.code_changed or recorded is None or replayed is None:
        return None
    fix = "iterate over sorted(…) wherever the order comes from a set, a directory or a library"
    if recorded.kind == replayed.kind and only_order_differs(recorded.body, replayed.body):
        evidence = ["the same parts in another order"]
        return Cause(UNORDERED_ITERATION, "the code is the same, but it went through something in another order", fix,
                     (*evidence, *case.lines()))  # fmt: skip
    before, today = case.branch
    if _names(before) != _names(today) and sorted(_outlines(before)) == sorted(_outlines(today)):
        evidence = both_orders(case)
        return Cause(UNORDERED_ITERATION, "the code is the same, but it asked for the same commands in another order",
                     fix, (*evidence, *case.lines()))  # fmt: skip
    return None


def renamed_outside(case: Case) -> Cause | None:
    """The body calls a step under an alias, and the step's own function has another name now."""
    recorded, replayed = case.difference.recorded, case.difference.replayed
    if case.code_changed or recorded is None or replayed is None or recorded.name == replayed.name:
        return None
    alike = recorded.kind == replayed.kind == kinds.STEP and recorded[8:10] == replayed[8:10]
    return renamed(case, recorded, replayed) if alike else None


def hidden_global(case: Case) -> Cause | None:
    if case.code_changed:
        return None
    evidence = value_evidence(case)
    for name, value in unpinned_names(case.today):
        evidence.append(f"the code reads {name} (now {shortened(repr(value), 80)}), which no ledger has")
    evidence += case.changed_libraries
    return Cause(
        HIDDEN_GLOBAL,
        "the code is the same, but it did otherwise: it read something that is not in the ledger (a module's value, a "
        "library's setting, a model's default)",
        'hand it in with the input, or read it in a step: await step.run("settings", …); its result is recorded',
        (*evidence, *case.lines()),
    )


def _names(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(each.kind, each.name) for each in entries]


def _outlines(entries: list[Entry]) -> list[tuple[str, str, str]]:
    return [(each.kind, each.name, each.body or "") for each in entries]
