"""Assertions about runs, whose failures show what differs: `assert_replays`, `assert_history`, `assert_same_outcome`.

They take a run of an open runtime (asynchronous or blocking), an exported history, or its path. None is awaited.

Knows histories. Must not know how they came about.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TypeAlias

from perdure.client.blocking import BlockingRunHandle
from perdure.client.handle import RunHandle
from perdure.core.divergence import site_of
from perdure.core.elided import shortened
from perdure.declare.discovery import find_workflows
from perdure.declare.registry import Registry
from perdure.errors import DefinitionError
from perdure.replay.check import Verdict
from perdure.replay.golden import check_history
from perdure.replay.history_file import History, read_history
from perdure.replay.values import changes
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.failures import decode_failure

#: What an assertion may be about.
Recorded: TypeAlias = RunHandle | BlockingRunHandle | History | str | os.PathLike[str]

_VALUE_CHARACTERS_MAX = 200
_ASKED = frozenset({kinds.STEP, kinds.SLEEP, kinds.WAIT_EVENT, kinds.CHILD})


def assert_replays(run: Recorded, workflows: object = None) -> None:
    """Assert that a run, finished or open, replays: its code and its history agree.

    Args:
        run: a run, a history, or the path of an exported one.
        workflows: what to replay on: definitions, a module, its name, a path. A run brings those of its runtime.

    Raises:
        AssertionError: it diverges; the text is the report.
        DefinitionError: there are no workflows to replay on, or `run` is no run. UnknownWorkflow: they don't have the
            run's.
    """
    __tracebackhide__ = True
    history = _history(run)
    finding = check_history(history, _registry(run, workflows))
    if not isinstance(finding, Verdict):
        raise finding.error
    if finding.divergence is not None:
        raise AssertionError(f"the run does not replay.\n{finding.divergence}") from None


def assert_history(run: Recorded, names: Sequence[str]) -> None:
    """Assert what a run asked for, in order: the names of its steps, sleeps, waits for events and children.

    A run that was retried as a whole lists what each of its attempts asked for.

    Raises:
        AssertionError: with both lists side by side, and the lines of the body that asked.
    """
    __tracebackhide__ = True
    if isinstance(names, str):
        raise DefinitionError(f"names={names!r} is one name.", fix=f"give a list: assert_history(run, [{names!r}])")
    history = _history(run)
    asked = [entry for entry in history.entries if entry.kind in _ASKED]
    recorded = [entry.name for entry in asked]
    if recorded != list(names):
        head = f"run {history.row.run_id} asked for something else than expected (- expected, + recorded)."
        raise AssertionError("\n".join([head, *_compared(list(names), asked)]))


def assert_same_outcome(one: Recorded, other: Recorded) -> None:
    """Assert that two runs ended alike: the same status, and equal outputs of the same types or equal errors.

    Raises:
        AssertionError: with the places in the output that differ.
    """
    __tracebackhide__ = True
    first, second = _history(one), _history(other)
    problems = _differences(first, second)
    if problems:
        head = f"runs {first.row.run_id} and {second.row.run_id} ended otherwise."
        raise AssertionError("\n".join([head, *(f"  {line}" for line in problems)]))


def _history(run: Recorded) -> History:
    if isinstance(run, (RunHandle, BlockingRunHandle)):
        return run.recorded()
    if isinstance(run, History):
        return run
    if not isinstance(run, (str, os.PathLike)):
        raise DefinitionError(
            f"{run!r} is no run.", fix="give what `runtime.start(…)` gave, a history, or the path of an exported one"
        )
    return read_history(run)


def _registry(run: Recorded, workflows: object) -> Registry:
    if workflows is not None:
        return Registry(find_workflows(workflows))
    if isinstance(run, (RunHandle, BlockingRunHandle)):
        return run.registry
    raise DefinitionError(
        "a history alone does not say what to replay it on.", fix="assert_replays(run, fulfill_order)"
    )


def _compared(names: list[str], asked: list[Entry]) -> list[str]:
    recorded = [entry.name for entry in asked]
    width = max(map(len, [*names, *recorded]), default=0)
    lines = []
    for tag, start, stop, first, last in SequenceMatcher(None, names, recorded, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += [f"    {name}" for name in names[start:stop]]
            continue
        lines += [f"  - {name}" for name in names[start:stop]]
        lines += [f"  + {entry.name:<{width}}  {site_of(entry)}".rstrip() for entry in asked[first:last]]
    return lines


def _differences(first: History, second: History) -> list[str]:
    one, other = first.row, second.row
    if one.status != other.status:
        return [f"status: {_status(first)} → {_status(second)}"]
    if one.status not in (kinds.COMPLETED, kinds.FAILED):
        return []
    ending, others = _ending(first), _ending(second)
    if one.status == kinds.FAILED:
        errors = [decode_failure(each.body or "null", each.shape) for each in (ending, others)]
        shown = [f"{error.error_type}: {error.message}" for error in errors]
        return [] if shown[0] == shown[1] else [f"error: {shown[0]} → {shown[1]}"]
    found = changes(ending.body, ending.shape, others.body, others.shape)
    return [f"output {change}" for change in found]


def _ending(history: History) -> Entry:
    """Its last ending; notes may follow."""
    found = [entry for entry in history.entries if entry.kind in kinds.ENDINGS]
    return found[-1] if found else history.entries[-1]


def _status(history: History) -> str:
    row = history.row
    last = _ending(history)
    said = row.error if row.error is not None else last.body if last.kind == kinds.COMPLETED else None
    return row.status if said is None else f"{row.status} ({shortened(said, _VALUE_CHARACTERS_MAX)})"
