"""`storage`: blobs, which are bytes of any size under a name, in buckets.

Knows what users give and get. Must not know where blobs are kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, cast

from perdure.misfit import fitting
from perdure.services.blobs import (
    BlobInfo,
    BlobStore,
    Head,
    Source,
    checked_bucket,
    checked_head,
    checked_name,
    is_lazy,
    pieces,
    pieces_here,
    unknown,
)
from perdure.services.cell_blobs import CellBlobs
from perdure.services.operation import Blocking, blocking, operation
from perdure.services.scope import Scope
from perdure.services.transaction import Transaction
from perdure.services.values import check_page


class Storage:
    """Blobs of one bucket; `storage.bucket("reports")` is another one.

    In a step all operations are part of its result: they are recorded with it, or not at all. Outside of steps
    (`runtime.storage`) each is durable when it returns.
    """

    def __init__(self, scope: Scope, bucket: str = "default") -> None:
        self._scope = scope
        self._bucket = checked_bucket(bucket)
        outside = cast("BlobStore | None", scope.backing.outside.get("storage"))
        self._store: BlobStore = CellBlobs(scope.backing) if outside is None else outside

    def __repr__(self) -> str:
        return f"<storage {self._bucket!r}>"

    def bucket(self, name: str) -> Storage:
        """Give the same service for another bucket."""
        return Storage(self._scope, name)

    @fitting
    def put(
        self,
        name: str,
        data: Source,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        size: int | None = None,
    ) -> Coroutine[Any, Any, BlobInfo]:
        """Write a blob; give what is known of it. What was there under that name is replaced.

        A large one is never whole in memory.

        Args:
            data: bytes, a text (as UTF-8), a path, a file opened with `"rb"`, or an iterator of bytes, also an
                asynchronous one.
            metadata: texts by name, kept beside it.
            size: how many bytes are to come; when it is given and others come, nothing is written.

        Raises:
            BlobDamaged: not as many bytes came as `size` says.
            WorkflowError: the name or the data can't be used. What the iterator raises is raised; nothing is written.
        """
        checked_name(name)
        head = checked_head(content_type, metadata, size)
        if is_lazy(data) and asyncio._get_running_loop() is None:
            return cast("Coroutine[Any, Any, BlobInfo]", self._put_from_here(name, data, head))  # as an @operation does
        return cast("Coroutine[Any, Any, BlobInfo]", self._scope.run(self._put(name, data, head)))

    async def _put(self, name: str, data: Source, head: Head) -> BlobInfo:
        async with self._scope.writing() as transaction, aclosing(pieces(data, self._scope.backing)) as given:
            upload = self._store.upload(transaction, self._bucket, name)
            async for piece in given:
                await upload.add(piece)
            return await upload.finish(head)

    def _put_from_here(self, name: str, data: Source, head: Head) -> BlobInfo:
        """Write a blob from a thread without a loop, in which files are read and iterators go on."""
        wait, writing = self._scope.wait, self._scope.writing()
        transaction = wait(_entered(writing))
        try:
            upload = self._store.upload(transaction, self._bucket, name)
            for piece in pieces_here(data):
                wait(upload.add(piece))
            info = wait(upload.finish(head))
        except BaseException as error:
            wait(_left(writing, error))
            raise
        wait(_left(writing, None))
        return info

    @operation
    async def get(self, name: str) -> bytes:
        """Read a whole blob. Raises UnknownBlob, BlobDamaged."""
        async with self._scope.writing() as transaction:
            info = await self._known(transaction, name)
            return b"".join([data async for data in self._store.chunks(transaction, info)])

    def stream(self, name: str) -> BlobReader:
        """Read a blob a piece at a time: `async for data in storage.stream(name)`, or `for` in a plain def.

        Raises:
            UnknownBlob: when the first piece is asked for. BlobDamaged: at the latest after the last piece.
        """
        return BlobReader(self, checked_name(name))

    @operation
    async def info(self, name: str) -> BlobInfo:
        """Look at a blob without reading it. Raises UnknownBlob."""
        async with self._scope.writing() as transaction:
            return await self._known(transaction, name)

    @operation
    async def exists(self, name: str) -> bool:
        """Tell whether there is a blob of that name."""
        async with self._scope.writing() as transaction:
            return await self._store.info(transaction, self._bucket, checked_name(name)) is not None

    @operation
    async def buckets(self) -> list[str]:
        """List the buckets that have blobs."""
        async with self._scope.writing() as transaction:
            return await self._store.buckets(transaction)

    @operation
    async def list(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> list[BlobInfo]:
        """List the blobs whose names begin with `prefix`, by name.

        Args:
            after: only names greater than this one, for paging.
            limit: at most this many.
        """
        check_page(prefix, after, limit)
        async with self._scope.writing() as transaction:
            return await self._store.list(transaction, self._bucket, prefix, after, limit)

    @operation
    async def delete(self, name: str) -> bool:
        """Delete a blob; give whether there was one."""
        async with self._scope.writing() as transaction:
            return await self._store.delete(transaction, self._bucket, checked_name(name))

    @operation
    async def copy(self, name: str, to: str, *, bucket: str | None = None) -> BlobInfo:
        """Copy a blob to another name, or into another bucket; give what is known of the copy. Raises UnknownBlob."""
        checked_name(to)
        target = self._bucket if bucket is None else checked_bucket(bucket)
        async with self._scope.writing() as transaction:
            info = await self._known(transaction, name)
            upload = self._store.upload(transaction, target, to)
            async for data in self._store.chunks(transaction, info):
                await upload.add(data)
            return await upload.finish(Head(info.content_type, info.metadata, info.size))

    async def _known(self, transaction: Transaction, name: str) -> BlobInfo:
        info = await self._store.info(transaction, self._bucket, checked_name(name))
        if info is None:
            raise unknown(self._bucket, name)
        return info


class BlobReader:
    """The bytes of a blob, a piece at a time: for `async for`, and in code without asyncio for `for`."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name
        self._chunks: AsyncGenerator[bytes] | None = None

    def __aiter__(self) -> BlobReader:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return cast("Awaitable[bytes]", self._storage._scope.run(self._next_here()))

    def __iter__(self) -> BlobReader:
        return self

    def __next__(self) -> bytes:
        data = self._storage._scope.wait(self._next())
        if data is None:
            raise StopIteration
        return data

    async def _next_here(self) -> bytes:
        data = await self._next()
        if data is None:
            raise StopAsyncIteration
        return data

    async def _next(self) -> bytes | None:
        """The next piece; None after the last one."""
        storage = self._storage
        async with storage._scope.writing() as transaction:
            if self._chunks is None:
                info = await storage._known(transaction, self._name)
                self._chunks = storage._store.chunks(transaction, info)
            return await anext(self._chunks, None)


class BlockingStorage(Blocking):
    """`Storage` for code without asyncio."""

    def bucket(self, name: str) -> BlockingStorage:
        """Give the same service for another bucket."""
        return BlockingStorage(self._service.bucket(name))

    @fitting
    def put(
        self,
        name: str,
        data: Source,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        size: int | None = None,
    ) -> BlobInfo:
        """Write a blob, as `Storage.put`; files and iterators are read in the thread of the caller."""
        service: Storage = self._service
        checked_name(name)
        head = checked_head(content_type, metadata, size)
        if is_lazy(data):
            return service._put_from_here(name, data, head)
        return service._scope.wait(service._put(name, data, head))

    def stream(self, name: str) -> BlobReader:
        """Read a blob a piece at a time: `for data in storage.stream(name)`."""
        reader: BlobReader = self._service.stream(name)
        return reader

    get = blocking(Storage.get)
    info = blocking(Storage.info)
    exists = blocking(Storage.exists)
    list = blocking(Storage.list)
    delete = blocking(Storage.delete)
    copy = blocking(Storage.copy)
    buckets = blocking(Storage.buckets)


async def _entered(writing: AbstractAsyncContextManager[Transaction]) -> Transaction:
    return await writing.__aenter__()


async def _left(writing: AbstractAsyncContextManager[Transaction], error: BaseException | None) -> None:
    await writing.__aexit__(None if error is None else type(error), error, None)
