"""The same for what starts runs by itself: each that is broken on purpose is caught in a few lives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from triggering import Life

from perdure.engine import owed, schedules
from perdure.engine.reactions import Reactions
from perdure.engine.schedules import Schedules
from perdure.triggers.changes import KvChanges
from perdure.triggers.event import Event
from perdure.triggers.schedule import Schedule

SEEDS, DAYS = 12, 25


def owes_what_passed_in_a_pause(patch: pytest.MonkeyPatch) -> None:
    """A schedule that goes on starts what it was paused for."""
    patch.setattr(schedules, "resumed", lambda schedule, cursor, now, skip_missed: cursor.moved(paused=False))


def forgets_what_was_missed_before_a_pause(patch: pytest.MonkeyPatch) -> None:
    """A schedule that goes on begins from now."""
    resumed = schedules.resumed
    patch.setattr(schedules, "resumed", lambda *given, skip_missed: resumed(*given, skip_missed=True))


def owes_the_time_without_the_schedule(patch: pytest.MonkeyPatch) -> None:
    """A schedule that was removed and comes back starts all that it would have."""
    patch.setattr(owed, "REMOVED_US", 10**18)


def catches_up_with_the_oldest(patch: pytest.MonkeyPatch) -> None:
    """Of what was missed, `catch_up="last"` starts the first."""
    last = schedules.last_owed

    def first(schedule: Schedule, cursor: Any, after: int, until: int) -> int | None:
        return None if last(schedule, cursor, after, until) is None else schedule.next_after(after)

    patch.setattr(schedules, "last_owed", first)


def takes_every_tick_for_a_new_one(patch: pytest.MonkeyPatch) -> None:
    """A tick that comes again, as the clock was put back, does not look for its run."""
    start = Schedules._start

    def new(self: Schedules, *given: Any, **how: Any) -> Any:
        return start(self, *given, **{**how, "is_new": True})

    patch.setattr(Schedules, "_start", new)


def keeps_cursors_in_memory(patch: pytest.MonkeyPatch) -> None:
    """How far a schedule has come is not in the batch of its runs."""
    patch.setattr(
        Schedules, "_set", lambda self, scheduled, cursor, batch: self._wait_for(scheduled, cursor, batch.now)
    )


def takes_an_event_twice(patch: pytest.MonkeyPatch) -> None:
    """An event with an id that came before is another one."""
    patch.setattr(Reactions, "_is_new", lambda self, type, event_id, batch: True)


def looks_at_no_payload(patch: pytest.MonkeyPatch) -> None:
    """An event starts what asks for other fields."""
    matches = Event.matches
    patch.setattr(Event, "matches", lambda self, *given: matches(replace(self, match=None), *given))


def takes_a_delete_for_a_put(patch: pytest.MonkeyPatch) -> None:
    """A handler of puts is told of deletes."""
    matches = KvChanges.matches
    patch.setattr(KvChanges, "matches", lambda self, namespace, key, op: matches(self, namespace, key, "put"))


def forgets_changes_of_documents(patch: pytest.MonkeyPatch) -> None:
    """A change that a step made of a document starts nothing."""
    changed = Reactions.changed
    patch.setattr(
        Reactions, "changed",
        lambda self, change, batch: None if change.service == "database" else changed(self, change, batch),
    )  # fmt: skip


MUTANTS = [
    owes_what_passed_in_a_pause,
    forgets_what_was_missed_before_a_pause,
    owes_the_time_without_the_schedule,
    catches_up_with_the_oldest,
    takes_every_tick_for_a_new_one,
    keeps_cursors_in_memory,
    takes_an_event_twice,
    looks_at_no_payload,
    takes_a_delete_for_a_put,
    forgets_changes_of_documents,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.__name__ for mutant in MUTANTS])
def test_what_is_broken_on_purpose_about_triggers_is_caught(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(SEEDS):
        with monkeypatch.context() as patch:
            mutant(patch)
            try:
                Life(seed).live(DAYS)
            except Exception:  # noqa: BLE001  # whatever turned red has seen the mutant
                return
    pytest.fail(f"nothing saw in {SEEDS} lives that the engine {mutant.__name__}")


def test_lives_that_no_mutant_has_touched_are_green() -> None:
    """Else the others would prove nothing."""
    for seed in range(3):
        assert Life(seed).live(DAYS) > 100
