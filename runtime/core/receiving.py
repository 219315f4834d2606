"""What a body gets from outside and tells it: events, signals, hooks, conditions over what came, and its own events.

The part of `step` that waits for the world. Knows how a request is written down. Must not know how it is answered.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Never, TypeVar, overload

from perdure.core.asking import Asking, detail_text, timeout_us
from perdure.core.boxes import SignalWait
from perdure.core.hook import Hook
from perdure.core.schema import schema_of
from perdure.core.sites import line_of, site
from perdure.durations import Duration
from perdure.errors import DefinitionError
from perdure.storage import entries as kinds
from perdure.storage.encoding import encode
from perdure.storage.plain import parse

T = TypeVar("T")

#: Types that begin so are ours.
OURS = ":"


class Receiving(Asking):
    """The methods of `step` for events, signals, hooks and conditions."""

    __slots__ = ()

    def wait_for_event(
        self, name: str, *, type: str, match: Mapping[str, Any] | None = None, timeout: Duration | None = None
    ) -> Coroutine[object, Never, Any]:
        """Wait for an event from `runtime.send_event`; give its payload, or None when the timeout passed first.

        Args:
            type: equal to the event's.
            match: every key must be in the payload with an equal value; None matches any payload.
            timeout: a duration, none by default.

        Records: the wait, then the payload or the timeout.
        """
        check_event_type(type)
        arguments = encode({"type": type, "match": dict(match or {})})
        # The ledger compares payloads as JSON, so the plain form of `match` is what it needs.
        return self._wait(
            kinds.WAIT_EVENT, _named(name, 'step.wait_for_event("paid", type=…)'), arguments, self._here(),
            lasts_us=timeout_us(timeout), detail={"type": type, "match": parse(arguments.body)["match"]},
        )  # fmt: skip

    @overload
    def wait_for_signal(self, name: str, timeout: None = None, *, schema: type[T]) -> Coroutine[object, Never, T]: ...

    @overload
    def wait_for_signal(
        self, name: str, timeout: Duration | None = None, *, schema: type[T]
    ) -> Coroutine[object, Never, T | None]: ...

    @overload
    def wait_for_signal(
        self, name: str, timeout: Duration | None = None, schema: object = None
    ) -> Coroutine[object, Never, Any]: ...

    def wait_for_signal(
        self, name: str, timeout: Duration | None = None, schema: object = None
    ) -> Coroutine[object, Never, Any]:
        """Wait for a signal of this name; give its payload, or None when the timeout passed first.

        Signals are kept until the run takes them, in the order in which they came: one that came before anybody waited
        is given at once. A new attempt of the run takes them again from the first.

        Args:
            name: what `handle.signal(name, payload)` calls it by; each name has a queue of its own.
            timeout: a duration, none by default.
            schema: a pydantic model, a dataclass, a TypedDict or builtin types: the body gets the validated value.
                While such a wait is open a payload that does not fit is refused to whoever sends it.

        Records: the wait, then the payload or the timeout; a signal that was kept answers without an entry.

        Raises:
            InvalidInput: a signal that came before the body said `schema` does not fit it. It is taken.
        """
        wanted = _named(name, 'step.wait_for_signal("approved")')
        return self._wait(
            kinds.WAIT_SIGNAL, wanted, None, self._here(),
            lasts_us=timeout_us(timeout), call=SignalWait(wanted, schema_of(schema)),
        )  # fmt: skip

    @overload
    def hook(self, token: str | None = None, *, schema: type[T], timeout: None = None) -> Hook[T]: ...

    @overload
    def hook(self, token: str | None = None, *, schema: type[T], timeout: Duration | None) -> Hook[T | None]: ...

    @overload
    def hook(
        self, token: str | None = None, schema: object = None, *, timeout: Duration | None = None
    ) -> Hook[Any]: ...

    def hook(self, token: str | None = None, schema: object = None, *, timeout: Duration | None = None) -> Hook[Any]:
        """Make a hook, at once: its `token` lets the outside hand payloads to this run by `runtime.resume_hook`.

        `await hook` gives one payload and closes the hook; `async for payload in hook` gives many, until
        `hook.dispose()` or the end of the run. What comes before anybody waits is kept, in order.

        Args:
            token: a text of your own, such as f"approval:{doc_id}", which one open hook at a time may have; None makes
                one that nobody can guess.
            schema: as in `wait_for_signal`: a payload that does not fit is refused to whoever sends it.
            timeout: how long each wait for a payload lasts, a duration; none by default. When it passes, `await hook`
                gives None and an `async for` ends. The hook is closed then: its token is free, whoever calls it is told
                that no open hook has it, and `hook.timed_out` is True.

        Records: the hook with its token, each wait, each payload or the timeout, and that it was closed.

        Raises:
            HookRefused: when the hook is awaited: another open hook has the token.
        """
        if token is not None and (not isinstance(token, str) or not token):
            raise DefinitionError(
                f"token={token!r} can't be used.", where=site(), fix='give a text: step.hook(f"approval:{doc_id}")'
            )
        return Hook(self._machine, token, schema_of(schema), timeout_us(timeout), self._here())

    async def wait_until(self, predicate: Callable[[], object], *, timeout: Duration | None = None) -> bool:
        """Wait until a condition over the body's own state holds; True when it does, False when the timeout passed.

        It is looked at again after each thing that reaches the run, for instance what another task of the body was
        given: `await step.wait_until(lambda: len(votes) >= 3)`.

        Args:
            predicate: an ordinary function without arguments; it should do no more than look.
            timeout: a duration, none by default.

        Records: nothing when it holds at once, else the wait, and that it is over.
        """
        machine = self._machine
        lasts_us = timeout_us(timeout)
        if _holds(predicate):
            machine.branch().next_command()  # what follows is called the same, whether or not it had to wait
            return True
        waiting = machine.ask(
            kinds.WAIT_UNTIL, "wait_until", due=None if lasts_us is None else machine.now_us() + lasts_us,
            detail=lambda _: detail_text({}, line_of(predicate)),
        )  # fmt: skip
        assert waiting.future is not None
        condition = machine.conditions.add()
        try:
            while not waiting.future.done():  # it is when the timeout passed, perhaps in an earlier attempt
                await condition.look_again()
                if not waiting.future.done() and _holds(predicate):
                    return True
            return False
        finally:
            machine.conditions.open.remove(condition)
            machine.drop(waiting)

    def emit(self, type: str, payload: Any = None) -> Coroutine[object, Never, None]:
        """Tell whoever reads `handle.events()` that something happened. It does not wait.

        Args:
            type: a text of your own.
            payload: anything that can be recorded.

        Records: the event, once, also when the run is tried again.
        """
        if not isinstance(type, str) or not type:
            raise DefinitionError(
                f"type={type!r} is no event type.", where=site(), fix='write step.emit("progress", …)'
            )
        return self._emit(type, encode(payload), self._here())

    async def _emit(self, type: str, payload: tuple[str, str | None], where: str) -> None:
        self._machine.record(kinds.EMIT, type, *payload, detail=lambda _: detail_text({}, where))


def check_event_type(type: object) -> None:
    """Refuse what is no type of an event, or one of ours."""
    if not isinstance(type, str) or not type:
        raise DefinitionError(f"type={type!r} is no event type.", fix='give a text such as "payment.completed"')
    if type.startswith(OURS):
        raise DefinitionError(
            f"type={type!r} begins with a colon, as only Perdure's own types do.", fix=f"write {type.lstrip(OURS)!r}"
        )


def _named(name: object, example: str) -> str:
    if not isinstance(name, str) or not name:
        raise DefinitionError(
            f"{name!r} is no name.", where=site(), fix=f"the first argument is the name, a text: await {example}"
        )
    return name


def _holds(predicate: Callable[[], object]) -> bool:
    if not callable(predicate):
        raise DefinitionError(
            f"step.wait_until takes a function, not {predicate!r}.",
            where=site(),
            why="the condition was worked out once, before the call, and could not be looked at again",
            fix="write await step.wait_until(lambda: …)",
        )
    holds = predicate()
    if inspect.isawaitable(holds):
        if inspect.iscoroutine(holds):
            holds.close()  # nobody will await it, and it would warn about that
        raise DefinitionError(
            "the condition of step.wait_until gives something to await, not an answer.",
            where=line_of(predicate) or site(),
            why="a condition only looks at what the body knows; it can't do durable work",
            fix="write a plain lambda or def, and do the work in a task of its own that sets what it looks at",
        )
    return bool(holds)
