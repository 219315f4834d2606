"""A transaction: what one attempt (or one call from outside) has written, and nobody else sees yet.

    rules   1. It reads its own writes first, then what is committed.
            2. Who writes a cell claims it until the end. What it had read of it must still be so, else WriteConflict.
            3. Nothing is written before the end: `effects()` is all of it, for one batch.

Knows cells and claims. Must not know what the services make of them.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from perdure.errors import WriteConflict
from perdure.services.author import Author
from perdure.services.backing import Backing
from perdure.services.claims import Name, over
from perdure.services.effects import Change, Effects, Word
from perdure.storage.cells import Cell, listed
from perdure.storage.encoding import Encoded
from perdure.storage.holding import Holding

T = TypeVar("T")


class Transaction:
    """The reads and writes of one author."""

    __slots__ = (
        "_author", "_changes", "_is_over", "_lock", "_outside", "_owner", "_parts", "_read", "_when_over", "_words",
        "_written", "backing", "promised",
    )  # fmt: skip

    def __init__(self, backing: Backing, author: Author, within: Author | None = None) -> None:
        self.backing = backing
        self.promised: dict[tuple[str, str], str] = {}  # run_ids of runs that it starts, by workflow and key
        self._author = author
        self._owner = backing.claims.owner(author, within)
        self._read: dict[Name, int] = {}  # versions that were seen; 0 is "not there"
        self._written: dict[Name, Cell] = {}
        self._changes: list[Change] = []
        self._words: list[Word] = []
        self._outside: list[Callable[[], Awaitable[object]]] = []
        self._parts: dict[str, Any] = {}
        self._when_over: list[Callable[[], None]] = []
        self._lock = threading.Lock()  # writes come on the services' loop, the end from any thread
        self._is_over = False

    @property
    def label(self) -> str:
        """The author's name in errors."""
        return self._author.label

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of a step; other back ends write once under it. Empty for a call from outside."""
        return self._author.written_under

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written."""
        return not (self._written or self._changes or self._words or self._outside)

    @property
    def is_over(self) -> bool:
        """Whether it takes nothing more."""
        return self._is_over

    def cell(self, space: str, key: str) -> Cell | None:
        """Read a cell; None when it is not there."""
        name = (space, key)
        own = self._written.get(name)
        if own is not None:
            return self._there(own)
        found = self._there(self.backing.cells.cell(space, key))
        self._read.setdefault(name, self._seen(found))
        return found

    def peek(self, space: str, key: str) -> Cell | None:
        """Look at a cell without depending on it; from any thread."""
        return self._there(self._written.get((space, key)) or self.backing.cells.cell(space, key))

    async def spaces(self, prefix: str) -> list[str]:
        """List the spaces that begin with `prefix` and have cells."""
        found = set(await self.backing.loop.offload(lambda: self.backing.cells.spaces(prefix)))
        for space in {space for space, _ in self._written if space.startswith(prefix)}:
            has_some = await self.cells(space, limit=1)
            found = found | {space} if has_some else found - {space}
        return sorted(found)

    async def read(self, space: str, key: str) -> Cell | None:
        """Read a cell, as whoever does not know where it is kept."""
        return self.cell(space, key)

    async def cells(
        self, space: str, *, prefix: str = "", after: str | None = None, due_until: int | None = None,
        limit: int | None = None, holding: Sequence[Holding] = (),
    ) -> list[Cell]:  # fmt: skip
        """List cells of a space, as `Ledger.cells`; those past their expiry are left out."""
        mine = {key: cell for (of, key), cell in self._written.items() if of == space}
        now, more = self.backing.now_us(), None if limit is None else limit + len(mine)

        def read() -> tuple[list[Cell], bool]:
            page = self.backing.cells.cells(
                space, prefix=prefix, after=after, due_until=due_until, limit=more, holding=holding
            )
            return [cell for cell in page if cell.is_there(now)], more is not None and len(page) >= more

        found, is_cut = await self.backing.loop.offload(read)
        while is_cut and limit is not None and len(found) < limit + len(mine):  # expired ones took places
            more = more * 2 if more is not None else None
            found, is_cut = await self.backing.loop.offload(read)
        merged = [cell for cell in found if cell.key not in mine]
        merged += [cell for cell in mine.values() if cell.is_there(now)]
        return listed(merged, prefix=prefix, after=after, due_until=due_until, limit=limit, holding=holding)

    def depend_on(self, space: str, versions: Mapping[str, int]) -> None:
        """Note which versions a listing gave, by key: who then writes one of these cells must have seen it as it is."""
        for key, version in versions.items():
            if (space, key) not in self._written:
                self._read.setdefault((space, key), version)

    async def claim(self, space: str, key: str) -> Cell | None:
        """Make the cell this owner's until the end, and read it.

        Raises:
            WriteConflict: it has changed since this owner read it, or its holder waits for this owner.
        """
        name, backing = (space, key), self.backing
        if not backing.claims.try_take(self._owner, name):
            await backing.claims.take(self._owner, name)
        own = self._written.get(name)
        found = self._there(backing.cells.cell(space, key) if own is None else own)
        if own is None:
            version = self._seen(found)
            if self._read.setdefault(name, version) != version:
                raise WriteConflict(
                    f"{space}, key {key!r} was written by somebody else after {self.label} read it.",
                    where=self.label,
                    why="what it would write now follows from what is not so any more",
                    fix="nothing was written; a step is tried again by itself. update() and increment() never conflict",
                )
        return found

    #: Claim a cell whatever it holds, and read it: while it is claimed, nobody else writes it.
    overwrite = claim

    async def claim_name(self, name: Name) -> None:
        """Claim a cell that another back end keeps: as far as this process goes, nobody else writes it."""
        await self.backing.claims.take(self._owner, name)

    def try_claim(self, space: str, key: str) -> Cell | None:
        """Claim a cell if nobody has it, and read it; None when somebody has, or it is not there."""
        if not self.backing.claims.try_take(self._owner, (space, key)):
            return None
        return self.cell(space, key)

    def put(
        self, change: Change, value: Encoded | None, *, data: bytes | None = None, due: int | None = None,
        expires_at: int | None = None, space: str,
    ) -> None:  # fmt: skip
        """Write a cell that is claimed; without value and data it is deleted."""
        body, shape = (None, None) if value is None else value
        now = self.backing.now_us()
        cell = Cell(space, change.key, self.backing.new_version(now), now, body, shape, data, due, expires_at)
        with self._lock:
            if self._is_over:
                raise over(self.label)
            self._written[space, change.key] = cell
            self._changes.append(change)

    def keep(self, space: str, key: str, value: Encoded | None = None, *, data: bytes | None = None) -> Cell:
        """Write a cell of which nobody is told, and which nobody else writes; without value and data it is deleted."""
        body, shape = (None, None) if value is None else value
        cell = Cell(space, key, self.backing.new_version(), self.backing.now_us(), body, shape, data)
        with self._lock:
            self._refuse_if_over()
            self._written[space, key] = cell
        return cell

    def changed(self, change: Change) -> None:
        """Note a write that another back end keeps."""
        with self._lock:
            self._refuse_if_over()
            self._changes.append(change)

    def write_outside(self, write: Callable[[], Awaitable[object]]) -> None:
        """Have another back end write at the end, before the result is recorded: once under the idempotency key."""
        with self._lock:
            self._refuse_if_over()
            self._outside.append(write)

    @property
    def writes_outside(self) -> bool:
        """Whether another back end has something to write."""
        return bool(self._outside)

    async def settle(self) -> None:
        """Let the other back ends write."""
        while self._outside:
            await self._outside[0]()
            del self._outside[0]

    def part(self, service: str, make: Callable[[], T]) -> T:
        """Give what another back end has of this transaction, made when it is first asked for."""
        if service not in self._parts:
            self._parts[service] = make()
        part: T = self._parts[service]
        return part

    def when_over(self, call: Callable[[], None]) -> None:
        """Have something called on the services' loop when this is appended, or given up."""
        self._when_over.append(call)

    def order(self, word: Word) -> None:
        """Have something else done in the same batch."""
        with self._lock:
            self._refuse_if_over()
            self._words.append(word)

    def effects(self) -> Effects:
        """All of it, for one batch; nothing more is taken. Whoever gets it calls its `over`."""
        with self._lock:
            self._refuse_if_over()
            self._is_over = True
        return Effects(self._changes, self._written, self._words, self._ended)

    def effects_if_any(self) -> Effects | None:
        """The same, or the end; None when nothing was written, or it is given up: because its run was cancelled."""
        with self._lock:
            is_given_up, self._is_over = self._is_over, True
        if is_given_up or self.is_empty:
            self._ended()
            return None
        return Effects(self._changes, self._written, self._words, self._ended)

    def end(self) -> None:
        """Give up: nothing was written, and nothing more is taken."""
        with self._lock:
            self._is_over = True
        self._ended()

    def _ended(self) -> None:
        self._owner.end()
        if not self._when_over:
            return
        calls, self._when_over = self._when_over, []
        with suppress(RuntimeError):  # the loop is closed, and nobody waits on it any more
            for call in calls:
                self.backing.claims.call_soon(call)

    def _refuse_if_over(self) -> None:
        if self._is_over:
            raise over(self.label)

    def _seen(self, found: Cell | None) -> int:
        """The version that was read; 0 is "not there", whether it never was or has expired."""
        return 0 if found is None else found.version

    def _there(self, cell: Cell | None) -> Cell | None:
        """The cell, unless it is gone or has expired."""
        if cell is None or (cell.body is None and cell.data is None):
            return None
        return cell if cell.expires_at is None or cell.is_there(self.backing.now_us()) else None


def encoded(cell: Cell) -> Encoded:
    """The value of a cell."""
    return Encoded(cell.body or "null", cell.shape)
