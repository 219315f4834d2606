"""Claims: who may write a cell now. A writer keeps what it claimed until its batch is appended, or nobody wants it.

So two steps that write one cell never interleave: the second one waits, and then reads what the first one left. Only
one process has a ledger, so a table in memory is enough. Two that wait for each other are told at once.

    rules   1. All of it runs on the services' loop, but for `Owner.end`, which any thread may call.
            2. An owner that is over holds nothing; whoever wants its cells need not wait to be told.
            3. First come, first served: a cell that is free goes to whoever has waited longest, and nobody gets ahead.
            4. A step waits for what is called in it and commits by itself, so that must not wait for the step.

Knows names and who waits. Must not know what is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, TypeAlias

from perdure.errors import WorkflowError, WriteConflict
from perdure.services.author import Author

Name: TypeAlias = tuple[str, str]  # of a cell: its space and key

_SWEEP_AT: Final = 1_024  # names of owners that are over, before they are forgotten


class Wait:
    """An owner's place in the line for a cell; several of its operations may want it."""

    __slots__ = ("future", "operations")

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future
        self.operations = 0


class Owner:
    """An attempt, or a call from outside, as far as it holds cells."""

    __slots__ = ("_claims", "author", "is_over", "names", "waits", "within")

    def __init__(self, claims: Claims, author: Author, within: Author | None = None) -> None:
        self._claims = claims
        self.author = author
        self.within = within  # the step that it was called in
        self.names: set[Name] = set()
        self.waits: dict[Name, Wait] = {}
        self.is_over = False

    @property
    def label(self) -> str:
        """The author's name in errors."""
        return self.author.label

    def end(self) -> None:
        """Give back everything. Any thread may call it, more than once."""
        self.is_over = True
        self._claims.ended(self)


class Claims:
    """The claims of one runtime.

    Args:
        call_soon: has something done on the services' loop soon; from any thread.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self.call_soon = call_soon
        self._holders: dict[Name, Owner] = {}
        self._lines: dict[Name, dict[Owner, Wait]] = {}  # in order
        self._waiting = 0
        self._sweep_at = _SWEEP_AT

    def owner(self, author: Author, within: Author | None = None) -> Owner:
        """Make one who may claim.

        Args:
            within: the step that it was called in, when it writes and ends apart from it.
        """
        return Owner(self, author, within)

    async def take(self, owner: Owner, name: Name) -> None:
        """Wait until the cell is this owner's.

        Raises:
            WriteConflict: its holder waits for a cell of this owner's.
            WorkflowError: the owner is over, or was when its turn came; or its holder is the step that it is called in.
        """
        if name in owner.names and not owner.is_over:
            return
        self._waiting += 1  # before looking, so that an owner who ends meanwhile sees it
        try:
            if owner.is_over:
                raise over(owner.label)
            self._hand_on(name)
            if self._holder(name) is None:
                self._give(name, owner)
            else:
                await self._wait(owner, name)
        finally:
            self._waiting -= 1

    def try_take(self, owner: Owner, name: Name) -> bool:
        """Make the cell this owner's if nobody has it or waits for it; give whether it is."""
        if owner.is_over:
            raise over(owner.label)
        if name in owner.names:
            return True
        holder = self._holders.get(name)
        if (holder is not None and not holder.is_over) or name in self._lines:
            return False
        self._give(name, owner)
        return True

    def ended(self, owner: Owner) -> None:
        """Let those go on who waited for an owner that is over. From any thread."""
        if self._waiting:
            with suppress(RuntimeError):  # the loop is closed, and nobody waits on it any more
                self.call_soon(lambda: self._let_go(owner))

    def _let_go(self, owner: Owner) -> None:
        for name in owner.names:
            self._hand_on(name)
        for name, wait in list(owner.waits.items()):
            self._leave(owner, name)
            if not wait.future.done():
                wait.future.set_exception(over(owner.label))

    def _give(self, name: Name, owner: Owner) -> None:
        self._holders[name] = owner
        owner.names.add(name)
        if len(self._holders) > self._sweep_at:  # memory only: nobody is kept waiting by those who are over
            self._holders = {name: holder for name, holder in self._holders.items() if not holder.is_over}
            self._sweep_at = 2 * len(self._holders) + _SWEEP_AT

    def _hand_on(self, name: Name) -> None:
        """Give a cell that is free to the first one in its line who is not over."""
        while self._holder(name) is None and (line := self._lines.get(name)):
            owner, wait = next(iter(line.items()))
            self._leave(owner, name)
            if owner.is_over:
                wait.future.set_exception(over(owner.label))
            else:
                self._give(name, owner)
                wait.future.set_result(None)

    def _holder(self, name: Name) -> Owner | None:
        holder = self._holders.get(name)
        if holder is None or not holder.is_over:
            return holder
        del self._holders[name]
        return None

    async def _wait(self, owner: Owner, name: Name) -> None:
        wait = owner.waits.get(name)
        if wait is None:
            self._refuse_circle(owner, name)
            loop = asyncio._get_running_loop()
            if loop is None:  # a simulated step that blocks, where nobody else could go on meanwhile
                raise WriteConflict(f"{name[0]}, key {name[1]!r} is being written by another step.", where=owner.label)
            wait = owner.waits[name] = Wait(loop.create_future())
            self._lines.setdefault(name, {})[owner] = wait
        wait.operations += 1
        try:
            await asyncio.shield(wait.future)
        finally:
            wait.operations -= 1
            if not wait.operations and not wait.future.done():  # all that wanted it were cancelled
                self._leave(owner, name)
                wait.future.cancel()

    def _leave(self, owner: Owner, name: Name) -> None:
        del owner.waits[name]
        line = self._lines[name]
        del line[owner]
        if not line:
            del self._lines[name]

    # ── circles ──────────────────────────────────────────────────────────────────────────────────

    def _refuse_circle(self, owner: Owner, name: Name) -> None:
        """Two that wait for each other would wait for ever: the one that closes the circle is told."""
        holder = self._holder(name)
        if holder is not None and holder.author is owner.within:
            raise _called_within(holder, name)
        seen: set[Owner] = set()
        known = {name}  # whose whole line is looked at already
        inner = self._inner()
        ahead = list(self._before(name, None))
        while ahead:
            each = ahead.pop()
            if each is owner or each.author is owner.within:
                raise WriteConflict(
                    f"{owner.label} wants to write what others have written, and they wait for it.",
                    where=f"{name[0]}, key {name[1]!r}",
                    why="none of them could go on before the others are done",
                    fix="write in the same order everywhere; this attempt has written nothing, and is tried again",
                )
            if each not in seen:
                seen.add(each)
                for waiter in (each, *inner.get(id(each.author), ())):
                    for wanted in waiter.waits:
                        if wanted not in known:
                            ahead += self._before(wanted, waiter)

    def _inner(self) -> dict[int, list[Owner]]:
        """Those who wait and were called in a step, by its identity."""
        found: dict[int, list[Owner]] = {}
        for line in self._lines.values():
            for each in line:
                if each.within is not None:
                    found.setdefault(id(each.within), []).append(each)
        return found

    def _before(self, name: Name, owner: Owner | None) -> Iterator[Owner]:
        """Who has to be over before `owner` gets this cell; None is somebody who comes last."""
        holder = self._holder(name)
        if holder is not None:
            yield holder
        for each in self._lines.get(name, ()):
            if each is owner:
                return
            yield each


def _called_within(step: Owner, name: Name) -> WorkflowError:
    return WorkflowError(
        f"{step.label} has written this, and calls what is to write it at once: that would wait for the step to end.",
        where=f"{name[0]}, key {name[1]!r}",
        why="what a step has written is nobody else's until its result is recorded, and the step waits for this call",
        fix="write it with the step's own services, such as current_step().kv; or in two steps",
    )


def over(label: str) -> WorkflowError:
    """The error of whoever uses a service too late."""
    return WorkflowError(
        f"{label} used a service after its attempt was over.",
        why="what a step writes is recorded with its result, and this one was given, or is not wanted any more",
        fix="await everything before the step returns, also in tasks and threads that it starts",
    )
