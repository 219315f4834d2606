"""`database`: documents in collections, found by filters and changed by updates, both of which are MongoDB's.

Knows documents, ids and what an operation means. Must not know how documents are kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from perdure.errors import DefinitionError, DuplicateDocument, WorkflowError, WriteConflict
from perdure.services.document import (
    Document,
    checked_document,
    decoded,
    encoded_document,
    upserted,
)
from perdure.services.documents import Documents, documents_of
from perdure.services.filters import Filter, read_filter
from perdure.services.operation import Blocking, blocking, operation
from perdure.services.scope import OutsideScope, Scope
from perdure.services.search import Search
from perdure.services.sorting import Order, Sort, read_sort
from perdure.services.updates import read_update
from perdure.services.values import check_page, checked_name
from perdure.storage.encoding import Encoded

T = TypeVar("T")

_TRIES: Final = 20  # of an operation from outside that lost against another process

_EVERYTHING: Final[Mapping[str, Any]] = {}


class UpdateResult(NamedTuple):
    """What an update or a replacement did.

    Attributes:
        matched: how many documents matched.
        modified: how many of them are not what they were.
        id: of the document that was found or inserted; None when nothing matched, and for `update_many`.
        inserted: whether it was inserted, because nothing matched (`upsert=True`).
    """

    matched: int
    modified: int
    id: str | None = None
    inserted: bool = False


class _Planned(NamedTuple):
    """A write that is about to happen."""

    key: str
    new: Encoded | None
    before: Encoded | None


class Collection:
    """The documents of one collection.

    A document is a mapping with an `_id`, a text. Its values are anything that has a lossless encoding. Documents are
    found in the order of their ids; those that are made here sort by the time of their insertion.
    """

    def __init__(self, scope: Scope, name: str) -> None:
        self._scope = scope
        self._name = checked_name(name, "collection")

    def __repr__(self) -> str:
        return f"<collection {self._name!r}>"

    @property
    def name(self) -> str:
        """The name."""
        return self._name

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    @operation
    async def insert_one(self, document: Mapping[str, Any]) -> str:
        """Insert a document; give its id, which is made when it has none.

        Raises:
            DuplicateDocument: its `_id` is taken.
            DefinitionError, NotSerializable, ValueTooLarge: it can't be stored; nothing was.
        """
        return (await self._insert([document]))[0]

    @operation
    async def insert_many(self, documents: Iterable[Mapping[str, Any]]) -> list[str]:
        """Insert documents, all or none; give their ids in order. Raises as `insert_one`."""
        return await self._insert(list(documents))

    @operation
    async def update_one(
        self, filter: Mapping[str, Any], update: Mapping[str, Any], *, upsert: bool = False
    ) -> UpdateResult:
        """Change the first document that matches.

        Args:
            upsert: insert one when nothing matches, made of what the filter says must be equal, and the update.

        Raises:
            DefinitionError: the filter or the update can't be read.
            WorkflowError: the update does not fit the document.
        """
        change = read_update(update)

        def work(document: Document, inserts: bool) -> Document:
            change.apply(document, inserts=inserts)
            return document

        return await self._change_one(read_filter(filter), work, upsert)

    @operation
    async def update_many(self, filter: Mapping[str, Any], update: Mapping[str, Any]) -> UpdateResult:
        """Change every document that matches, all or none. They are held in memory until they are recorded."""
        wanted, change = read_filter(filter), read_update(update)

        async def work(documents: Documents) -> UpdateResult:
            planned: list[_Planned] = []
            matched = 0

            def update_it(key: str, document: Document, before: Encoded) -> bool:
                nonlocal matched
                change.apply(document)
                matched += 1
                planned.extend(self._planned(key, document, before))
                return True

            await self._claim_each(documents, wanted, update_it)
            self._write(documents, planned)
            modified = len(planned)
            return UpdateResult(matched, modified)

        return await self._transact(work)

    @operation
    async def replace_one(
        self, filter: Mapping[str, Any], document: Mapping[str, Any], *, upsert: bool = False
    ) -> UpdateResult:
        """Put a document in the place of the first one that matches; it keeps its `_id`."""
        new = checked_document(document)

        def work(before: Document, inserts: bool) -> Document:
            return {"_id": new["_id"], **new} if inserts and "_id" in new else {"_id": before.get("_id"), **new}

        return await self._change_one(read_filter(filter), work, upsert)

    @operation
    async def delete_one(self, filter: Mapping[str, Any]) -> bool:
        """Delete the first document that matches; give whether there was one."""
        return await self._delete(read_filter(filter), 1) == 1

    @operation
    async def delete_many(self, filter: Mapping[str, Any]) -> int:
        """Delete every document that matches, all or none; give how many. `{}` deletes all."""
        return await self._delete(read_filter(filter), None)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    @operation
    async def find_one(self, filter: Mapping[str, Any] = _EVERYTHING, *, sort: Sort | None = None) -> Document | None:
        """Read the first document that matches; None when there is none. `{"_id": …}` reads nothing else."""
        found = await self._find(read_filter(filter), sort, 1, 0, None)
        return found[0] if found else None

    @operation
    async def find(
        self,
        filter: Mapping[str, Any] = _EVERYTHING,
        *,
        sort: Sort | None = None,
        limit: int | None = None,
        skip: int = 0,
        after: str | None = None,
    ) -> list[Document]:
        """Read the documents that match.

        All documents of the collection are looked at, unless the filter names `_id`s, but those whose texts lack what
        it wants are not read; in pages, not on the event loop.

        Args:
            sort: a field, `("created", -1)`, or several; by id without.
            limit: at most this many.
            skip: leave out this many first.
            after: only those whose id is greater, for paging.
        """
        return await self._find(read_filter(filter), sort, limit, skip, after)

    @operation
    async def count(self, filter: Mapping[str, Any] = _EVERYTHING) -> int:
        """Count the documents that match."""
        wanted = read_filter(filter)

        async def work(documents: Documents) -> int:
            search, count = self._search(documents, wanted), 0
            more = search.keys if wanted.wants_all else search.page  # an id that a filter names need not be there
            while (found := await more()) is not None:
                count += len(found)
            return count

        return await self._transact(work)

    # ── how ──────────────────────────────────────────────────────────────────────────────────────

    async def _transact(self, work: Callable[[Documents], Awaitable[T]]) -> T:
        """Do something in the scope's transaction. One from outside that lost against another process is done again."""
        tries = 0
        while True:
            try:
                async with self._scope.writing() as transaction:
                    return await work(documents_of(transaction))
            except WriteConflict:
                tries += 1
                if not isinstance(self._scope, OutsideScope) or tries >= _TRIES:
                    raise

    async def _insert(self, given: list[Mapping[str, Any]]) -> list[str]:
        new = [checked_document(each) for each in given]
        for each in new:
            if "_id" in each:
                checked_name(each["_id"], "_id")

        async def work(documents: Documents) -> list[str]:
            made = [each if "_id" in each else {"_id": await documents.new_id(self._name), **each} for each in new]
            texts = [encoded_document(self._name, each) for each in made]
            planned: dict[str, _Planned] = {}
            for key, text in zip([each["_id"] for each in made], texts, strict=True):
                if key in planned or await documents.claim(self._name, key) is not None:
                    raise self._taken(key)
                planned[key] = _Planned(key, text, None)
            self._write(documents, planned.values())
            return list(planned)

        return await self._transact(work)

    async def _change_one(
        self, wanted: Filter, work: Callable[[Document, bool], Document], upsert: bool
    ) -> UpdateResult:
        """Change the first that matches; `work` gets a document, and whether it is to be inserted."""

        async def change(documents: Documents) -> UpdateResult:
            result = UpdateResult(0, 0)

            def change_it(key: str, document: Document, before: Encoded) -> bool:
                nonlocal result
                planned = self._planned(key, work(document, False), before)
                self._write(documents, planned)
                result = UpdateResult(1, len(planned), key)
                return False

            await self._claim_each(documents, wanted, change_it)
            if result.matched or not upsert:
                return result
            return await self._upsert(documents, wanted, work(upserted(wanted), True))

        return await self._transact(change)

    async def _upsert(self, documents: Documents, wanted: Filter, document: Document) -> UpdateResult:
        key = checked_name(document["_id"] if "_id" in document else await documents.new_id(self._name), "_id")
        if "_id" in wanted.fixed and wanted.fixed["_id"] != key:
            raise _other_id(self._name, wanted.fixed["_id"], key)
        there = await documents.claim(self._name, key)
        if there is not None and wanted.matches(decoded(there)):
            raise WriteConflict(
                f"another process inserted document {key!r} of collection {self._name!r} in this moment.",
                why="it was not there yet when it was looked for",
                fix="nothing was written; it is tried again",
            )
        if there is not None:
            raise self._taken(key)
        self._write(documents, [_Planned(key, encoded_document(self._name, {**document, "_id": key}), None)])
        return UpdateResult(0, 0, key, True)

    def _planned(self, key: str, document: Document, before: Encoded) -> list[_Planned]:
        """Plan to write a claimed document, if it is another than before."""
        if document.get("_id") != key:
            raise _other_id(self._name, key, document.get("_id"))
        after = encoded_document(self._name, document)
        return [] if after == before else [_Planned(key, after, before)]

    def _write(self, documents: Documents, planned: Iterable[_Planned]) -> None:
        """Write, once nothing can go wrong any more: a step may catch the error of an operation, and go on."""
        for each in planned:
            documents.write(self._name, each.key, each.new, each.before)

    async def _delete(self, wanted: Filter, limit: int | None) -> int:
        async def work(documents: Documents) -> int:
            planned: list[_Planned] = []

            def delete_it(key: str, document: Document, before: Encoded) -> bool:
                planned.append(_Planned(key, None, before))
                return len(planned) != limit

            await self._claim_each(documents, wanted, delete_it)
            self._write(documents, planned)
            return len(planned)

        return await self._transact(work)

    async def _claim_each(
        self, documents: Documents, wanted: Filter, take: Callable[[str, Document, Encoded], bool]
    ) -> None:
        """Claim and read anew each document that matches, so that nobody changes it, until `take` has enough."""
        search = self._search(documents, wanted)
        while (keys := await search.keys()) is not None:
            for key in keys:
                now = await documents.claim(self._name, key)
                if now is None:
                    continue
                document = decoded(now)
                if wanted.matches(document) and not take(key, document, now):
                    return

    def _search(self, documents: Documents, wanted: Filter, after: str | None = None) -> Search:
        return Search(documents, self._name, wanted, self._scope.backing.loop, after)

    async def _find(
        self, wanted: Filter, sort: Sort | None, limit: int | None, skip: int, after: str | None
    ) -> list[Document]:
        _check_counts(limit, skip)
        check_page("", after, None)
        fields = None if sort is None else read_sort(sort)
        stop = None if limit is None else skip + limit

        async def work(documents: Documents) -> list[Document]:
            order, search, count = Order(fields or [], stop), self._search(documents, wanted, after), 0
            while (found := await search.page()) is not None:
                order.add(found)
                count += len(found)
                if fields is None and stop is not None and count >= stop:
                    break
            return [document for _, document in order.first()[skip:]]

        return await self._transact(work)

    def _taken(self, key: str) -> DuplicateDocument:
        return DuplicateDocument(
            f"there is a document with the _id {key!r} already.",
            where=f"collection {self._name!r}",
            fix="write update_one(…, upsert=True), or replace_one(…, upsert=True), if it may be there",
        )


class Database:
    """Collections of documents: `database["orders"]`, or `database.collection("orders")`.

    In a step all operations are part of its result: they are recorded with it, or not at all. Outside of steps
    (`runtime.database`) each is durable when it returns. A collection is there once it has a document.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __repr__(self) -> str:
        return "<database>"

    def collection(self, name: str) -> Collection:
        """Give a collection."""
        return Collection(self._scope, name)

    def __getitem__(self, name: str) -> Collection:
        return Collection(self._scope, name)

    @operation
    async def collections(self) -> list[str]:
        """List the names of the collections that have documents."""
        async with self._scope.writing() as transaction:
            return await documents_of(transaction).collections()


class BlockingCollection(Blocking):
    """`Collection` for code without asyncio."""

    @property
    def name(self) -> str:
        """The name."""
        name: str = self._service.name
        return name

    insert_one = blocking(Collection.insert_one)
    insert_many = blocking(Collection.insert_many)
    update_one = blocking(Collection.update_one)
    update_many = blocking(Collection.update_many)
    replace_one = blocking(Collection.replace_one)
    delete_one = blocking(Collection.delete_one)
    delete_many = blocking(Collection.delete_many)
    find_one = blocking(Collection.find_one)
    find = blocking(Collection.find)
    count = blocking(Collection.count)


class BlockingDatabase(Blocking):
    """`Database` for code without asyncio."""

    def collection(self, name: str) -> BlockingCollection:
        """Give a collection."""
        return BlockingCollection(self._service.collection(name))

    def __getitem__(self, name: str) -> BlockingCollection:
        return self.collection(name)

    collections = blocking(Database.collections)


def _check_counts(limit: int | None, skip: int) -> None:
    for name, count in (("limit", limit), ("skip", skip)):
        if count is not None and (type(count) is not int or count < 0):
            raise DefinitionError(f"{name}={count!r} is no number of documents.", fix="give a whole number from 0 on")


def _other_id(collection: str, key: object, other: object) -> WorkflowError:
    return WorkflowError(
        f"the _id of document {key!r} can't become {other!r}.",
        where=f"collection {collection!r}",
        fix="leave _id out; or insert a new document, and delete the old one",
    )
