"""`crash_everywhere`: the process dies at every commit, before it, after it and in its middle, and nothing changes.

Knows where a crash can strike. Must not know Hypothesis.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perdure.declare.registry import Definition
from perdure.testing.experiment import During, Experiment
from perdure.testing.fakes import Steps
from perdure.testing.faults import Crash, Fault, TornTail
from perdure.testing.laws import Invariant, told_by_its_story
from perdure.testing.messenger import post_of

__tracebackhide__ = told_by_its_story


@dataclass(frozen=True, slots=True)
class CrashReport:
    """What `crash_everywhere` tried.

    Attributes:
        outcome: the run's status and output or error, the same every time.
        commits: the boundaries at which a crash was tried, counted from 1.
        crashes: how many were tried, each in a simulation of its own.
        calls: how many calls of steps there were, in all of them.
        seconds: how long it took, of real time.
        interrupted: how many of the crashes cut off an at-most-once step. Its body is told so (`StepInterrupted`), and
            may end otherwise; laws and invariants must hold all the same.
    """

    outcome: tuple[str, Any]
    commits: int
    crashes: int
    calls: int
    seconds: float
    interrupted: int = 0

    def __str__(self) -> str:
        status, ended_with = self.outcome
        but = f", but for {self.interrupted} that cut off an at-most-once step" if self.interrupted else ""
        return (
            f"{self.crashes} crashes at {self.commits} commits, {self.calls} calls of steps, {self.seconds:.2f} s: "
            f"always {status}{but}" + (f": {ended_with}" if status != "completed" and ended_with else "")
        )


def crash_everywhere(
    workflow: Definition,
    input: Any = None,
    *,
    steps: Steps | None = None,
    events: Mapping[str, Any] | None = None,
    signals: Mapping[str, Any] | None = None,
    hooks: Mapping[str, Any] | None = None,
    during: During | None = None,
    invariants: Iterable[Invariant] = (),
    workflows: Sequence[object] = (),
    before: Callable[[], object] | None = None,
) -> CrashReport:
    """Run a workflow without a fault, and then once for every place at which its process can die.

    Those are, for each commit of the ledger: before it (steps have had their effect, and nobody recorded it), after it,
    and while it is written. Each time every run must end as it did without a fault, no step may be called whose
    completion was durable, and laws and invariants must hold.

    ```python
    report = crash_everywhere(fulfill_order, {"order_id": "o1", "cents": 4200}, steps={"charge_card": "ch_1"})
    assert report.outcome == ("completed", {"outcome": "payment-timeout"})
    ```

    Args:
        steps: what stands in for steps, as `Simulation` takes it; others are called for real.
        events: by type, the payload that is sent to whoever waits for it, or a function of what the wait must match.
        signals: by name, the payload that is sent to a run whenever it waits for one, or a function of the signal's
            number (0 for the first of this name in the run).
        hooks: the same by token; "approval:*" is every token that begins so, "*" each one.
        during: called with the simulation and the run whenever nothing more can happen at the present moment, until it
            does nothing; it plays the outside: it may send events, cancel, let time pass.
        invariants: predicates over a simulation at its end; False or an AssertionError breaks one.
        workflows: those that it starts as children.
        before: called before each simulation, to reset what fakes and invariants keep.

    Raises:
        LawBroken: the first place at which something differs, with its story.
    """
    began = time.perf_counter()
    experiment = Experiment(
        workflow, workflows=workflows, invariants=invariants, during=during, before=before,
        post=post_of(events, signals, hooks),
    )  # fmt: skip
    reference = experiment.live(input, steps=steps)
    crashes, interrupted, calls = 0, 0, reference.calls
    for fault in _crashes(reference.commits):
        simulation = experiment.live(input, steps=steps, faults=[fault])
        interrupted += not experiment.compare(reference, simulation)
        crashes += 1
        calls += simulation.calls
    outcome = reference.runs()[0].outcome()
    return CrashReport(outcome, reference.commits, crashes, calls, time.perf_counter() - began, interrupted)


def _crashes(commits: int) -> Iterator[Fault]:
    for commit in range(1, commits + 1):
        yield Crash(commit)
        yield Crash(commit, "after")
        yield TornTail(commit)
