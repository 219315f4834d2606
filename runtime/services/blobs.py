"""Blobs: what is known of one, which names they may have, and where their bytes may come from.

Knows bytes and names. Must not know where blobs are kept.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from perdure.errors import BlobDamaged, UnknownBlob, WorkflowError
from perdure.texts import checked_text

if TYPE_CHECKING:
    from perdure.services.backing import Backing
    from perdure.services.transaction import Transaction

CHUNK_BYTES: Final = 1024 * 1024  # what is in memory of a blob at a time, and in one cell

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NAME_BYTES_MAX: Final = 900  # what object stores and file systems take, with room for a suffix of ours

#: Where the bytes of a blob come from: all of them, a binary file, a path, or one piece after the other.
Source: TypeAlias = (
    "bytes | bytearray | memoryview | str | os.PathLike[str] | IO[bytes] | Iterable[bytes] | AsyncIterable[bytes]"
)


@dataclass(frozen=True)
class BlobInfo:
    """What is known of a blob without its bytes.

    Attributes:
        size: in bytes. sha256: of all of them, hexadecimal; None when another program wrote it.
        content_type: as it was given, or None. metadata: texts by name, as they were given.
        created_at, updated_at: when the name was first written since it was last free, and when it was last; aware.
    """

    bucket: str
    name: str
    size: int
    sha256: str | None
    content_type: str | None
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Head:
    """What is said of a blob beside its bytes."""

    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None  # how many bytes are to come, where the caller knows


class Upload(Protocol):
    """A blob on its way in; nobody sees it before `finish`, and nobody else before the transaction is committed."""

    async def add(self, data: bytes) -> None:
        """Take the next bytes, at most a chunk of them."""
        ...

    async def finish(self, head: Head) -> BlobInfo:
        """Give it its name, in the transaction."""
        ...


class BlobStore(Protocol):
    """Where blobs are kept, as one transaction sees it."""

    def upload(self, transaction: Transaction, bucket: str, name: str) -> Upload:
        """Begin to write a blob."""
        ...

    async def info(self, transaction: Transaction, bucket: str, name: str) -> BlobInfo | None:
        """Look at a blob; None when there is none."""
        ...

    def chunks(self, transaction: Transaction, info: BlobInfo) -> AsyncGenerator[bytes]:
        """Read a blob, a piece at a time. Raises UnknownBlob, BlobDamaged."""
        ...

    async def buckets(self, transaction: Transaction) -> list[str]:
        """List the buckets that have blobs."""
        ...

    async def list(
        self, transaction: Transaction, bucket: str, prefix: str, after: str | None, limit: int | None
    ) -> list[BlobInfo]:
        """List blobs by name."""
        ...

    async def delete(self, transaction: Transaction, bucket: str, name: str) -> bool:
        """Delete a blob; False when there is none."""
        ...


def checked_bucket(bucket: object) -> str:
    """Refuse what can't name a bucket everywhere."""
    if isinstance(bucket, str) and _BUCKET.fullmatch(bucket):
        return bucket
    raise WorkflowError(
        f"{bucket!r:.200} can't name a bucket.", fix="use 1 to 63 letters, digits, dots, underscores and dashes"
    )


def checked_name(name: object) -> str:
    """Refuse what can't name a blob everywhere, file systems included."""
    why = ""
    if not isinstance(name, str):
        why = "it is no text"
    elif not name:
        why = "it is empty"
    elif len(checked_text(name, "the name").encode()) > _NAME_BYTES_MAX:
        why = f"it is longer than {_NAME_BYTES_MAX} bytes"
    elif not name.isprintable() or "\\" in name:
        why = "it has a backslash or a character that can't be printed"
    elif any(part in ("", ".", "..") for part in name.split("/")):
        why = 'a part of it between slashes is empty, "." or ".."'
    if why:
        raise WorkflowError(
            f"{name!r:.200} can't name a blob.", why=why, fix='give a text such as "reports/2026/april.pdf"'
        )
    return str(name)


def checked_head(content_type: str | None, metadata: Mapping[str, str] | None, size: int | None) -> Head:
    """Refuse what can't be kept beside a blob."""
    if content_type is not None and not (isinstance(content_type, str) and content_type):
        raise WorkflowError(f"content_type={content_type!r} is none.", fix='give a text such as "application/pdf"')
    checked_text(content_type or "", "content_type")
    texts = dict(metadata or {})
    for key, value in texts.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise WorkflowError(
                f"the metadata {key!r}: {value!r:.80} is not text.", fix='give texts: metadata={"author": "ada"}'
            )
        checked_text(f"{key}={value}", "the metadata")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise WorkflowError(f"size={size!r} is no number of bytes.", fix="give the whole size, or leave it out")
    return Head(content_type, texts, size)


def check_size(head: Head, size: int, name: str, label: str) -> None:
    """Refuse a blob of which not all has come, or too much."""
    if head.size is not None and head.size != size:
        raise BlobDamaged(
            f"blob {name!r} is cut off: {size:,} bytes came, and size= announced {head.size:,}.",
            where=label,
            fix="nothing of it was written: give all of it, or leave size= out",
        )


def unknown(bucket: str, name: str) -> UnknownBlob:
    """The error of a name that nobody has written."""
    return UnknownBlob(
        f"there is no blob {name!r} in bucket {bucket!r}.", fix="compare it with what storage.list() gives"
    )


def damaged(info: BlobInfo, why: str) -> BlobDamaged:
    """The error of bytes that are not those that were written."""
    return BlobDamaged(
        f"blob {info.name!r} of bucket {info.bucket!r} is damaged.",
        where=f"{info.size:,} bytes of {info.updated_at.isoformat()}",
        why=why,
        fix="what was read of it is not to be used: write it again, or go back to a copy of the ledger",
    )


def is_lazy(source: object) -> bool:
    """Whether a source gives its bytes as it is read, in the thread that reads it."""
    return not isinstance(source, (str, bytes, bytearray, memoryview, AsyncIterable))


async def pieces(source: Any, backing: Backing) -> AsyncGenerator[bytes]:
    """Go through a source on the services' loop, at most a chunk at a time; files are read off the loop."""
    if isinstance(source, os.PathLike):
        file = await backing.loop.offload(lambda: open(source, "rb"))  # noqa: SIM115  # closed below
        try:
            while data := await backing.loop.offload(lambda: _read(file)):
                yield data
        finally:
            file.close()
    elif isinstance(source, AsyncIterable):
        held = Held()
        async for piece in source:
            for data in held.add(_checked(piece)):
                yield data
        for data in held.rest():
            yield data
    elif hasattr(source, "read"):
        while data := await backing.loop.offload(lambda: _read(source)):
            yield data
    else:
        for data in pieces_here(source):
            yield data


def pieces_here(source: Any) -> Iterator[bytes]:
    """Go through a source in the thread of whoever gave it: an iterator may belong there."""
    if isinstance(source, os.PathLike):
        with open(source, "rb") as file:
            yield from pieces_here(file)
    elif isinstance(source, str):
        yield from _split(memoryview(source.encode()))
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield from _split(memoryview(source).cast("B"))
    elif hasattr(source, "read"):
        while data := _read(source):
            yield data
    elif isinstance(source, Iterable):
        held = Held()
        for piece in source:
            yield from held.add(_checked(piece))
        yield from held.rest()
    else:
        raise WorkflowError(
            f"{type(source).__name__} is nothing to make a blob of.",
            fix="give bytes, a text, a path, a file opened with 'rb', or an iterator of bytes",
        )


class Held:
    """Small pieces on their way into a large one: each that is handed on costs a change of threads."""

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, piece: memoryview) -> Iterator[bytes]:
        """Take a piece, and give what is large enough."""
        self._data += piece
        if len(self._data) >= CHUNK_BYTES:
            yield from self.rest()

    def rest(self) -> Iterator[bytes]:
        """Give all that is there."""
        data, self._data = self._data, bytearray()
        yield from _split(memoryview(data))


def _read(file: Any) -> bytes:
    data = file.read(CHUNK_BYTES)
    return bytes(_checked(data if data is not None else b""))


def _checked(piece: object) -> memoryview:
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return memoryview(piece).cast("B")
    raise WorkflowError(
        f"a blob consists of bytes, and this is {type(piece).__name__}: {piece!r:.60}.",
        fix="open the file with 'rb', or encode the text: line.encode()",
    )


def _split(data: memoryview) -> Iterator[bytes]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield bytes(data[start : start + CHUNK_BYTES])
