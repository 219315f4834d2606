"""An engine whose services are broken on purpose is caught by the law of what steps wrote."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from breaking import Mutant, be_caught
from scripts import Script

from perdure.engine import moves
from perdure.engine.channel import Channel
from perdure.engine.engine import Engine, Request
from perdure.services.claims import Claims
from perdure.services.transaction import Transaction

take_effects = moves.take_effects


def drops_a_change(patch: pytest.MonkeyPatch) -> None:
    """The last thing that a step wrote is not recorded."""

    def all_but_one(engine: Engine, effects: Any, batch: Any, run: int) -> None:
        cells = dict(list(effects.cells.items())[:-1])
        take_effects(engine, effects._replace(changes=effects.changes[:-1], cells=cells), batch, run)

    patch.setattr(moves, "take_effects", all_but_one)


def drops_what_was_asked_for(patch: pytest.MonkeyPatch) -> None:
    """No run is started."""

    def only_changes(engine: Engine, effects: Any, batch: Any, run: int) -> None:
        take_effects(engine, effects._replace(words=()), batch, run)

    patch.setattr(moves, "take_effects", only_changes)


def keeps_what_failed_attempts_wrote(patch: pytest.MonkeyPatch) -> None:
    """What an attempt wrote before it failed is recorded with its failure."""
    concluded = Channel.concluded

    def all_of_it(self: Channel, outcome: Any) -> Any:
        effects = None if self._scope is None else self._scope.effects()
        if outcome.kind != "completed":
            return concluded(self, outcome)._replace(effects=effects)
        return concluded(self, outcome) if effects is None else outcome._replace(effects=effects)

    patch.setattr(Channel, "concluded", all_of_it)


def records_effects_after_the_result(patch: pytest.MonkeyPatch) -> None:
    """What a step wrote is in the batch after the one that has its result."""

    def later(engine: Engine, effects: Any, batch: Any, run: int) -> None:
        engine.unrecorded.append(
            Request(lambda engine, batch: take_effects(engine, effects, batch, run), Future(), kept=True)
        )

    patch.setattr(moves, "take_effects", later)


def lets_two_write_at_once(patch: pytest.MonkeyPatch) -> None:
    """Nobody waits until another one's batch is appended."""

    async def take(self: Claims, owner: Any, name: Any) -> None:
        owner.names.add(name)

    patch.setattr(Claims, "take", take)
    patch.setattr(Claims, "try_take", lambda self, owner, name: True)
    patch.setattr(Transaction, "_seen", lambda self, cell: 0)


def gives_claims_back_before_the_append(patch: pytest.MonkeyPatch) -> None:
    """Others may write as soon as a step has given its result."""
    concluded = Channel.concluded

    def at_once(self: Channel, outcome: Any) -> Any:
        done = concluded(self, outcome)
        if done.effects is not None:
            done.effects.over()
        return done

    patch.setattr(Channel, "concluded", at_once)


def forgets_a_step_s_effects_when_the_disk_is_full(patch: pytest.MonkeyPatch) -> None:
    """The outcome is taken again, without what the step wrote."""
    undo = Engine._undo

    def forget(self: Engine, batch: Any, error: Any) -> None:
        undo(self, batch, error)
        self.unrecorded = [
            each if isinstance(each, Request) else each._replace(effects=None) for each in self.unrecorded
        ]

    patch.setattr(Engine, "_undo", forget)


def _serves(script: Script) -> bool:
    """Many steps at once that write the same, some of which fail."""
    steps = [["serve", f"serve{number}", number % 2, number % 3] for number in range(4)]
    script.roots = [("anything", ["all", [*steps, ["serve-blocking", "alone", 1]]])]
    script.tickets = [{}]
    return not script.traffic.limited and bool(script.faults)


MUTANTS: list[Mutant] = [
    drops_a_change,
    drops_what_was_asked_for,
    keeps_what_failed_attempts_wrote,
    records_effects_after_the_result,
    lets_two_write_at_once,
    gives_claims_back_before_the_append,
    forgets_a_step_s_effects_when_the_disk_is_full,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_services_that_are_broken_on_purpose_are_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    be_caught(mutant, monkeypatch, _serves, seeds_max=120)


def test_services_that_are_not_broken_are_not_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(pytest.fail.Exception, match="nothing saw"):
        be_caught(lambda patch: None, monkeypatch, _serves, seeds_max=40)
