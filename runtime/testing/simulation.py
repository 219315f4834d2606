"""`Simulation`: production's core, engine and ledger contract in virtual time, with faults where they are told to.

    rules   1. Nothing is real but the code: time is the simulation's, steps are called one at a time on this thread,
               and the disk is bytes in memory.
            2. Whatever may go either way is asked of `choices`; whatever may go wrong is a fault of the schedule. So a
               simulation is a function of its seed and its faults.
            3. Time passes only when nothing else can happen, and then jumps to the next moment at which something can.
            4. What a crash leaves is the disk and the world: the next life begins with a new engine, as in production.

Knows the engine's seams. Must not know how bodies are walked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Literal, TypeVar

from perdure.client.orders import event_of
from perdure.declare.discovery import find_workflows
from perdure.declare.queues import Queue, check_limit, named, named_by
from perdure.declare.registry import Definition, Registry
from perdure.durations import Duration, duration_us
from perdure.engine.attempts import Attempt
from perdure.engine.batch import Batch, Unsettled
from perdure.engine.definitions import checked_code
from perdure.engine.engine import Engine, Message, Request
from perdure.engine.reactions import EventReceipt
from perdure.engine.recovery import recover
from perdure.engine.residents import RESIDENTS_MAX
from perdure.engine.starting import Start
from perdure.errors import DefinitionError, InvalidInput, LedgerFull
from perdure.misfit import fitting
from perdure.storage.encoding import encode
from perdure.storage.ledger import ENDED, RunFilter
from perdure.testing.choices import Choices, Seeded
from perdure.testing.clock import START, SimulatedClock
from perdure.testing.fakes import Fakes, Steps
from perdure.testing.faults import (
    CALL_FAULTS,
    CallFault,
    Fault,
    checked,
)
from perdure.testing.inbox import Inbox
from perdure.testing.laws import Invariant, LawBroken, check_laws, checked_invariants, told_by_its_story
from perdure.testing.memory import Memory
from perdure.testing.performers import Effect, SimulatedPerformers, World
from perdure.testing.seeding import again, chosen_seed
from perdure.testing.services import simulated_backing
from perdure.testing.simulated_ledger import Disk, SimulatedCrash, SimulatedLedger
from perdure.testing.simulated_run import SimulatedRun
from perdure.testing.story import Story, call_text, plain
from perdure.testing.struck import Strikes

T = TypeVar("T")

__tracebackhide__ = told_by_its_story

TURNS_MAX = 100_000  # half a minute; far more than anything that ends has been seen to take
logger = logging.getLogger("perdure")
_PAUSE_US = 1_000_000  # after the disk was full, as the engine's thread does


class Simulation:
    """Runs workflows in virtual time, on one thread, as a function of a seed and a schedule of faults.

    ```python
    with Simulation(fulfill_order, seed=7, steps={"charge_card": "ch_1"}, faults=[Crash(commit=3)]) as world:
        run = world.start("fulfill-order", {"order_id": "o1", "cents": 4200})
        world.run()
        assert run.result() == {"outcome": "payment-timeout"}
    ```

    Leaving the block checks the laws (see `check`) and closes it; an error that leaves it carries the story, the seed
    and the command that reproduces it.

    Args:
        workflows: definitions, modules, or paths, as `Runtime(workflows=…)` takes them.
        seed: of every choice: the order of completions, how many of them one commit records, which bodies are parked.
        steps: what stands in for steps (by name, or by the step itself): a function, an exception to raise, or a value
            to give; checked against the real step's signature and return annotation. Others are called for real.
        faults: a schedule; see `perdure.testing.faults`.
        invariants: predicates over the simulation, checked by `check`: False or an AssertionError breaks one.
        always: the same, but checked after every commit.
        start_at: when virtual time begins.
        choices: who chooses instead of the seed.
        fates: asked at every call of a step for the fault that strikes it, in addition to the schedule's.
        code: what open runs are walked on after a restart with other workflows, as `Runtime(code=…)` takes it.
        queues, max_concurrent_runs, max_concurrent_steps: as `Runtime` takes them.

    Attributes:
        clock: the virtual clock. ledger: the present life's ledger. commits: how many there were, over all lives.
        lives: 1 plus the number of crashes. story: what happened so far.
    """

    @fitting
    def __init__(
        self,
        *workflows: object,
        seed: int | None = None,
        steps: Steps | Fakes | None = None,
        faults: Sequence[Fault] = (),
        invariants: Iterable[Invariant] = (),
        always: Iterable[Invariant] = (),
        start_at: datetime | str = START,
        choices: Choices | None = None,
        fates: Callable[[Attempt], CallFault | None] | None = None,
        code: Literal["pinned", "today"] = "pinned",
        queues: Iterable[Queue] = (),
        max_concurrent_runs: int | None = None,
        max_concurrent_steps: int | None = None,
    ) -> None:
        self._code = checked_code(code)
        self._given_queues = tuple(named(queues).values())
        self._limits = {"max_concurrent_runs": max_concurrent_runs, "max_concurrent_steps": max_concurrent_steps}
        for name, limit in self._limits.items():
            check_limit(name, limit)
        self.seed = (chosen_seed() or 0) if seed is None else seed
        self.choices: Choices = choices if choices is not None else Seeded(self.seed)
        self.clock = SimulatedClock(start_at, seed=self.seed)
        self.story = Story(self.clock.now_us)
        self.faults = checked(faults)
        self.invariants = checked_invariants(invariants, "invariants")
        self.always = checked_invariants(always, "always")
        self.lives = 0
        self.turns = 0
        self._registry = Registry(find_workflows(list(workflows)))
        self._registries = [self._registry]  # of all lives, the newest last
        calls = [fault for fault in self.faults if isinstance(fault, CALL_FAULTS)]
        fakes = steps if isinstance(steps, Fakes) else Fakes(steps, self._registry.all())
        self._world = World(fakes, calls, fates)
        self._memory = Memory(self._registry.all())
        commits = [fault for fault in self.faults if not isinstance(fault, CALL_FAULTS)]
        self._strikes = Strikes(commits, self.clock, self.story, self._know)
        self._disk = Disk()
        self._numbers = 0
        self._requests: list[Message] = []
        self._recovered: Future[None] = Future()
        self._come_alive(0)

    def __enter__(self) -> Simulation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.check()
            elif isinstance(error, Exception) and not isinstance(error, (LawBroken, DefinitionError, InvalidInput)):
                error.add_note(self.tell())
        finally:
            self.close()

    # ── what a client does ───────────────────────────────────────────────────────────────────────

    @fitting
    def start(
        self,
        workflow: str | Definition,
        input: Any = None,
        *,
        version: str | None = None,
        run_id: str | None = None,
        idempotency_key: str | None = None,
        delay: Duration | None = None,
        tags: Mapping[str, str] | None = None,
        queue: str | None = None,
        key: str | None = None,
        priority: int | None = None,
    ) -> SimulatedRun:
        """Start a run as `Runtime.start` does; it has begun when this returns, and goes on in `run`.

        The client asks again when the process dies before it answers, under the same run_id (`run-1`, `run-2`, … by
        default).
        """
        wanted_id = workflow if isinstance(workflow, str) else workflow.id
        if not isinstance(workflow, str):
            version = version or workflow.version
        self._numbers += 1
        run_id = run_id or f"run-{self._numbers}"
        delay_us = 0 if delay is None else duration_us(delay, "delay")
        self.story.add("start", call_text, f"{run_id}  {wanted_id}", (input,), {})

        def start(engine: Engine, batch: Batch) -> str:
            registry = engine.registry
            definition = registry.newest(wanted_id) if version is None else registry.get(wanted_id, version)
            wanted = Start(
                definition, input, run_id=run_id, idempotency_key=idempotency_key, delay_us=delay_us,
                tags=dict(tags or {}), queue=queue, key=key, priority=priority,
            )  # fmt: skip
            return engine.starting.start(wanted, batch)

        return SimulatedRun(self, self.ask(start))

    def send_event(
        self, type: str, payload: Any = None, *,
        resource: str | None = None, namespace: str | None = None, event_id: str | None = None,
    ) -> EventReceipt:  # fmt: skip
        """Send an event as `Runtime.send_event` does. Sent again after a crash."""
        self.story.add("event", lambda: f"{type} {payload!r}")
        sent = event_of(type, payload, resource=resource, namespace=namespace, event_id=event_id)
        return self.ask(lambda engine, batch: engine.reactions.event(sent, batch))

    def resume_hook(self, token: str, payload: Any = None) -> str:
        """Hand a payload to the open hook that has this token; give the run_id of its run. Raises `HookRefused`."""
        self.story.add("hook", lambda: f"{token} {payload!r}")
        return self.ask(lambda engine, batch: engine.messages.resume_hook(token, encode(payload), batch))

    def handle(self, run_id: str) -> SimulatedRun:
        """Make a handle on a run by its id."""
        return SimulatedRun(self, run_id)

    def runs(self) -> list[SimulatedRun]:
        """All runs, oldest first, children too."""
        rows = self.ledger.runs(RunFilter(limit=None))
        return [SimulatedRun(self, row.run_id) for row in reversed(rows)]

    def effects(self, step: str | None = None) -> list[Effect]:
        """What the steps did to the world, in order, over all lives; of one step, or of all."""
        if step is None:
            return list(self._world.effects)
        return [each for each in self._world.effects if each.step == step or each.step.partition("#")[0] == step]

    # ── letting it happen ────────────────────────────────────────────────────────────────────────

    def run(self, until: Duration | Callable[[], object] | None = None) -> None:
        """Let everything happen that can, jumping over the time between.

        Args:
            until: stop when this much virtual time has passed, or as soon as a predicate holds; None goes on until
                nothing can happen any more: every run has ended, or waits for the outside. Schedules tick only while
                time is given, since they never end.
        """
        if callable(until):
            while not until() and self._advance(None, ticks=True):
                pass
            return
        deadline = None if until is None else self.clock.now_us() + duration_us(until, "until")
        while self._advance(deadline, ticks=deadline is not None):
            pass
        if deadline is not None and self.clock.now_us() < deadline:
            self._let_pass(deadline)

    def advance(self, duration: Duration) -> None:
        """Let virtual time pass, and everything happen that is due meanwhile."""
        self.run(until=duration)

    def turn(self) -> bool:
        """Let the next thing happen, whatever it is; False when nothing can."""
        return self._advance(None)

    def crash(self) -> None:
        """Kill the process now, and start it again."""
        self.story.add("crash", plain, "the process dies")
        self._come_back()

    def restart(self, *workflows: object) -> None:
        """Kill the process now, and start it again with other workflows (with the same, if none is given)."""
        self.story.add("restart", plain, "the process dies, and comes back" + (" with other code" if workflows else ""))
        if workflows:
            self._know(workflows)
        self._come_back()
        while not self._recovered.done():  # as opening a runtime does: what had diverged is tried again first
            asked, self._requests = self._requests, []
            self._take_turn(asked)

    def strike(self, fault: Fault) -> None:
        """Add a fault to the schedule; its commit or call is counted from the beginning, as in `faults=`."""
        (fault,) = checked([fault])
        self.faults = (*self.faults, fault)
        if isinstance(fault, CALL_FAULTS):
            self._world.strike(fault)
        else:
            self._strikes.add(fault)

    def check(self) -> None:
        """Check the laws: chains whole, rows as their entries say, finished runs replay, at most once is kept; and
        every invariant.

        Raises:
            LawBroken: an AssertionError with the story, the seed and the command that reproduces it.
        """
        check_laws(self, self.invariants)

    def close(self) -> None:
        """Drop the bodies from memory, and what their code kept outside of them."""
        self._performers.close()
        self._engine.residents.clear()
        self._memory.forget()

    def disk(self) -> bytes:
        """What the simulated disk holds now: the journal's records, as real ones are written."""
        return self._disk.read()

    @property
    def lied(self) -> bool:
        """Whether a disk took back commits that it had acknowledged."""
        return self._strikes.lied

    @property
    def commits(self) -> int:
        """How many commits there were, over all lives."""
        return self.ledger.commit

    @property
    def calls(self) -> int:
        """How many calls of steps there were, over all lives."""
        return self._world.calls

    def tell(self) -> str:
        """The story, the seed and the schedule, and the command that reproduces it."""
        rows = self.ledger.runs(_SOME)
        runs = [f"{row.run_id}  {row.status}" + (f"  {row.error}" if row.error else "") for row in reversed(rows)]
        facts = {
            "runs": "\n          ".join(runs) or "none",
            "choices": repr(self.choices),
            "faults": "\n          ".join(map(repr, self.faults)) or "none",
            "again": again(self.seed),
        }
        return "\n".join([str(self.story), "", *(f"{name:<9} {text}" for name, text in facts.items())])

    def definition(self, workflow: str, version: str) -> Definition:
        """Find a workflow as the present life knows it."""
        return self._registry.get(workflow, version)

    def definitions(self, workflow: str, version: str) -> list[Definition]:
        """The workflow as each life knew it that came back with other code, the newest first."""
        knowing = [registry for registry in reversed(self._registries) if registry.knows(workflow, version)]
        return [registry.get(workflow, version) for registry in knowing]

    def _know(self, workflows: Iterable[object]) -> None:
        self._registry = Registry(find_workflows(list(workflows)))
        self._registries.append(self._registry)

    # ── the engine's inbox ───────────────────────────────────────────────────────────────────────

    def call(self, request: Callable[[Engine, Batch], T]) -> Future[T]:
        """Have something done in the next turn, as the engine's thread offers it."""
        future: Future[T] = Future()
        self._requests.append(Request(request, future))
        return future

    def ask(self, request: Callable[[Engine, Batch], T]) -> T:
        """Have something done now, and again after a crash, as a client would."""
        while True:
            answer: Future[T] = Future()
            self._take_turn([Request(request, answer)])
            if not answer.done():
                continue  # the process died before it answered
            try:
                return answer.result()
            except Unsettled:
                continue
            except LedgerFull:
                self._let_pass(self.clock.now_us() + _PAUSE_US)

    # ── one life ─────────────────────────────────────────────────────────────────────────────────

    def _come_alive(self, commits: int) -> None:
        self.lives += 1
        self.ledger = SimulatedLedger(self._disk, commits)
        self._requests = []
        inbox = Inbox(self)
        self._performers = SimulatedPerformers(
            self._world,
            self.clock,
            self.story,
            lambda: self.ledger.commit,
            inbox.tell,
            lambda loop: simulated_backing(self.ledger, loop, self.clock, self._registry, inbox),
        )
        residents_max = (RESIDENTS_MAX, 0, 1)[self.choices.choose(3)]
        self._engine = Engine(
            self.ledger, self._registry, self.clock, self._performers, residents_max=residents_max, code=self._code,
            queues=named_by(self._registry.all(), self._given_queues), **self._limits,
        )  # fmt: skip
        self._engine.show = lambda facts, output: self.story.add("body", plain, f"{facts.run_id}  {output.text}")
        self._recovered = recover(self)

    def _come_back(self) -> None:
        kept = {} if self.lied else {row.run: (row.length, row.digest) for row in self.ledger.runs(_ALL)}
        commits = self.ledger.commit
        self.close()
        self._come_alive(commits)
        for run, (length, digest) in kept.items():
            entries = self.ledger.entries(run)
            if len(entries) < length or entries[length - 1].digest != digest:
                raise LawBroken(f"run {run} lost acknowledged entries: it had {length}, and has {len(entries)}", self)

    def _advance(self, deadline: int | None, *, ticks: bool = False) -> bool:
        performers, engine = self._performers, self._engine
        performers.pump()
        if performers.ready:
            self._call_some(performers)
            if performers is not self._performers:  # the process died in the middle of a call
                return True
        if performers.outcomes or self._requests:
            outcomes, performers.outcomes = performers.outcomes, []
            requests, self._requests = self._requests, []
            self._take_turn([*requests, *outcomes])
            return True
        now = self.clock.now_us()
        if engine.unrecorded:
            self._let_pass(now + _PAUSE_US)
            self._take_turn([])
            return True
        times = [each for each in (self.ledger.next_due(), engine.queues.wake_at) if each is not None]
        tick = engine.schedules.wake_at
        if tick is not None and (ticks or tick <= now):
            times.append(tick)
        due = min(times, default=None)
        if due is not None and due <= now:
            self._take_turn([])
            return True
        later = performers.next_time()
        moments = [each for each in (due, later) if each is not None]
        if not moments or (deadline is not None and min(moments) > deadline):
            return False
        self._let_pass(max(min(moments), now))
        return True

    def _call_some(self, performers: SimulatedPerformers) -> None:
        """Choose whose turn it is; sometimes several outcomes meet in one commit."""
        ready = performers.ready
        while True:
            performers.call(ready.pop(self.choices.choose(len(ready))))
            ready = performers.ready
            if performers is not self._performers or not ready or not self.choices.choose(2):
                return

    def _let_pass(self, until: int) -> None:
        now = self.clock.now_us()
        if until > now:
            self.clock.advance(timedelta(microseconds=until - now))

    def _take_turn(self, messages: list[Message]) -> None:
        self.turns += 1
        if self.turns > TURNS_MAX:
            rows = [row for row in self.ledger.runs(_SOME) if row.status not in ENDED]
            going = ", ".join(f"{row.run_id} ({row.workflow})" for row in rows)
            raise DefinitionError(
                f"the simulation took {TURNS_MAX:,} turns and has not come to rest.",
                where=f"at {self.clock.now.isoformat()}, still open: {going}",
                fix="give run(until=…) when a workflow never ends; or let it end, as by its input",
            )
        self._strikes.prepare(self.ledger, messages)
        commit = self.ledger.commit
        logger.addFilter(self._overhear)
        try:
            self._engine.turn(messages)
        except SimulatedCrash:
            self._come_back()
        finally:
            logger.removeFilter(self._overhear)
        if self.always and self.ledger.commit != commit:
            check_laws(self, self.always, only_invariants=True)

    def _overhear(self, line: logging.LogRecord) -> bool:
        """Take what the engine logs into the story; nobody wants a console full of simulated crashes."""
        self.story.add("log", plain, line.getMessage().partition("\n")[0])
        return False


_ALL = RunFilter(limit=None)
_SOME = RunFilter(limit=20)
