"""Hypothesis strategies over workflows: values, inputs, step results, faults, schedules, and whole recorded histories.

Knows Hypothesis. Must not know how a property is checked with what it draws.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from hypothesis import strategies as st

from perdure.declare.registry import Definition
from perdure.errors import DefinitionError
from perdure.replay.history_file import History, history_of
from perdure.storage.ledger import RunFilter
from perdure.testing.drawn import DrawnChoices, DrawnWorld
from perdure.testing.experiment import Experiment
from perdure.testing.faults import (
    COMMIT_FAULTS,
    CancelRun,
    ClockJump,
    Crash,
    DuplicateOutcome,
    EventStorm,
    Fault,
    FullDisk,
    LyingSync,
    SlowStep,
    StepError,
    TornTail,
)
from perdure.testing.fitting import inputs_of, results_of

__all__ = ["UNSEEN", "faults", "histories", "inputs_of", "results_of", "schedules", "values"]

Kind: TypeAlias = type[Fault]

#: The kinds of faults that no workflow may show in its outcome.
UNSEEN: tuple[Kind, ...] = (Crash, TornTail, DuplicateOutcome)


def values() -> st.SearchStrategy[Any]:
    """Draw values with a lossless encoding, of every kind from the standard library, and containers of them."""
    keys = st.text(max_size=6) | st.integers() | st.uuids() | st.dates()
    zones = st.none() | st.just(dt.UTC) | st.timezones()
    scalars = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=12)
        | st.binary(max_size=8)
        | st.decimals(allow_nan=False)
        | st.datetimes(timezones=zones)
        | st.dates()
        | st.times()
        | st.timedeltas()
        | st.uuids()
        | st.fractions()
        | st.complex_numbers(allow_nan=False)
    )

    def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return (
            st.lists(inner, max_size=4)
            | st.lists(inner, max_size=4).map(tuple)
            | st.dictionaries(keys, inner, max_size=4)
            | st.sets(keys, max_size=4)
            | st.frozensets(keys, max_size=4)
        )

    return st.recursive(scalars, containers, max_leaves=8)


def faults(
    kinds: Sequence[Kind] = UNSEEN, *, commits: int = 30, calls: int = 30, steps: Sequence[str] = ()
) -> st.SearchStrategy[Fault]:
    """Draw one fault.

    Args:
        kinds: of these classes; by default those that a workflow must not show in its outcome.
        commits, calls: it strikes at one of the first so many.
        steps: names of steps whose calls may be counted apart.
    """
    commit, call = st.integers(1, max(commits, 1)), st.integers(1, max(calls, 1))
    name = st.sampled_from([None, *steps])
    when = st.sampled_from(["before", "after"])
    made: Mapping[Kind, st.SearchStrategy[Any]] = {
        Crash: st.builds(Crash, commit, when),
        TornTail: st.builds(TornTail, commit, st.sampled_from([0.5, 0.0, 0.1, 0.9, 1.0])),
        DuplicateOutcome: st.builds(DuplicateOutcome, call, name),
        StepError: st.builds(StepError, call, name, when),
        SlowStep: st.builds(SlowStep, call, name, st.sampled_from(["1s", "1m", "1h"])),
        FullDisk: st.builds(FullDisk, commit, st.integers(1, 3)),
        ClockJump: st.builds(ClockJump, commit, st.sampled_from([60.0, -60.0, 3600.0, -3600.0])),
        EventStorm: st.builds(EventStorm, commit),
        CancelRun: st.builds(CancelRun, commit),
        LyingSync: st.builds(LyingSync, commit, st.integers(1, 3)),
    }
    unknown = [each for each in kinds if each not in made]
    if unknown or not kinds:
        raise DefinitionError(
            f"kinds={tuple(kinds)!r}: " + (f"{unknown[0]!r} can't be drawn." if unknown else "there is none."),
            fix=f"give some of {', '.join(each.__name__ for each in made)}",
        )
    return st.one_of([made[each] for each in kinds])


def schedules(
    kinds: Sequence[Kind] = UNSEEN,
    *,
    commits: int = 30,
    calls: int = 30,
    steps: Sequence[str] = (),
    count: int = 3,
) -> st.SearchStrategy[tuple[Fault, ...]]:
    """Draw a schedule of at most `count` faults, for `Simulation(faults=…)`; the arguments are those of `faults`."""
    one = faults(kinds, commits=commits, calls=calls, steps=steps)
    return st.lists(one, max_size=count, unique_by=repr).map(_in_order)


def _in_order(schedule: Sequence[Fault]) -> tuple[Fault, ...]:
    """Order faults by their places, so that a schedule reads as it strikes."""
    return tuple(sorted(schedule, key=lambda each: each.commit if isinstance(each, COMMIT_FAULTS) else each.call))


@st.composite
def histories(
    draw: st.DrawFn,
    workflow: Definition,
    *,
    inputs: st.SearchStrategy[Any] | None = None,
    steps: Mapping[Any, Any] | None = None,
    events: Mapping[str, Any] | None = None,
    signals: Mapping[str, Any] | None = None,
    hooks: Mapping[str, Any] | None = None,
    kinds: Sequence[Kind] = UNSEEN,
    workflows: Sequence[object] = (),
) -> History:
    """Draw recorded histories of a workflow: runs lived in simulations, with drawn inputs, results, orders and faults.

    `history.ledger()` makes a ledger of one, and `assert_replays(history, workflow)` replays it. The other arguments
    are those of `check_determinism`.
    """
    world = DrawnWorld(draw, [workflow, *workflows], steps, events, signals, hooks)
    experiment = Experiment(workflow, workflows=workflows, post=world.post)
    input = draw(inputs if inputs is not None else inputs_of(workflow))
    schedule = draw(schedules([each for each in kinds if each is not StepError] or UNSEEN, commits=12, calls=8))
    simulation = experiment.live(
        input, steps=world.fakes(), faults=schedule, choices=DrawnChoices(draw), fates=world.fate
    )
    row = simulation.ledger.runs(RunFilter(limit=None))[-1]
    return history_of(simulation.ledger, row)
