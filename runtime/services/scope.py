"""Scopes: whose writes an operation's are. A step's are its attempt's; a call from outside commits its own.

Knows transactions and who awaits. Must not know any one service.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import islice
from types import CodeType
from typing import Any, Final, NoReturn, Protocol, TypeAlias, TypeVar

from perdure.errors import PerdureError, WorkflowError, WriteConflict
from perdure.services.author import Author, Caller, at_work
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

    def wake_at_end(self, queue: str) -> None:
        """Wake who waits for a message in this scope when it ends. Raises WorkflowError when it has."""
        ...

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Have `work` write in it; of a call from outside again, when somebody else was quicker."""
        ...


#: An operation that was asked for, the code that asked and where in it (an offset, of which a line is made when
#: somebody wants to know), and whether nothing happens before it is awaited.
Begun: TypeAlias = tuple[Coroutine[Any, Any, Any], CodeType, int, bool]


def line_of(code: CodeType, offset: int) -> int:
    """The line of an instruction."""
    line, *_ = next(islice(code.co_positions(), offset // 2, None))
    return line or code.co_firstlineno


class StepScope(AbstractAsyncContextManager[Transaction]):
    """One attempt of a step: all that it does is one transaction, which ends with it.

    Operations run on the services' loop. Who asks for them, and who ends it, may be in any thread.
    """

    __slots__ = ("_at_work", "_author", "_begun", "_is_over", "_sweep_at", "backing", "transaction")

    def __init__(self, backing: Backing, author: Author) -> None:
        self.backing = backing
        self.transaction = Transaction(backing, author)
        self._author = author
        self._is_over = False
        self._at_work = 0  # operations that have begun and not ended
        self._begun: list[Begun] = []  # that may not have begun yet
        self._sweep_at = _SWEEP_AT

    def run(self, work: Coroutine[Any, Any, T]) -> Any:
        """Give an awaitable that is known until it is awaited, or the result."""
        if self._is_over:
            self._refuse(work)
        answer = self.backing.loop.run(work)
        if answer is work or inspect.isawaitable(answer):
            frame = sys._getframe(2)  # below the operation's own
            while frame.f_code.co_filename.startswith(_OURS) and frame.f_back is not None:
                frame = frame.f_back
            self._begun.append((work, frame.f_code, frame.f_lasti, answer is work))
            if len(self._begun) > self._sweep_at:
                self._begun = self._forgotten()
                self._sweep_at = 2 * len(self._begun) + _SWEEP_AT
        return answer

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Block until it is done."""
        if self._is_over:
            self._refuse(work)
        return self.backing.loop.wait(work)

    def writing(self) -> AbstractAsyncContextManager[Transaction]:
        """The attempt's own transaction."""
        return self

    async def __aenter__(self) -> Transaction:
        self._at_work += 1  # before looking: whoever ends it looks in the other order
        if self._is_over:
            self._at_work -= 1
            raise over(self._author.label)
        return self.transaction

    async def __aexit__(self, *_: object) -> None:
        self._at_work -= 1

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Write in the attempt's transaction. A conflict has the whole step tried again, for it read more than this."""
        async with self as transaction:
            return await work(transaction)

    def apart(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that is committed now, whatever becomes of the step; so it may end when that is over."""
        if self._is_over:
            raise over(self._author.label)
        return committed(self.backing, self._author.label, self._author)

    def wake_at_end(self, queue: str) -> None:
        """Refuse when it is over, else have its end wake who waits at this queue: nobody wants the message then."""
        transaction, arrivals = self.transaction, self.backing.arrivals
        transaction.part(f"waits at {queue}", lambda: transaction.when_over(lambda: arrivals.came(queue)))
        if self._is_over:
            raise over(self._author.label)

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
        self._begun = []
        if forgotten:
            for work, _, _, is_awaited_here in forgotten:
                if is_awaited_here:
                    work.close()
            name = getattr(forgotten[0][0], "__qualname__", "an operation").replace("._", ".")
            raise WorkflowError(
                f"{self._author.label} called {name} and did not await it, so nothing was done.",
                where="\n".join(f"{code.co_filename}:{line_of(code, at)}" for _, code, at, _ in forgotten),
                fix=f"write await before it. (In a plain def, {name} just does it.)",
            )
        if self._at_work:
            raise WorkflowError(
                f"{self._author.label} returned while something of it still used a service.",
                why="what it would write then could not be recorded with its result any more",
                fix="wait for the tasks and threads that it starts before it returns",
            )

    def effects(self) -> Effects | None:
        """All that the attempt did, for the batch that records its result; None when it did nothing."""
        self._is_over = True
        return self.transaction.effects_if_any()

    def end(self) -> None:
        """Give up: nothing was written, and nothing will be."""
        self._is_over = True
        self.transaction.end()

    def _forgotten(self) -> list[Begun]:
        created = inspect.CORO_CREATED
        unfinished = [each for each in self._begun if getattr(each[0], "cr_frame", None) is not None]
        return unfinished and [each for each in unfinished if inspect.getcoroutinestate(each[0]) == created]

    def _refuse(self, work: Coroutine[Any, Any, Any]) -> NoReturn:
        work.close()
        raise over(self._author.label)


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
        return committed(self.backing, "a call from outside", at_work.get())

    def apart(self) -> AbstractAsyncContextManager[Transaction]:
        """The same: there is nothing around it."""
        return self.writing()

    def wake_at_end(self, queue: str) -> None:
        """It has no end before the runtime's, which wakes everybody."""

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
async def committed(backing: Backing, label: str, within: Author | None) -> AsyncIterator[Transaction]:
    """A transaction of its own, durable at the end of the block, whatever becomes of a step around it.

    Args:
        label: names the one who writes in errors.
        within: the step that it is called in.
    """
    transaction = Transaction(backing, Caller(label), within)
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
