"""`step.hook()`: a token that lets the outside hand payloads to one run.

The token is recorded when the hook is made, so a replay has the same one, also where the runtime thought it up; so has
the next attempt of the run, because somebody outside holds it. A hook whose timeout passed is closed like one that was
disposed: whoever comes late hears that, where a payload that was kept would never be read. Knows a hook's commands.
Must not know who holds a token elsewhere: the engine says so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, Generic

from typing_extensions import TypeVar  # with a default, before Python 3.13

from perdure.core.asking import detail_text, outcome_of
from perdure.core.boxes import HookWait
from perdure.core.schema import Schema
from perdure.core.sites import site
from perdure.errors import HookRefused, WorkflowError
from perdure.storage import entries as kinds
from perdure.storage.boxes import hook_box
from perdure.storage.entries import Entry
from perdure.storage.failures import decode_failure

if TYPE_CHECKING:
    from perdure.core.machine import Machine

#: What it gives: of the type of its schema, if it has one.
Payload = TypeVar("Payload", default=Any)

_DISPOSED: Final = object()  # what a wait gets whose hook was disposed meanwhile


class Hook(Generic[Payload]):
    """A hook of a run: `await hook` for one payload, `async for payload in hook` for many.

    Attributes:
        token: what the outside calls it by: `runtime.resume_hook(hook.token, payload)`. It is a plain text, which may
            be passed to steps and recorded.
        timed_out: whether its timeout passed, which closed it.
    """

    __perdure_opaque__ = True
    __slots__ = (
        "_awaited", "_disposed", "_machine", "_refusal", "_timeout_us", "closed", "command", "schema", "timed_out",
        "token",
    )  # fmt: skip

    def __init__(
        self, machine: Machine, given: str | None, schema: Schema | None, timeout_us: int | None, where: str
    ) -> None:
        self._machine = machine
        self._awaited = False
        self._disposed = False
        self._refusal: BaseException | None = None
        self._timeout_us = timeout_us
        self.schema = schema
        self.timed_out = False
        self.closed = False  # a payload has answered `await hook`, and it takes no other
        waiting = machine.ask(
            kinds.HOOK, given or "", call=self,
            detail=lambda command: detail_text({"token": _token(machine, command, given)}, where),
        )  # fmt: skip
        self.command = waiting.command
        self.token = token_of(waiting.detail)

    def __repr__(self) -> str:
        return f"<hook {self.token}>"

    def __await__(self) -> Generator[Any, Any, Payload]:
        return self._once().__await__()

    def __aiter__(self) -> Hook[Payload]:
        return self

    async def __anext__(self) -> Payload:
        if self._awaited:
            raise self._used_up("and it was awaited, which takes one payload and closes it")
        payload = await self._next(once=False)
        if payload is _DISPOSED or self.timed_out:
            raise StopAsyncIteration
        return payload  # type: ignore[no-any-return]  # validated against the schema

    def dispose(self) -> None:
        """Say that no more payloads are wanted: the token is free again, and an `async for` over the hook ends."""
        if self._disposed or self._refusal is not None:
            return
        self._disposed = True
        machine = self._machine
        closed = json.dumps({"hook": self.command})
        machine.record(kinds.HOOK_CLOSED, self.token, closed, detail=lambda _: detail_text({"hook": self.command}, ""))
        machine.waiting.pop(self.command, None)
        self._end_waits(None)

    def refuse(self, error: BaseException) -> None:
        """Take the word that another run holds the token: whoever waits for the hook hears of it."""
        self._refusal = error
        self._end_waits(error)

    async def _once(self) -> Any:
        if self.timed_out:
            raise self._used_up("and its timeout passed, which closed it")
        if self._awaited:
            raise self._used_up("and this is the second time that it is awaited")
        self._awaited = True
        try:
            payload = await self._next(once=True)
        except asyncio.CancelledError:
            self._awaited = self.closed  # given up before a payload came, as by a timeout: it may be awaited again
            raise
        if payload is _DISPOSED:
            raise self._used_up("and it was disposed")
        return payload

    async def _next(self, *, once: bool) -> Any:
        if self._refusal is not None and not self._machine.boxes.keeps(hook_box(self.command)):
            raise self._refusal  # a fork may have payloads from before the token was refused to it
        if self._disposed:
            return _DISPOSED
        machine = self._machine
        facts = {"hook": self.command, "once": once}
        wait = HookWait(self, once)
        waiting = machine.ask(
            kinds.WAIT_HOOK, self.token, json.dumps(facts), call=wait,
            due=None if self._timeout_us is None else machine.now_us() + self._timeout_us,
            detail=lambda _: detail_text(facts, site()),
        )  # fmt: skip
        answer = await outcome_of(machine, waiting)
        if answer is None and not wait.answered and not self._disposed:
            self.timed_out = True
            self.dispose()
        return answer

    def _end_waits(self, error: BaseException | None) -> None:
        machine = self._machine
        for waiting in list(machine.waiting.values()):
            if waiting.kind == kinds.WAIT_HOOK and waiting.call.hook is self:
                machine.drop(waiting)
                future = waiting.future
                if future is None or future.done():
                    continue
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(_DISPOSED)

    def _used_up(self, why: str) -> WorkflowError:
        return WorkflowError(
            f"hook {self.token!r} gives no more payloads.",
            where=site(),
            why=f"a hook is awaited once, {why}",
            fix="write `async for payload in hook` to take several, and hook.dispose() when no more are wanted",
        )


def _token(machine: Machine, command: str, given: str | None) -> str:
    """As given, as an earlier attempt of the run had it (somebody outside holds it), or a new one."""
    earlier = machine.hooks_before.get(command)
    if earlier is not None and earlier.name == (given or ""):
        return token_of(earlier.detail)
    return given if given is not None else machine.new_token()


def token_of(detail: str | None) -> str:
    """The token that a HOOK's entry has recorded."""
    return str(json.loads(detail or "{}")["token"])


def refuse_hook(machine: Machine, cause: Entry) -> None:
    """Take a HOOK_REFUSED: the hook gives no payloads."""
    waiting = machine.waiting.pop(cause.command, None)
    if waiting is None:
        return  # disposed in the same breath
    error = decode_failure(cause.body or "null", cause.shape).exception()
    waiting.call.refuse(error if error is not None else HookRefused(f"the token {waiting.call.token!r} is taken."))
