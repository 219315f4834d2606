"""How records lie in the journal's segment files, and how they are found again after a crash.

A record is a header (magic, ledger, sequence number, length, CRC-32) and a payload of ASCII text. Segments are reused
without being wiped, so old records follow the newest one. Sequence numbers tell them apart: they grow by one from
record to record, across segments, for as long as the ledger lives.

- The end of the journal is the first place where the next number is not found whole. A write that was torn by a crash
  ends there: nobody was told that it had happened.
- A whole record with a *greater* number beyond that place means that an acknowledged one was destroyed. That is
  LedgerCorrupt, and nothing beyond it is taken.

This file knows bytes in files. It must not know what a payload says, and it never writes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from perdure.errors import LedgerCorrupt

#: Not ASCII, so it never occurs in a payload.
_MAGIC: Final = b"\xb5PJ\x01"
_HEADER: Final = struct.Struct("<4sQQII")
_CHECKED: Final = struct.Struct("<QQI")
HEADER_BYTES: Final = _HEADER.size


def record(ledger: int, sequence: int, payload: bytes) -> bytes:
    """Write one record."""
    checksum = crc32(payload, crc32(_CHECKED.pack(ledger, sequence, len(payload))))
    return _HEADER.pack(_MAGIC, ledger, sequence, len(payload), checksum) + payload


@dataclass(frozen=True, slots=True)
class Record:
    """One whole record as it was found."""

    ledger: int
    sequence: int
    payload: bytes
    end: int  # offset just behind it


def read_record(data: bytes, offset: int) -> Record | None:
    """Read the record at an offset; None when there is no whole one."""
    if offset + HEADER_BYTES > len(data):
        return None
    magic, ledger, sequence, length, checksum = _HEADER.unpack_from(data, offset)
    end = offset + HEADER_BYTES + length
    if magic != _MAGIC or end > len(data):
        return None
    payload = data[offset + HEADER_BYTES : end]
    if checksum != crc32(payload, crc32(_CHECKED.pack(ledger, sequence, length))):
        return None
    return Record(ledger, sequence, payload, end)


@dataclass(slots=True)
class Segment:
    """A segment file, as a scan found it."""

    path: Path
    first: int  # sequence number of its first record, 0 when there is none
    last: int = 0  # … of the last one that continues the first, known once it was read
    end: int = 0  # offset behind that one


class JournalScan:
    """Reads a journal's records in order. `segments` is filled in as the records are gone through.

    Args:
        folder: of the segments; a missing one has no records.
        ledger: the ledger's identity, which every record carries.
        absorbed: the last sequence number that the columns have.
    """

    def __init__(self, folder: Path, ledger: int, absorbed: int) -> None:
        self._folder = folder
        self._ledger = ledger
        self._absorbed = absorbed
        self.last = absorbed
        self.segments: list[Segment] = []

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Go through `(sequence, payload)` of all records that the columns don't have.

        Raises LedgerCorrupt, after the records that are sound, when one in the middle is not.
        """
        paths = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        self.segments = sorted((self._segment(path) for path in paths), key=lambda segment: segment.first)
        for segment in self.segments:
            data = segment.path.read_bytes()
            expected = segment.first
            while expected and (found := read_record(data, segment.end)) is not None and found.sequence == expected:
                segment.last, segment.end = expected, found.end
                if expected > self._absorbed:
                    if expected != self.last + 1:
                        raise self._corrupt(segment.path, 0, self.last + 1, expected)
                    self.last = expected
                    yield expected, found.payload
                expected += 1
        for segment in self.segments:
            self._refuse_newer_beyond(segment)

    def _segment(self, path: Path) -> Segment:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
            if len(head) == HEADER_BYTES and head.startswith(_MAGIC):
                _, ledger, _, length, _ = _HEADER.unpack(head)
                found = read_record(head + file.read(length), 0)
                if found is not None:
                    if ledger != self._ledger:
                        raise LedgerCorrupt(
                            "the journal belongs to another ledger.",
                            where=str(path),
                            why="the ledger's file was replaced or deleted, and its journal was left behind",
                            fix=f"put the old ledger's file back, or move {self._folder} away to go on without it",
                        )
                    return Segment(path, found.sequence)
        return Segment(path, 0)

    def _refuse_newer_beyond(self, segment: Segment) -> None:
        """Look for whole records beyond the end that are newer than all that was found."""
        data = segment.path.read_bytes()
        offset = data.find(_MAGIC, segment.end)
        while offset >= 0:
            found = read_record(data, offset)
            if found is not None and found.ledger == self._ledger and found.sequence > self.last:
                raise self._corrupt(segment.path, segment.end, self.last + 1, found.sequence)
            offset = data.find(_MAGIC, offset + 1)

    def _corrupt(self, path: Path, offset: int, missing: int, found: int) -> LedgerCorrupt:
        return LedgerCorrupt(
            f"the journal lacks record {missing}, but has record {found}.",
            where=f"{path}, at byte {offset}",
            why="acknowledged records were overwritten or lost, or the ledger's file is older than its journal",
            fix="restore file and journal from the same backup; to go on without the lost records move the journal "
            "away, after a copy of both",
        )
