"""Steps at work in a simulation: each is called when its turn is chosen, and its outcome waits to be taken.

Knows attempts, fakes and call faults. Must not know ledgers or crashes.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from types import CoroutineType
from typing import Any

from perdure.durations import duration_us
from perdure.engine.attempts import Attempt, Outcome, Place, is_async
from perdure.engine.channel import Channel, Tell
from perdure.engine.current_step import begin
from perdure.engine.limits import limited
from perdure.errors import DefinitionError
from perdure.services.backing import Backing
from perdure.services.cell_blobs import sweep_uploads
from perdure.testing.clock import SimulatedClock
from perdure.testing.fakes import Fakes
from perdure.testing.faults import CallFault, DuplicateOutcome, SlowStep, StepError, describe
from perdure.testing.mutation import tell_mutation
from perdure.testing.outside import Idempotent
from perdure.testing.simulated_ledger import SimulatedCrash
from perdure.testing.step_loop import StepLoop, without_a_loop
from perdure.testing.story import Story, call_text

logger = logging.getLogger("perdure")


class SimulatedError(ConnectionError):
    """What a step raises when a simulation makes it fail."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One call of a step that reached the world, whatever became of its answer.

    Attributes:
        step: the name under which the body called it. run_id, workflow run it was called for.
        args, kwargs: what it was called with. key: its idempotency key. attempt: 1 on the first.
        delivery: `"at_least_once"` or `"at_most_once"`. at_us: ledger time, microseconds since 1970.
        commit: the number of the newest commit when the call began.
        result, error: what it gave or raised; both None when it was cancelled.
    """

    step: str
    run_id: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    key: str
    attempt: int
    delivery: str
    at_us: int
    commit: int
    result: Any = None
    error: BaseException | None = None


class World:
    """What outlives a crash of the process: the outside, as the steps changed it.

    Args:
        fates: asked at every call before anything else, when given: which fault strikes this attempt.
    """

    def __init__(
        self, fakes: Fakes, faults: Sequence[CallFault], fates: Callable[[Attempt], CallFault | None] | None = None
    ) -> None:
        self.fakes = fakes
        self.effects: list[Effect] = []
        self.done: Counter[str] = Counter()  # by idempotency key: how many times it had its effect
        self.calls = 0
        self.calls_of: Counter[str] = Counter()
        self._faults = list(faults)
        self._fates = fates

    def strike(self, fault: CallFault) -> None:
        """Add a fault to those that wait for their call."""
        self._faults.append(fault)

    def fault_of(self, attempt: Attempt) -> CallFault | None:
        """Count a call, and give the fault that strikes it."""
        name = attempt.call.name
        fate = None if self._fates is None else self._fates(attempt)
        self.calls += 1
        base = name.partition("#")[0]
        self.calls_of[base] += 1
        for fault in self._faults:
            number = self.calls if fault.step is None else self.calls_of[base]
            if fault.call == number and fault.step in (None, base, name):
                self._faults.remove(fault)
                # A fate is the world's own, and the same in every life: a fault on top of it must not undo it.
                return fault if fate is None else fate
        return fate


class SimulatedPerformers:
    """The steps at work in one life of the simulated process.

    Attributes:
        ready: attempts that were not called yet; which one is next is for the simulation to choose.
        outcomes: what came of those that ended by themselves, in time.

    Args:
        commits: gives the number of the newest commit.
        tell: takes what a step says while it works.
        make_backing: puts together what stands behind the services that steps use, given the loop of the steps.
    """

    def __init__(
        self,
        world: World,
        clock: SimulatedClock,
        story: Story,
        commits: Callable[[], int],
        tell: Tell,
        make_backing: Callable[[StepLoop], Backing],
    ) -> None:
        self.ready: list[Attempt] = []
        self.outcomes: list[Outcome] = []
        self._world = world
        self._clock = clock
        self._story = story
        self._commits = commits
        self._tell_engine = tell
        self._channels: dict[int, Channel] = {}  # by serial: of attempts at work
        self._loop = StepLoop(clock.now_us)  # type: ignore[abstract]  # it has a refusal for each method it lacks
        self._backing = make_backing(self._loop)
        self._loop.call_soon(self._sweep)
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._late: list[tuple[int, int, Outcome]] = []
        self._numbers = itertools.count()
        self._refused: DefinitionError | None = None  # what the test has to mend, instead of an outcome
        self._repeated: set[int] = set()  # serials of attempts whose key the outside knows: they do nothing again

    # ── for the engine ──

    def perform(self, attempts: Sequence[Attempt]) -> None:
        """Have these wait for their turn."""
        self.ready.extend(attempts)

    def cancel(self, place: Place) -> None:
        """Take back an attempt, or cancel it if it is asynchronous."""
        self.ready = [each for each in self.ready if (each.run, each.command) != place]
        task = self._tasks.get(place)
        if task is not None:
            task.cancel()

    # ── for the simulation ──

    def next_time(self) -> int | None:
        """When time alone brings an outcome; None when nothing waits for time."""
        late = self._late[0][0] if self._late else None
        timer = self._loop.next_time()
        return timer if late is None else late if timer is None else min(late, timer)

    def pump(self) -> None:
        """Let asynchronous steps go on, and gather outcomes whose time has come."""
        self._loop.run_ready()
        self._raise_refused()
        while self._late and self._late[0][0] <= self._clock.now_us():
            self.outcomes.append(heapq.heappop(self._late)[2])

    def call(self, attempt: Attempt) -> None:
        """Give an attempt its turn: call the step. Its outcome is in `outcomes`, unless it takes time.

        Raises:
            DefinitionError: the fake does not fit the step, or the step wants more of its event loop than there is.
        """
        self._call(attempt)
        self._raise_refused()

    def _raise_refused(self) -> None:
        refused = self._refused or self._loop.refused
        self._refused = self._loop.refused = None
        if refused is not None:
            raise refused.with_traceback(None)

    def _call(self, attempt: Attempt) -> None:
        name = attempt.call.name
        fault = self._world.fault_of(attempt)
        if fault is not None:
            self._story.add("fault", describe, fault)
        if isinstance(fault, StepError) and fault.when == "before":
            self._tell(attempt, attempt.failed(self._refusal(attempt)), None)
            return
        began = self._commits()
        context = copy_context()
        channel = Channel(attempt, self._tell_engine, self._loop, self._backing, blocks=False)
        self._channels[attempt.serial] = channel
        context.run(begin, attempt.seen_from_inside(self._clock.now_us(), channel))
        function = self._world.fakes.stand_in(name, attempt.call.function)
        if isinstance(function, Idempotent) and function.knows(attempt.idempotency_key):
            self._repeated.add(attempt.serial)
        if is_async(function) or attempt.call.options.is_limited:
            self._start(attempt, self._finish(attempt, function, fault, began), context)
            return
        try:
            args, kwargs = attempt.call.values()
            with without_a_loop():
                result = context.run(function, *args, **kwargs)
            if not _is_awaitable(result):
                tell_mutation(attempt.call, args, kwargs)
        except SimulatedCrash as error:  # its process is gone, and nobody hears of it
            self._effect(attempt, began, error=error)
            return
        except BaseException as error:  # noqa: BLE001  # recorded as the step's failure, and raised in the body
            self._effect(attempt, began, error=error)
            self._fail(attempt, error)
            return
        if _is_awaitable(result):
            self._start(attempt, self._finish(attempt, lambda *_, **__: result, fault, began), context)
            return
        self._effect(attempt, began, result)
        if channel.is_settled:
            self._complete(attempt, result, fault)
        else:
            self._start(attempt, self._settle(attempt, result, fault), context)

    def close(self) -> None:
        """End with the process: what is at work never comes back."""
        self._loop.end()
        for task in self._tasks.values():
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # it dies with its process
            coroutine: Any = task.get_coro()
            if coroutine is not None:
                _drop(coroutine)

    def _sweep(self) -> None:
        """Delete what an earlier life left of its uploads, as opening a runtime does."""
        if self._backing.cells.spaces("upload/"):
            self._backing.spawn(_swept(self._backing))

    # ── one attempt ──

    def _start(self, attempt: Attempt, work: Any, context: Context) -> None:
        place = (attempt.run, attempt.command)
        task: asyncio.Task[None] = asyncio.Task(work, loop=self._loop, context=context)
        self._tasks[place] = task
        self._loop.run_ready()
        if task.done():
            self._tasks.pop(place, None)
        else:
            task.add_done_callback(lambda done: self._forget(place, done))

    def _forget(self, place: Place, done: asyncio.Task[None]) -> None:
        if self._tasks.get(place) is done:
            del self._tasks[place]

    async def _finish(self, attempt: Attempt, function: Any, fault: CallFault | None, began: int) -> None:
        try:
            args, kwargs = attempt.call.values()
            async with limited(attempt, self._channels[attempt.serial]):
                if is_async(function):
                    result = function(*args, **kwargs)
                else:
                    with without_a_loop():
                        result = function(*args, **kwargs)
                if _is_awaitable(result):
                    result = await result
                tell_mutation(attempt.call, args, kwargs)
        except asyncio.CancelledError:
            self._effect(attempt, began)
            self._channels.pop(attempt.serial).end()
            return
        except (SimulatedCrash, GeneratorExit) as error:  # its process is gone, and nobody hears of it
            self._effect(attempt, began, error=error)
            return
        except BaseException as error:  # noqa: BLE001  # recorded as the step's failure, and raised in the body
            self._effect(attempt, began, error=error)
            self._fail(attempt, error)
            return
        self._effect(attempt, began, result)
        await self._settle(attempt, result, fault)

    async def _settle(self, attempt: Attempt, result: Any, fault: CallFault | None) -> None:
        """Wait until what the step wrote is durable; then it is complete."""
        try:
            await self._channels[attempt.serial].settled()
        except asyncio.CancelledError:
            self._channels.pop(attempt.serial).end()
        except Exception as error:  # noqa: BLE001  # a write that was refused fails the step, as in production
            self._fail(attempt, error)
        else:
            self._complete(attempt, result, fault)

    def _complete(self, attempt: Attempt, result: Any, fault: CallFault | None) -> None:
        try:
            self._world.fakes.check_result(attempt.call.name, attempt.call.function, result)
        except DefinitionError as error:  # not the step's failure: `call` and `pump` raise it to the test
            self._refused = error
            return
        if isinstance(fault, StepError):
            self._fail(attempt, self._refusal(attempt))
            return
        try:
            outcome = attempt.completed(result)
        except Exception as error:  # noqa: BLE001  # a result without an encoding fails the step, as in production
            self._fail(attempt, error)
            return
        if isinstance(fault, SlowStep):
            self._answer_late(attempt, outcome, duration_us(fault.takes))
            return
        outcome = self._tell(attempt, outcome, result)
        if isinstance(fault, DuplicateOutcome):
            self._later(outcome._replace(effects=None), 1)  # whoever takes effects says once that they are over

    def _answer_late(self, attempt: Attempt, outcome: Outcome, takes_us: int) -> None:
        options = attempt.call.options
        limits = {options.timeout_us: attempt.timed_out, options.heartbeat_timeout_us: attempt.fell_silent}
        limit_us = min((each for each in limits if each is not None), default=takes_us)
        if limit_us < takes_us:  # it was done, and nobody hears of it
            outcome, takes_us = attempt.failed(limits[limit_us]()), limit_us
        self._later(self._concluded(attempt, outcome), takes_us)

    def _later(self, outcome: Outcome, delay_us: int) -> None:
        heapq.heappush(self._late, (self._clock.now_us() + delay_us, next(self._numbers), outcome))

    def _fail(self, attempt: Attempt, error: BaseException) -> None:
        outcome = attempt.failed(error)
        on_error = attempt.call.options.on_error
        if outcome.kind == "failed" and on_error is not None:
            self._start(attempt, _told(on_error, error), copy_context())
        self._tell(attempt, outcome, None)

    def _concluded(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        channel = self._channels.pop(attempt.serial, None)
        return outcome if channel is None else channel.concluded(outcome)

    def _tell(self, attempt: Attempt, outcome: Outcome, result: Any) -> Outcome:
        outcome = self._concluded(attempt, outcome)
        self.outcomes.append(outcome)
        again = self._world.done[attempt.idempotency_key] > 1 and attempt.serial not in self._repeated
        self._story.add("step", _step_text, attempt, outcome, result, again)
        return outcome

    def _refusal(self, attempt: Attempt) -> SimulatedError:
        return SimulatedError(f"simulated failure of {attempt.call.name}")

    def _effect(self, attempt: Attempt, began: int, result: Any = None, error: BaseException | None = None) -> None:
        if attempt.serial in self._repeated:
            return
        self._world.done[attempt.idempotency_key] += error is None
        args, kwargs = attempt.call.values()
        self._world.effects.append(
            Effect(
                attempt.call.name,
                attempt.run_id,
                args,
                kwargs,
                attempt.idempotency_key,
                attempt.number,
                attempt.call.options.delivery,
                self._clock.now_us(),
                began,
                result,
                error,
            )
        )


def _is_awaitable(result: object) -> bool:
    return type(result) is CoroutineType or inspect.isawaitable(result)


async def _swept(backing: Backing) -> None:
    await sweep_uploads(backing)


async def _told(on_error: Any, error: BaseException) -> None:
    try:
        answer: Any = on_error(error)
        if inspect.isawaitable(answer):
            await answer
    except Exception:  # the step's own error is the one that counts, as in production
        logger.exception("on_error raised.")


def _drop(coroutine: Any) -> None:
    with suppress(BaseException):  # its process is gone: nobody hears what it still does
        coroutine.close()


def _step_text(attempt: Attempt, outcome: Outcome, result: Any, again: bool) -> str:
    args, kwargs = attempt.call.values()
    call = call_text(attempt.call.name, args, kwargs)
    number = f"  (attempt {attempt.number})" if attempt.number > 1 else ""
    ending = {"completed": f"→ {result!r}", "failed": "failed", "retrying": "failed, will be tried again"}[outcome.kind]
    return f"{attempt.run_id}  {call} {ending}{number}{'  (done again)' if again else ''}"
