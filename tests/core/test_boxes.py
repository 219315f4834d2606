"""The machine's boxes and the fold of a row count the same, whatever comes in whatever order."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from driver import Driver
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.core.history import Reused, split_attempts
from perdure.core.hook import Hook
from perdure.core.machine import Machine
from perdure.storage import entries as kinds
from perdure.storage.boxes import hook_box, signal_box
from perdure.storage.entries import Entry
from perdure.storage.fold import fold_all
from perdure.strict import workflow

WAITS = (kinds.WAIT_SIGNAL, kinds.WAIT_HOOK, kinds.WAIT_UNTIL, kinds.HOOK)


@workflow(id="post", version="1", retries=5)
async def post(input: list, step, ctx) -> list:
    """Runs a drawn program: each part is a branch that takes messages in its own way."""
    import asyncio

    taken = []

    async def branch(number: int, parts: list) -> None:
        for part in parts:
            match part:
                case ["signal", name]:
                    taken.append(await step.wait_for_signal(name))
                case ["brief", name]:
                    try:
                        async with asyncio.timeout(1):
                            taken.append(await step.wait_for_signal(name))
                    except TimeoutError:
                        taken.append("late")
                case ["timed", name]:
                    taken.append(await step.wait_for_signal(name, timeout=1))
                case ["hook"]:
                    taken.append(await step.hook())
                case ["hooks", count]:
                    hook, left = step.hook(f"mine {number}"), count
                    async for payload in hook:
                        taken.append(payload)
                        left -= 1
                        if left <= 0:
                            hook.dispose()
                case ["until", count]:
                    await step.wait_until(lambda count=count: len(taken) >= count)
                case ["fail"] if ctx.attempt < 3:
                    raise RuntimeError("again")

    await asyncio.gather(*[branch(number, parts) for number, parts in enumerate(input)])
    return taken


names = st.sampled_from(["a", "b"])
parts = st.one_of(
    st.tuples(st.sampled_from(["signal", "brief", "timed"]), names).map(list),
    st.just(["hook"]),
    st.tuples(st.just("hooks"), st.integers(1, 3)).map(list),
    st.tuples(st.just("until"), st.integers(1, 3)).map(list),
    st.just(["fail"]),
)
programs = st.lists(st.lists(parts, max_size=3), min_size=1, max_size=3)
#: What comes: a number picks among the waits or hooks that there are.
kinds_of_coming = ["a", "b", "hook", "time", "begin", "diverge", "recover"]
comings = st.lists(st.tuples(st.sampled_from(kinds_of_coming), st.integers(0, 5)), max_size=14)


class Life:
    """A run that is fed, and folded beside it."""

    def __init__(self, program: list) -> None:
        self.tokens = 0
        self.deferred: list[Entry] | None = None  # what came since it diverged
        encoded = post.encode_input(program)
        detail = json.dumps({"run_id": "r", "version": "1", "definition": "d"})
        facts = Driver(post, []).facts
        created = Entry(
            1, 0, kinds.CREATED, 1_000_000, name="post", body=encoded.body, shape=encoded.shape, due=5, detail=detail
        )
        self.facts = facts
        self.machine = self.made(Machine(post, facts))
        self.machine.length = 1
        self.entries = [created, *self.machine.feed(created)]

    def made(self, machine: Machine) -> Machine:
        def token() -> str:
            self.tokens += 1
            return f"token {self.tokens}"

        machine.new_token = token
        return machine

    def feed(self, kind: str, **fields: Any) -> None:
        cause = self.machine.entry(kind, self.machine.last_at + 1_000_000, **fields)
        if self.deferred is None:
            self.entries += [cause, *self.machine.feed(cause)]
        else:
            self.deferred.append(cause)
            self.entries.append(cause)

    def diverge(self) -> None:
        """Let what comes wait, if it goes on at all."""
        if self.deferred is None and not self.machine.ended and any(each.kind == kinds.BEGAN for each in self.entries):
            self.deferred = []
            self.entries.append(self.machine.entry(kinds.DIVERGED, self.machine.last_at, detail="{}"))

    def recover(self) -> None:
        """Go on with what came."""
        if self.deferred is not None:
            deferred, self.deferred = self.deferred, None
            self.entries.append(self.machine.entry(kinds.RECOVERED, self.machine.last_at))
            if deferred:
                self.entries += self.machine.feed(*deferred)

    def come(self, what: str, number: int) -> None:
        """Let something reach the run, if it can."""
        if self.entries[-1].kind in (kinds.COMPLETED, kinds.FAILED):
            return
        if what in ("a", "b"):
            self.feed(kinds.SIGNAL_RECEIVED, name=what, body=json.dumps(len(self.entries)))
        elif what == "hook":
            row = fold_all(None, self.entries)
            hooks = [each for each in row.pending.values() if each.kind == kinds.HOOK and not each.closed]
            if hooks:
                hook = hooks[number % len(hooks)]
                token = json.loads(hook.match)["token"]
                self.feed(kinds.HOOK_RECEIVED, command=hook.command, name=token, body=json.dumps(len(self.entries)))
        elif what == "diverge":
            self.diverge()
        elif what == "recover":
            self.recover()
        elif self.deferred is not None:
            return  # its timers wait, too
        elif what == "begin":
            self.begin()
        elif not self.machine.ended:  # an engine tells a body nothing more
            timed = [each for each in self.machine.waiting.values() if each.kind == kinds.SLEEP or is_timed(self, each)]
            if timed:
                waits = timed[number % len(timed)]
                kind = kinds.TIMER_FIRED if waits.kind == kinds.SLEEP else kinds.WAIT_TIMED_OUT
                self.feed(kind, command=waits.command, name=waits.name)

    def begin(self) -> None:
        """Begin the run, or its next attempt."""
        if self.machine.ended:
            self.machine.close()
            reused = Reused()
            for attempt in split_attempts(self.entries):
                reused.learn(attempt)
            attempts = fold_all(None, self.entries).attempt + 1
            self.facts = replace(self.facts, attempt=attempts)
            before = self.machine
            self.machine = self.made(Machine(post, self.facts, reused))
            self.machine.set_input(self.entries[0])
            self.machine.length, self.machine.last_at = before.length, before.last_at
            self.feed(kinds.RESTARTED, attempt=attempts)
        elif not any(entry.kind == kinds.BEGAN for entry in self.entries):
            self.feed(kinds.BEGAN)


def is_timed(life: Life, waits: Any) -> bool:
    return any(entry.command == waits.command and entry.due for entry in life.entries if entry.kind == waits.kind)


def agree(machine: Machine, entries: list[Entry]) -> None:
    if fold_all(None, entries).status == "diverged":
        return  # the machine is told when it goes on
    row = fold_all(None, entries)
    kept = {box: received - taken for box, (received, taken) in row.boxes.items() if received > taken}
    assert machine.boxes.counts() == kept
    if not machine.ended:
        pending = {each.command: each.kind for each in row.pending.values() if each.kind in WAITS}
        made = {each.command for each in machine.waiting.values()}
        of_before = {each for each in pending if each not in made and pending[each] == kinds.HOOK}
        waiting = {each.command: each.kind for each in machine.waiting.values() if each.kind in WAITS}
        assert waiting == {command: kind for command, kind in pending.items() if command not in of_before}
        for each in machine.waiting.values():
            if isinstance(each.call, Hook):
                assert each.call.closed == row.pending[each.command].closed


@given(programs, comings)
@settings(max_examples=400, deadline=None)
def test_machine_and_fold_agree_about_waits_and_kept_messages(program: list, coming: list) -> None:
    life = Life(program)
    agree(life.machine, life.entries)
    for what, number in [*coming[:2], ("begin", 0), *coming[2:]]:
        life.come(what, number)
        agree(life.machine, life.entries)


@given(programs, comings)
@settings(max_examples=200, deadline=None)
def test_a_replay_stands_where_the_living_body_stands_with_the_same_kept_messages(program: list, coming: list) -> None:
    life = Life(program)
    for what, number in [*coming[:2], ("begin", 0), *coming[2:]]:
        life.come(what, number)
    *earlier, current = split_attempts(life.entries)
    reused = Reused()
    for attempt in earlier:
        reused.learn(attempt)
    again = Machine(post, life.facts, reused)
    again.set_input(life.entries[0])
    again.replay(current)
    assert again.boxes.unread() == life.machine.boxes.unread()
    assert {each: again.waiting[each].kind for each in again.waiting} == {
        each: life.machine.waiting[each].kind for each in life.machine.waiting
    }
    again.close()


def test_messages_of_one_stride_are_filed_before_the_body_asks_for_more() -> None:
    """As for a run that recovers: what came answered what waited then, though the body takes it only now."""
    life = Life([[["signal", "a"], ["brief", "a"]]])
    life.begin()
    machine = life.machine
    causes = [
        machine.entry(kinds.SIGNAL_RECEIVED, machine.last_at + 1, name="a", body=str(number)) for number in range(3)
    ]
    life.entries += [*causes, *machine.feed(*causes)]
    agree(machine, life.entries)
    assert [message.body for message in machine.boxes.unread()] == ["2"]
    assert machine.boxes.counts() == {signal_box("a"): 1}


def test_unread_messages_are_listed_in_the_order_in_which_they_came() -> None:
    life = Life([[["hooks", 3]]])
    for name in "abab":
        life.come(name, 0)
    assert [message.name for message in life.machine.boxes.unread(kinds.SIGNAL_RECEIVED)] == list("abab")
    assert life.machine.boxes.unread(kinds.HOOK_RECEIVED) == []
    assert hook_box("0/0") not in life.machine.boxes.counts()
