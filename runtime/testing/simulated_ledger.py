"""A ledger on a disk that fails as it is told: memory's answers, the journal's own records beneath.

What survives a crash is what the real record format can read back from the bytes that reached the simulated disk.

Knows records and bytes. Must not know runs' bodies or why a fault strikes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from perdure.errors import LedgerFull
from perdure.storage import payload
from perdure.storage.batch import Batch
from perdure.storage.cells import Cell
from perdure.storage.entries import DefinitionRow
from perdure.storage.memory_ledger import MemoryLedger
from perdure.storage.segments import read_record, record
from perdure.testing.faults import Crash, FullDisk, LyingSync, Restart, TornTail

_IDENTITY = 1
DiskFault = Crash | TornTail | LyingSync | FullDisk | Restart


class SimulatedCrash(BaseException):  # a control signal, so that nobody's `except Exception` survives a crash
    """The process is gone; only the disk is left."""


class Write(NamedTuple):
    """One record on its way to a disk."""

    commit: int
    batch: Batch
    definitions: Sequence[DefinitionRow]
    cells: Sequence[Cell]

    def bytes(self) -> bytes:
        """The record as the journal writes it."""
        return record(_IDENTITY, self.commit, payload.write_batch(self.batch, self.definitions, self.cells))


class Disk:
    """Bytes that outlive a process. They are made when somebody looks: most lives end without a crash."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ends: list[int] = []  # of each whole record
        self._writes: list[Write] = []  # in the order in which they came, after `_data`

    def append(self, write: Write) -> None:
        """Write one whole record."""
        self._writes.append(write)

    def tear(self, write: Write, share: float) -> None:
        """Write a part of a record, as the power fails; all of it is a whole one that nobody was told about."""
        self._settle()
        data = write.bytes()
        kept = round(len(data) * share)
        self._data += data[:kept]
        if kept == len(data):
            self._ends.append(len(self._data))

    def lose(self, records: int) -> None:
        """Forget the newest records."""
        self._settle()
        del self._ends[max(0, len(self._ends) - records) :]
        del self._data[self._ends[-1] if self._ends else 0 :]

    def read(self) -> bytes:
        """All that reached it."""
        self._settle()
        return bytes(self._data)

    def cut(self, end: int, records: int) -> None:
        """Drop what follows the last whole record."""
        del self._data[end:]
        del self._ends[records:]

    def _settle(self) -> None:
        for write in self._writes:
            self._data += write.bytes()
            self._ends.append(len(self._data))
        self._writes.clear()


class SimulatedLedger(MemoryLedger):
    """A `MemoryLedger` whose batches are first written to a disk, and which opens with what the disk has.

    Attributes:
        commit: number of the commit that is being taken, or was taken last; counts on across crashes.
        fault: what strikes at the next commit, set by the simulation, which hears of it by `on_strike`.
    """

    def __init__(self, disk: Disk, commit: int = 0) -> None:
        super().__init__()
        self._disk = disk
        self._reading = True
        self.commit = commit
        self.fault: DiskFault | None = None
        self.on_strike: Callable[[DiskFault], None] = lambda fault: None
        self._read_disk()
        self._reading = False

    def _read_disk(self) -> None:
        """Take the batches that can be read; what follows the last whole record is a torn write, and is cut off."""
        data, offset, number = self._disk.read(), 0, 0
        while (found := read_record(data, offset)) is not None:
            read = payload.read(found.payload)
            self.append([entry._replace(digest=b"") for entry in read.entries], read.definitions, read.cells)
            offset = found.end
            number += 1
        self._disk.cut(offset, number)

    def keep(self, batch: Batch, definitions: Sequence[DefinitionRow], cells: Sequence[Cell]) -> None:
        """Write the batch to the disk, or fail as the fault says."""
        if self._reading:
            return
        fault, self.fault = self.fault, None
        if fault is not None:
            self.on_strike(fault)
        if isinstance(fault, FullDisk):
            raise LedgerFull(
                "no room writing the journal.",
                where="the simulated disk",
                fix="make room on the disk and try again; everything acknowledged is safe",
            )
        self.commit += 1
        if isinstance(fault, (Crash, Restart)) and getattr(fault, "when", "before") == "before":
            raise SimulatedCrash
        write = Write(self.commit, batch, definitions, cells)
        if isinstance(fault, TornTail):
            self._disk.tear(write, fault.share)
            raise SimulatedCrash
        if isinstance(fault, LyingSync):
            self._disk.append(write)
            self._disk.lose(fault.lost)
            raise SimulatedCrash
        self._disk.append(write)
        if isinstance(fault, Crash):
            raise SimulatedCrash
