"""Scopes: whose writes an operation's are. A step's are its attempt's; a call from outside commits its own.

Knows transactions and who awaits. Must not know any one service.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

from perdure.errors import WorkflowError
from perdure.services.backing import Backing
from perdure.services.transaction import Transaction

T = TypeVar("T")
_OUR_CALLS: Final = 2  # frames between an author's line and `run`: the operation and its decorator


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


class StepScope:
    """One attempt of a step: all that it does is one transaction, which ends with it."""

    def __init__(self, backing: Backing, label: str, idempotency_key: str) -> None:
        self.backing = backing
        self.transaction = Transaction(backing, label, idempotency_key)
        self._label = label
        self._is_over = False
        self._begun: dict[int, tuple[Coroutine[Any, Any, Any], str]] = {}  # operations that nobody awaited yet

    def run(self, work: Coroutine[Any, Any, T]) -> Any:
        """Give an awaitable that is known until it is awaited, or the result."""
        self._refuse_if_over(work)
        frame = sys._getframe(_OUR_CALLS)
        answer = self.backing.loop.run(work)
        if inspect.iscoroutine(answer):
            self._begun[id(answer)] = (answer, f"{frame.f_code.co_filename}:{frame.f_lineno}")
        return answer

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Block until it is done."""
        self._refuse_if_over(work)
        return self.backing.loop.wait(work)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Transaction]:
        """The attempt's own transaction."""
        yield self.transaction

    @property
    def is_concluded(self) -> bool:
        """Whether nothing more can be written, and all that other back ends keep is."""
        return self._is_over and not self.transaction.writes_outside

    def conclude(self) -> None:
        """End: nothing more is written. Raises WorkflowError when an operation was asked for and not awaited."""
        self._is_over = True
        forgotten = [
            each for each in self._begun.values() if inspect.getcoroutinestate(each[0]) == inspect.CORO_CREATED
        ]
        self._begun.clear()
        for work, _ in forgotten:
            work.close()
        if forgotten:
            name = getattr(forgotten[0][0], "__qualname__", "an operation")
            raise WorkflowError(
                f"{self._label} called {name} and did not await it, so nothing was done.",
                where="\n".join(each[1] for each in forgotten),
                fix=f"write await before it. (In a plain def, {name} just does it.)",
            )

    def _refuse_if_over(self, work: Coroutine[Any, Any, Any]) -> None:
        if self._is_over:
            work.close()
            raise WorkflowError(
                f"{self._label} used a service after its attempt was over.",
                why="what a step writes is recorded with its result, which was given already",
                fix="await everything before the step returns, also in tasks and threads that it starts",
            )


class OutsideScope:
    """A call from outside of steps: each operation is a transaction of its own, durable when it returns."""

    def __init__(self, backing: Backing) -> None:
        self.backing = backing

    def run(self, work: Coroutine[Any, Any, T]) -> Any:
        """Give an awaitable, or the result."""
        return self.backing.loop.run(work)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Block until it is done."""
        return self.backing.loop.wait(work)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Transaction]:
        """A transaction that is committed at the end."""
        transaction = Transaction(self.backing, "a call from outside", "")
        try:
            yield transaction
            await transaction.settle()
        except BaseException:
            transaction.end()
            raise
        if transaction.is_empty:
            transaction.end()
        else:
            await self.backing.commit(transaction.effects())
