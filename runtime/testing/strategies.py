"""Hypothesis strategies over workflows: values, inputs, step results, faults, schedules, and whole recorded histories.

Knows Hypothesis. Must not know how a property is checked with what it draws.
"""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from hypothesis import strategies as st
from pydantic import PydanticUserError

from perdure.declare.registry import Definition
from perdure.errors import DefinitionError, PerdureError
from perdure.replay.history_file import History, history_of
from perdure.storage.ledger import RunFilter
from perdure.testing.annotations import fitting_values
from perdure.testing.fakes import result_annotation
from perdure.testing.faults import (
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


def inputs_of(workflow: Definition) -> st.SearchStrategy[Any]:
    """Draw inputs of a workflow from its annotation; None when the body takes none.

    Raises:
        DefinitionError: the input is not annotated, or nothing can be drawn from the annotation.
    """
    if not workflow.takes:
        return st.none()
    annotation = workflow.input_annotation
    if annotation is None:
        raise DefinitionError(
            f"nothing says which inputs workflow {workflow.id!r} takes.",
            where=workflow.site,
            fix="annotate the body's first parameter, or give check_determinism(…, inputs=strategy)",
        )
    return _drawn(annotation, f"the input of workflow {workflow.id!r}", workflow.site, "inputs=strategy")


def results_of(step: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Draw results of a step from its return annotation.

    Args:
        step: the step, or any function. name: what the body calls it, for the error.

    Raises:
        DefinitionError: it has no return annotation, or nothing can be drawn from it.
    """
    function = getattr(step, "function", step)
    name = name or str(getattr(step, "name", None) or getattr(function, "__name__", repr(function)))
    annotation = result_annotation(function)
    code = getattr(function, "__code__", None)
    where = f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    fix = f"steps={{{name!r}: strategy}}"
    if annotation is inspect.Parameter.empty:
        raise DefinitionError(
            f"nothing says what step {name!r} gives.",
            where=where,
            fix=f"annotate what it returns, or give {fix}: a strategy, a value, or a function that plays it",
        )
    return _drawn(annotation, f"the result of step {name!r}", where, fix)


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
    return st.lists(one, max_size=count, unique_by=repr).map(tuple)


@st.composite
def histories(
    draw: st.DrawFn,
    workflow: Definition,
    *,
    inputs: st.SearchStrategy[Any] | None = None,
    steps: Mapping[Any, Any] | None = None,
    events: Mapping[str, Any] | None = None,
    kinds: Sequence[Kind] = UNSEEN,
    workflows: Sequence[object] = (),
) -> History:
    """Draw recorded histories of a workflow: runs lived in simulations, with drawn inputs, results, orders and faults.

    `history.ledger()` makes a ledger of one, and `assert_replays(history, workflow)` replays it. The other arguments
    are those of `check_determinism`.
    """
    from perdure.testing.drawn import DrawnChoices, DrawnWorld  # it needs what is above
    from perdure.testing.experiment import Experiment

    world = DrawnWorld(draw, [workflow, *workflows], steps, events)
    experiment = Experiment(workflow, workflows=workflows, events=world.payloads)
    input = draw(inputs if inputs is not None else inputs_of(workflow))
    schedule = draw(schedules([each for each in kinds if each is not StepError] or UNSEEN, commits=12, calls=8))
    simulation = experiment.live(
        input, steps=world.fakes(), faults=schedule, choices=DrawnChoices(draw), fates=world.fate
    )
    row = simulation.ledger.runs(RunFilter(limit=None))[-1]
    return history_of(simulation.ledger, row)


def _drawn(annotation: Any, what: str, where: str, fix: str) -> st.SearchStrategy[Any]:
    try:
        strategy = fitting_values(annotation)
        strategy.validate()
    except PerdureError:
        raise
    except (PydanticUserError, TypeError, ValueError, NameError) as error:  # Hypothesis' own are among them
        raise DefinitionError(
            f"nothing can be drawn for {what}, annotated as {annotation!r}.",
            where=where,
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix=f"give {fix}",
        ) from error
    return strategy
