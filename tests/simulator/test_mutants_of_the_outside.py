"""The same for messages, streams, queues, chains and deploys: each that is broken on purpose is caught."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from breaking import Mutant, Wanted, be_caught
from scripts import Script

from perdure.core.boxes import Boxes
from perdure.core.flow import Line
from perdure.core.machine import Machine
from perdure.core.patches import Patches
from perdure.engine.chains import Chains
from perdure.engine.definitions import Definitions
from perdure.engine.messages import Messages
from perdure.engine.notes import Notes
from perdure.engine.queues import Queues
from perdure.engine.streams import Streams
from perdure.storage import entries as kinds

# ── messages ──


def records_a_signal_twice(patch: pytest.MonkeyPatch) -> None:
    """A signal that was sent once is in the ledger twice."""
    deliver = Messages._deliver

    def twice(self: Messages, run: int, batch: Any, check: Any, kind: str, **fields: Any) -> None:
        deliver(self, run, batch, check, kind, **fields)
        machine = self._engine.residents.get(run)
        if kind == kinds.SIGNAL_RECEIVED and machine is not None and not machine.ended:
            deliver(self, run, batch, check, kind, **fields)

    patch.setattr(Messages, "_deliver", twice)


def gives_a_signal_twice(patch: pytest.MonkeyPatch) -> None:
    """What a wait takes from its box stays there."""
    answer = Boxes.answer

    def again(self: Boxes, wait: Any, waiting: Any) -> None:
        kept = list(self._kept.get(wait.call.box, ()))
        answer(self, wait, waiting)
        if len(kept) == 1:
            self._kept[wait.call.box] = deque(kept)

    patch.setattr(Boxes, "answer", again)


def drops_what_nobody_waits_for(patch: pytest.MonkeyPatch) -> None:
    """A message that comes too early is forgotten."""
    patch.setattr(Boxes, "_keep", lambda self, message: None)


def takes_the_newest_first(patch: pytest.MonkeyPatch) -> None:
    """Of what a box keeps, the last that came is taken first."""
    answer = Boxes.answer

    def backwards(self: Boxes, wait: Any, waiting: Any) -> None:
        self._kept.get(wait.call.box, deque()).reverse()
        answer(self, wait, waiting)
        self._kept.get(wait.call.box, deque()).reverse()

    patch.setattr(Boxes, "answer", backwards)


def forgets_messages_of_earlier_attempts(patch: pytest.MonkeyPatch) -> None:
    """A new attempt of a run does not read what the one before was sent."""
    begin = Boxes.__init__
    patch.setattr(Boxes, "__init__", lambda self, earlier=(): begin(self))


def takes_a_second_payload(patch: pytest.MonkeyPatch) -> None:
    """A hook that was answered by its one payload takes more."""
    holder = Messages._holder

    def open_still(self: Messages, run: int, command: str) -> Any:
        found = holder(self, run, command)
        return None if found is None else found._replace(answered=False)

    patch.setattr(Messages, "_holder", open_still)


# ── streams and notes ──


def repeats_an_offset(patch: pytest.MonkeyPatch) -> None:
    """Two chunks of one batch have one number."""
    counts = Streams._counts
    patch.setattr(Streams, "_counts", lambda self, *place: list(counts(self, *place)))


def takes_a_note_for_a_divergence(patch: pytest.MonkeyPatch) -> None:
    """A note on a parked run is made at once, so that what else the batch has for it finds no body."""
    add = Notes.add

    def at_once(self: Notes, row: Any, batch: Any, kind: str, **fields: Any) -> None:
        if self._engine.residents.get(row.run) is None:
            batch.add(self._engine.moves.bare_entry(row, batch, kind, **fields))
        else:
            add(self, row, batch, kind, **fields)

    patch.setattr(Notes, "add", at_once)


# ── queues ──


def lets_one_too_many_begin(patch: pytest.MonkeyPatch) -> None:
    """A queue forgets one of those that it has begun."""
    following = Line.next

    def one_more(self: Line, now: int, *, only_children: bool = False) -> Any:
        self.running -= 1
        try:
            return following(self, now, only_children=only_children)
        finally:
            self.running += 1

    patch.setattr(Line, "next", one_more)


def forgets_its_rates_when_it_starts(patch: pytest.MonkeyPatch) -> None:
    """What began before a restart does not count."""
    from_ledger = Queues._from_ledger

    def without(self: Queues, now: int) -> Any:
        flow = from_ledger(self, now)
        for line in flow.lines.values():
            line._begins.clear()
            line._begins_of.clear()
        return flow

    patch.setattr(Queues, "_from_ledger", without)


# ── chains and deploys ──


def starts_two_successors(patch: pytest.MonkeyPatch) -> None:
    """Two runs go on with one."""
    go_on = Chains.go_on

    def twice(self: Chains, machine: Machine, ending: Any, batch: Any) -> None:
        go_on(self, machine, ending, batch)
        other = f"{batch.continued[machine.facts.run_id]}-twin"
        batch.follow.append(lambda: self._start(machine, ending, other, batch))

    patch.setattr(Chains, "go_on", twice)


def leaves_unread_signals_behind(patch: pytest.MonkeyPatch) -> None:
    """What nobody took is not carried over to the next run of a chain."""
    patch.setattr(Chains, "_carry_over", lambda self, run, unread, batch: None)


def answers_patched_anew(patch: pytest.MonkeyPatch) -> None:
    """A replay does not look at which way the run took."""
    patch.setattr(Patches, "recorded", lambda self, changes: None)


def walks_old_runs_on_the_code_of_today(patch: pytest.MonkeyPatch) -> None:
    """Whatever a run began with, it goes on with what is registered."""
    patch.setattr(Definitions, "of", lambda self, row: self._engine.registry.get(row.workflow, row.version))


def _has(*nodes: str) -> Wanted:
    return lambda script: any(f"'{node}'" in str(script.roots) for node in nodes)


def _lends(script: Script) -> bool:
    """A parent that waits for children which write to its streams, and does something after each."""
    each = [["seq", [["lend", f"lend{number}", 3], ["step", f"step{number}", 0, 2, 0]]] for number in range(4)]
    script.roots = [("anything", ["all", each])]
    return not script.traffic.limited


MESSAGES = _has("signals", "signal", "hook", "hooks", "until")
MUTANTS: list[tuple[Mutant, Wanted, float]] = [
    (records_a_signal_twice, MESSAGES, 0),
    (gives_a_signal_twice, lambda script: MESSAGES(script) and not _has("until")(script), 0),  # else for ever
    (drops_what_nobody_waits_for, MESSAGES, 0),
    (takes_the_newest_first, _has("signals", "hooks"), 0),
    (forgets_messages_of_earlier_attempts, MESSAGES, 0),
    (takes_a_second_payload, _has("hook"), 0),
    (repeats_an_offset, _has("write", "trickle", "lend"), 0),
    (takes_a_note_for_a_divergence, _lends, 0),
    (lets_one_too_many_begin, lambda script: any(queue.max_concurrent_runs for queue in script.traffic.queues), 0),
    (forgets_its_rates_when_it_starts, lambda script: any(queue.rate for queue in script.traffic.queues), 0),
    (starts_two_successors, _has("looping"), 0),
    (leaves_unread_signals_behind, lambda script: "looping" in str(script.roots) and MESSAGES(script), 0),
    (answers_patched_anew, _has("patched"), 0),
    (walks_old_runs_on_the_code_of_today, _has("anything", "stubborn", "hurried"), 1),
]


@pytest.mark.parametrize(("mutant", "wanted", "share"), MUTANTS, ids=[mutant.__name__ for mutant, _, _ in MUTANTS])
def test_what_is_broken_on_purpose_for_the_outside_is_caught(
    mutant: Mutant, wanted: Wanted, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_caught(mutant, monkeypatch, wanted, share=share)


def test_a_seed_that_no_mutant_has_touched_is_green(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the others would prove nothing."""
    with pytest.raises(pytest.fail.Exception, match="nothing saw in 3 seeds"):
        be_caught(lambda patch: None, monkeypatch, seeds_max=3)
