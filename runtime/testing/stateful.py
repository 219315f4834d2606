"""`WorkflowMachine`: Hypothesis plays the outside of workflows rule by rule; a team writes rules of its own.

Knows rules and simulations. Must not know which workflows there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from perdure.errors import DefinitionError
from perdure.testing.choices import Listed
from perdure.testing.faults import Crash, FullDisk
from perdure.testing.laws import Invariant, check_laws
from perdure.testing.simulation import Simulation


class WorkflowMachine(RuleBasedStateMachine):
    """A state machine to subclass: it brings crashes, restarts, full disks and time; a subclass brings what clients do.

    ```python
    class Orders(WorkflowMachine):
        workflows = [fulfill_order]
        steps = {"charge_card": "ch_1"}
        always = [charged_at_most_once]

        @rule(cents=st.integers(1, 10_000))
        def order(self, cents):
            self.simulation.start(fulfill_order, {"order_id": "o1", "cents": cents})

        @rule()
        def pay(self):
            self.simulation.send_event("payment.completed", {"order_id": "o1"})

    TestOrders = Orders.TestCase
    ```

    Runs go on one turn at a time, so the subclass's rules meet them everywhere. After every rule the predicates of
    `always` are checked; at the end everything that can happen happens, and all laws are checked (see
    `Simulation.check`). Hypothesis shrinks a failure to the fewest rules, and the error tells the story.

    Attributes:
        workflows: definitions, modules or paths. steps: what stands in for steps, as `Simulation` takes it.
        always: predicates over the simulation that hold at every moment.
        at_the_end: the same, for when nothing can happen any more.
        simulation: the present one.
    """

    workflows: ClassVar[Sequence[object]] = ()
    steps: ClassVar[Any] = None
    always: ClassVar[Sequence[Invariant]] = ()
    at_the_end: ClassVar[Sequence[Invariant]] = ()

    def __init__(self) -> None:
        if not self.workflows:
            raise DefinitionError(
                f"{type(self).__name__} has no workflows.", fix="write workflows = [fulfill_order] in the class"
            )
        super().__init__()
        self._order = Listed()
        self.simulation = Simulation(
            *self.workflows, seed=0, steps=self.steps, invariants=self.at_the_end, choices=self._order
        )

    @rule(turns=st.integers(1, 5), order=st.lists(st.integers(0, 5), max_size=5))
    def things_happen(self, turns: int, order: list[int]) -> None:
        """Let the next things happen, in some order."""
        self._order.coming = list(order)
        for _ in range(turns):
            if not self.simulation.turn():
                break
        self._order.coming = []

    @rule(duration=st.sampled_from(["1s", "1h", "1d", "30d"]))
    def time_passes(self, duration: str) -> None:
        """Let virtual time pass, and everything happen that is due meanwhile."""
        self.simulation.advance(duration)

    @rule()
    def process_dies(self) -> None:
        """Kill the process between two commits, and start it again."""
        self.simulation.crash()

    @rule(when=st.sampled_from(["before", "after"]))
    def process_dies_at_the_next_commit(self, when: Literal["before", "after"]) -> None:
        """Kill the process at the next commit."""
        self.simulation.strike(Crash(self.simulation.commits + 1, when))

    @rule(times=st.integers(1, 3))
    def disk_is_full(self, times: int) -> None:
        """Refuse the next commit, and some tries after it."""
        self.simulation.strike(FullDisk(self.simulation.commits + 1, times))

    @invariant()
    def what_holds_always(self) -> None:
        """Check the predicates of `always`."""
        check_laws(self.simulation, self.always, only_invariants=True)

    def teardown(self) -> None:
        """Let everything happen that still can, and check the laws."""
        with self.simulation as simulation:
            simulation.run()
