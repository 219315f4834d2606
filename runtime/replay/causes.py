"""Why a run diverged: rules over a case, the surest first. Each gives a cause with its evidence and its fix, or passes.

Knows what a case holds. Must not walk bodies or read ledgers: `check.py` gathers the case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from perdure.core.divergence import site_of
from perdure.core.elided import shortened
from perdure.errors import Divergence
from perdure.replay.case import Case, shown_command
from perdure.replay.closures import unpinned_names
from perdure.replay.values import changes, only_order_differs
from perdure.storage import entries as kinds
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

#: Causes that lie outside the code, and whose fix is right for pinned code too.
_OUTSIDE: Final = frozenset(
    {OUTSIDE_THE_SEAMS, HIDDEN_GLOBAL, UNORDERED_ITERATION, PYTHON_DIFFERS, LIBRARY_DIFFERS, INPUT_MODEL_CHANGED,
     RESULT_MODEL_CHANGED, STEP_RENAMED}
)  # fmt: skip
_UNSTABLE_WHY: Final = (
    "the body reads something that changes from one replay to the next, and that the ledger does not have"
)
_UNSTABLE_FIX: Final = (
    "use the body's own time, random and uuid (they are replayed), or read it in a step: "
    'await step.run("draw", …); its result is recorded'
)
_LEAK_FIX: Final = (
    "find what the body reads beside its input and its steps' results, and read it in a step; if there is nothing, the "
    "sandbox let something through: send us the history of this run"
)

_SIMILAR = re.compile(r"(#\d+|\[\d+\]|[-_:. ]?\d+)$")  # what tells the calls of a loop apart


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


def likely_cause(case: Case) -> Cause:
    """Conclude why a run diverged. The rules go from what is certain to what is only likely."""
    found = (cause for rule in _RULES if (cause := rule(case)) is not None)
    cause = next(found, None) or _body_changed(case)
    if case.pinned:
        why = f"{cause.why}; the recorded code itself was replayed, so what differs came in from outside of it"
        return replace(cause, why=why, fix=cause.fix if cause.name in _OUTSIDE else _LEAK_FIX)
    return cause


def blame_the_body(divergence: Divergence, ledger: str) -> Divergence:
    """Say of a run that diverged once and replayed the next time that its body is not deterministic."""
    divergence.cause = OUTSIDE_THE_SEAMS
    divergence.evidence = "the same entries were replayed twice: once it diverged, and once it did not"
    divergence.why = f"{OUTSIDE_THE_SEAMS}: {_UNSTABLE_WHY}\n{divergence.evidence}"
    divergence.fix = _UNSTABLE_FIX
    divergence.inspect = divergence.inspect.replace(" LEDGER ", f" {ledger} ", 1)
    return divergence


# ── the world ────────────────────────────────────────────────────────────────────────────────────


def _unstable(case: Case) -> Cause | None:
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
        _UNSTABLE_WHY,
        _UNSTABLE_FIX,
        (*evidence, *case.lines()),
    )


def _model_changed(case: Case) -> Cause | None:
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
        f"keep the class as it was for version {case.facts.version}, or {_new_version(case)}",
        (*evidence, *_value_evidence(case), *case.lines()),
    )


def _python_differs(case: Case) -> Cause | None:
    recorded, today = case.pythons
    if case.code_changed or not recorded or recorded == today:
        return None
    return Cause(
        PYTHON_DIFFERS,
        f"the code is the same, but the run was recorded under Python {recorded}, and this is Python {today}",
        f"replay under Python {recorded}, and let open runs end there before you move to {today}",
        (*_value_evidence(case), *case.changed_libraries, *case.lines()),
    )


def _library_differs(case: Case) -> Cause | None:
    changed = case.changed_libraries
    if case.code_changed or not changed:
        return None
    names = ", ".join(each.split()[0] for each in changed)
    return Cause(
        LIBRARY_DIFFERS,
        f"the code is the same, but the run was recorded with another version of what it can call: {names}",
        f"install the recorded version of {names} and let open runs end there, or move what the library does into a "
        "step; its result is recorded",
        (*changed, *_value_evidence(case), *case.lines()),
    )


def _unordered(case: Case) -> Cause | None:
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
        evidence = _orders(case)
        return Cause(UNORDERED_ITERATION, "the code is the same, but it asked for the same commands in another order",
                     fix, (*evidence, *case.lines()))  # fmt: skip
    return None


def _renamed_outside(case: Case) -> Cause | None:
    """The body calls a step under an alias, and the step's own function has another name now."""
    recorded, replayed = case.difference.recorded, case.difference.replayed
    if case.code_changed or recorded is None or replayed is None or recorded.name == replayed.name:
        return None
    alike = recorded.kind == replayed.kind == kinds.STEP and recorded[8:10] == replayed[8:10]
    return _renamed(case, recorded, replayed) if alike else None


def _hidden_global(case: Case) -> Cause | None:
    if case.code_changed:
        return None
    evidence = _value_evidence(case)
    for name, value in unpinned_names(case.today):
        evidence.append(f"the code reads {name} (now {shortened(repr(value), 80)}), which no ledger has")
    return Cause(
        HIDDEN_GLOBAL,
        "the code is the same, but it did otherwise: it read something that is not in the ledger (a module's value, a "
        "library's setting, a model's default)",
        'hand it in with the input, or read it in a step: await step.run("settings", …); its result is recorded',
        (*evidence, *case.lines()),
    )


# ── the code ─────────────────────────────────────────────────────────────────────────────────────


def _output_changed(case: Case) -> Cause | None:
    recorded, replayed = case.difference.recorded, case.difference.replayed
    if recorded is None or replayed is None or recorded.kind not in kinds.ENDINGS or replayed.kind not in kinds.ENDINGS:
        return None
    return Cause(
        OUTPUT_CHANGED,
        "for the same recorded outcomes the body ends otherwise",
        f"return what was recorded, or {_new_version(case)}",
        (*_value_evidence(case), *case.diff()),
    )


def _argument_changed(case: Case) -> Cause | None:
    recorded, replayed = case.difference.recorded, case.difference.replayed
    if recorded is None or replayed is None or (recorded.kind, recorded.name) != (replayed.kind, replayed.name):
        return None
    if recorded[8:10] == replayed[8:10]:
        return None
    what = "arguments" if recorded.kind == kinds.STEP else "facts"
    return Cause(
        ARGUMENT_CHANGED,
        f"the body asks for {recorded.name} with other {what} than it did when this was recorded",
        f"pass what was recorded, or {_new_version(case)}",
        (*_value_evidence(case), *case.lines(), *case.diff()),
    )


def _moved_to_another_branch(case: Case) -> Cause | None:
    recorded, replayed = case.difference.recorded, case.difference.replayed
    if recorded is None or replayed is None or recorded.command == replayed.command or not replayed.command:
        return None
    if (recorded.kind, recorded.name) != (replayed.kind, replayed.name):
        return None
    return Cause(
        BODY_CHANGED,
        f"{recorded.name} is asked for in another branch: what ran at once now runs one after another, or the reverse",
        f"keep the tasks as they were, or {_new_version(case)}",
        (f"recorded as {recorded.command}, asked for as {replayed.command}", *case.lines(), *case.diff()),
    )


def _names_changed(case: Case) -> Cause | None:
    """What the two sources can name decides between renamed, removed and added."""
    recorded, replayed = case.difference.recorded, case.difference.replayed
    gone = _is_command(recorded) and not case.can_ask_today(recorded.name)  # type: ignore[union-attr]
    new = _is_command(replayed) and not case.could_ask_before(replayed.name)  # type: ignore[union-attr]
    if gone and new and recorded is not None and replayed is not None:
        if recorded.kind == replayed.kind and (recorded[8:10] == replayed[8:10] or _same_function(case)):
            return _renamed(case, recorded, replayed)
        return None
    if gone and recorded is not None:
        return _removed(case, recorded, "today's code does not name it any more")
    if new and replayed is not None:
        return _added(case, replayed, "the recorded code does not name it")
    return None


def _order_changed(case: Case) -> Cause | None:
    recorded, replayed = case.difference.recorded, case.difference.replayed
    if not _is_command(recorded) or not _is_command(replayed) or recorded is None or replayed is None:
        return None
    before, today = case.branch
    swapped = _has(today, recorded) and _has(before, replayed)
    if not swapped and case.before is not None:
        then = case.before.order_of(recorded.name), case.before.order_of(replayed.name)
        now = case.today.order_of(recorded.name), case.today.order_of(replayed.name)
        if None not in then and None not in now:
            swapped = (then[0] < then[1]) != (now[0] < now[1])  # type: ignore[operator]
    if not swapped:
        return None
    return Cause(
        STEPS_REORDERED,
        f"the body asks for {replayed.name} before {recorded.name}; when this was recorded it was the other way round",
        f"put them back in the recorded order, or {_new_version(case)}",
        (*_orders(case), *case.lines(), *case.diff()),
    )


def _count_changed(case: Case) -> Cause | None:
    """One more or one less of what a loop asks for."""
    recorded, replayed = case.difference.recorded, case.difference.replayed
    before, today = case.branch
    if replayed is not None and _is_command(replayed) and not _has(before, replayed):
        still_asked = recorded is not None and _is_command(recorded) and _has(today, recorded)
        if still_asked or any(_alike(each, replayed) for each in before):
            return _added(case, replayed, "when this was recorded it was asked for less often")
        return None
    if recorded is None or not _is_command(recorded) or _has(today, recorded):
        return None
    if any(_alike(each, recorded) for each in today):
        return _removed(case, recorded, "today's code asks for it less often")
    return None


def _branch_taken(case: Case) -> Cause | None:
    """Both sources name both commands, and today's body goes the other way."""
    recorded, replayed = case.difference.recorded, case.difference.replayed
    if replayed is not None and replayed.kind in (kinds.FAILED, kinds.RETRYING):
        return None  # it raised, which is no decision
    read = case.read_before()
    if not case.code_changed or not read:
        return None
    known = not _is_command(recorded) or case.can_ask_today(recorded.name)  # type: ignore[union-attr]
    known = known and (not _is_command(replayed) or case.could_ask_before(replayed.name))  # type: ignore[union-attr]
    if not known:
        return None
    return Cause(
        BRANCH_TAKEN_OTHERWISE,
        f"for the same recorded values the body goes another way: {_went(recorded)} then, {_went(replayed)} now",
        f"decide as the recorded code did, or {_new_version(case)}",
        (read, *case.lines(), *case.diff()),
    )


def _body_changed(case: Case) -> Cause:
    replayed = case.difference.replayed
    why = "the body is another one than when this was recorded"
    if replayed is not None and replayed.kind in (kinds.FAILED, kinds.RETRYING):
        why = f"the body raises where it used to go on: {shown_command(replayed)}"
    evidence = [f"digest {case.digests[0][:8]}… then, {case.digests[1][:8]}… now"]
    if case.first.error is not None:
        evidence.append(f"walking on ended in {type(case.first.error).__name__}: {case.first.error}".partition("\n")[0])
    evidence += [*case.lines(), *case.diff()]
    return Cause(BODY_CHANGED, why, f"restore the body, or {_new_version(case)}", tuple(evidence))


_RULES: Final[tuple[Callable[[Case], Cause | None], ...]] = (
    _unstable,
    _model_changed,
    _renamed_outside,
    _python_differs,
    _library_differs,
    _unordered,
    _hidden_global,
    _output_changed,
    _argument_changed,
    _moved_to_another_branch,
    _names_changed,
    _order_changed,
    _count_changed,
    _branch_taken,
)

# ── words that several rules share ───────────────────────────────────────────────────────────────


def _renamed(case: Case, recorded: Entry, replayed: Entry) -> Cause:
    same = "with equal arguments" if recorded[8:10] == replayed[8:10] else "which runs the same function"
    return Cause(
        STEP_RENAMED,
        f"the body asks for {replayed.name} where {recorded.name} was, {same}: a recorded result is found by its name",
        f'keep the recorded name, as in step.run("{recorded.name}", …) or .options(name="{recorded.name}"), '
        f"or {_new_version(case)}",
        (*case.lines(), *case.diff()),
    )


def _removed(case: Case, recorded: Entry, because: str) -> Cause:
    return Cause(
        STEP_REMOVED,
        f"the body does not ask for {recorded.name} there any more: {because}",
        f"keep the step for runs that recorded it, or {_new_version(case)}",
        (*case.lines(), *case.diff()),
    )


def _added(case: Case, replayed: Entry, because: str) -> Cause:
    return Cause(
        STEP_ADDED,
        f"the body asks for {replayed.name}, which is new: {because}",
        f"ask for it after what is recorded, or {_new_version(case)}",
        (*case.lines(), *case.diff()),
    )


def _new_version(case: Case) -> str:
    return (
        f"register the old body as version {case.facts.version} of {case.facts.workflow} and the new one under a new "
        "version; old runs finish on the old one"
    )


def _orders(case: Case) -> list[str]:
    return [f"recorded order: {case.asked_before()}", f"today's order:  {case.asked_today()}"]


def _value_evidence(case: Case) -> list[str]:
    recorded, replayed = case.difference.recorded, case.difference.replayed
    if recorded is None or replayed is None or recorded.kind != replayed.kind or recorded.name != replayed.name:
        return []
    return [str(change) for change in changes(recorded.body, recorded.shape, replayed.body, replayed.shape)]


def _same_function(case: Case) -> bool:
    recorded, replayed = case.difference.recorded, case.difference.replayed
    asked = case.first.at(replayed.command) if replayed is not None else None
    before, today = _function_of(recorded), _function_of(asked)
    return bool(before) and before == today


def _function_of(entry: Entry | None) -> str:
    detail: Any = json.loads(entry.detail) if entry is not None and entry.detail else {}
    return str(detail.get("function", ""))


def _is_command(entry: Entry | None) -> bool:
    return entry is not None and entry.kind in kinds.COMMANDS


def _has(entries: list[Entry], wanted: Entry) -> bool:
    return any(each.kind == wanted.kind and each.name == wanted.name for each in entries)


def _alike(entry: Entry, other: Entry) -> bool:
    return entry.kind == other.kind and _SIMILAR.sub("", entry.name) == _SIMILAR.sub("", other.name)


def _went(entry: Entry | None) -> str:
    if entry is None:
        return "waiting"
    if entry.kind in kinds.ENDINGS:
        return "the end"
    site = site_of(entry)
    return entry.name + (f" ({site})" if site else "")


def _names(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(each.kind, each.name) for each in entries]


def _outlines(entries: list[Entry]) -> list[tuple[str, str, str]]:
    return [(each.kind, each.name, each.body or "") for each in entries]
