"""One workflow with one input, lived once: with or without faults, in plain order or another, and compared.

Knows how a life is begun and when it is at rest. Must not know who chooses inputs, orders or faults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from perdure.core.lifecycle import is_interruption
from perdure.declare.registry import Definition
from perdure.declare.workflow import WorkflowDefinition
from perdure.engine.attempts import Attempt
from perdure.errors import DefinitionError
from perdure.storage.ledger import RunFilter
from perdure.testing.choices import Choices, Plain
from perdure.testing.fakes import Fakes, Steps
from perdure.testing.faults import CallFault, Fault
from perdure.testing.laws import Invariant, LawBroken, checked_invariants, told_by_its_story
from perdure.testing.messenger import Messenger, Post
from perdure.testing.outcomes import outcomes_of
from perdure.testing.simulated_run import SimulatedRun
from perdure.testing.simulation import Simulation

__tracebackhide__ = told_by_its_story

During = Callable[[Simulation, SimulatedRun], object]

RESTS_MAX = 1_000  # calls of `during`; whoever still does something then does it for ever


class Experiment:
    """What stays the same from life to life.

    Args:
        workflow: what is started. workflows: the children that it may start.
        post: what is sent to whoever waits for it.
        during: called whenever nothing more can happen at the present moment, until it does nothing.
        before: called before every life, to reset what the author's fakes keep.
        seed: shown with a broken law, as what reproduces it.
    """

    def __init__(
        self,
        workflow: Definition,
        *,
        workflows: Sequence[object] = (),
        invariants: Iterable[Invariant] = (),
        post: Post = Post(),  # noqa: B008  # it never changes
        during: During | None = None,
        before: Callable[[], object] | None = None,
        seed: int = 0,
    ) -> None:
        need_workflow(workflow)
        self.workflow = workflow
        self.workflows = (workflow, *(each for each in workflows if each is not workflow))
        self.invariants = checked_invariants(invariants, "invariants")
        self._post = post
        self._during = during
        self._before = before
        self._seed = seed

    def live(
        self,
        input: Any,
        *,
        steps: Steps | Fakes | None,
        faults: Sequence[Fault] = (),
        choices: Choices | None = None,
        fates: Callable[[Attempt], CallFault | None] | None = None,
    ) -> Simulation:
        """Live through it once, check the laws and invariants, and give what is left.

        Raises:
            LawBroken: a law or an invariant does not hold, or a step was called that had completed durably.
        """
        if self._before is not None:
            self._before()

        def fate(attempt: Attempt) -> CallFault | None:
            row = simulation.ledger.run_numbered(attempt.run)
            if row is None or attempt.command not in row.pending:
                raise LawBroken(f"{attempt.call.name} was called, but the ledger does not wait for it", simulation)
            return None if fates is None else fates(attempt)

        simulation = Simulation(
            *self.workflows, seed=self._seed, steps=steps, faults=faults, invariants=self.invariants,
            choices=choices or Plain(), fates=fate,
        )  # fmt: skip
        with simulation:
            run = simulation.start(self.workflow, input)
            self._let_happen(simulation, run)
        return simulation

    def _let_happen(self, simulation: Simulation, run: SimulatedRun) -> None:
        messenger = Messenger(self._post)
        rests = 0
        while True:
            simulation.run(until=0)
            if messenger.send(simulation):
                continue
            if self._during is not None:
                rests += 1
                if rests > RESTS_MAX:
                    raise _restless(self._during, rests)
                before = simulation.ledger.commit, simulation.clock.now_us()
                self._during(simulation, run)
                if before != (simulation.ledger.commit, simulation.clock.now_us()):
                    continue
            if not simulation.turn():
                return

    def compare(self, reference: Simulation, other: Simulation) -> bool:
        """Demand that every run ended alike; False, and no demand, when a crash cut off an at-most-once step.

        Its body has been told so then (`StepInterrupted`), which may rightly end it otherwise.

        Raises:
            LawBroken: one did not.
        """
        if _was_interrupted(other):
            return False
        expected, got = outcomes_of(reference.ledger), outcomes_of(other.ledger)
        for run_id in [*expected, *(each for each in got if each not in expected)]:
            one, two = expected.get(run_id), got.get(run_id)
            if one != two:
                raise LawBroken(
                    f"{run_id} did not end as it does in plain order without faults.\n"
                    f"  expected  {one if one is not None else 'no such run'}\n"
                    f"  got       {two if two is not None else 'no such run'}",
                    other,
                )
        return True


def need_workflow(workflow: object) -> None:
    """Refuse what is no workflow.

    Raises:
        DefinitionError: it is something else, such as the bare function.
    """
    if not isinstance(workflow, WorkflowDefinition):
        raise DefinitionError(f"{workflow!r} is no workflow.", fix="give a function that is decorated with @workflow")


def _restless(during: During, rests: int) -> DefinitionError:
    return DefinitionError(
        f"during={getattr(during, '__name__', during)!s} has done something {rests:,} times, and still does.",
        fix="have it look first whether there is something to do, such as run.status().waits_for",
    )


def _was_interrupted(simulation: Simulation) -> bool:
    if simulation.lives == 1:
        return False
    rows = simulation.ledger.runs(RunFilter(limit=None))
    return any(is_interruption(entry) for row in rows for entry in simulation.ledger.entries(row.run))
