"""Scopes: whose writes an operation's are. A step's are its attempt's; a call from outside commits its own.

Knows transactions and who awaits. Must not know any one service.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import CodeType
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from perdure.errors import PerdureError, WorkflowError, WriteConflict
from perdure.services.backing import Backing
from perdure.services.claims import over
from perdure.services.effects import Effects
from perdure.services.transaction import Transaction

T = TypeVar("T")
_SWEEP_AT: Final = 256  # operations, before those that were awaited are forgotten
_TRIES_MAX: Final = 30  # of a call from outside that somebody else was quicker than: about three seconds
_OURS: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep  # files that are no author's


class Scope(Protocol):
    """What an operation of a service works in."""

    @property
    def backing(self) -> Backing: ...

    def run(self, work: Coroutine[Any, Any, T]) -> Any:
        """Give what the caller can use: an awaitable on an event loop, the result in a thread without one."""
        ...

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Block until it is done."""
        ...

    def writing(self) -> AbstractAsyncContextManager[Transaction]:
        """Enter the transaction that the operation writes in."""
        ...

    def apart(self) -> AbstractAsyncContextManager[Transaction]:
        """Enter a transaction that is committed at its end, whatever becomes of a step."""
        ...

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Have `work` write in it; of a call from outside again, when somebody else was quicker."""
        ...


class Begun(NamedTuple):
    """An operation that was asked for; `is_awaited_here` says that nothing happens before it is awaited."""

    work: Coroutine[Any, Any, Any]
    code: CodeType  # of who asked, and in which line
    line: int
    is_awaited_here: bool


class StepScope:
    """One attempt of a step: all that it does is one transaction, which ends with it.

    Operations run on the services' loop. Who asks for them, and who ends it, may be in any thread.
    """

    def __init__(self, backing: Backing, label: str, idempotency_key: str) -> None:
        self.backing = backing
        self.transaction = Transaction(backing, label, idempotency_key)
        self._label = label
        self._is_over = False
        self._at_work = 0  # operations that have begun and not ended
        self._begun: dict[int, Begun] = {}  # that may not have begun yet, by the id of their coroutine
        self._sweep_at = _SWEEP_AT

    def run(self, work: Coroutine[Any, Any, T]) -> Any:
        """Give an awaitable that is known until it is awaited, or the result."""
        self._refuse_if_over(work)
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
            frame = frame.f_back
        answer = self.backing.loop.run(work)
        if answer is work or inspect.isawaitable(answer):
            self._begun[id(work)] = Begun(work, frame.f_code, frame.f_lineno, answer is work)
            if len(self._begun) > self._sweep_at:
                self._begun = {id(each.work): each for each in self._forgotten()}
                self._sweep_at = 2 * len(self._begun) + _SWEEP_AT
        return answer

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Block until it is done."""
        self._refuse_if_over(work)
        return self.backing.loop.wait(work)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Transaction]:
        """The attempt's own transaction."""
        self._at_work += 1  # before looking: whoever ends it looks in the other order
        try:
            if self._is_over:
                raise over(self._label)
            yield self.transaction
        finally:
            self._at_work -= 1

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Write in the attempt's transaction. A conflict has the whole step tried again, for it read more than this."""
        self._at_work += 1  # as `writing`, without a context manager: this is on the way of every write
        try:
            if self._is_over:
                raise over(self._label)
            return await work(self.transaction)
        finally:
            self._at_work -= 1

    def apart(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that is committed now, whatever becomes of the step."""
        return committed(self.backing, self._label)

    @property
    def is_concluded(self) -> bool:
        """Whether nothing more can be written, and all that other back ends keep is."""
        return self._is_over and not self.transaction.writes_outside

    def conclude(self) -> None:
        """End: nothing more is written.

        Raises:
            WorkflowError: an operation was asked for and not awaited, or is still at work.
        """
        self._is_over = True
        forgotten = self._forgotten()
        self._begun.clear()
        for each in forgotten:
            if each.is_awaited_here:
                each.work.close()
        if forgotten:
            name = getattr(forgotten[0].work, "__qualname__", "an operation").replace("._", ".")
            raise WorkflowError(
                f"{self._label} called {name} and did not await it, so nothing was done.",
                where="\n".join(f"{each.code.co_filename}:{each.line}" for each in forgotten),
                fix=f"write await before it. (In a plain def, {name} just does it.)",
            )
        if self._at_work:
            raise WorkflowError(
                f"{self._label} returned while something of it still used a service.",
                why="what it would write then could not be recorded with its result any more",
                fix="wait for the tasks and threads that it starts before it returns",
            )

    def effects(self) -> Effects | None:
        """All that the attempt did, for the batch that records its result; None when it did nothing."""
        self._is_over = True
        if not self.transaction.is_empty:
            with suppress(WorkflowError):  # it was given up in this moment, because its run was cancelled
                return self.transaction.effects()
        self.transaction.end()
        return None

    def end(self) -> None:
        """Give up: nothing was written, and nothing will be."""
        self._is_over = True
        self.transaction.end()

    def _forgotten(self) -> list[Begun]:
        created = inspect.CORO_CREATED
        return [each for each in list(self._begun.values()) if inspect.getcoroutinestate(each.work) == created]

    def _refuse_if_over(self, work: Coroutine[Any, Any, Any]) -> None:
        if self._is_over:
            work.close()
            raise over(self._label)


class OutsideScope:
    """A call from outside of steps: each operation is a transaction of its own, durable when it returns."""

    def __init__(self, backing: Backing) -> None:
        self.backing = backing

    def run(self, work: Coroutine[Any, Any, T]) -> Any:
        """Give an awaitable, or the result."""
        self._refuse_if_closed(work)
        return self.backing.loop.run(self._counted(work))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Block until it is done."""
        self._refuse_if_closed(work)
        return self.backing.loop.wait(self._counted(work))

    async def _counted(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it, unless the runtime was closed since it was asked for."""
        self._refuse_if_closed(work)
        self.backing.at_work += 1
        try:
            return await work
        finally:
            self.backing.at_work -= 1

    def _refuse_if_closed(self, work: Coroutine[Any, Any, Any]) -> None:
        if self.backing.is_closed:  # other back ends would connect again, for nobody to close
            work.close()
            raise PerdureError("the runtime is closed.", fix="use its services inside its `async with` or `with` block")

    def writing(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that is committed at the end."""
        return committed(self.backing, "a call from outside")

    def apart(self) -> AbstractAsyncContextManager[Transaction]:
        """The same: there is nothing around it."""
        return self.writing()

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Write in a transaction that is committed, in a new one for as long as others are quicker."""
        for lost in range(_TRIES_MAX):
            try:
                async with self.writing() as transaction:
                    return await work(transaction)
            except WriteConflict:
                part = self.backing.new_version() % 1_000 / 1_000  # chance enough that two do not meet again
                await asyncio.sleep(part * min(0.1, 0.002 * 2**lost))
        async with self.writing() as transaction:
            return await work(transaction)


@asynccontextmanager
async def committed(backing: Backing, label: str) -> AsyncIterator[Transaction]:
    """A transaction of its own, durable at the end of the block, whatever becomes of a step around it.

    Args:
        label: names the one who writes in errors.
    """
    transaction = Transaction(backing, label, "")
    try:
        yield transaction
        await transaction.settle()
    except BaseException:
        transaction.end()
        raise
    if transaction.is_empty:
        transaction.end()
    else:
        await backing.commit(transaction.effects())
