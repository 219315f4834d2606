"""Blobs in the ledger: chunks of 1 MiB as cells, and a cell that says which of them are a blob.

    blob/<bucket>    <name>              what is known of a blob, and the upload that its chunks belong to
    chunk/<bucket>   <upload>/<index>    bytes
    upload/<bucket>  <upload>            an upload that has written chunks and is not a blob yet

A small blob is one chunk, and all of it goes with the step's result. The chunks of a larger one are written on the way,
where nobody sees them; what makes it a blob goes with the result, and so does the end of its `upload` cell. An upload
that came to nothing is swept, when its attempt is over or at the next start.

Knows cells and chunks. Must not know where bytes come from.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, cast

from perdure.errors import PerdureError, UnknownBlob
from perdure.services.author import Caller
from perdure.services.backing import Backing
from perdure.services.blobs import CHUNK_BYTES, BlobInfo, Head, check_size, damaged, unknown
from perdure.services.claims import over
from perdure.services.effects import Change
from perdure.services.transaction import Transaction, encoded
from perdure.storage.cells import Cell
from perdure.storage.encoding import decode, encode

logger = logging.getLogger("perdure")

_BLOB: Final = "blob/"
_CHUNK: Final = "chunk/"
_UPLOAD: Final = "upload/"


class CellBlobs:
    """The blobs of one runtime's ledger."""

    def __init__(self, backing: Backing) -> None:
        self._backing = backing

    def upload(self, transaction: Transaction, bucket: str, name: str) -> CellUpload:
        """Begin to write a blob."""
        return CellUpload(self._backing, transaction, bucket, name)

    async def info(self, transaction: Transaction, bucket: str, name: str) -> BlobInfo | None:
        """Look at a blob."""
        cell = transaction.cell(_BLOB + bucket, name)
        return None if cell is None else _info(bucket, name, _manifest(cell))

    async def chunks(self, transaction: Transaction, info: BlobInfo) -> AsyncGenerator[bytes]:
        """Read a blob, a chunk at a time."""
        cell = transaction.cell(_BLOB + info.bucket, info.name)
        if cell is None:
            raise unknown(info.bucket, info.name)
        manifest, hashed, size = _manifest(cell), sha256(), 0
        for index in range(manifest["chunks"]):
            data = await self._chunk(transaction, info, manifest["upload"], index)
            hashed.update(data)
            size += len(data)
            if size > manifest["size"] or (
                index + 1 == manifest["chunks"] and hashed.hexdigest() != manifest["sha256"]
            ):
                raise damaged(info, "its bytes are not those that were written")
            yield data

    async def _chunk(self, transaction: Transaction, info: BlobInfo, upload: str, index: int) -> bytes:
        space, key = _CHUNK + info.bucket, _chunk_key(upload, index)
        cell = await self._backing.loop.offload(lambda: transaction.peek(space, key))
        if cell is not None and cell.data is not None:
            return cell.data
        now = transaction.peek(_BLOB + info.bucket, info.name)
        if now is not None and _manifest(now)["upload"] == upload:
            raise damaged(info, f"chunk {index} is missing")
        raise UnknownBlob(
            f"blob {info.name!r} of bucket {info.bucket!r} was replaced or deleted while it was read.",
            fix="read it again; a step is tried again as its policy says",
        )

    async def buckets(self, transaction: Transaction) -> list[str]:
        """List the buckets that have blobs."""
        return [space[len(_BLOB) :] for space in await transaction.spaces(_BLOB)]

    async def list(
        self, transaction: Transaction, bucket: str, prefix: str, after: str | None, limit: int | None
    ) -> list[BlobInfo]:
        """List blobs by name."""
        found = await transaction.cells(_BLOB + bucket, prefix=prefix, after=after, limit=limit)
        return [_info(bucket, cell.key, _manifest(cell)) for cell in found]

    async def delete(self, transaction: Transaction, bucket: str, name: str) -> bool:
        """Delete a blob and its chunks."""
        before = await transaction.claim(_BLOB + bucket, name)
        if before is None:
            return False
        change = Change("storage", bucket, name, "delete", None, encoded(before))
        transaction.put(change, None, space=_BLOB + bucket)
        free(transaction, bucket, before)
        return True


class CellUpload:
    """A blob on its way into the ledger."""

    def __init__(self, backing: Backing, transaction: Transaction, bucket: str, name: str) -> None:
        self._backing = backing
        self._transaction = transaction
        self._bucket = bucket
        self._name = name
        self._id = _new_id(backing, bucket)
        self._held = bytearray()  # not written yet
        self._chunks = 0
        self._size = 0
        self._hashed = sha256()
        self._staging: asyncio.Future[None] | None = None  # goes on when whoever awaits it is cancelled

    async def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self._hashed.update(data)
        self._size += len(data)
        self._held += data
        while len(self._held) > CHUNK_BYTES:  # the last one goes with the result
            chunk = bytes(self._held[:CHUNK_BYTES])
            del self._held[:CHUNK_BYTES]
            await self._stage(chunk)

    async def _stage(self, chunk: bytes) -> None:
        backing, cells = self._backing, []
        if not self._chunks:
            cells.append(self._cell(_UPLOAD, self._id, body=encode({"name": self._name}).body))
            backing.uploads.add(self._id)
            self._transaction.when_over(self._over)  # before it is written: a failed attempt must not leave it
        if self._transaction.is_over:  # it was abandoned, and `_over` has been or comes
            raise over(self._transaction.label)
        cells.append(self._cell(_CHUNK, _chunk_key(self._id, self._chunks), data=chunk))
        self._chunks += 1
        if asyncio._get_running_loop() is None:  # a simulated step that blocks: nobody can cut it off meanwhile
            await backing.stage(cells)
            return
        self._staging = asyncio.ensure_future(backing.stage(cells))
        await asyncio.shield(self._staging)

    def _cell(self, kind: str, key: str, *, body: str | None = None, data: bytes | None = None) -> Cell:
        backing = self._backing
        return Cell(kind + self._bucket, key, backing.new_version(), backing.now_us(), body, None, data)

    def _over(self) -> None:
        """The attempt is over: what came to nothing goes away."""
        self._backing.spawn(self._give_up())

    async def _give_up(self) -> None:
        """Wait for a chunk that is on its way: it would come after the others are deleted, and stay."""
        if self._staging is not None:
            await asyncio.gather(self._staging, return_exceptions=True)  # whoever staged it was told, or is gone
        await _give_up(self._backing, self._bucket, self._id)

    async def finish(self, head: Head) -> BlobInfo:
        """Give it its name, in the transaction."""
        transaction, bucket, name = self._transaction, self._bucket, self._name
        check_size(head, self._size, name, transaction.label)
        before = await transaction.claim(_BLOB + bucket, name)
        now = self._backing.now_us()
        manifest: dict[str, Any] = {
            "size": self._size, "sha256": self._hashed.hexdigest(), "content_type": head.content_type,
            "metadata": dict(head.metadata), "created_at": now if before is None else _manifest(before)["created_at"],
            "updated_at": now, "chunks": self._chunks + bool(self._held), "upload": self._id,
        }  # fmt: skip
        value, previous = encode(manifest), None if before is None else encoded(before)
        if before is not None:
            free(transaction, bucket, before)
        if self._held:
            transaction.keep(_CHUNK + bucket, _chunk_key(self._id, self._chunks), data=bytes(self._held))
        if self._chunks:
            transaction.keep(_UPLOAD + bucket, self._id)
        transaction.put(Change("storage", bucket, name, "put", value, previous), value, space=_BLOB + bucket)
        return _info(bucket, name, manifest)


def free(transaction: Transaction, bucket: str, blob: Cell) -> None:
    """Delete the chunks of a blob that is replaced or deleted, in the same batch."""
    manifest = _manifest(blob)
    for index in range(manifest["chunks"]):
        transaction.keep(_CHUNK + bucket, _chunk_key(manifest["upload"], index))


async def sweep_uploads(backing: Backing) -> int:
    """Delete the chunks of uploads that came to nothing, because their process ended; give how many uploads."""
    swept = 0
    for space in backing.cells.spaces(_UPLOAD):
        for cell in backing.cells.cells(space):
            if cell.key not in backing.uploads:
                await _give_up(backing, space[len(_UPLOAD) :], cell.key)
                swept += 1
    return swept


async def _give_up(backing: Backing, bucket: str, upload: str) -> None:
    """Delete the chunks of an upload whose attempt is over, unless it is a blob."""
    try:
        if await backing.loop.offload(lambda: backing.cells.cell(_UPLOAD + bucket, upload)) is not None:
            chunks = await backing.loop.offload(lambda: _count_chunks(backing, bucket, upload))
            transaction = Transaction(backing, Caller("the sweep of uploads"))
            for index in range(chunks):
                transaction.keep(_CHUNK + bucket, _chunk_key(upload, index))
            transaction.keep(_UPLOAD + bucket, upload)
            await backing.commit(transaction.effects())
    except PerdureError as error:  # a full disk, or the runtime closes: the next start sweeps it
        logger.info("The chunks of an upload that came to nothing stay until the next start: %s", error)
    backing.uploads.discard(upload)


def _count_chunks(backing: Backing, bucket: str, upload: str) -> int:
    index = 0
    while backing.cells.cell(_CHUNK + bucket, _chunk_key(upload, index)) is not None:
        index += 1
    return index


def _new_id(backing: Backing, bucket: str) -> str:
    """An id whose chunks nobody has, also when the clock has gone back since."""
    while True:
        upload = f"{backing.new_version():016x}"
        if backing.cells.cell(_CHUNK + bucket, _chunk_key(upload, 0)) is None:
            return upload


def _chunk_key(upload: str, index: int) -> str:
    return f"{upload}/{index:08}"


def _manifest(cell: Cell) -> dict[str, Any]:
    return cast("dict[str, Any]", decode(*encoded(cell)))


def _info(bucket: str, name: str, manifest: dict[str, Any]) -> BlobInfo:
    return BlobInfo(
        bucket, name, manifest["size"], manifest["sha256"], manifest["content_type"], manifest["metadata"],
        _moment(manifest["created_at"]), _moment(manifest["updated_at"]),
    )  # fmt: skip


def _moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC)
