"""Messages from outside: signals and payloads of hooks, sent at any moment, and what must hold of them.

    law     Of each box, a run takes what was acknowledged, in order, none lost and none doubled: whatever crashes, is
            tried again or is put out of memory in between.

A payload is a number that grows. A send whose answer a crash swallowed is sent again, so it may be there once for each
time that it was tried. Knows the simulator as a user does, and entries.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from typing import Any

from perdure import HookRefused, SignalRefused, UnknownRun
from perdure.storage.entries import Entry
from perdure.testing import SimulatedRun, Simulation

MESSAGES = ("signal_received", "hook_received")
WAITS = ("wait_signal", "wait_hook", "wait_until")
OVER = ("completed", "failed", "cancelled")


class Post:
    """Sends messages, and remembers which were acknowledged."""

    def __init__(self, seed: object, names: list[str]) -> None:
        self.random = random.Random(f"post {seed}")
        self.names = names  # of signals
        self.numbers = 0
        self.signals: defaultdict[tuple[str, str], list[int]] = defaultdict(list)  # (run_id, name) → acknowledged
        self.payloads: defaultdict[str, list[int]] = defaultdict(list)  # token → acknowledged
        self.tries: dict[int, int] = {}  # how often a message was sent: once, and again after each crash

    def send_some(self, simulation: Simulation) -> None:
        """Send something to somebody, who may not want it yet, or never."""
        for _ in range(self.random.randrange(1, 4)):
            run = self.random.choice(simulation.runs())
            tokens = [token for each in simulation.runs() for token in each.status().hooks]
            if tokens and self.random.random() < 0.4:
                self.resume(simulation, self.random.choice(tokens))
            elif self.names:
                self.signal(simulation, run, self.random.choice(self.names))

    def send_wanted(self, simulation: Simulation) -> None:
        """Send what is waited for."""
        for run in simulation.runs():
            if simulation.ledger.run(run.run_id) is None:
                continue  # a disk that lied forgot it while this was being sent
            for waits in run.status().waits_for:
                if waits.kind == "wait_signal" and run.row().status not in OVER:
                    self.signal(simulation, run, waits.name)
                elif waits.kind == "wait_hook" and waits.name in run.status().hooks:
                    self.resume(simulation, waits.name)

    def signal(self, simulation: Simulation, run: SimulatedRun, name: str) -> None:
        """Send a signal; a run that has ended refuses it."""
        self.numbers += 1
        lives = simulation.lives
        try:
            run.signal(name, self.numbers)
        except SignalRefused:
            assert run.row().status in OVER, "an open run refused a signal"
        except UnknownRun:
            assert simulation.lied, "a run is gone"  # its disk forgot it just now
        else:
            self.signals[run.run_id, name].append(self.numbers)
        self.tries[self.numbers] = 1 + simulation.lives - lives

    def resume(self, simulation: Simulation, token: str) -> None:
        """Send a payload to a hook; one that was closed meanwhile refuses it."""
        self.numbers += 1
        lives = simulation.lives
        try:
            simulation.resume_hook(token, self.numbers)
        except HookRefused:
            pass
        else:
            self.payloads[token].append(self.numbers)
        self.tries[self.numbers] = 1 + simulation.lives - lives

    def check(self, by_id: dict[str, list[Entry]], *, lied: bool) -> None:
        """Check what the runs recorded and took."""
        for run_id, history in by_id.items():
            unread(history)
            tallies_are_what_came(history)
            an_answered_hook_takes_no_more(history)
            for numbers in came(history, "signal_received").values():
                self.in_the_order_of_sending(numbers)
            for token, numbers in came(history, "hook_received").items():
                self.in_the_order_of_sending(numbers)
                if not lied:
                    assert set(self.payloads[token]) <= set(numbers), f"{run_id} lost payloads of {token}"
        if not lied:
            for (run_id, name), numbers in self.signals.items():
                there = {number for each in chain_from(by_id, run_id) for number in came(each, "signal_received")[name]}
                assert set(numbers) <= there, f"{run_id} lost signals {name}"
            every = {token for history in by_id.values() for token in came(history, "hook_received")}
            assert set(self.payloads) <= every, "a hook lost every payload"

    def in_the_order_of_sending(self, numbers: list[int]) -> None:
        """What was sent first is there first, and as often as it was tried at most."""
        assert numbers == sorted(numbers), f"messages are out of order: {numbers}"
        often = [number for number, count in Counter(numbers).items() if count > self.tries[number]]
        assert not often, f"messages {often} are there more often than they were sent"


def chain_from(by_id: dict[str, list[Entry]], run_id: str) -> Iterable[list[Entry]]:
    """The histories of a run and of those that went on with it: what is sent to it reaches the newest."""
    while True:
        history = by_id[run_id]
        yield history
        if history[-1].kind != "continued":
            return
        run_id = json.loads(history[-1].detail or "{}")["run_id"]


def came(history: Iterable[Entry], kind: str) -> defaultdict[str, list[int]]:
    """The payloads that a run received, by name or token."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for entry in history:
        if entry.kind == kind:
            found[entry.name].append(json.loads(entry.body or "null"))
    return found


def tallies_are_what_came(history: list[Entry]) -> None:
    """What a body took of a box is the first that came, in order; it says so as arguments of a step."""
    for entry in history:
        if entry.kind != "step" or not entry.name.endswith(".took"):
            continue
        where, box, taken = json.loads(entry.body or "[]")
        before = came([each for each in history if each.position < entry.position], where)
        first = before[box][: len(taken)]
        assert taken == first, f"{entry.name} took {taken} of {before[box]}"
        repeated = [number for number, count in Counter(taken).items() if count > before[box].count(number)]
        assert not repeated, f"{entry.name} took {repeated} twice"


def an_answered_hook_takes_no_more(history: list[Entry]) -> None:
    """A hook that is awaited takes one payload in each attempt of its run, and none once its timeout has passed."""
    wanted: set[str] = set()  # hooks that wait for their one payload
    answered: set[str] = set()
    once: dict[str, str] = {}  # by wait: its hook
    kept: Counter[str] = Counter()
    for entry in history:
        if entry.kind in ("retrying", "restarted"):  # its token finds the run again, which reads its boxes anew
            wanted, answered = set(), set()
            kept = Counter(
                each.command for each in history if each.kind == MESSAGES[1] and each.position < entry.position
            )
        elif entry.kind == "wait_hook" and (facts := json.loads(entry.detail or "{}"))["once"]:
            once[entry.command] = facts["hook"]
            (answered if kept[facts["hook"]] else wanted).add(facts["hook"])
        elif entry.kind == "hook_received":
            assert entry.command not in answered, f"{entry.command} was answered, and took another payload"
            kept[entry.command] += 1
            if entry.command in wanted:
                answered.add(entry.command)
        elif entry.kind == "wait_timed_out" and entry.command in once:
            answered.add(once[entry.command])
        elif entry.kind == "dropped" and not entry.detail and entry.command in once:
            wanted.discard(once[entry.command])  # given up before a payload came
        elif entry.kind == "dropped" and entry.detail and (facts := json.loads(entry.detail))["once"]:
            answered.discard(facts["box"].removeprefix("hook:"))  # its one payload went back


def unread(history: list[Entry]) -> list[Entry]:
    """The messages that nobody took: the oldest wait is answered first, and what nobody waits for is kept.

    A wait is dropped or times out only while nothing has answered it, or its message goes back and the entry says so.
    """
    took: dict[str, Entry] = {}
    asked: dict[str, Entry] = {}
    kept: defaultdict[str, deque[Entry]] = defaultdict(deque)
    messages: list[Entry] = []
    waits: set[str] = set()
    for entry in history:
        box = box_of(entry)
        if entry.kind in WAITS:
            waits.add(entry.command)
        if entry.kind == "restarted":
            asked, waits = {}, set()
            kept.clear()
            for message in messages:
                kept[box_of(message)].append(message)
        elif entry.kind in MESSAGES:
            messages.append(entry)
            first = next((each for each in asked.values() if box_of(each) == box), None)
            if first is None:
                kept[box].append(entry)
            else:
                took[first.command] = entry
                del asked[first.command]
        elif entry.kind in ("wait_signal", "wait_hook"):
            if kept[box]:
                kept[box].popleft()
            else:
                asked[entry.command] = entry
        elif entry.kind == "wait_until":
            asked[entry.command] = entry
        elif entry.kind == "dropped" and entry.detail:
            back = took.pop(entry.command)
            box = box_of(back)
            first = next((each for each in asked.values() if box_of(each) == box), None)
            if first is None:
                kept[box] = deque(sorted([back, *kept[box]], key=lambda message: message.position))
            else:
                took[first.command] = back
                del asked[first.command]
        elif entry.kind in ("dropped", "wait_timed_out") and entry.command in waits:
            assert asked.pop(entry.command, None) is not None, f"{entry.kind} {entry.command}: it was answered before"
    return sorted((message for box in kept.values() for message in box), key=lambda message: message.position)


def box_of(entry: Entry) -> str:
    """The box of a message or of a wait for one."""
    if entry.kind in ("signal_received", "wait_signal"):
        return f"signal {entry.name}"
    if entry.kind == "hook_received":
        return f"hook {entry.command}"
    if entry.kind == "wait_hook":
        facts: dict[str, Any] = json.loads(entry.detail or "{}")
        return f"hook {facts['hook']}"
    return ""
