"""Queues, and who is put on them: drawn from a seed, and what must hold of them, read from entries alone.

Nothing here calls the engine or its decisions: the laws have a reading of begins and ends of their own.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import Any

from perdure import Queue, Rate
from perdure.storage.entries import Entry

OVER = {"completed", "failed", "cancelled", "continued"}


class Traffic:
    """Whether a seed has queues, and how it puts its runs on them."""

    def __init__(self, seed: object, share: float = 0.4) -> None:
        self.random = random.Random(f"traffic {seed}")
        self.queues: list[Queue] = []
        self.max_concurrent_runs: int | None = None
        self.max_concurrent_steps: int | None = None
        if self.random.random() >= share:
            return
        pick = self.random.choice
        self.queues = [self._queue("east"), *([self._queue("west")] if pick([True, False]) else [])]
        self.max_concurrent_runs = pick([None, None, 1, 2])
        self.max_concurrent_steps = pick([None, None, 1, 2])

    def _queue(self, name: str) -> Queue:
        pick = self.random.choice
        return Queue(
            name,
            max_concurrent_runs=pick([None, 1, 2]),
            max_concurrent_steps=pick([None, None, 1, 2]),
            max_concurrent_runs_per_key=pick([None, None, 1]),
            rate=pick([None, None, Rate(2, per="1m"), Rate(1, per="10s")]),
            rate_per_key=pick([None, None, Rate(1, per="1m")]),
            singleton=pick([None, None, None, "queue"]),
        )

    @property
    def limited(self) -> bool:
        """Whether somebody may have to wait for others."""
        return bool(self.queues or self.max_concurrent_runs or self.max_concurrent_steps)

    def limits(self) -> dict[str, Any]:
        """What a simulation is told."""
        return {
            "queues": self.queues,
            "max_concurrent_runs": self.max_concurrent_runs,
            "max_concurrent_steps": self.max_concurrent_steps,
        }

    def ticket(self) -> dict[str, Any]:
        """How one run is started."""
        pick = self.random.choice
        if not self.queues or pick([True, False, False, False]):
            return {}
        ticket = {
            "queue": pick(self.queues).name, "key": pick([None, "a", "b"]), "priority": pick([0, 0, 0, -1, 1]),
            "delay": pick([None, None, None, 30, 4000]),
        }  # fmt: skip
        return {name: value for name, value in ticket.items() if value is not None}


# ── laws ──


@dataclass
class Stay:
    """A run's time on a queue, in commits."""

    run: int
    queue: str
    key: str
    priority: int
    created: int
    delayed: bool
    child: bool
    successor: bool
    began: int | None = None
    began_at: int = 0
    ended: int | None = None
    moved: frozenset[int] = frozenset()  # commits that have an entry of it
    troubled: bool = False  # debounced, diverged: it may be passed


def stays(by_run: dict[int, list[tuple[int, Entry]]]) -> list[Stay]:
    """Read the stays of all runs on queues."""
    found = []
    clock = {commit: entry.at for history in by_run.values() for commit, entry in history}
    for run, history in by_run.items():
        commit, created = history[0]
        detail = json.loads(created.detail or "{}")
        queue = detail.get("queue")
        if queue is None:
            assert all(entry.kind != "began" or created.due is not None for _, entry in history)
            continue
        stay = Stay(
            run, queue["name"], queue.get("key", ""), queue.get("priority", 0), commit, created.due is not None,
            "parent_run_id" in detail, "continued_from" in detail, moved=frozenset(each for each, _ in history),
        )  # fmt: skip
        for commit, entry in history:
            if entry.kind == "requeued":
                assert stay.ended is not None, f"run {run} is tried again, and has not ended"
                found.append(stay)
                stay = replace(stay, created=commit, delayed=False, successor=False, began=None, ended=None)
            elif entry.kind == "restarted" and stay.began is None:
                assert any(each.run == run for each in found), f"run {run} is tried again without asking for a place"
                stay.began, stay.began_at = commit, entry.at
            elif entry.kind == "began":
                assert stay.began is None, f"run {run} began twice"
                # Its time had come, though the clock may have been set back since, while it waited for room.
                latest = max(at for each, at in clock.items() if each <= commit)
                assert latest >= (created.due or 0) or stay.troubled, f"run {run} began too early"
                stay.began, stay.began_at = commit, entry.at
            elif entry.kind in OVER and stay.ended is None:
                stay.ended = commit
            elif entry.kind in ("debounced", "diverged"):
                stay.troubled = True
            elif entry.kind not in ("created", "signal_received", "cancel_requested"):
                assert stay.began is not None, f"run {run} has {entry.kind} before it began"
        found.append(stay)
    return found


def check_traffic(
    by_run: dict[int, list[tuple[int, Entry]]], queues: list[Queue], max_concurrent_runs: int | None
) -> None:
    """No limit is passed after any commit, and nobody is passed within a key."""
    limits = {queue.name: queue for queue in queues}
    on: defaultdict[str, list[Stay]] = defaultdict(list)
    everyone = stays(by_run)
    for stay in everyone:
        on[stay.queue].append(stay)
    most(everyone, max_concurrent_runs, "of the runtime", children=False)
    for name, here in on.items():
        queue = limits.get(name)
        first_come(here)
        if queue is None:
            assert name == ":runtime", f"a run is on {name!r}"
            continue
        per_key = 1 if queue.singleton else queue.max_concurrent_runs_per_key
        most(here, queue.max_concurrent_runs, f"of {name}")
        paced(here, queue.rate, f"of {name}")
        for key in {stay.key for stay in here}:
            alike = [stay for stay in here if stay.key == key]
            most(alike, per_key, f"of {name}, key {key!r}")
            paced(alike, queue.rate_per_key, f"of {name}, key {key!r}")


def most(here: list[Stay], limit: int | None, what: str, *, children: bool = True) -> None:
    """After each commit, no more than so many have begun and not ended."""
    if limit is None:
        return
    change: Counter[int] = Counter()
    for stay in here:
        if stay.began is not None and (children or not stay.child):
            change[stay.began] += 1
            if stay.ended is not None:
                change[stay.ended] -= 1
    running = 0
    for commit in sorted(change):
        running += change[commit]
        assert running <= limit, f"after commit {commit} {running} runs {what} have begun, and {limit} may"


def paced(here: list[Stay], rate: Rate | None, what: str) -> None:
    """In no period do more than so many begin; of a run that was tried again its newest begin is known."""
    if rate is None:
        return
    newest = {stay.run: stay for stay in here if stay.began is not None}
    begins = sorted(stay.began_at for stay in newest.values() if not stay.successor)
    for first, last in zip(begins, begins[rate.limit :], strict=False):
        assert last - first >= rate.per_us, f"{rate.limit + 1} runs {what} began within {last - first} µs"


def first_come(here: list[Stay]) -> None:
    """Within a key nobody begins before one of the same or a more urgent priority that was there before."""
    for before, after in itertools.permutations(here, 2):
        if before.key != after.key or before.run > after.run or before.priority > after.priority:
            continue
        if before.delayed or before.troubled or after.successor or after.began is None:
            continue
        if before.created > after.began:
            continue
        gone = min((each for each in (before.began, before.ended) if each is not None), default=None)
        passed = gone is None or gone > after.began
        # A batch that moves a run without its body can't begin it too.
        assert not passed or after.began in before.moved, f"run {after.run} began before run {before.run}"
