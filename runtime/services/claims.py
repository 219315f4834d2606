"""Claims: who may write a cell now. A writer keeps what it claimed until its batch is appended, or nobody wants it.

So two steps that write one cell never interleave: the second one waits, and then reads what the first one left. Only
one process has a ledger, so a table in memory is enough. Two that wait for each other are told apart at once.

    rules   1. All of it runs on the services' loop, but for `Owner.end`, which any thread may call.
            2. An owner that is over holds nothing; whoever wants its cells need not wait to be told.

Knows names and who waits. Must not know what is written.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from perdure.errors import WriteConflict

Name: TypeAlias = tuple[str, str]  # of a cell: its space and key


class Owner:
    """An attempt, or a call from outside, as far as it holds cells."""

    __slots__ = ("_claims", "is_over", "label", "names", "waits_for")

    def __init__(self, claims: Claims, label: str) -> None:
        self._claims = claims
        self.label = label
        self.names: set[Name] = set()
        self.waits_for: set[Name] = set()
        self.is_over = False

    def end(self) -> None:
        """Give back everything. Any thread may call it, more than once."""
        self.is_over = True
        self._claims.ended()


class Claims:
    """The claims of one runtime.

    Args:
        call_soon: has something done on the services' loop soon; from any thread.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._holders: dict[Name, Owner] = {}
        self._queues: dict[Name, deque[tuple[Owner, asyncio.Future[None]]]] = {}
        self._waiting = 0

    def owner(self, label: str) -> Owner:
        """Make one who may claim; `label` names it in errors."""
        return Owner(self, label)

    async def take(self, owner: Owner, name: Name) -> None:
        """Wait until the cell is this owner's.

        Raises:
            WriteConflict: its holder waits for a cell of this owner's.
        """
        if name in owner.names:
            return
        self._waiting += 1  # before looking, so that an owner who ends meanwhile sees it
        try:
            while (holder := self._holder(name)) is not None and holder is not owner:
                self._refuse_circle(owner, holder, name)
                await self._wait(owner, name)
        finally:
            self._waiting -= 1
        self._holders[name] = owner
        owner.names.add(name)

    def ended(self) -> None:
        """Somebody is over: let those go on who waited. From any thread."""
        if self._waiting:
            self._call_soon(self._wake)

    def sweep(self) -> None:
        """Forget who is over. Memory only: nobody is kept waiting by them."""
        for name in [name for name, holder in self._holders.items() if holder.is_over]:
            del self._holders[name]

    def _holder(self, name: Name) -> Owner | None:
        holder = self._holders.get(name)
        if holder is None or not holder.is_over:
            return holder
        del self._holders[name]
        return None

    async def _wait(self, owner: Owner, name: Name) -> None:
        loop = asyncio._get_running_loop()
        if loop is None:  # a simulated step that blocks, where nobody else could go on meanwhile
            raise WriteConflict(f"{name[0]}, key {name[1]!r} is being written by another step.", where=owner.label)
        future: asyncio.Future[None] = loop.create_future()
        queue = self._queues.setdefault(name, deque())
        queue.append((owner, future))
        owner.waits_for.add(name)
        try:
            await future
        except asyncio.CancelledError:
            self._call_soon(self._wake)  # it may have been the one who was told
            raise
        finally:
            owner.waits_for.discard(name)
            if (owner, future) in queue:
                queue.remove((owner, future))
            if not queue and self._queues.get(name) is queue:
                del self._queues[name]

    def _wake(self) -> None:
        for name in list(self._queues):
            if self._holder(name) is None:
                _, future = self._queues[name][0]
                if not future.done():
                    future.set_result(None)

    def _refuse_circle(self, owner: Owner, holder: Owner, name: Name) -> None:
        """Two that wait for each other would wait for ever: the one that closes the circle is told."""
        seen: set[int] = set()
        ahead = [holder]
        while ahead:
            each = ahead.pop()
            if each is owner:
                raise WriteConflict(
                    f"{owner.label} and {holder.label} each want to write what the other has written.",
                    where=f"{name[0]}, key {name[1]!r}",
                    why="neither could go on before the other one is done",
                    fix="write in the same order everywhere; this attempt has written nothing, and is tried again",
                )
            if id(each) not in seen:
                seen.add(id(each))
                ahead += [held for wanted in each.waits_for if (held := self._holder(wanted)) is not None]
