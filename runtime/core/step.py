"""`step`: what a body may ask for. Each method makes one command and waits for its outcome.

Knows how a request is written down. Must not know how it is answered.
"""

from __future__ import annotations

import asyncio
import json
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from perdure.core.calls import StepCall, prepare
from perdure.core.children import ChildHandle, child_input, child_run_id, workflow_id
from perdure.core.outcomes import value_of
from perdure.core.sites import site
from perdure.declare.options import Delivery, Retries, StepOptions
from perdure.declare.step import StepDefinition
from perdure.durations import Duration, duration_us, moment_text, moment_us
from perdure.errors import DefinitionError
from perdure.sandbox.handed import handed_over
from perdure.storage import entries as kinds
from perdure.storage.encoding import encode

if TYPE_CHECKING:
    from perdure.core.machine import Machine, Waiting

T = TypeVar("T")
OnParentClose = Literal["cancel", "abandon"]

_DEFAULTS = StepOptions()
_NO_KEYWORDS: Mapping[str, Any] = {}


class StepContext:
    """The durable operations of a body, its second parameter."""

    __perdure_opaque__ = True
    __slots__ = ("_machine",)

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def __repr__(self) -> str:
        return f"<step of run {self._machine.facts.run_id}>"

    # ── steps ────────────────────────────────────────────────────────────────────────────────────

    @overload
    def run(
        self, name: str, fn: Callable[..., Coroutine[Any, Any, T]], *args: object,
        retries: Retries | None = None, timeout: Duration | None = None, delivery: Delivery | None = None,
        on_error: Callable[[BaseException], object] | None = None,
    ) -> Coroutine[Any, Any, T]: ...  # fmt: skip

    @overload
    def run(
        self, name: str, fn: Callable[..., T], *args: object,
        retries: Retries | None = None, timeout: Duration | None = None, delivery: Delivery | None = None,
        on_error: Callable[[BaseException], object] | None = None,
    ) -> Coroutine[Any, Any, T]: ...  # fmt: skip

    def run(
        self,
        name: str,
        fn: Callable[..., Any],
        *args: object,
        retries: Retries | None = None,
        timeout: Duration | None = None,
        delivery: Delivery | None = None,
        on_error: Callable[[BaseException], object] | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Run `fn(*args)` once, outside the sandbox, and record its result; a replay gets the recorded one.

        Args:
            name: unique within the run; it finds the result again.
            fn: sync (a worker thread) or async, a function, a lambda or a closure of the body. A closure's captured
                variables are passed by value, like arguments.
            args: positional arguments, by value; bind keyword arguments with a lambda or `functools.partial`.
            retries: attempts after the first, or a `RetryPolicy`; 2 by default.
            timeout: of one attempt, a duration; none by default.
            delivery: `"at_least_once"` (default: after a crash in the middle it runs again, with the same idempotency
                key) or `"at_most_once"` (then `StepInterrupted` is raised instead).
            on_error: called, as part of the step, with the exception of the last attempt.

        Records: the intent with name and arguments before `fn` starts, each failed attempt, and the result.

        Raises:
            DuplicateStepName: the run used the name before.
            NotSerializable: an argument or the result has no lossless encoding.
            StepTimeout, StepInterrupted, StepFailed: as said; else what `fn` raised, as its own class.
        """
        if retries is None and timeout is None and delivery is None and on_error is None:
            options = _DEFAULTS
        else:
            options = _DEFAULTS.overridden(retries, timeout, delivery, on_error)
        return self._run(name, fn, args, _NO_KEYWORDS, options, site() if self._machine.living else "", True)

    async def _run(
        self,
        name: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        options: StepOptions,
        where: str,
        unique: bool,
    ) -> Any:
        machine = self._machine
        fn = handed_over(fn)
        if type(fn) is StepDefinition:
            options = fn.step_options if options is _DEFAULTS else options
            fn = fn.function
        if type(name) is not str or not name:
            raise _no_name(name)
        call = prepare(name, fn, args, kwargs, options)
        body, shape = call.arguments
        if unique:
            machine.claim(name, where)
        if not machine.living:
            known = machine.replayed(name, body, shape)
            if known is not None:
                return value_of(known)
        waiting = machine.ask(
            kinds.STEP, name, body, shape, call=call, detail=lambda _: _step_detail(call, where or site())
        )
        # As _outcome does, without one more coroutine: most of a replay is this line.
        future = waiting.future
        try:
            return await future  # type: ignore[misc]  # only timers have none
        except asyncio.CancelledError:
            if future.cancelled():  # type: ignore[union-attr]
                machine.drop(waiting)
            raise

    def call(
        self, definition: StepDefinition[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """Run a decorated step that a body called like a function."""
        where = site() if self._machine.living else ""
        return self._call(definition, args, kwargs, where)

    async def _call(
        self, definition: StepDefinition[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], where: str
    ) -> Any:
        name = definition.given_name
        # A name of the author's own is unique like step.run's; the function's name is numbered within the branch.
        unique = name is not None
        if name is None:
            name = self._machine.branch().call_name(definition.name)
        return await self._run(name, definition.function, args, kwargs, definition.step_options, where, unique)

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
        options = _DEFAULTS.overridden(retries, timeout, delivery, on_error)
        where = site() if self._machine.living else ""
        room = None if concurrency is None else asyncio.Semaphore(concurrency)

        async def one(index: int, item: Any) -> Any:
            step_name = f"{name}[{index}]"
            if room is None:
                return await self._run(step_name, fn, (item,), {}, options, where, True)
            async with room:
                return await self._run(step_name, fn, (item,), {}, options, where, True)

        return await self.parallel([one(index, item) for index, item in enumerate(items)])

    async def parallel(self, awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
        """Await several at once; give their results in order. The first failure cancels the others and is raised."""
        tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            raise

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    @overload
    async def sleep(self, name: str, duration: Duration, /) -> None: ...

    @overload
    async def sleep(self, duration: Duration, /) -> None: ...

    async def sleep(self, *arguments: Any) -> None:
        """Sleep durably: `sleep([name,] duration)`. The run is parked and costs no memory meanwhile."""
        name, duration = _named(arguments, "sleep", '"24h"')
        await self._sleep(name, duration_us(duration))

    @overload
    async def sleep_until(self, name: str, when: datetime | str, /) -> None: ...

    @overload
    async def sleep_until(self, when: datetime | str, /) -> None: ...

    async def sleep_until(self, *arguments: Any) -> None:
        """Sleep until an aware `datetime` or an ISO-8601 text: `sleep_until([name,] when)`. The past is now."""
        name, when = _named(arguments, "sleep_until", '"2030-01-31T09:00:00+01:00"')
        due = moment_us(when)
        waiting = self._machine.ask(
            kinds.SLEEP, name, json.dumps(moment_text(due)), due=due, detail=lambda _: _site_detail()
        )
        await self._outcome(waiting)

    async def asyncio_sleep(self, seconds: float) -> None:
        """What `asyncio.sleep` does in a body; zero or less lets the other tasks run first, and records nothing."""
        micros = duration_us(max(seconds, 0), "delay")
        if micros == 0:
            await _let_others_run()
        else:
            await self._sleep("asyncio.sleep", micros)

    async def _sleep(self, name: str, micros: int) -> None:
        machine = self._machine
        waiting = machine.ask(
            kinds.SLEEP, name, str(micros), due=machine.now_us() + micros, detail=lambda _: _site_detail()
        )
        await self._outcome(waiting)

    # ── events ───────────────────────────────────────────────────────────────────────────────────

    async def wait_for_event(
        self, name: str, *, type: str, match: Mapping[str, Any] | None = None, timeout: Duration | None = None
    ) -> Any:
        """Wait for an event from `runtime.send_event`; give its payload, or None when the timeout passed first.

        Args:
            type: equal to the event's.
            match: every key must be in the payload with an equal value; None matches any payload.
            timeout: a duration, none by default.

        Records: the wait, then the payload or the timeout.
        """
        machine = self._machine
        if not isinstance(type, str) or not type:
            raise DefinitionError(f"type={type!r} is no event type.", fix='give a text such as "payment.completed"')
        wanted = dict(match or {})
        body, shape = encode({"type": type, "match": wanted})
        due = None if timeout is None else machine.now_us() + duration_us(timeout, "timeout")
        # The ledger compares payloads as JSON, so the plain form of `match` is what it needs.
        plain = json.dumps({"type": type, "match": json.loads(encode(wanted).body)}, ensure_ascii=False)
        waiting = machine.ask(
            kinds.WAIT_EVENT, _checked(name), body, shape, due=due, detail=lambda _: _with_site(plain)
        )
        return await self._outcome(waiting)

    # ── children ─────────────────────────────────────────────────────────────────────────────────

    async def invoke(
        self,
        name: str,
        workflow: object,
        input: Any = None,
        *,
        timeout: Duration | None = None,
        on_parent_close: OnParentClose = "cancel",
    ) -> Any:
        """Start a child run and wait for its output; one step of this run.

        Args:
            workflow: a workflow or its id.
            timeout: how long to wait for the child, a duration; none by default. It is cancelled then.
            on_parent_close: `"cancel"` the child when this run is cancelled, or `"abandon"` it to finish alone.

        Raises:
            ChildFailed, ChildCancelled, StepTimeout: as the child ended.
            UnknownWorkflow, InvalidInput: inside ChildFailed, when it could not be started.
        """
        return await self._outcome(self._ask_child("invoke", name, workflow, input, timeout, on_parent_close))

    async def spawn(
        self,
        name: str,
        workflow: object,
        input: Any = None,
        *,
        on_parent_close: OnParentClose = "cancel",
    ) -> ChildHandle:
        """Start a child run and go on; the handle gives its result or cancels it. Arguments as in `invoke`."""
        waiting = self._ask_child("spawn", name, workflow, input, None, on_parent_close)
        await self._outcome(waiting)
        return ChildHandle(self, name, child_run_id(self._machine.facts, waiting.command))

    def _ask_child(
        self,
        mode: str,
        name: str,
        workflow: object,
        input: Any,
        timeout: Duration | None,
        on_parent_close: OnParentClose,
    ) -> Waiting:
        if on_parent_close not in ("cancel", "abandon"):
            raise DefinitionError(
                f"on_parent_close={on_parent_close!r} can't be used.", fix='give "cancel" or "abandon"'
            )
        machine = self._machine
        wanted = workflow_id(workflow)
        body, shape = child_input(wanted, input)
        due = None if timeout is None else machine.now_us() + duration_us(timeout, "timeout")

        def detail(command: str) -> str:
            return json.dumps(
                {
                    "workflow": wanted,
                    "run_id": child_run_id(machine.facts, command),
                    "mode": mode,
                    "on_parent_close": on_parent_close,
                    "site": site(),
                }
            )

        waiting = machine.ask(kinds.CHILD, _checked(name), body, shape, due=due, detail=detail)
        waiting.call = child_run_id(machine.facts, waiting.command)
        return waiting

    async def child_result(self, name: str, run_id: str, timeout: Duration | None) -> Any:
        """Wait for a spawned child; what `ChildHandle.result` does."""
        machine = self._machine
        due = None if timeout is None else machine.now_us() + duration_us(timeout, "timeout")
        detail = json.dumps({"run_id": run_id})
        waiting = machine.ask(
            kinds.CHILD_RESULT, f"{name}.result", json.dumps(run_id), due=due, call=run_id,
            detail=lambda _: _with_site(detail),
        )  # fmt: skip
        return await self._outcome(waiting)

    async def child_cancel(self, name: str, run_id: str) -> None:
        """Ask for a spawned child's cancellation; what `ChildHandle.cancel` does. Nothing answers it."""
        detail = json.dumps({"run_id": run_id})
        waiting = self._machine.ask(
            kinds.CHILD_CANCEL, f"{name}.cancel", json.dumps(run_id), detail=lambda _: _with_site(detail)
        )
        self._machine.waiting.pop(waiting.command, None)

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────

    async def _outcome(self, waiting: Waiting) -> Any:
        assert waiting.future is not None  # only timers have none, and they are not awaited
        try:
            return await waiting.future
        except asyncio.CancelledError:
            # The task that waited was cancelled (not the command's own outcome): whoever works on it may stop.
            if waiting.future.cancelled():
                self._machine.drop(waiting)
            raise


@types.coroutine
def _let_others_run() -> Generator[None, None, None]:
    yield


def _checked(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise _no_name(name)
    return name


def _no_name(name: object) -> DefinitionError:
    return DefinitionError(
        f"{name!r} is no name.",
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
    options = call.options
    detail: dict[str, object] = {"site": where}
    function = getattr(call.function, "func", call.function)
    qualname = getattr(function, "__qualname__", None)
    if qualname is not None:
        detail["function"] = f"{getattr(function, '__module__', '')}:{qualname}"
    if options.delivery != "at_least_once":
        detail["delivery"] = options.delivery
    if options.timeout_us is not None:
        detail["timeout_us"] = options.timeout_us
    return json.dumps(detail, ensure_ascii=False)


def _site_detail() -> str:
    return json.dumps({"site": site()})


def _with_site(detail: str) -> str:
    return f'{detail[:-1]}, "site": {json.dumps(site())}}}'
