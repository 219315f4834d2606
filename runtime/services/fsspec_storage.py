"""Blobs on any file system that fsspec knows: a folder, S3, Google Cloud Storage, FTP, …

    <root>/<bucket>/<name>                     the bytes, as any other program would put them there
    <root>/.perdure/info/<bucket>/<name>.json  what is known beside them
    <root>/.perdure/uploads/<upload>           bytes on their way in

A blob is written beside its place while the step runs, and moved there at the end of the step, before its result is
recorded. A process that ends in between runs the step again, which writes the same blob again: it is there once because
it has one name. So "exactly once" holds here for what a name stands for, not for how often it was written.

Knows files. Must not know steps. fsspec is imported only here.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b, sha256
from typing import Any, TypeVar
from uuid import uuid4

from perdure.errors import DefinitionError, ServiceFailed
from perdure.services.blob_files import OURS, info_of, is_cut_off, listed, move, parent, path_of, remove, remove_file
from perdure.services.blobs import CHUNK_BYTES, BlobInfo, Head, check_size, damaged
from perdure.services.effects import Change
from perdure.services.transaction import Transaction
from perdure.services.values import shown_url
from perdure.storage.encoding import Encoded, encode

T = TypeVar("T")
logger = logging.getLogger("perdure")


class FsspecStorage:
    """Where `storage` keeps blobs: `Runtime(…, services={"storage": FsspecStorage("s3://my-bucket/blobs")})`.

    Args:
        url: of the folder below which buckets are; what comes before `://` says which file system.
        options: given to it, such as keys and end points.

    Raises:
        DefinitionError: the URL can't be used, or what knows that file system is not installed.
    """

    service = "storage"

    def __init__(self, url: str, **options: Any) -> None:
        if not isinstance(url, str) or not url:
            raise DefinitionError(
                f"{url!r} is no URL.", fix='give one such as "file:///srv/blobs" or "s3://bucket/blobs"'
            )
        self._shown = f"FsspecStorage({shown_url(url)})"  # it may have a password
        try:
            import fsspec

            fsspec.get_filesystem_class(fsspec.utils.get_protocol(url))
        except ImportError as error:
            raise DefinitionError(
                f"{self._shown} needs what is not installed: {error}",
                fix="pip install perdure[fsspec]",
            ) from None
        except ValueError as error:
            raise DefinitionError(f"{self._shown}: {error}", fix="see fsspec.available_protocols()") from None
        self._url = url
        self._options = options
        self._opened: tuple[Any, str] | None = None

    def __repr__(self) -> str:
        return self._shown

    async def close(self) -> None:
        """Forget the connection; it is made anew when it is needed."""
        self._opened = None

    # ── one transaction's view ───────────────────────────────────────────────────────────────────

    def upload(self, transaction: Transaction, bucket: str, name: str) -> FileUpload:
        """Begin to write a blob."""
        return FileUpload(self, transaction, bucket, name)

    async def info(self, transaction: Transaction, bucket: str, name: str) -> BlobInfo | None:
        """Look at a blob."""
        draft = _draft(self, transaction)
        if (bucket, name) in draft.written:
            written = draft.written[bucket, name]
            return None if written is None else written.info
        return await self.call(transaction, lambda files, root: info_of(files, root, bucket, name))

    async def chunks(self, transaction: Transaction, info: BlobInfo) -> AsyncGenerator[bytes]:
        """Read a blob, a piece at a time."""
        written = _draft(self, transaction).written.get((info.bucket, info.name))

        def begin(files: Any, root: str) -> Any:
            path = path_of(root, info.bucket, info.name) if written is None else f"{root}/{OURS}/{written.upload}"
            return files.open(path, "rb")

        if written is None and info.sha256 is None and await self.call(transaction, partial(is_cut_off, info=info)):
            raise damaged(info, "it is being moved to its place, or whoever did so ended in the middle of it")
        file = await self.call(transaction, begin)
        hashed, size = sha256(), 0
        try:
            while data := await self.call(transaction, lambda files, root: file.read(CHUNK_BYTES)):
                hashed.update(data)
                size += len(data)
                if size > info.size:
                    break
                if size == info.size and info.sha256 not in (None, hashed.hexdigest()):
                    raise damaged(info, "its bytes are not those that were written")
                yield data
            if size != info.size:
                raise damaged(info, f"there are {'more' if size > info.size else f'only {size:,}'} bytes")
        finally:
            file.close()

    async def buckets(self, transaction: Transaction) -> list[str]:
        """List the buckets that have blobs."""

        def folders(files: Any, root: str) -> list[str]:
            return [str(path).rstrip("/").rpartition("/")[2] for path in listed(files, root)]

        names = {name for name in await self.call(transaction, folders) if name != OURS}
        names |= {bucket for bucket, _ in _draft(self, transaction).written}
        return [name for name in sorted(names) if await self.list(transaction, name, "", None, 1)]

    async def list(
        self, transaction: Transaction, bucket: str, prefix: str, after: str | None, limit: int | None
    ) -> list[BlobInfo]:
        """List blobs by name. All names of the bucket are looked at."""
        written = {name: each for (of, name), each in _draft(self, transaction).written.items() if of == bucket}

        def find(files: Any, root: str) -> list[str]:
            folder = path_of(root, bucket, "")
            return [str(path)[len(folder) :] for path in files.find(folder)] if files.exists(folder) else []

        names = {name for name in await self.call(transaction, find) if name not in written}
        names |= {name for name, each in written.items() if each is not None}
        chosen = sorted(each for each in names if each.startswith(prefix) and (after is None or each > after))
        found = [await self.info(transaction, bucket, name) for name in chosen[:limit]]
        return [info for info in found if info is not None]

    async def delete(self, transaction: Transaction, bucket: str, name: str) -> bool:
        """Delete a blob when the step's result is recorded."""
        await transaction.claim_name((f"blob/{bucket}", name))
        before = await self.info(transaction, bucket, name)
        if before is None:
            return False
        _draft(self, transaction).write(bucket, name, None)
        transaction.changed(Change("storage", bucket, name, "delete", None, told(before)))
        return True

    # ── the file system ──────────────────────────────────────────────────────────────────────────

    async def call(self, transaction: Transaction, work: Callable[[Any, str], T]) -> T:
        """Do something with the file system and the root, off the loop.

        Raises:
            ServiceFailed: it can't be reached, or refused.
        """

        def act() -> T:
            files, root = self._open()
            return work(files, root)

        try:
            return await transaction.backing.loop.offload(act)
        except Exception as error:  # each file system has errors of its own; the step's policy handles this one
            raise ServiceFailed(
                f"{self!r} failed: {type(error).__name__}: {error}",
                where=transaction.label,
                why="the file system can't be reached, or refused",
                fix="see that it is there and lets this process write; a step is tried again as its policy says",
            ) from error

    def _open(self) -> tuple[Any, str]:
        if self._opened is None:
            import fsspec

            options = {"skip_instance_cache": True, "use_listings_cache": False, **self._options}
            files, root = fsspec.core.url_to_fs(self._url, **options)
            self._opened = files, str(root).rstrip("/")
        return self._opened


class FileUpload:
    """A blob on its way in, beside its place."""

    def __init__(self, store: FsspecStorage, transaction: Transaction, bucket: str, name: str) -> None:
        self._store = store
        self._transaction = transaction
        self._bucket = bucket
        self._name = name
        self._draft = _draft(store, transaction)
        self._upload = self._draft.new_upload()
        self._file: Any = None
        self._size = 0
        self._hashed = sha256()

    async def add(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._file is None:
            self._file = await self._store.call(self._transaction, self._begin)
            self._draft.open_files.append(self._file)
        await self._store.call(self._transaction, lambda files, root: self._file.write(data))
        self._hashed.update(data)
        self._size += len(data)

    def _begin(self, files: Any, root: str) -> Any:
        path = f"{root}/{OURS}/{self._upload}"
        files.makedirs(parent(path), exist_ok=True)
        self._draft.remove_older(files, root)
        return files.open(path, "wb")

    async def finish(self, head: Head) -> BlobInfo:
        """Give it its name, which it has when the step's result is recorded."""
        store, transaction, bucket, name = self._store, self._transaction, self._bucket, self._name
        check_size(head, self._size, name, transaction.label)
        await self.add(b"")  # an empty blob is a file too
        await store.call(transaction, lambda files, root: self._file.close())
        await transaction.claim_name((f"blob/{bucket}", name))
        before = await store.info(transaction, bucket, name)
        now = datetime.fromtimestamp(transaction.backing.now_us() / 1_000_000, UTC)
        info = BlobInfo(
            bucket, name, self._size, self._hashed.hexdigest(), head.content_type, dict(head.metadata),
            now if before is None else before.created_at, now,
        )  # fmt: skip
        self._draft.write(bucket, name, _Written(info, self._upload))
        previous = None if before is None else told(before)
        transaction.changed(Change("storage", bucket, name, "put", told(info), previous))
        return info


class _Written:
    """A blob that one transaction has written, and where its bytes are till the end."""

    __slots__ = ("info", "upload")

    def __init__(self, info: BlobInfo, upload: str) -> None:
        self.info = info
        self.upload = upload


class _Draft:
    """What one transaction has written and nobody else sees yet."""

    def __init__(self, store: FsspecStorage, transaction: Transaction) -> None:
        self.written: dict[tuple[str, str], _Written | None] = {}  # None: deleted
        self.open_files: list[Any] = []  # that may have to be closed
        self._store = store
        self._transaction = transaction
        key = transaction.idempotency_key
        self.step = blake2b(key.encode(), digest_size=16).hexdigest() if key else ""
        self._uploads: list[str] = []
        self._is_registered = False

    def new_upload(self) -> str:
        """A place for bytes, which no other attempt has: one that was abandoned may write still."""
        if not self._uploads:
            self._transaction.when_over(lambda: self._transaction.backing.spawn(self._clear()))
        self._uploads.append(f"uploads/{self.step}-{uuid4().hex}")
        return self._uploads[-1]

    def remove_older(self, files: Any, root: str) -> None:
        """Remove what earlier attempts of the step have left, whose process ended."""
        mine = {upload.removeprefix("uploads/") for upload in self._uploads}
        for path in listed(files, f"{root}/{OURS}/uploads") if self.step else ():
            name = str(path).rpartition("/")[2]
            if name.startswith(f"{self.step}-") and name not in mine:
                remove_file(files, path)

    def write(self, bucket: str, name: str, written: _Written | None) -> None:
        """Note what is to be done at the end."""
        self.written[bucket, name] = written
        if not self._is_registered:
            self._is_registered = True
            self._transaction.write_outside(self._flush)

    async def _flush(self) -> None:
        """Put everything in its place. Doing it again does it no other way."""
        for (bucket, name), written in self.written.items():
            work = (
                partial(remove, bucket=bucket, name=name)
                if written is None
                else partial(move, info=written.info, upload=written.upload)
            )
            await self._store.call(self._transaction, work)

    async def _clear(self) -> None:
        """Remove what did not become a blob."""

        def clear(files: Any, root: str) -> None:
            for file in self.open_files:  # else the garbage collector ends the upload later, after it was removed
                with suppress(Exception):  # what could not be written can't be closed either, and is removed now
                    file.close()
            for upload in self._uploads:
                remove_file(files, f"{root}/{OURS}/{upload}")

        try:
            await self._store.call(self._transaction, clear)
        except ServiceFailed as error:  # nobody waits for it: it is in nobody's way, and a next attempt writes over it
            logger.warning("An upload that came to nothing stays in %r: %s", self._store, error)


def _draft(store: FsspecStorage, transaction: Transaction) -> _Draft:
    return transaction.part("storage", lambda: _Draft(store, transaction))


def told(info: BlobInfo) -> Encoded:
    """What handlers of changes are told of a blob."""
    times = {key: round(getattr(info, key).timestamp() * 1_000_000) for key in ("created_at", "updated_at")}
    return encode({**asdict(info), **times})
