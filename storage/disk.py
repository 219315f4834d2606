"""The few things that operating systems do differently about files that must survive a power cut.

This file knows platforms. It must not know what the bytes are for.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Final

from perdure.errors import LedgerError, LedgerFull, LedgerReadOnly

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY: Final = {errno.EROFS, errno.EACCES, errno.EPERM}
_ZEROS: Final = bytes(1 << 20)

if sys.platform == "darwin":
    import fcntl

    def sync(fd: int) -> None:
        """Return once the file's data would survive a power cut; macOS's fsync stops at the drive's cache."""
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
elif hasattr(os, "fdatasync"):

    def sync(fd: int) -> None:
        """Return once the file's data would survive a power cut. Its size must not have changed."""
        os.fdatasync(fd)
else:

    def sync(fd: int) -> None:
        """Return once the file's data would survive a power cut."""
        os.fsync(fd)


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data`. A short write is followed by the error that explains it, or by the rest."""
    view = memoryview(data)
    while view:
        written = _pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _pwrite(fd: int, data: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(fd, data, offset)
    os.lseek(fd, offset, os.SEEK_SET)  # Windows; a segment has one writer
    return os.write(fd, data)


def create_zeroed(path: Path, size: int) -> int:
    """Make a file of zeros that is on disk with all its blocks, and return its descriptor.

    Written, not merely allocated: overwriting blocks that were only allocated changes metadata, so that each later
    `fdatasync` would wait for the file system's own log. Nothing is left behind when it fails.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644)
    try:
        for offset in range(0, size, len(_ZEROS)):
            write_at(fd, _ZEROS[: size - offset], offset)
        os.fsync(fd)
        sync_folder(path.parent)
    except BaseException:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return fd


def sync_folder(folder: Path) -> None:
    """Make names that were created in a folder survive a power cut. Windows has no such call, and needs none."""
    if sys.platform == "win32":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def ledger_error(error: OSError, doing: str, path: Path) -> LedgerError:
    """Say in the ledger's words why a file could not be written."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return LedgerFull(
            f"no room {doing}.",
            where=str(path),
            why=reason,
            fix="make room on the disk and try again; everything acknowledged is safe",
        )
    if error.errno in _READ_ONLY:
        return LedgerReadOnly(
            f"no permission {doing}.",
            where=str(path),
            why=reason,
            fix="let this process write the file and its folder, or open the ledger with read_only=True",
        )
    return LedgerError(
        f"the disk failed {doing}.",
        where=str(path),
        why=reason,
        fix="check the disk and open the ledger again; everything acknowledged is in the file and its journal",
    )
