"""Chains of runs and retries: which plans loop is drawn from a seed, and what must hold is read from entries alone."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

from post import unread

from perdure.storage.entries import Entry

Histories = dict[str, list[Any]]  # by run_id: (commit, entry)
ENDED = {"completed", "failed", "cancelled"}


def looped(seed: object, roots: list[tuple[str, Any]], share: float = 0.15) -> list[tuple[str, Any]]:
    """Let some plans, and some children in them, be done in several runs, one after the other."""
    chance = random.Random(f"lineage {seed}")

    def pick(node: Any) -> Any:
        if not isinstance(node, list):
            return node
        if node[:1] in (["invoke"], ["spawn"], ["impatient"]) and chance.random() < share:
            node = [*node[:2], "looping", *node[3:]]
        return [pick(each) for each in node]

    return [("looping" if chance.random() < share else name, pick(plan)) for name, plan in roots]


# ── laws ──


def check_lineage(by_id: Histories) -> None:
    """A run that continued has one successor, made with its end, on its input; nobody else has a predecessor."""
    successors: dict[str, str] = {}
    for run_id, history in by_id.items():
        before = _detail(history[0].entry).get("continued_from")
        if before is None:
            continue
        assert before["run_id"] not in successors, f"{run_id} and {successors[before['run_id']]} go on with one run"
        successors[before["run_id"]] = run_id
        ended = by_id[before["run_id"]][-1]
        assert ended.entry.kind == "continued", f"{run_id} goes on with a run that is {ended.entry.kind}"
        assert _detail(ended.entry)["run_id"] == run_id, "a run names another one as its successor"
        assert ended.commit == history[0].commit, f"{run_id} was not made with the end of the one before"
        assert history[0].entry.body == ended.entry.body, f"{run_id} has another input than it was given"
        assert before["first_run_id"] == first_of(by_id, before["run_id"])
        _carries_over(by_id[before["run_id"]], history)
    for run_id, history in by_id.items():
        continued = [each for each in history if each.entry.kind == "continued"]
        assert bool(continued) == (run_id in successors), f"{run_id} ended to continue, and nothing goes on"
        assert len(continued) <= 1, f"{run_id} continued twice"


def _carries_over(before: list[Any], history: list[Any]) -> None:
    """What a successor gets with its creation are the signals that the run before left unread, as they came."""
    first = itertools.takewhile(_is_signal, history[1:])
    carried = [each.entry for each in first if each.commit == history[0].commit]
    left = [each for each in unread([each.entry for each in before]) if each.kind == "signal_received"]
    assert [_what(each) for each in carried[: len(left)]] == [_what(each) for each in left], "unread signals are lost"


def _what(entry: Entry) -> tuple[str, str | None]:
    return entry.name, entry.body


def _is_signal(each: Any) -> bool:
    return bool(each.entry.kind == "signal_received")


def first_of(by_id: Histories, run_id: str) -> str:
    """The run with which a chain began."""
    while (before := _detail(by_id[run_id][0].entry).get("continued_from")) is not None:
        run_id = before["run_id"]
    return run_id


def end_told_at(by_id: Histories, run_id: str, commit: int) -> Entry:
    """How a child's chain had ended when its parent was told: it may have been retried, and gone on, since."""
    ends: list[Entry] = []
    following: str | None = run_id
    while following is not None:
        history = by_id[following]
        ends += [each.entry for each in history if each.entry.kind in ENDED and each.commit <= commit]
        newest = history[-1].entry
        following = _detail(newest)["run_id"] if newest.kind == "continued" else None
    assert ends, f"the end of {run_id} was told before it came"
    return ends[-1]


def _detail(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(entry.detail or "{}")
    return found
