"""One seed: plans, what the outside does to them, and the faults. Lived twice: in plain order, and as the seed has it.

Knows the simulator as a user does. What must hold is said by `checkers.py` and `plans.py`.
"""

from __future__ import annotations

import random
from typing import Any
from unittest.mock import patch

from checkers import Observer
from lineage import looped
from plans import WORKFLOWS, AtWork, Draw, Node, agrees
from post import Post
from trading import CHUNK_BYTES, sweep, traded
from traffic import Traffic

from perdure.services import cell_blobs
from perdure.testing import (
    EventStorm,
    SimulatedRun,
    Simulation,
    SlowStep,
    StepError,
    random_faults,
)
from perdure.testing.choices import Plain

Outcome = tuple[str, Any]
OVER = ("completed", "failed", "cancelled")
ROUNDS_MAX = 60


class Script:
    """What one seed says."""

    def __init__(self, seed: int, *, lying: bool = False) -> None:
        self.seed = seed
        self.random = random.Random(f"script {seed}")
        self.cancels = self.random.random() < 0.2
        self.draw = Draw(seed, families=self.cancels)
        self.roots = [self.draw.plan() for _ in range(self.random.choice([1, 1, 2]))]
        self.traffic = Traffic(seed)
        if self.traffic.queues:  # a crowd of small plans, so that somebody has to wait
            crowd = Draw(f"{seed} crowd", names="crowd", budget=0)
            self.roots += [crowd.plan() for _ in range(self.traffic.random.randrange(4))]
            self.draw.events += crowd.events
            self.draw.maybes += crowd.maybes
            self.draw.signals += crowd.signals
        self.roots = traded(seed, looped(seed, self.roots))
        self.retries = random.Random(f"retries {seed}")
        self.retried = self.retries.random() < 0.15
        self.tickets = [self.traffic.ticket() for _ in self.roots]
        self.post = Post(seed, self.draw.signals)
        self.faults = (*random_faults(seed, lying=lying), *self._more_faults())

    def _more_faults(self) -> list[Any]:
        """Faults that need to know the plans: events that come in storms, and errors that retries get over."""
        faults: list[Any] = []
        names = [*self.draw.events, *self.draw.maybes]
        if names and self.random.random() < 0.3:
            name = self.random.choice(names)
            faults.append(EventStorm(self.random.randrange(1, 12), name, {"for": name}, 3))
        nodes = [node for _, plan in self.roots for node in _nodes(plan)]
        steady = [node[1] for node in nodes if node[0] == "step" and node[2:4] == [0, 2]]
        if steady and self.random.random() < 0.5:
            when: Any = self.random.choice(["before", "after"])
            faults.append(StepError(self.random.randrange(1, 3), self.random.choice(steady), when))
        if self.random.random() < 0.3:
            call, takes = self.random.randrange(1, 8), self.random.choice([2, 5000])
            faults.append(SlowStep(call, takes=min(takes, 2) if "trade-blocking" in str(self.roots) else takes))
        return faults

    # ── living it ──

    def expected(self) -> list[Outcome]:
        """What becomes of the plans in plain order, without faults, each alone."""
        outcomes = []
        for number, (workflow, plan) in enumerate(self.roots):
            with (
                patch.object(cell_blobs, "CHUNK_BYTES", CHUNK_BYTES),
                Simulation(*WORKFLOWS, seed=self.seed, choices=Plain()) as simulation,
            ):
                run = simulation.start(workflow, plan, run_id=f"root-{number}")
                self.finish(simulation, Post(self.seed, self.draw.signals))
                outcomes.append(run.outcome())
        return outcomes

    def live(self, expected: list[Outcome]) -> Simulation:
        """Live it as the seed has it, and check everything."""
        with patch.object(cell_blobs, "CHUNK_BYTES", CHUNK_BYTES):
            return self._lived(expected)

    def _lived(self, expected: list[Outcome]) -> Simulation:
        observer = Observer(self.traffic.queues, self.traffic.max_concurrent_runs, self.post)
        AtWork.forget()
        with Simulation(
            *WORKFLOWS, seed=self.seed, faults=self.faults, always=[observer.watch], invariants=[observer.check],
            **self.traffic.limits(),
        ) as simulation:  # fmt: skip
            runs = self.begin(simulation)
            self.disturb(simulation, runs)
            self.finish(simulation, self.post)
            while self.retried and self.retries.random() < 0.7 and self.retry_one(simulation):
                self.finish(simulation, self.post)
            sweep(simulation)
            for run, root, wanted in zip(runs, self.roots, expected, strict=True):
                if not simulation.lied or simulation.ledger.run(run.run_id) is not None:
                    self.compare(root, wanted, run.outcome())
        most = self.traffic.max_concurrent_steps
        assert most is None or AtWork.most <= most, f"{AtWork.most} steps were at work, and {most} may be"
        return simulation

    def begin(self, simulation: Simulation) -> list[SimulatedRun]:
        """Start the plans, and ask for each again under the same key."""
        runs = []
        for number, (workflow, plan) in enumerate(self.roots):
            key = f"key-{number}"
            ticket = self.tickets[number]
            runs.append(simulation.start(workflow, plan, run_id=f"root-{number}", idempotency_key=key, **ticket))
            if self.random.random() < 0.3:
                again = simulation.start(workflow, plan, run_id=f"again-{number}", idempotency_key=key)
                self.same(simulation, again, runs[-1])
        return runs

    def disturb(self, simulation: Simulation, runs: list[SimulatedRun]) -> None:
        """Do what the outside does, at any moment."""
        for _ in range(self.random.randrange(6)):
            for _ in range(self.random.randrange(6)):
                simulation.turn()
            if self.post.random.random() < 0.5 and simulation.runs():
                self.post.send_some(simulation)
            if self.retried and self.retries.random() < 0.3:
                self.retry_one(simulation)
            names = [*self.draw.events, *self.draw.maybes]
            match self.random.choice([0, 1, 2, 3, 4, 5, 4, 4, 4] if self.cancels else [0, 1, 2, 3, 5]):
                case 0 | 1 if names:
                    name = self.random.choice(names)
                    simulation.send_event(name, {"for": name})
                case 2:
                    simulation.crash()
                case 3:
                    simulation.advance(self.random.choice([0, 1, 1800]))
                case 4:
                    self.random.choice(simulation.runs()).cancel()
                case 5:
                    number = self.random.randrange(len(runs))
                    workflow, plan = self.roots[number]
                    again = simulation.start(workflow, plan, idempotency_key=f"key-{number}")
                    self.same(simulation, again, runs[number])

    def retry_one(self, simulation: Simulation) -> bool:
        """Retry a run that failed or was cancelled; False when there is none."""
        ended = [run for run in simulation.runs() if run.row().status in ("failed", "cancelled")]
        if ended:
            self.retries.choice(ended).retry()
        return bool(ended)

    def same(self, simulation: Simulation, again: SimulatedRun, first: SimulatedRun) -> None:
        """A start with the same key gives the same run, unless a disk forgot the first."""
        one_chain = f"{again.run_id}+".startswith(f"{first.run_id}+")
        assert simulation.lied or one_chain, "a second start with the same key made a second run"

    def finish(self, simulation: Simulation, post: Post) -> None:
        """Send what is waited for until every run has ended."""
        for _ in range(ROUNDS_MAX):
            simulation.run()
            if all(run.row().status in OVER for run in simulation.runs()):
                return
            for name in [*self.draw.events, *self.draw.maybes]:
                simulation.send_event(name, {"for": name})
            post.send_wanted(simulation)
        left = [run.row() for run in simulation.runs() if run.row().status not in OVER]
        waits = {row.run_id: list(row.pending.values()) for row in left}
        raise AssertionError(f"runs have not ended: {waits}")

    def compare(self, root: tuple[str, Node], wanted: Outcome, outcome: Outcome) -> None:
        """The same outcome, but for what time, order and the outside may decide."""
        if self.cancels or self.retried:
            return
        if "hurried" in str(root):  # a run's own timeout fails what nothing in the plan can catch
            return
        assert wanted[0] == outcome[0], f"{outcome} for {wanted}"
        if wanted[0] == "completed":
            assert agrees(wanted[1], outcome[1]), f"{outcome} for {wanted}"


def _nodes(node: Any) -> list[Node]:
    """All nodes of a plan."""
    if not isinstance(node, list):
        return []
    own = [node] if node and isinstance(node[0], str) else []
    return own + [each for part in node for each in _nodes(part)]
