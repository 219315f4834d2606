"""`check_determinism`: Hypothesis looks for an input, a world, an order and a schedule of faults that break a workflow.

Knows what must hold. Must not know how a world is drawn or a life lived.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky, Unsatisfiable

from perdure.declare.registry import Definition
from perdure.errors import DefinitionError, InvalidInput, NotSerializable, WorkflowError
from perdure.testing.choices import Plain
from perdure.testing.drawn import DrawnChoices, DrawnWorld
from perdure.testing.experiment import During, Experiment
from perdure.testing.fakes import Steps
from perdure.testing.faults import CancelRun, ClockJump, EventStorm, Fault, FullDisk, LyingSync, SlowStep, StepError
from perdure.testing.laws import Invariant, LawBroken, checked_invariants, told_by_its_story
from perdure.testing.seeding import chosen_seed
from perdure.testing.strategies import UNSEEN, Kind, inputs_of, schedules

__tracebackhide__ = told_by_its_story

#: Faults after which a run may rightly end otherwise: only laws and invariants are demanded then.
SEEN: tuple[Kind, ...] = (CancelRun, ClockJump, EventStorm, FullDisk, LyingSync, SlowStep)


@dataclass(frozen=True, slots=True)
class DeterminismReport:
    """What `check_determinism` tried.

    Attributes:
        examples: worlds that were drawn. lives: simulations, two or more for each. calls: calls of steps in all of
            them. crashes: lives that ended in one. seconds: how long it took, of real time.
    """

    examples: int
    lives: int
    calls: int
    crashes: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.examples} examples, {self.lives} lives, {self.crashes} crashes, {self.calls} calls of steps, "
            f"{self.seconds:.2f} s: always the same"
        )


def check_determinism(
    workflow: Definition,
    *,
    inputs: st.SearchStrategy[Any] | None = None,
    steps: Steps | None = None,
    events: Mapping[str, Any] | None = None,
    signals: Mapping[str, Any] | None = None,
    hooks: Mapping[str, Any] | None = None,
    during: During | None = None,
    invariants: Iterable[Invariant] = (),
    faults: Sequence[Kind] = UNSEEN,
    workflows: Sequence[object] = (),
    same_outcome: bool = True,
    before: Callable[[], object] | None = None,
    max_examples: int = 200,
    seed: int | None = None,
) -> DeterminismReport:
    """Look for a world in which a workflow is not deterministic, loses something or does it twice.

    Each example is lived in plain order without faults, and again in a drawn order with drawn faults. Both times ended
    runs must replay, laws and invariants must hold; and every run must end alike. What fails is shrunk to the smallest
    input, world, order and schedule, and told as a story.

    ```python
    def charged_once(simulation):
        return len(simulation.effects("charge_card")) <= 1

    def test_an_order_is_charged_once():
        check_determinism(fulfill_order, invariants=[charged_once])
    ```

    Args:
        inputs: a strategy; from the annotation of the input by default.
        steps: by step or name, what stands in: a strategy, a function, an exception, or a value. The results of others
            are drawn from their return annotations. No step is called for real unless it is given here.
        events: by type, what is sent to whoever waits for it: a strategy, a value, or a function of what the wait must
            match. Events of other types don't come.
        signals, hooks: the same for signals, by name, and for hooks, by token or a pattern of tokens ("approval:*"): a
            strategy, a value, or a function of the message's number.
        during: plays the rest of the outside; see `crash_everywhere`.
        invariants: predicates over a simulation at its end; False or an AssertionError breaks one.
        faults: kinds that are drawn; by default `Crash`, `TornTail`, `DuplicateOutcome`. `StepError` makes attempts of
            steps fail, in the same way in both lives. After a `CancelRun`, `ClockJump`, `EventStorm`, `FullDisk` (time
            passes), `LyingSync` or `SlowStep` a run may rightly end otherwise, and only laws and invariants are
            demanded.
        workflows: those that it starts as children.
        same_outcome: False for a workflow that may end otherwise in another order: it takes the first of several.
        before: called before every life, to reset what the author's fakes keep.
        max_examples: how many worlds are tried.
        seed: of the search; the environment variable PERDURE_SEED by default, else 0.

    Raises:
        LawBroken: an AssertionError with the smallest story that was found, and the command that finds it again.
        DefinitionError: nothing says what a step gives, or an argument can't be used.
    """
    if isinstance(max_examples, bool) or not isinstance(max_examples, int) or max_examples < 1:
        raise DefinitionError(f"max_examples={max_examples!r} can't be used.", fix="give a whole number of at least 1")
    seed = (chosen_seed() or 0) if seed is None else seed
    asked = checked_invariants(invariants, "invariants")
    search = _Search(
        workflow, inputs if inputs is not None else inputs_of(workflow), steps, (events, signals, hooks), during, asked,
        tuple(faults), tuple(workflows), same_outcome, before, seed,
    )  # fmt: skip
    began = time.perf_counter()
    search.run(max_examples)
    return DeterminismReport(search.examples, search.lives, search.calls, search.crashes, time.perf_counter() - began)


class _Refused(BaseException):
    """An argument can't be used. No `Exception`, or Hypothesis would look for the smallest world that shows it."""

    def __init__(self, error: WorkflowError) -> None:
        super().__init__(error)
        self.error = error


class _Search:
    """One search through worlds."""

    def __init__(
        self,
        workflow: Definition,
        inputs: st.SearchStrategy[Any],
        steps: Steps | None,
        messages: Sequence[Mapping[str, Any] | None],
        during: During | None,
        invariants: tuple[Invariant, ...],
        kinds: tuple[Kind, ...],
        workflows: tuple[object, ...],
        same_outcome: bool,
        before: Callable[[], object] | None,
        seed: int,
    ) -> None:
        self._workflow, self._inputs, self._steps, self._messages = workflow, inputs, steps, messages
        self._during, self._invariants, self._workflows = during, invariants, workflows
        self._kinds = tuple(kind for kind in kinds if kind is not StepError)
        self._failures = StepError in kinds
        self._same_outcome, self._before, self._seed = same_outcome, before, seed
        self._schedules: dict[tuple[int, int], st.SearchStrategy[tuple[Fault, ...]]] = {}
        self._broken: LawBroken | None = None
        self.examples = self.lives = self.calls = self.crashes = 0

    def run(self, max_examples: int) -> None:
        """Let Hypothesis search, and raise what it shrank a failure to."""

        @hypothesis.seed(self._seed)
        @settings(
            max_examples=max_examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            print_blob=False, report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],  # explaining takes longer than all the rest
        )  # fmt: skip
        @hypothesis.given(st.data())
        def lives(data: st.DataObject) -> None:
            self._example(data)

        try:
            lives()
        except _Refused as refused:
            raise refused.error.with_traceback(None) from None
        except Unsatisfiable:
            raise DefinitionError(
                f"no world could be drawn for workflow {self._workflow.id!r}.",
                where=self._workflow.site,
                why="every value that was drawn for its input or a step's result was refused by its validation",
                fix="give inputs=strategy, or steps={…: strategy}, of values that fit",
            ) from None
        except LawBroken as broken:
            found = self._broken or broken
            found.__notes__ = []  # Hypothesis lists what it drew; the story has told it better
            raise found.with_traceback(None) from None
        except Flaky:
            if self._broken is None:
                raise
            self._broken.add_note(
                "It did not happen again with the same choices: something outlives a run, such as a cache or a global."
            )
            raise self._broken from None

    def _example(self, data: st.DataObject) -> None:
        self.examples += 1
        definitions = [self._workflow, *self._workflows]
        world = DrawnWorld(data.draw, definitions, self._steps, *self._messages, failures=self._failures)
        experiment = Experiment(
            self._workflow, workflows=self._workflows, invariants=self._invariants, post=world.post,
            during=self._during, before=self._before, seed=self._seed,
        )  # fmt: skip
        input = data.draw(self._inputs)
        try:
            plain = experiment.live(input, steps=world.fakes(), choices=Plain(), fates=world.fate)
            schedule: tuple[Fault, ...] = ()
            if self._kinds:
                schedule = data.draw(self._schedules_of(plain.commits + 1, max(plain.calls, 1)))
            other = experiment.live(
                input, steps=world.fakes(), faults=schedule, choices=DrawnChoices(data.draw), fates=world.fate
            )
            self.lives += plain.lives + other.lives
            self.crashes += other.lives - 1
            self.calls += plain.calls + other.calls
            if self._same_outcome and not any(isinstance(fault, SEEN) for fault in schedule):
                experiment.compare(plain, other)
        except LawBroken as broken:
            self._broken = broken
            raise
        except (DefinitionError, InvalidInput, NotSerializable) as error:
            raise _Refused(error) from None

    def _schedules_of(self, commits: int, calls: int) -> st.SearchStrategy[tuple[Fault, ...]]:
        """Make a strategy once for each size of a life: to validate a new one takes longer than to live."""
        if (commits, calls) not in self._schedules:
            self._schedules[commits, calls] = schedules(self._kinds, commits=commits, calls=calls)
        return self._schedules[commits, calls]
