"""Drafts: the cells of a service as a transaction sees and changes them, in the ledger or in another store of cells.

    rules   of another store
            1. What is written is gathered, read back here, and written in one go before the step's result is recorded.
            2. It is written once under the step's idempotency key. A later attempt of that step (its process died
               before the result was recorded) sees of the cells that it wrote what it saw, and writes nothing.
            3. What was read and is then written must still be so, whoever else uses the store; else WriteConflict.

Knows cells and stores. Must not know any one service or store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, cast

from perdure.errors import WriteConflict
from perdure.services.backing import Backing
from perdure.services.claims import Name
from perdure.services.effects import Change
from perdure.services.transaction import Transaction
from perdure.storage.cells import Cell, listed
from perdure.storage.encoding import Encoded
from perdure.storage.holding import Holding


class Written(NamedTuple):
    """What became of a call of `Store.write`."""

    lost: frozenset[Name] = frozenset()  # cells that were not as expected, and so were not written
    versions: tuple[int, ...] = ()  # of the cells in order, 0 for what was not written; empty when nothing was


class Store(Protocol):
    """Another place for cells. Other processes may use it at the same time."""

    def token(self) -> str:
        """Give a text that nobody else is given."""
        ...

    async def before(self, under: str) -> Mapping[Name, Cell | None] | None:
        """Give what the cells held that an earlier attempt wrote under this key; None when none did."""
        ...

    async def cell(self, space: str, key: str) -> Cell | None:
        """Find a cell; one that has expired is not there."""
        ...

    async def cells(self, space: str, *, prefix: str, after: str | None, limit: int | None) -> list[Cell]:
        """List the cells of a space whose key begins with `prefix`, by key."""
        ...

    async def due(self, space: str, until: int, limit: int) -> list[Cell]:
        """List the cells of a space whose `due` is at or before this time, by `due`, then key."""
        ...

    async def write(
        self, cells: Sequence[Cell], expected: Mapping[Name, int], under: str, *, for_good: bool, each: bool = False
    ) -> Written:
        """Write cells at once, and once under a key. A cell that is gone is deleted.

        Args:
            expected: versions that cells must still have, 0 is "not there"; what is not named may have any.
            for_good: whether an attempt may ask for the same under this key much later.
            each: write those that are as expected; else all of them or none.
        """
        ...


class TextStore(Store, Protocol):
    """A store that looks into the texts of its cells, too."""

    async def holding(
        self, space: str, wanted: Sequence[Holding], *, prefix: str, after: str | None, limit: int | None
    ) -> list[Cell]:
        """List those of `cells` that have all of this in their texts."""
        ...


class Draft(Protocol):
    """The cells of a service as a transaction sees and changes them, wherever they are kept."""

    async def read(self, space: str, key: str) -> Cell | None:
        """Read a cell; None when it is not there."""
        ...

    async def cells(
        self, space: str, *, prefix: str = "", after: str | None = None, limit: int | None = None,
        holding: Sequence[Holding] = (),
    ) -> list[Cell]:  # fmt: skip
        """List cells of a space by key.

        Args:
            holding: only those that have all of this in their texts; another store must be a `TextStore` for it.
        """
        ...

    def depend_on(self, space: str, versions: Mapping[str, int]) -> None:
        """Note which versions a listing gave, by key: who then writes one of these cells must have seen it as it is."""
        ...

    async def claim(self, space: str, key: str) -> Cell | None:
        """Let nobody else write the cell from now on, and read it. Raises WriteConflict."""
        ...

    async def overwrite(self, space: str, key: str) -> Cell | None:
        """The same for a write that does not depend on what is read."""
        ...

    def put(
        self, change: Change, value: Encoded | None, *, data: bytes | None = None, due: int | None = None,
        expires_at: int | None = None, space: str,
    ) -> None:  # fmt: skip
        """Write a cell; without value and data it is deleted."""
        ...


def draft_of(transaction: Transaction, service: str) -> Draft:
    """What a transaction has of a service's cells."""
    if not transaction.backing.outside:
        return transaction
    store = store_of(transaction.backing, service)
    return transaction if store is None else transaction.part(service, lambda: StoredCells(transaction, store))


def store_of(backing: Backing, service: str) -> Store | None:
    """The other store that keeps a service's cells; None when the ledger does."""
    return cast("Store | None", backing.outside.get(service))


class StoredCells:
    """A transaction's part in another store."""

    def __init__(self, transaction: Transaction, store: Store) -> None:
        self._transaction = transaction
        self._store = store
        self._is_of_step = bool(transaction.idempotency_key)
        self._under = transaction.idempotency_key or store.token()
        self._before: Mapping[Name, Cell | None] | None = None  # what an earlier attempt found; None when none did
        self._asked_before = not self._is_of_step
        self._read: dict[Name, int] = {}  # versions that were seen; 0 is "not there"
        self._written: dict[Name, Cell] = {}

    async def read(self, space: str, key: str) -> Cell | None:
        """Read a cell, own writes first."""
        name = (space, key)
        found = None
        if name not in self._written:
            found = await self._found(name)
            self._read.setdefault(name, 0 if found is None else found.version)
        return self._own(name, found)

    async def cells(
        self, space: str, *, prefix: str = "", after: str | None = None, limit: int | None = None,
        holding: Sequence[Holding] = (),
    ) -> list[Cell]:  # fmt: skip
        """List cells, own writes among them."""
        await self._ask_before()
        mine = {key: cell for (of, key), cell in (self._before or {}).items() if of == space}
        mine |= {key: cell for (of, key), cell in self._written.items() if of == space}
        more = None if limit is None else limit + len(mine)
        if holding:
            found = await cast("TextStore", self._store).holding(space, holding, prefix=prefix, after=after, limit=more)
        else:
            found = await self._store.cells(space, prefix=prefix, after=after, limit=more)
        now = self._transaction.backing.now_us()
        merged = [cell for cell in found if cell.key not in mine]
        merged += [cell for cell in mine.values() if cell is not None and cell.is_there(now)]
        return listed(merged, prefix=prefix, after=after, limit=limit, holding=holding)

    def depend_on(self, space: str, versions: Mapping[str, int]) -> None:
        """Note which versions a listing gave."""
        for key, version in versions.items():
            if (space, key) not in self._written:
                self._read.setdefault((space, key), version)

    async def claim(self, space: str, key: str) -> Cell | None:
        """Keep others of this process from it, and read it. What others do is found out when it is written."""
        await self._transaction.claim_name((space, key))
        return await self.read(space, key)

    async def overwrite(self, space: str, key: str) -> Cell | None:
        """The same, whatever others write meanwhile: the last one wins."""
        name = (space, key)
        await self._transaction.claim_name(name)
        return self._own(name, None if name in self._written else await self._found(name))

    def put(
        self, change: Change, value: Encoded | None, *, data: bytes | None = None, due: int | None = None,
        expires_at: int | None = None, space: str,
    ) -> None:  # fmt: skip
        """Have a cell written at the end."""
        body, shape = (None, None) if value is None else value
        cell = Cell(space, change.key, 0, self._transaction.backing.now_us(), body, shape, data, due, expires_at)
        if not self._written:
            self._transaction.write_outside(self._write)
        self._transaction.changed(change)
        self._written[space, change.key] = cell

    async def earlier(self, space: str) -> list[str]:
        """The keys of a space that an earlier attempt of this step wrote."""
        await self._ask_before()
        return [key for of, key in self._before or () if of == space]

    async def _write(self) -> None:
        if self._before is not None:
            return  # an earlier attempt has written it all
        expected = {name: version for name, version in self._read.items() if name in self._written}
        cells = list(self._written.values())
        written = await self._store.write(cells, expected, self._under, for_good=self._is_of_step)
        if written.lost:
            space, key = min(written.lost)
            raise WriteConflict(
                f"{space}, key {key!r} was written by somebody else after {self._transaction.label} read it.",
                where=f"{self._transaction.label}, {self._store!r}",
                why="what it would write now follows from what is not so any more",
                fix="nothing was written; it is tried again. A put() without if_absent depends on nothing",
            )

    async def _found(self, name: Name) -> Cell | None:
        await self._ask_before()
        if self._before is not None and name in self._before:
            return self._before[name]
        return await self._store.cell(*name)

    async def _ask_before(self) -> None:
        if not self._asked_before:
            self._before = await self._store.before(self._under)
            self._asked_before = True

    def _own(self, name: Name, found: Cell | None) -> Cell | None:
        """Own writes come first, also one that another operation of the step made while the store was asked.

        Whether one of theirs has expired is told by our clock; of all others the store knows.
        """
        own = self._written.get(name)
        if own is None:
            return found
        return own if own.is_there(self._transaction.backing.now_us()) else None
