"""`step`: what a body may ask for. Each method makes one command and waits for its outcome.

Knows how a request is written down. Must not know how it is answered.
"""

from __future__ import annotations

import asyncio
import functools
import json
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Never, NoReturn, TypeVar, TypeVarTuple, overload

from perdure.core.asking import NO_FACTS, detail_text, timeout_us
from perdure.core.calls import StepCall, prepare, prepare_ordinary
from perdure.core.children import ChildHandle, child_input, child_run_id, workflow_id
from perdure.core.continuing import ContinueAs
from perdure.core.lacking import lacking
from perdure.core.outcomes import value_of
from perdure.core.promised import noting
from perdure.core.receiving import Receiving
from perdure.core.refusals import name_used_twice
from perdure.core.sites import site
from perdure.core.stream import Stream, checked_namespace
from perdure.declare.options import Delivery, Retries, StepOptions
from perdure.declare.reactions import Reaction
from perdure.declare.registry import Output, Startable
from perdure.declare.step import StepDefinition
from perdure.durations import Duration, duration_us, moment_text, moment_us
from perdure.errors import DefinitionError
from perdure.sandbox import activation
from perdure.sandbox.handed import handed_over, is_ordinary
from perdure.storage import entries as kinds
from perdure.storage.encoding import Encoded, encode_arguments
from perdure.storage.plain import parse

if TYPE_CHECKING:
    from perdure.core.machine import Machine

T = TypeVar("T")
Item = TypeVar("Item")
Ts = TypeVarTuple("Ts")
OnParentClose = Literal["cancel", "abandon"]

_DEFAULTS = StepOptions()


@noting
class StepContext(Receiving):
    """The durable operations of a body, its second parameter."""

    __perdure_opaque__ = True
    __slots__ = ()

    def __repr__(self) -> str:
        return f"<step of run {self._machine.facts.run_id}>"

    def __getattr__(self, name: str) -> Any:
        raise lacking(self, "step", name)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────

    @overload
    def run(
        self, name: str, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts,
        retries: Retries | None = None, timeout: Duration | None = None, delivery: Delivery | None = None,
        on_error: Callable[[BaseException], object] | None = None, heartbeat_timeout: Duration | None = None,
    ) -> Coroutine[object, Never, T]: ...  # fmt: skip

    @overload
    def run(
        self, name: str, fn: Callable[[*Ts], T], *args: *Ts,
        retries: Retries | None = None, timeout: Duration | None = None, delivery: Delivery | None = None,
        on_error: Callable[[BaseException], object] | None = None, heartbeat_timeout: Duration | None = None,
    ) -> Coroutine[object, Never, T]: ...  # fmt: skip

    def run(
        self,
        name: str = "",  # both are needed, as the overloads say; without them the error is `_run`'s, with its fix
        fn: Any = None,
        *args: object,
        retries: Retries | None = None,
        timeout: Duration | None = None,
        delivery: Delivery | None = None,
        on_error: Callable[[BaseException], object] | None = None,
        heartbeat_timeout: Duration | None = None,
    ) -> Coroutine[object, Never, Any]:
        """Run `fn(*args)` once, outside the sandbox, and record its result; a replay gets the recorded one.

        Args:
            name: unique within the run; it finds the result again.
            fn: sync (a worker thread) or async, a function, a lambda or a closure of the body. A closure's captured
                variables are passed by value, like arguments.
            args: positional arguments, by value; bind keyword arguments with a lambda or `functools.partial`.
            retries: attempts after the first, or a `RetryPolicy`; 2 by default.
            timeout: of one attempt, a duration; none by default.
            delivery: `"at_least_once"` (default: after a crash in the middle it runs again, with the same idempotency
                key) or `"at_most_once"` (then `StepInterrupted` is raised instead, and `retries` is 0 by default).
            on_error: called, as part of the step, with the exception of the last attempt.
            heartbeat_timeout: how long an attempt may go without `current_step().heartbeat()` or a chunk, a duration;
                none by default.

        Records: the intent with name and arguments before `fn` starts, each failed attempt, and the result.

        Raises:
            DuplicateStepName: the run used the name before.
            NotSerializable: an argument or the result has no lossless encoding.
            StepTimeout, StepInterrupted, StepFailed: as said; else what `fn` raised, as its own class.
        """
        if retries is None and timeout is None and delivery is None and on_error is None and heartbeat_timeout is None:
            options = _DEFAULTS
        else:
            options = _own_options(fn).overridden(retries, timeout, delivery, on_error, heartbeat_timeout)
        machine = self._machine
        where = site() if machine.living else ""  # _here(), without one more call
        # What `Promised.note` does, written out: this runs for every step of a replay.
        promised = machine.promised
        promised.count = token = promised.count + 1
        coroutine = promised.given[token] = _run(machine, name, fn, args, NO_FACTS, options, where, True, token)
        return coroutine

    def call(
        self, definition: StepDefinition[..., Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Coroutine[object, Never, Any]:
        """Run a decorated step that a body called like a function."""
        machine = self._machine
        where = site() if machine.living else ""
        return machine.promised.note(_call(machine, definition, args, kwargs, where))

    @overload
    async def map(
        self, name: str, fn: Callable[[Item], Awaitable[T]], items: Iterable[Item], *,
        concurrency: int | None = None, retries: Retries | None = None, timeout: Duration | None = None,
        delivery: Delivery | None = None, on_error: Callable[[BaseException], object] | None = None,
        heartbeat_timeout: Duration | None = None,
    ) -> list[T]: ...  # fmt: skip

    @overload
    async def map(
        self, name: str, fn: Callable[[Item], T], items: Iterable[Item], *,
        concurrency: int | None = None, retries: Retries | None = None, timeout: Duration | None = None,
        delivery: Delivery | None = None, on_error: Callable[[BaseException], object] | None = None,
        heartbeat_timeout: Duration | None = None,
    ) -> list[T]: ...  # fmt: skip

    async def map(
        self,
        name: str,
        fn: Callable[..., Any],
        items: Iterable[Any],
        *,
        concurrency: int | None = None,
        retries: Retries | None = None,
        timeout: Duration | None = None,
        delivery: Delivery | None = None,
        on_error: Callable[[BaseException], object] | None = None,
        heartbeat_timeout: Duration | None = None,
    ) -> list[Any]:
        """Run `fn(item)` for every item, each as a step `name[0]`, `name[1]`, …; give the results in order.

        Args:
            concurrency: how many at a time, at least 1; None is all of them. Other arguments as in `run`.

        Raises:
            The first failure; the items that still run are cancelled.
        """
        if concurrency is not None and (isinstance(concurrency, bool) or concurrency < 1):
            raise DefinitionError(
                f"concurrency={concurrency!r} can't be used.", fix="give a whole number of at least 1"
            )
        options = _own_options(fn).overridden(retries, timeout, delivery, on_error, heartbeat_timeout)
        machine, where = self._machine, self._here()
        room = None if concurrency is None else asyncio.Semaphore(concurrency)

        async def one(index: int, item: Any) -> Any:
            step_name = f"{name}[{index}]"
            if room is None:
                return await _run(machine, step_name, fn, (item,), {}, options, where, True)
            async with room:
                return await _run(machine, step_name, fn, (item,), {}, options, where, True)

        return await self.parallel([one(index, item) for index, item in enumerate(items)])

    async def parallel(self, awaitables: Sequence[Awaitable[T]]) -> list[T]:
        """Await several at once; give their results in order. The first failure cancels the others and is raised."""
        tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            raise

    def stream(self, namespace: str = "default") -> Stream:
        """Give one of the run's streams, for a step to write to: `await step.run("talk", talk, step.stream("logs"))`.

        Steps of child runs may write to it too. Nothing is recorded for it; `run.stream(namespace)` reads it.

        Raises:
            SandboxViolation: the body writes to it, closes it or reads it itself.
        """
        self._machine.branch()  # refuses whoever is not the body
        return Stream(self._machine.known_as.run_id, checked_namespace(namespace))

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    @overload
    def sleep(self, name: str, duration: Duration, /) -> Coroutine[object, Never, None]: ...

    @overload
    def sleep(self, duration: Duration, /) -> Coroutine[object, Never, None]: ...

    def sleep(self, *arguments: Any) -> Coroutine[object, Never, None]:
        """Sleep durably: `sleep([name,] duration)`. The run is parked and costs no memory meanwhile."""
        name, duration = _named(arguments, "sleep", '"24h"')
        micros = duration_us(duration)
        return self._wait(kinds.SLEEP, name, Encoded(str(micros), None), self._here(), lasts_us=micros)

    @overload
    def sleep_until(self, name: str, when: datetime | str, /) -> Coroutine[object, Never, None]: ...

    @overload
    def sleep_until(self, when: datetime | str, /) -> Coroutine[object, Never, None]: ...

    def sleep_until(self, *arguments: Any) -> Coroutine[object, Never, None]:
        """Sleep until an aware `datetime` or an ISO-8601 text: `sleep_until([name,] when)`. The past is now."""
        name, when = _named(arguments, "sleep_until", '"2030-01-31T09:00:00+01:00"')
        due = moment_us(when)
        return self._wait(kinds.SLEEP, name, Encoded(json.dumps(moment_text(due)), None), self._here(), due_us=due)

    def asyncio_sleep(self, seconds: float) -> Coroutine[object, Never, None]:
        """What `asyncio.sleep` does in a body; zero or less lets the other tasks run first, and records nothing."""
        micros = duration_us(max(seconds, 0), "delay")
        if micros == 0:
            return _let_others_run()
        return self._wait(kinds.SLEEP, "asyncio.sleep", Encoded(str(micros), None), self._here(), lasts_us=micros)

    # ── children ─────────────────────────────────────────────────────────────────────────────────

    def invoke(
        self,
        name: str,
        workflow: Startable[Output],
        input: Any = None,
        *,
        timeout: Duration | None = None,
        on_parent_close: OnParentClose = "cancel",
    ) -> Coroutine[object, Never, Output]:
        """Start a child run and wait for its output; one step of this run.

        Args:
            workflow: a workflow or its id.
            timeout: how long to wait for the child, a duration; none by default. It is cancelled then.
            on_parent_close: `"cancel"` the child when this run is cancelled, or `"abandon"` it to finish alone.

        Raises:
            ChildFailed, ChildCancelled, StepTimeout: as the child ended.
            UnknownWorkflow, InvalidInput: inside ChildFailed, when it could not be started.
        """
        return self._child("invoke", name, workflow, input, timeout, on_parent_close, self._here())

    async def _child(
        self,
        mode: str,
        name: str,
        workflow: object,
        input: Any,
        timeout: Duration | None,
        on_parent_close: OnParentClose,
        where: str,
    ) -> Any:
        if on_parent_close not in ("cancel", "abandon"):
            raise DefinitionError(
                f"on_parent_close={on_parent_close!r} can't be used.", fix='give "cancel" or "abandon"'
            )
        machine = self._machine
        wanted = workflow_id(workflow)
        body, shape = child_input(wanted, input)
        lasts_us = timeout_us(timeout)

        def detail(command: str) -> str:
            run_id = child_run_id(machine.facts, command)
            facts = {"workflow": wanted, "run_id": run_id, "mode": mode, "on_parent_close": on_parent_close}
            return detail_text(facts, where)

        due = None if lasts_us is None else machine.now_us() + lasts_us
        waiting = machine.ask(kinds.CHILD, _checked(name), body, shape, due=due, detail=detail)
        answer = await self._outcome(waiting)
        return ChildHandle(self, name, waiting.call) if mode == "spawn" else answer

    def spawn(
        self,
        name: str,
        workflow: Startable[Output],
        input: Any = None,
        *,
        on_parent_close: OnParentClose = "cancel",
    ) -> Coroutine[object, Never, ChildHandle[Output]]:
        """Start a child run and go on; the handle gives its result or cancels it. Arguments as in `invoke`."""
        return self._child("spawn", name, workflow, input, None, on_parent_close, self._here())

    def child_result(self, name: str, run_id: str, timeout: Duration | None) -> Coroutine[object, Never, Any]:
        """Wait for a spawned child; what `ChildHandle.result` does."""
        return self._wait(
            kinds.CHILD_RESULT, f"{name}.result", Encoded(json.dumps(run_id), None), self._here(),
            lasts_us=timeout_us(timeout), detail={"run_id": run_id}, call=run_id,
        )  # fmt: skip

    async def child_cancel(self, name: str, run_id: str) -> None:
        """Ask for a spawned child's cancellation; what `ChildHandle.cancel` does. Nothing answers it."""
        self._machine.record(
            kinds.CHILD_CANCEL,
            f"{name}.cancel",
            json.dumps(run_id),
            detail=lambda _: detail_text({"run_id": run_id}, ""),
        )

    # ── loops without end ────────────────────────────────────────────────────────────────────────

    async def continue_as(self, input: Any = None) -> NoReturn:
        """End this run and start another one of the same workflow with `input`, in one breath; it never returns.

        For loops without end: each run keeps a short history. What leaves the body derives from BaseException, so that
        `except Exception` lets it pass; `finally` runs, with steps. Who waits for this run waits for the last of the
        chain. The next run has the tags, the key, the parent and the signals that nobody took of this one.

        Raises:
            InvalidInput, NotSerializable: `input` does not fit the body's annotation; the run goes on.
        """
        self._machine.branch()  # refuses a call from outside of the body
        with activation.suspended():  # validation is ours, not the body's
            going_on = ContinueAs(self._machine.executable.encode_input(input))
        raise going_on


def _own_options(fn: object) -> StepOptions:
    """What a step is run with where the call does not say otherwise: what it was decorated with."""
    fn = handed_over(fn)
    if isinstance(fn, Reaction):
        fn = fn.as_step
    return fn.step_options if type(fn) is StepDefinition else _DEFAULTS


# A function, because `__getattr__` of the class makes each look-up in an object of it several times as slow.
async def _run(
    machine: Machine,
    name: str,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    options: StepOptions,
    where: str,
    unique: bool,
    token: int = 0,
) -> Any:
    machine.promised.given.pop(token, None)
    ordinary = is_ordinary(fn)
    if not ordinary:
        fn = handed_over(fn)
        if isinstance(fn, Reaction):
            fn = fn.as_step
        if type(fn) is StepDefinition:
            options = fn.step_options if options is _DEFAULTS else options
            fn = fn.function
        ordinary = is_ordinary(fn)
    if type(name) is not str or not name:
        raise _no_name(name)
    call = None
    if ordinary and not kwargs:
        arguments = encode_arguments(args)
    else:
        call = prepare(name, fn, args, kwargs, options)
        arguments = call.arguments
    body, shape = arguments
    if unique:
        if name in machine.names:
            raise name_used_twice(name, where or site(), machine.names[name])
        machine.names[name] = where
    known = machine.replayed(name, body, shape)
    if known is not None:
        return parse(known[8] or "null") if known[9] is None else value_of(known)
    if call is None:
        call = prepare_ordinary(name, fn, arguments, options)
    waiting = machine.ask(kinds.STEP, name, body, shape, call=call, detail=lambda _: _step_detail(call, where))
    # As _outcome does, without one more coroutine: most of a replay is this line.
    future = waiting.future
    try:
        return await future  # type: ignore[misc]  # only timers have none
    except asyncio.CancelledError:
        if future.cancelled():  # type: ignore[union-attr]
            machine.drop(waiting)
        raise


async def _call(
    machine: Machine,
    definition: StepDefinition[..., Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    where: str,
) -> Any:
    name = definition.given_name
    # A name of the author's own is unique like step.run's; the function's name is numbered within the branch.
    unique = name is not None
    if name is None:
        # A replay of a body with one task asks for nothing else than its branch: `ask` looks at the rest.
        tasks = machine.loop.tasks
        alone = len(tasks) == 1 and not machine.living
        branch = tasks[0].branch if alone else machine.branch()
        name = branch.call_name(definition.name)
    return await _run(machine, name, definition.function, args, kwargs, definition.step_options, where, unique)


async def _let_others_run() -> None:
    await _pause()


@types.coroutine
def _pause() -> Generator[None, None, None]:
    yield


def _checked(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise _no_name(name)
    return name


def _no_name(name: object) -> DefinitionError:
    # A replay has to find the same words, so not the address of a function.
    shown = repr(name) if name is None or isinstance(name, (str, int, float)) else f"{type(name).__name__} object"
    return DefinitionError(
        f"{shown} is no name.",
        where=site(),
        fix='the first argument is the name, a text: await step.run("charge", charge_card, order)',
    )


def _named(arguments: tuple[Any, ...], method: str, example: str) -> tuple[str, Any]:
    if len(arguments) == 1:
        return method, arguments[0]
    if len(arguments) == 2:
        return _checked(arguments[0]), arguments[1]
    raise DefinitionError(
        f"step.{method} takes one or two arguments, not {len(arguments)}.",
        where=site(),
        fix=f'write step.{method}({example}) or step.{method}("name", {example})',
    )


def _step_detail(call: StepCall, where: str) -> str:
    function = getattr(call.function, "func", call.function)
    qualname = getattr(function, "__qualname__", None)
    name = "" if qualname is None else f"{getattr(function, '__module__', '')}:{qualname}"
    options = call.options
    return _detail_of_step(name, options.delivery, options.timeout_us, options.heartbeat_timeout_us, where or site())


@functools.lru_cache(maxsize=4096)  # the same few lines ask for most steps
def _detail_of_step(
    function: str, delivery: Delivery, timeout_us: int | None, heartbeat_timeout_us: int | None, where: str
) -> str:
    detail: dict[str, object] = {}
    if function:
        detail["function"] = function
    if delivery != "at_least_once":
        detail["delivery"] = delivery
    if timeout_us is not None:
        detail["timeout_us"] = timeout_us
    if heartbeat_timeout_us is not None:
        detail["heartbeat_timeout_us"] = heartbeat_timeout_us
    return detail_text(detail, where)
