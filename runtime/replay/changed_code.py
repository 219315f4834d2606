"""Why a run diverged whose code changed: rules over a case, from what is certain to what is only likely.

Each gives a cause with its evidence and its fix, or passes. Knows what a case holds. Must not walk bodies or read
ledgers: `check.py` gathers the case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from perdure.core.divergence import site_of
from perdure.replay.case import Case, shown_command
from perdure.replay.causes import (
    ARGUMENT_CHANGED,
    BODY_CHANGED,
    BRANCH_TAKEN_OTHERWISE,
    OUTPUT_CHANGED,
    STEP_ADDED,
    STEP_REMOVED,
    STEPS_REORDERED,
    Cause,
    both_orders,
    new_version,
    renamed,
    value_evidence,
)
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry

_SIMILAR = re.compile(r"(#\d+|\[\d+\]|[-_:. ]?\d+)$")  # what tells the calls of a loop apart


def output_changed(case: Case) -> Cause | None:
    recorded, replayed = case.difference.recorded, case.difference.replayed
    if recorded is None or replayed is None or recorded.kind not in kinds.ENDINGS or replayed.kind not in kinds.ENDINGS:
        return None
    return Cause(
        OUTPUT_CHANGED,
        "for the same recorded outcomes the body ends otherwise",
        f"return what was recorded, or {new_version(case)}",
        (*value_evidence(case), *case.diff()),
    )


def argument_changed(case: Case) -> Cause | None:
    recorded, replayed = case.difference.recorded, case.difference.replayed
    if recorded is None or replayed is None or (recorded.kind, recorded.name) != (replayed.kind, replayed.name):
        return None
    if recorded[8:10] == replayed[8:10]:
        return None
    what = "arguments" if recorded.kind == kinds.STEP else "facts"
    return Cause(
        ARGUMENT_CHANGED,
        f"the body asks for {recorded.name} with other {what} than it did when this was recorded",
        f"pass what was recorded, or {new_version(case)}",
        (*value_evidence(case), *case.lines(), *case.diff()),
    )


def moved_to_another_branch(case: Case) -> Cause | None:
    recorded, replayed = case.difference.recorded, case.difference.replayed
    if recorded is None or replayed is None or recorded.command == replayed.command or not replayed.command:
        return None
    if (recorded.kind, recorded.name) != (replayed.kind, replayed.name):
        return None
    return Cause(
        BODY_CHANGED,
        f"{recorded.name} is asked for in another branch: what ran at once now runs one after another, or the reverse",
        f"keep the tasks as they were, or {new_version(case)}",
        (f"recorded as {recorded.command}, asked for as {replayed.command}", *case.lines(), *case.diff()),
    )


def cancelled_otherwise(case: Case) -> Cause | None:
    """The body stops waiting for something, or does not any more."""
    recorded, replayed = case.difference.recorded, case.difference.replayed
    dropped = [each for each in (replayed, recorded) if each is not None and each.kind == kinds.DROPPED]
    if not case.code_changed or not dropped:
        return None
    name = dropped[0].name or dropped[0].command
    why = f"the body cancels its wait for {name}; when this was recorded it did not"
    if dropped[0] is recorded:
        why = f"the body does not cancel its wait for {name}; when this was recorded it did"
    return Cause(
        BODY_CHANGED,
        why,
        f"cancel what was cancelled then, or {new_version(case)}",
        (*case.lines(), *case.diff()),
    )


def names_changed(case: Case) -> Cause | None:
    """What the two sources can name decides between renamed, removed and added."""
    recorded, replayed = case.difference.recorded, case.difference.replayed
    gone = _is_command(recorded) and not case.can_ask_today(recorded.name)  # type: ignore[union-attr]
    new = _is_command(replayed) and not case.could_ask_before(replayed.name)  # type: ignore[union-attr]
    if gone and new and recorded is not None and replayed is not None:
        if recorded.kind == replayed.kind and (recorded[8:10] == replayed[8:10] or _same_function(case)):
            return renamed(case, recorded, replayed)
        return None
    if new and recorded is not None and replayed is not None and _stands_for(case, recorded, replayed):
        return renamed(case, recorded, replayed)
    if gone and recorded is not None:
        return _removed(case, recorded, "today's code does not name it any more")
    if new and replayed is not None:
        return _added(case, replayed, "the recorded code does not name it")
    return None


def order_changed(case: Case) -> Cause | None:
    recorded, replayed = case.difference.recorded, case.difference.replayed
    if not _is_command(recorded) or not _is_command(replayed) or recorded is None or replayed is None:
        return None
    before, today = case.branch
    swapped = _has(today, recorded) and _has(before, replayed)
    # Branches change places when each side's command is found, with its arguments, in another branch of the other.
    swapped = swapped or (_has_same(case.first.asked, recorded) and _has_same(case.recorded_commands, replayed))
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
        f"put them back in the recorded order, or {new_version(case)}",
        (*both_orders(case), *case.lines(), *case.diff()),
    )


def count_changed(case: Case) -> Cause | None:
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


def branch_taken(case: Case) -> Cause | None:
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
        f"decide as the recorded code did, or {new_version(case)}",
        (read, *case.lines(), *case.diff()),
    )


def body_changed(case: Case) -> Cause:
    replayed = case.difference.replayed
    why = "the body is another one than when this was recorded"
    if replayed is not None and replayed.kind in (kinds.FAILED, kinds.RETRYING):
        why = f"the body raises where it used to go on: {shown_command(replayed)}"
    evidence = [f"digest {case.digests[0][:8]}… then, {case.digests[1][:8]}… now"]
    if case.first.error is not None:
        evidence.append(f"walking on ended in {type(case.first.error).__name__}: {case.first.error}".partition("\n")[0])
    evidence += [*case.lines(), *case.diff()]
    return Cause(BODY_CHANGED, why, f"restore the body, or {new_version(case)}", tuple(evidence))


# ── words that several rules share ───────────────────────────────────────────────────────────────


def _removed(case: Case, recorded: Entry, because: str) -> Cause:
    return Cause(
        STEP_REMOVED,
        f"the body does not ask for {recorded.name} there any more: {because}",
        f"keep the step for runs that recorded it, or {new_version(case)}",
        (*case.lines(), *case.diff()),
    )


def _added(case: Case, replayed: Entry, because: str) -> Cause:
    return Cause(
        STEP_ADDED,
        f"the body asks for {replayed.name}, which is new: {because}",
        f"ask for it after what is recorded, or {new_version(case)}",
        (*case.lines(), *case.diff()),
    )


def _stands_for(case: Case, recorded: Entry, replayed: Entry) -> bool:
    """Whether the replayed command is the recorded one under a name that the recorded code did not have."""
    if recorded.kind != replayed.kind or recorded.command != replayed.command or recorded[8:10] != replayed[8:10]:
        return False
    if recorded.kind == kinds.STEP and not _same_function(case):
        return False
    return not _has(case.branch[1], recorded)


def _same_function(case: Case) -> bool:
    recorded, replayed = case.difference.recorded, case.difference.replayed
    asked = case.first.at(replayed.command) if replayed is not None else None
    before, today = _function_of(recorded), _function_of(asked)
    return bool(before) and before == today


def _function_of(entry: Entry | None) -> str:
    return "" if entry is None else str(entry.facts().get("function", ""))


def _is_command(entry: Entry | None) -> bool:
    return entry is not None and entry.kind in kinds.COMMANDS


def _has(entries: list[Entry], wanted: Entry) -> bool:
    return any(each.kind == wanted.kind and each.name == wanted.name for each in entries)


def _has_same(entries: Sequence[Entry], wanted: Entry) -> bool:
    """Whether a command of the same name and arguments is there, under another identity."""
    return any(
        (each.kind, each.name, *each[8:10]) == (wanted.kind, wanted.name, *wanted[8:10])
        for each in entries
        if each.command != wanted.command
    )


def _alike(entry: Entry, other: Entry) -> bool:
    return entry.kind == other.kind and _SIMILAR.sub("", entry.name) == _SIMILAR.sub("", other.name)


def _went(entry: Entry | None) -> str:
    if entry is None:
        return "waiting"
    if entry.kind in kinds.ENDINGS:
        return "the end"
    site = site_of(entry)
    return entry.name + (f" ({site})" if site else "")
