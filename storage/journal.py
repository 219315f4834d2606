"""The journal in front of the columns: one checksummed record and one sync per batch, and that is the acknowledgement.

Segments are files of fixed size, zero-filled when made, and used again once the columns have what is in them, so that
a sync never waits for the file system to note a new size or new blocks.

This file knows when bytes are safe. It must not know what they say.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from perdure.errors import LedgerError
from perdure.storage import disk
from perdure.storage.segments import HEADER_BYTES, JournalScan, record

SEGMENT_BYTES: Final = 4 << 20
_SPARES_MAX: Final = 2


class _Open:
    """A segment that is being written, or waits to be reused."""

    def __init__(self, path: Path, fd: int, size: int) -> None:
        self.path = path
        self.fd = fd
        self.size = size
        self.end = 0  # offset behind its last record
        self.last = 0  # sequence number of its last record


class Journal:
    """A journal that this process owns. `recover()` comes first and gives back what the columns lack.

    `append` belongs to one thread; `absorbed` and `make_spare` may be called from another.
    """

    def __init__(self, folder: Path, ledger: int, absorbed: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._ledger = ledger
        self._segment_bytes = segment_bytes
        self._scan = JournalScan(folder, ledger, absorbed)
        self._sequence = absorbed
        self._absorbed = absorbed
        self._full: list[_Open] = []  # holding records that may not be absorbed yet, oldest first
        self._spares: list[_Open] = []
        self._current: _Open | None = None
        self._broken: LedgerError | None = None
        self._spares_lock = threading.Lock()
        self._making = threading.Lock()  # one segment at a time, so that two threads never want the same name

    @property
    def sequence(self) -> int:
        """Number of the newest record."""
        return self._sequence

    def recover(self) -> Iterator[tuple[int, bytes]]:
        """Go through the records that the columns lack, and take possession of the segments."""
        yield from self._scan.records()
        self._sequence = self._scan.last
        try:
            self._folder.mkdir(exist_ok=True)
            disk.sync_folder(self._folder.parent)
            for found in self._scan.segments:
                fd = os.open(found.path, os.O_RDWR | getattr(os, "O_BINARY", 0))
                segment = _Open(found.path, fd, os.fstat(fd).st_size)
                segment.end, segment.last = found.end, found.last
                self._full.append(segment)
        except OSError as error:
            raise disk.ledger_error(error, "opening the journal", self._folder) from error
        # A new start begins with a fresh segment: what follows the old end, torn or not, is never written over while
        # the records before it are still needed.
        self.absorbed(self._absorbed)

    def append(self, payload: bytes) -> int:
        """Add a record and return its sequence number once it would survive a power cut.

        Raises LedgerFull, LedgerReadOnly or LedgerError; the record is then undone, and the next call may succeed.
        """
        if self._broken is not None:
            raise self._broken
        sequence = self._sequence + 1
        data = record(self._ledger, sequence, payload)
        segment = self._current
        try:
            if segment is None or segment.end + len(data) > segment.size:
                segment = self._next_segment(len(data))
            offset = segment.end
            try:
                disk.write_at(segment.fd, data, offset)
                disk.sync(segment.fd)
            except BaseException:
                self._undo(segment, offset)
                raise
        except OSError as error:
            raise disk.ledger_error(error, "writing the journal", self._folder) from error
        segment.end = offset + len(data)
        segment.last = self._sequence = sequence
        return sequence

    def absorbed(self, sequence: int) -> None:
        """Let go of the records up to this one: the columns have them."""
        with self._spares_lock:
            self._absorbed = max(self._absorbed, sequence)
            while self._full and self._full[0].last <= self._absorbed:
                segment = self._full.pop(0)
                if len(self._spares) < _SPARES_MAX and segment.size == self._segment_bytes:
                    self._spares.append(segment)
                else:
                    os.close(segment.fd)
                    segment.path.unlink(missing_ok=True)

    def make_spare(self) -> None:
        """Have a segment ready before the present one is full, so that no batch waits for its making.

        A disk without room is no error here: the batch that needs the segment says so.
        """
        with self._spares_lock:
            current = self._current
            if current is None or current.end < current.size // 2 or self._spares:
                return
        with self._making:
            try:
                made = self._make(self._segment_bytes)
            except OSError:
                return
            with self._spares_lock:
                self._spares.append(made)

    def close(self) -> None:
        """Close the files, and leave them for the next start."""
        for segment in self._all():
            os.close(segment.fd)
        self._full, self._spares, self._current = [], [], None
        self._broken = LedgerError("the ledger is closed.", where=str(self._folder))

    def remove(self) -> None:
        """Close and delete the files: the columns have everything."""
        paths = [segment.path for segment in self._all()]
        self.close()
        for path in paths:
            path.unlink(missing_ok=True)
        self._folder.rmdir()

    def _all(self) -> list[_Open]:
        return [*self._full, *self._spares, *([self._current] if self._current else [])]

    def _next_segment(self, needed: int) -> _Open:
        segment = self._take_spare(needed)
        if segment is None:
            with self._making:
                segment = self._take_spare(needed) or self._make(max(self._segment_bytes, needed))
        segment.end = segment.last = 0
        with self._spares_lock:
            if self._current is not None:
                self._full.append(self._current)
            self._current = segment
        return segment

    def _take_spare(self, needed: int) -> _Open | None:
        with self._spares_lock:
            for spare in self._spares:
                if spare.size >= needed:
                    self._spares.remove(spare)
                    return spare
        return None

    def _make(self, size: int) -> _Open:
        taken = {path.name for path in self._folder.iterdir()}
        number = next(number for number in range(1, len(taken) + 2) if f"{number:04}" not in taken)
        path = self._folder / f"{number:04}"
        return _Open(path, disk.create_zeroed(path, size), size)

    def _undo(self, segment: _Open, offset: int) -> None:
        """Make sure that a record which was refused is not found whole by the next start."""
        try:
            disk.write_at(segment.fd, bytes(min(HEADER_BYTES, segment.size - offset)), offset)
            disk.sync(segment.fd)
        except OSError as error:
            self._broken = LedgerError(
                "the journal failed, and could not be put back in order.",
                where=str(segment.path),
                why=error.strerror or str(error),
                fix="mend the disk and open the ledger again; the batch that failed last may or may not be in it",
            )
