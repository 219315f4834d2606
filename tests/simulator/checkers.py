"""What must hold of every simulation, read from the disk's bytes and the steps' effects alone.

The checkers have a reading of entries of their own: nothing here calls the engine, the core or the fold. Each of them
raises AssertionError.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from grammar import check_grammar, check_prefixes, check_row
from lineage import check_lineage, end_told_at, first_of
from post import MESSAGES, Post
from serving import check_services
from streaming import check_streams
from trading import check_trade
from traffic import check_traffic

from perdure import Queue
from perdure.storage import payload
from perdure.storage.entries import Entry
from perdure.storage.ledger import RunFilter
from perdure.storage.segments import read_record
from perdure.testing import Effect, Simulation

OVER = {"completed", "failed", "cancelled", "continued"}
#: Which command each kind of answer may answer.
ANSWERS = {
    "step_completed": {"step"},
    "step_failed": {"step"},
    "timer_fired": {"sleep"},
    "event_received": {"wait_event"},
    "wait_timed_out": {"wait_event", "wait_signal", "wait_hook", "wait_until", "child", "child_result"},
    "child_started": {"child"},
    "child_completed": {"child", "child_result"},
    "child_failed": {"child", "child_result"},
    "child_cancelled": {"child", "child_result"},
}
#: What steps say while they work, or those of another run.
SAID = {"stream_written", "stream_closed", "step_heartbeat"}
COMMANDS = {
    "step",
    "sleep",
    "wait_event",
    "wait_signal",
    "wait_hook",
    "wait_until",
    "child",
    "child_result",
    "child_cancel",
}


class Recorded(NamedTuple):
    """An entry, and the number of the commit that made it durable."""

    commit: int
    entry: Entry

    def detail(self) -> dict[str, Any]:
        """The entry's detail."""
        found: dict[str, Any] = json.loads(self.entry.detail or "{}")
        return found


History = list[Recorded]


def histories(simulation: Simulation) -> dict[int, History]:
    """Read the disk: by run number, in the order of the journal."""
    data, offset = simulation.disk(), 0
    found: defaultdict[int, History] = defaultdict(list)
    while (record := read_record(data, offset)) is not None:
        for entry in payload.read(record.payload).entries:
            found[entry.run].append(Recorded(record.sequence, entry))
        offset = record.end
    assert offset == len(data), "bytes follow the last whole record of the disk"
    return found


class Observer:
    """Watches a simulation after every commit, and checks it at its end.

    Give `watch` as a simulation's `always`, and `check` as its `invariants`.
    """

    def __init__(
        self, queues: Sequence[Queue] = (), max_concurrent_runs: int | None = None, post: Post | None = None
    ) -> None:
        self.post = post
        self.acknowledged: dict[int, tuple[int, bytes]] = {}
        self.queues = list(queues)
        self.max_concurrent_runs = max_concurrent_runs

    def watch(self, simulation: Simulation) -> None:
        """Note what is acknowledged now; what was acknowledged before must be there still."""
        now = {row.run: (row.length, row.digest) for row in simulation.ledger.runs(RunFilter(limit=None))}
        if not simulation.lied:
            for run, (length, digest) in self.acknowledged.items():
                assert run in now, f"run {run} was acknowledged, and is gone"
                assert now[run][0] >= length, f"run {run} had {length} entries, and has {now[run][0]}"
                if now[run][1] != digest:
                    kept = simulation.ledger.entries(run, length - 1, 1)[0].digest
                    assert kept == digest, f"run {run}: an acknowledged entry is another one now"
        self.acknowledged = now

    def check(self, simulation: Simulation) -> None:
        """Check everything that is known of the end."""
        self.watch(simulation)
        found = histories(simulation)
        for run, history in found.items():
            assert [each.entry.digest for each in history] == [
                entry.digest for entry in simulation.ledger.entries(run)
            ], f"run {run}: disk and ledger differ"
        by_id = {history[0].detail()["run_id"]: history for history in found.values()}
        for history in by_id.values():
            in_order(history)
            answers_what_was_asked(history)
            nothing_after_the_end(history)
            check_grammar(history)
            check_row(simulation, [each.entry for each in history])
            check_prefixes(simulation, history)
        check_traffic({run: list(history) for run, history in found.items()}, self.queues, self.max_concurrent_runs)
        if self.post is not None:
            recorded = {run_id: [each.entry for each in history] for run_id, history in by_id.items()}
            self.post.check(recorded, lied=simulation.lied)
        check_services(simulation)
        check_trade(simulation)
        check_streams(simulation, [[each.entry for each in history] for history in by_id.values()])
        one_run_a_key(by_id)
        check_lineage(by_id)
        families(by_id)
        if not simulation.lied:
            effects_follow_intents(by_id, simulation.effects())
            results_come_from_effects(by_id, simulation.effects())
            at_most_once(simulation.effects(), by_id)
            completed_steps_rest(simulation.effects(), by_id)
            lines_are_not_repeated(simulation, by_id)


# ── one run ──


def in_order(history: History) -> None:
    """Positions have no gaps, time never runs backwards, and the commits come in order."""
    assert [each.entry.position for each in history] == list(range(len(history))), "positions have a gap"
    assert history[0].entry.kind == "created"
    times = [each.entry.at for each in history]
    assert times == sorted(times), "time runs backwards"
    commits = [each.commit for each in history]
    assert commits == sorted(commits), "a later commit holds an earlier entry"


def answers_what_was_asked(history: History) -> None:
    """Every answer has a command of its kind that nobody answered before, and comes when it is due."""
    asked: dict[str, Entry] = {}
    ever: set[str] = set()
    attempts: dict[str, tuple[int, int | None]] = {}
    for _, entry in history:
        kind, command = entry.kind, entry.command
        if kind == "restarted":
            asked, ever, attempts = {}, set(), {}
        elif kind in COMMANDS:
            assert command not in ever, f"{command} is asked twice"
            ever.add(command)
            asked[command] = entry
        elif kind == "dropped":
            assert asked.pop(command, None) is not None, f"{command} is dropped, but nobody waits for it"
        elif kind == "step_retrying":
            assert asked[command].kind == "step"
            assert entry.attempt == attempts.get(command, (1, None))[0], f"{command}: attempt {entry.attempt}"
            attempts[command] = (entry.attempt + 1, entry.due)
        elif kind == "step_started":
            number, due = attempts[command]
            assert entry.attempt == number, f"{command}: attempt {entry.attempt} for {number}"
            assert entry.at >= (due or 0), f"{command} is tried again too early"
        elif kind in ANSWERS:
            command_asked = asked.pop(command, None)
            assert command_asked is not None, f"{kind} answers {command}, for which nobody waits"
            assert command_asked.kind in ANSWERS[kind], f"{kind} answers a {command_asked.kind}"
            answers_in_time(command_asked, entry)


def answers_in_time(asked: Entry, answer: Entry) -> None:
    """A timer fires when it is due, a wait times out when it is due, an event fits."""
    if answer.kind in ("timer_fired", "wait_timed_out"):
        assert asked.due is not None, f"{answer.kind} {asked.command} is never due"
        assert answer.at >= asked.due, f"{answer.kind} {asked.command} is too early"
    if answer.kind == "event_received":
        detail = json.loads(asked.detail or "{}")
        assert detail["type"] == answer.name, f"{asked.command} waits for another event"
        body = json.loads(answer.body or "null")
        assert all(body[key] == value for key, value in detail["match"].items()), f"{asked.command}: no match"


def nothing_after_the_end(history: History) -> None:
    """Nothing follows an ending but the next attempt or a cancel of a run that waits for one."""
    attempt = 1
    aside = {*MESSAGES, *SAID}  # a child's step may write to its parent's stream between two attempts of the parent
    again = ("restarted", "requeued")
    over = False
    for each in history:
        over = each.entry.kind not in again and (over or each.entry.kind in OVER)
        assert not (over and each.entry.kind in aside), f"{each.entry.kind} comes too late"
    for before, after in itertools.pairwise([each for each in history if each.entry.kind not in aside]):
        if after.entry.kind == "restarted":
            assert before.entry.kind in ("retrying", "failed", "cancelled", "requeued"), (
                "an attempt began beside another one"
            )
            attempt += 1
            assert after.entry.attempt == attempt, f"attempt {after.entry.attempt} for {attempt}"
            assert after.entry.at >= (before.entry.due or 0), "an attempt began too early"
        elif before.entry.kind in ("retrying", "requeued"):
            assert after.entry.kind == "cancel_requested", f"{after.entry.kind} follows an attempt that is over"
        retried = after.entry.kind in again
        assert retried or before.entry.kind not in OVER, f"{after.entry.kind} follows the end of a run"


# ── all runs ──


def one_run_a_key(by_id: dict[str, History]) -> None:
    """One idempotency key of a workflow has one run."""
    chains = [history for history in by_id.values() if "continued_from" not in history[0].detail()]
    named = ((history[0].entry.name, history[0].detail().get("idempotency_key")) for history in chains)
    keys = Counter(each for each in named if each[1] is not None)
    assert all(count == 1 for count in keys.values()), f"a key has several runs: {keys}"


def families(by_id: dict[str, History]) -> None:
    """A child comes into being with its parent's command, and its end is told as it was."""
    for run_id, history in by_id.items():
        created = history[0].detail()
        parent = by_id.get(created.get("parent_run_id", ""))
        if "parent_run_id" not in created:
            continue
        assert parent is not None, f"{run_id} has no parent"
        cancelled_with_its_parent(first_of(by_id, run_id), history, parent, created)
        if "continued_from" in created:
            continue
        asks = [each for each in parent if each.entry.kind == "child" and each.detail()["run_id"] == run_id]
        assert [each.commit for each in asks] == [history[0].commit], f"{run_id} was not created with its command"
        for commit, entry in parent:
            if entry.kind in ("child_completed", "child_failed", "child_cancelled") and entry.detail == run_id:
                ending = end_told_at(by_id, run_id, commit)
                assert entry.kind == f"child_{ending.kind}", f"{run_id} is {ending.kind}, its parent heard {entry.kind}"
                assert entry.body == ending.body, f"{run_id}: its parent heard something else"


def cancelled_with_its_parent(first: str, history: History, parent: History, created: dict[str, Any]) -> None:
    """A child that is open when its parent fails or is asked to stop is asked to stop in the same commit.

    `first` is the run with which the child's chain began.
    """
    if created.get("on_parent_close") == "abandon":
        return
    for request in parent:
        if request.entry.kind not in ("cancel_requested", "failed") or request.commit < history[0].commit:
            continue
        if request.commit == history[0].commit and request.entry.position < created_at(parent, first):
            continue  # the parent began it afterwards, to clean up
        asked = [each.commit for each in history if each.entry.kind == "cancel_requested"]
        ended = [each.commit for each in history if each.entry.kind in OVER]
        stopped = min([*asked, *ended], default=request.commit + 1)
        assert stopped <= request.commit, f"{created['run_id']} goes on after its parent ended"


def created_at(parent: History, run_id: str) -> int:
    """The position at which a parent asked for this child."""
    return next(
        each.entry.position for each in parent if each.entry.kind == "child" and each.detail()["run_id"] == run_id
    )


# ── steps and the world ──


def at_work(history: History, command: str, commit: int) -> int | None:
    """Which attempt of a step the ledger had at work after a commit; None when none was."""
    attempt: int | None = None
    for committed, entry in history:
        if committed > commit:
            break
        if entry.kind in OVER or entry.kind == "retrying":
            attempt = None
        elif entry.command != command or entry.kind in SAID:
            continue
        elif entry.kind == "step":
            attempt = 1
        elif entry.kind == "step_started":
            attempt = entry.attempt
        else:  # an answer, a failed attempt, or dropped
            attempt = None
    return attempt


def effects_follow_intents(by_id: dict[str, History], effects: list[Effect]) -> None:
    """When a step was called, the ledger had this very attempt of it at work."""
    for effect in effects:
        run_id, _, command = effect.key.rpartition(":")
        found = at_work(by_id[run_id], command, effect.commit) if run_id in by_id else None
        assert found == effect.attempt, (
            f"{effect.step} was called as attempt {effect.attempt} after commit {effect.commit}, "
            f"but the ledger had attempt {found} at work"
        )


def results_come_from_effects(by_id: dict[str, History], effects: list[Effect]) -> None:
    """Whatever the ledger has as a step's result, a call gave before."""
    by_key: defaultdict[str, list[Effect]] = defaultdict(list)
    for effect in effects:
        by_key[effect.key].append(effect)
    for run_id, history in by_id.items():
        for commit, entry in history:
            if entry.kind == "step_completed":
                result = json.loads(entry.body or "null")
                assert any(
                    each.result == result and each.error is None and each.commit < commit
                    for each in by_key[f"{run_id}:{entry.command}"]
                ), f"{run_id}: nobody gave the result of {entry.name}"


def is_known_failure(entry: Entry) -> bool:
    """Whether the ledger says of a call that it failed by itself, and was not just cut off."""
    interrupted = '"perdure.errors:StepInterrupted"' in (entry.body or "")
    return entry.kind == "step_retrying" or (entry.kind == "step_failed" and not interrupted)


def at_most_once(effects: list[Effect], by_id: dict[str, History]) -> None:
    """An at-most-once step is called again only after the ledger has it that the call before failed."""
    calls: defaultdict[str, list[Effect]] = defaultdict(list)
    for effect in effects:
        if effect.delivery == "at_most_once":
            calls[effect.key].append(effect)
    for key, made in calls.items():
        run_id, _, command = key.rpartition(":")
        failed = [commit for commit, entry in by_id[run_id] if entry.command == command and is_known_failure(entry)]
        for first, second in itertools.pairwise(made):
            assert any(first.commit < commit <= second.commit for commit in failed), f"{key} was called again"


def completed_steps_rest(effects: list[Effect], by_id: dict[str, History]) -> None:
    """A step whose result the ledger has is not called again with the same arguments, not by a later attempt either."""
    for effect in effects:
        run_id, _, command = effect.key.rpartition(":")
        asked: Entry | None = None
        for commit, entry in by_id[run_id]:
            if commit > effect.commit:
                break
            if entry.command == command and entry.kind == "step":
                asked = entry
            elif entry.command == command and entry.kind == "step_completed" and asked is not None:
                same = json.loads(asked.body or "[]") == list(effect.args)
                assert not same, f"{effect.step} was called again after commit {commit}, which has its result"


def lines_are_not_repeated(simulation: Simulation, by_id: dict[str, History]) -> None:
    """What a body prints is shown no more than once an attempt of its run."""
    lines = Counter(moment.facts[0] for moment in simulation.story.moments if moment.what == "body")
    for line, count in lines.items():
        history = by_id[line.partition("  ")[0]]
        attempts = 1 + sum(each.entry.kind == "restarted" for each in history)
        assert count <= attempts, f"a line is shown {count} times: {line!r}"
