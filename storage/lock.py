"""One process owns a ledger: a lock file beside it, held for as long as the owner lives.

The operating system gives the lock back when a process ends, however it ends, so a file that a killed owner left
behind locks nothing.

This file knows who owns a path. It must not know what is kept there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from perdure.errors import LedgerLocked
from perdure.storage import disk

if sys.platform == "win32":
    import msvcrt

    # Windows' locks are mandatory: the locked byte lies far behind the pid, which others must be able to read.
    _LOCKED_BYTE = 1 << 30

    def _try_lock(fd: int, shared: bool) -> bool:
        if shared:
            return True  # there is no shared lock; DuckDB opens its file so that nobody else can
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(fd: int, shared: bool) -> bool:
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class OwnerLock:
    """Ownership of the ledger at `path`, taken when made. Raises LedgerLocked when it has an owner or readers.

    It must be taken before DuckDB opens the file: on POSIX, closing any descriptor of a file drops the locks that
    DuckDB holds on it in this process.
    """

    def __init__(self, path: Path) -> None:
        self._path = lock_path(path)
        while True:
            try:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise disk.ledger_error(error, "making the lock file", self._path) from error
            if not _try_lock(self._fd, shared=False):
                owner = _owner(self._fd)
                os.close(self._fd)
                refuse(path, owner)
            if _is_file(self._fd, self._path):
                break
            os.close(self._fd)  # the former owner deleted it between our open and our lock
        if not _nobody_reads(path):
            self.release()
            raise LedgerLocked(
                f"{path.name} is being read.", where=str(path), why="another process has it open with read_only=True",
                fix="wait until it has finished, or let it work on a copy of the file and its journal",
            )  # fmt: skip
        os.ftruncate(self._fd, 0)
        disk.write_at(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the ledger back. The file goes first, while nobody else can hold it."""
        if sys.platform != "win32":
            self._path.unlink(missing_ok=True)
        os.close(self._fd)


class ReaderLock:
    """Keeps owners away from the ledger at `path` while it is read, without making any file.

    A reader locks the ledger's own file, shared, and then looks for an owner; an owner takes the lock file, and then
    looks for readers. So whichever comes second sees the first.
    """

    def __init__(self, path: Path) -> None:
        self._fds: list[int] = []
        for locked in (path, lock_path(path)):
            try:
                fd = os.open(locked, os.O_RDONLY)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.release()
                raise disk.ledger_error(error, "reading the ledger", locked) from error
            self._fds.append(fd)
            if not _try_lock(fd, shared=True):
                owner = _owner(fd) if locked != path else None
                self.release()
                refuse(path, owner)

    def release(self) -> None:
        """Let owners in again."""
        while self._fds:
            os.close(self._fds.pop())


def _nobody_reads(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return True  # there is no file yet; or one that nobody can open, as DuckDB will say better
    try:
        return _try_lock(fd, shared=False)
    finally:
        os.close(fd)


def lock_path(path: Path) -> Path:
    """Where a ledger's lock file lies."""
    return path.with_name(path.name + ".lock")


def refuse(path: Path, owner: int | None) -> NoReturn:
    """Say who owns the ledger, and what to do about it."""
    if owner == os.getpid():
        who, fix = "this process has it open already", "use the one that is open, or close it first"
    else:
        who = "another process has it open" if owner is None else f"process {owner} has it open"
        fix = "go through that process, stop it, or work on a copy of the file and its journal"
    raise LedgerLocked(f"{path.name} is in use.", owner_pid=owner, where=str(path), why=who, fix=fix)


def _owner(fd: int) -> int | None:
    os.lseek(fd, 0, os.SEEK_SET)
    text = os.read(fd, 32).strip()
    return int(text) if text.isdigit() else None


def _is_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
