"""The files of a blob on a file system of fsspec: its bytes in their place, and beside them what is known of it.

    <root>/<bucket>/<name>                     the bytes, as any other program would put them there
    <root>/.perdure/info/<bucket>/<name>.json  what is known beside them

Where a file system moves by copying, a blob that is on its way to its place is known by its size, and not read. Where
processes write one blob at once, one of them is the last, and what is known beside it is its own or nothing.

Knows files. Must not know steps, nor who writes.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Final

from perdure.services.blobs import BlobInfo

OURS: Final = ".perdure"


def path_of(root: str, bucket: str, name: str) -> str:
    """Where the bytes of a blob are."""
    return f"{root}/{bucket}/{name}"


def _info_path(root: str, bucket: str, name: str) -> str:
    return f"{root}/{OURS}/info/{bucket}/{name}.json"


def parent(path: str) -> str:
    """The folder of a file."""
    return path.rpartition("/")[0]


def listed(files: Any, folder: str) -> list[str]:
    """What is in a folder; nothing when there is none."""
    try:
        return [str(path) for path in files.ls(folder, detail=False)]
    except FileNotFoundError:
        return []


def info_of(files: Any, root: str, bucket: str, name: str) -> BlobInfo | None:
    """Look at a blob; None when there is none."""
    try:
        found = files.info(path_of(root, bucket, name))
    except (FileNotFoundError, NotADirectoryError):
        return None
    if found["type"] != "file":
        return None
    size = int(found["size"])
    kept = _said(_content(files, _info_path(root, bucket, name)))
    if kept is None or kept.get("size") != size:  # another program wrote it
        at = found.get("mtime") or found.get("LastModified") or found.get("created") or 0
        moment = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
        return BlobInfo(bucket, name, size, None, None, {}, moment, moment)
    created_at, updated_at = (datetime.fromisoformat(kept.pop(key)) for key in ("created_at", "updated_at"))
    return BlobInfo(**kept, created_at=created_at, updated_at=updated_at)


def move(files: Any, root: str, info: BlobInfo, upload: str) -> None:
    """Put a blob in its place, and what is known of it beside it: nothing rather than something wrong.

    Another process may do the same at any moment, and there is nothing that would keep one of them waiting. So each
    leaves a mark first; who does not find its own mark afterwards, or other bytes than it left, says nothing.
    """
    path, said = path_of(root, info.bucket, info.name), _info_path(root, info.bucket, info.name)
    files.makedirs(parent(path), exist_ok=True)
    files.makedirs(parent(said), exist_ok=True)
    before = _stamp(files, path)
    mark = json.dumps({"moving": upload, "sizes": [before[0] if before else None, info.size]}).encode()
    files.pipe_file(said, mark)
    files.mv(f"{root}/{OURS}/{upload}", path)
    mine = _stamp(files, path)
    kept = asdict(replace(info, metadata=dict(info.metadata)))
    times = {key: kept[key].isoformat() for key in ("created_at", "updated_at")}
    if _content(files, said) == mark:
        files.pipe_file(said, json.dumps({**kept, **times}).encode())
        if _stamp(files, path) == mine:
            return
    remove_file(files, said)


def is_cut_off(files: Any, root: str, info: BlobInfo) -> bool:
    """Whether a blob is neither what was there nor what somebody began to move there."""
    said = _said(_content(files, _info_path(root, info.bucket, info.name)))
    sizes = None if said is None else said.get("sizes")
    return sizes is not None and info.size not in sizes


def _said(text: bytes | None) -> dict[str, Any] | None:
    """What is known beside a blob; nothing where it is cut off, because somebody writes it or ended in the middle."""
    try:
        said = None if text is None else json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _content(files: Any, path: str) -> bytes | None:
    try:
        return bytes(files.cat_file(path))
    except FileNotFoundError:
        return None


def _stamp(files: Any, path: str) -> tuple[Any, ...] | None:
    """What tells one file in a place from the next one; its size first. None when there is none."""
    try:
        found = files.info(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (int(found["size"]), *(found.get(key) for key in ("ino", "mtime", "created", "LastModified", "ETag")))


def remove(files: Any, root: str, bucket: str, name: str) -> None:
    """Remove a blob, and what is known of it."""
    remove_file(files, _info_path(root, bucket, name))
    remove_file(files, path_of(root, bucket, name))


def remove_file(files: Any, path: str) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        files.rm_file(path)
