"""Documents as one transaction sees them: cells whose space is "db/<collection>" and whose key is the id.

Knows keys and encoded values. Must not know operators, nor what an update means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol, cast

from perdure.services.document import TIME_DIGITS, new_id
from perdure.services.drafts import StoredCells, TextStore, draft_of, store_of
from perdure.services.effects import Change
from perdure.services.transaction import Transaction, encoded
from perdure.storage.encoding import Encoded
from perdure.storage.holding import Holding

SPACES: Final = "db/"


class DocumentStore(TextStore, Protocol):
    """What another back end of documents has beside cells."""

    async def spaces(self, prefix: str) -> list[str]:
        """List the spaces that begin with `prefix` and have cells, in order."""
        ...


class Page(NamedTuple):
    """Some documents of a collection, in order of their keys."""

    found: list[tuple[str, Encoded]]
    last: str | None  # where the next page goes on; None when there is none
    versions: dict[str, int]  # of those found, by key


class Documents:
    """The documents of one transaction: its own writes first, then what is committed."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._draft = draft_of(transaction, "database")
        self._written: set[str] = set()  # spaces
        self._ids_made = 0

    async def read(self, collection: str, key: str) -> Encoded | None:
        """Read one document."""
        cell = await self._draft.read(SPACES + collection, key)
        return None if cell is None else encoded(cell)

    async def page(self, collection: str, after: str | None, size: int, needles: Sequence[Holding] = ()) -> Page:
        """Read documents with greater keys whose texts have all of the needles, at most `size` of them."""
        cells = await self._draft.cells(SPACES + collection, after=after, limit=size, holding=needles)
        last = cells[-1].key if len(cells) >= size else None
        versions = {cell.key: cell.version for cell in cells}
        return Page([(cell.key, encoded(cell)) for cell in cells], last, versions)

    def depend_on(self, collection: str, versions: Mapping[str, int]) -> None:
        """Note that what this transaction writes follows from these documents, as it found them."""
        self._draft.depend_on(SPACES + collection, versions)

    async def claim(self, collection: str, key: str) -> Encoded | None:
        """Make a document this transaction's until its end, and read it as it is now.

        Raises:
            WriteConflict: it has changed since this transaction read it.
        """
        cell = await self._draft.claim(SPACES + collection, key)
        return None if cell is None else encoded(cell)

    def write(self, collection: str, key: str, new: Encoded | None, before: Encoded | None) -> None:
        """Write a document that is claimed, and was read as `before`; None deletes it."""
        op = "delete" if new is None else "insert" if before is None else "update"
        self._written.add(SPACES + collection)
        self._draft.put(Change("database", collection, key, op, new, before), new, space=SPACES + collection)

    async def new_id(self, collection: str) -> str:
        """Make an id that sorts after those made before; the one that an earlier attempt of the step made and wrote."""
        self._ids_made += 1
        backing, maker = self._transaction.backing, self._transaction.idempotency_key
        store = store_of(backing, "database")
        if not maker and store is not None:
            maker = store.token()  # another process may make one in the same microsecond
        made = new_id(backing.new_version(), f"{maker} {self._ids_made}")
        if isinstance(self._draft, StoredCells):
            for key in await self._draft.earlier(SPACES + collection):
                if key[TIME_DIGITS:] == made[TIME_DIGITS:]:
                    return key
        return made

    async def collections(self) -> list[str]:
        """List the collections that have documents, in order."""
        backing = self._transaction.backing
        store = cast("DocumentStore | None", store_of(backing, "database"))
        if store is not None:
            spaces = set(await store.spaces(SPACES))
        else:
            spaces = set(await backing.loop.offload(lambda: backing.cells.spaces(SPACES)))
        for space in self._written:
            if await self._draft.cells(space, limit=1):
                spaces.add(space)
            else:
                spaces.discard(space)
        return [space.removeprefix(SPACES) for space in sorted(spaces)]


def documents_of(transaction: Transaction) -> Documents:
    """The documents that a transaction sees."""
    return transaction.part("documents", lambda: Documents(transaction))
