"""An engine that is broken on purpose is caught: the laws and the checkers see what they are there for."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from breaking import Mutant, Wanted, be_caught
from scripts import Script

from perdure.core.history import Reused
from perdure.core.machine import Machine
from perdure.engine import retrying
from perdure.engine.engine import Engine
from perdure.engine.families import Families
from perdure.engine.moves import Moves
from perdure.engine.residents import Residents
from perdure.engine.starting import Starting
from perdure.storage import entries as kinds
from perdure.testing import Crash, FullDisk
from perdure.testing.simulated_ledger import Disk


def skips_an_append(patch: pytest.MonkeyPatch) -> None:
    """Every fourth commit is acknowledged, and written nowhere."""
    append, count = Disk.append, itertools.count(1)
    patch.setattr(Disk, "append", lambda self, write: append(self, write) if next(count) % 4 else None)


def feeds_twice(patch: pytest.MonkeyPatch) -> None:
    """A step's result reaches the body twice."""
    feed = Engine.feed

    def twice(self: Engine, machine: Machine, batch: Any, *causes: Any, **options: Any) -> bool:
        fed = feed(self, machine, batch, *causes, **options)
        if causes[0].kind == kinds.STEP_COMPLETED and not machine.ended:
            feed(self, machine, batch, causes[0]._replace(position=machine.length))
        return fed

    patch.setattr(Engine, "feed", twice)


def performs_what_is_not_durable(patch: pytest.MonkeyPatch) -> None:
    """Steps begin although the disk refused their intents."""
    undo = Engine._undo

    def perform(self: Engine, batch: Any, error: Any) -> None:
        undo(self, batch, error)
        self._dispatch(batch)

    patch.setattr(Engine, "_undo", perform)


def loses_an_outcome(patch: pytest.MonkeyPatch) -> None:
    """Every tenth outcome of a step is thrown away."""
    outcome, count = Moves.outcome, itertools.count(1)
    patch.setattr(Moves, "outcome", lambda self, each, batch: outcome(self, each, batch) if next(count) % 10 else None)


def forgets_the_outcomes_of_a_refused_batch(patch: pytest.MonkeyPatch) -> None:
    """What the full disk refused is not taken again."""
    undo = Engine._undo

    def forget(self: Engine, batch: Any, error: Any) -> None:
        undo(self, batch, error)
        self.unrecorded = []

    patch.setattr(Engine, "_undo", forget)


def keeps_bodies_of_a_refused_batch(patch: pytest.MonkeyPatch) -> None:
    """Bodies that lived through what was not recorded go on as if it had been."""
    undo, drop = Engine._undo, Residents.drop

    def keep(self: Engine, batch: Any, error: Any) -> None:
        patch.setattr(Residents, "drop", lambda self, run: None)
        undo(self, batch, error)
        patch.setattr(Residents, "drop", drop)

    patch.setattr(Engine, "_undo", keep)


def runs_at_most_once_steps_again(patch: pytest.MonkeyPatch) -> None:
    """Resuming calls every step that was cut off."""
    patch.setattr(
        Moves,
        "_resume_step",
        lambda self, machine, pending, batch: self._perform(machine, pending, max(pending.attempt, 1), batch),
    )


def lets_children_go_on(patch: pytest.MonkeyPatch) -> None:
    """Cancelling a parent cancels no child."""
    patch.setattr(Families, "cancel_children", lambda self, run_id, batch: None)


def ignores_keys(patch: pytest.MonkeyPatch) -> None:
    """Every start makes a run, whatever its idempotency key."""
    existing = Starting._existing
    patch.setattr(Starting, "_existing", lambda self, wanted, key, batch: existing(self, wanted, None, batch))


def fires_timers_early(patch: pytest.MonkeyPatch) -> None:
    """When one time of a run is due, all are."""
    due = Moves.due

    def early(self: Moves, run: int, batch: Any) -> None:
        row = self._engine.ledger.run_numbered(run)
        due(self, run, batch)
        for pending in list(row.pending.values()) if row is not None else ():
            if pending.kind == kinds.SLEEP:
                self._fire(row, pending, batch)

    patch.setattr(Moves, "due", early)


def repeats_completed_steps(patch: pytest.MonkeyPatch) -> None:
    """A run's next attempt does everything again."""
    patch.setattr(Reused, "learn", lambda self, entries: None)


def shows_lines_before_they_are_known_to_be_new(patch: pytest.MonkeyPatch) -> None:
    """What a body prints is shown at once."""
    feed = Engine.feed

    def shown(self: Engine, machine: Machine, batch: Any, *causes: Any, **options: Any) -> bool:
        fed = feed(self, machine, batch, *causes, **options)
        for facts, line in batch.outputs:
            self.show(facts, line)
        batch.outputs.clear()
        return fed

    patch.setattr(Engine, "feed", shown)


def tells_parents_nothing(patch: pytest.MonkeyPatch) -> None:
    """The end of a child is not told."""
    patch.setattr(Families, "ended", lambda self, run_id, parent_run_id, ending, batch: None)


def tells_of_work_that_was_not_done(patch: pytest.MonkeyPatch) -> None:
    """The ledger has another result than the step gave."""
    outcome = Moves.outcome

    def other(self: Moves, each: Any, batch: Any) -> None:
        outcome(self, each._replace(value=each.value._replace(body='"done"')), batch)

    patch.setattr(Moves, "outcome", other)


def lets_dropped_steps_begin(patch: pytest.MonkeyPatch) -> None:
    """Nobody tells the performers that a step is not wanted any more."""
    dispatch = Engine._dispatch

    def keep(self: Engine, batch: Any) -> None:
        batch.cancel.clear()
        dispatch(self, batch)

    patch.setattr(Engine, "_dispatch", keep)


def asks_no_queue_for_room_to_try_again(patch: pytest.MonkeyPatch) -> None:
    """A run that is retried by hand begins at once, however many its queue lets be at work."""
    family = retrying._family

    def unqueued(engine: Engine, row: Any, batch: Any) -> list[Any]:
        return [replace(each, row=replace(each.row, queue=None)) for each in family(engine, row, batch)]

    patch.setattr(retrying, "_family", unqueued)


MUTANTS: list[Mutant] = [
    asks_no_queue_for_room_to_try_again,
    skips_an_append,
    feeds_twice,
    performs_what_is_not_durable,
    loses_an_outcome,
    forgets_the_outcomes_of_a_refused_batch,
    keeps_bodies_of_a_refused_batch,
    runs_at_most_once_steps_again,
    lets_children_go_on,
    ignores_keys,
    fires_timers_early,
    repeats_completed_steps,
    shows_lines_before_they_are_known_to_be_new,
    tells_parents_nothing,
    tells_of_work_that_was_not_done,
    lets_dropped_steps_begin,
]


def _says_and_fails(script: Script) -> bool:
    """A body that says something in many batches, one of which is lost."""
    each = [["seq", [["step", f"step{number}", 0, 2, 0], ["say", f"say{number}"]]] for number in range(6)]
    script.roots = [("anything", ["seq", each])]
    return not script.traffic.limited and any(isinstance(fault, FullDisk | Crash) for fault in script.faults)


#: What a seed must have to come near a mutant, where few do.
WANTED: dict[Mutant, Wanted] = {
    asks_no_queue_for_room_to_try_again: lambda script: script.retried and script.traffic.limited,
    shows_lines_before_they_are_known_to_be_new: _says_and_fails,
    forgets_the_outcomes_of_a_refused_batch: lambda script: any(isinstance(each, FullDisk) for each in script.faults),
    performs_what_is_not_durable: lambda script: any(isinstance(each, FullDisk) for each in script.faults),
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_an_engine_that_is_broken_on_purpose_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    be_caught(mutant, monkeypatch, WANTED.get(mutant, lambda script: True))
