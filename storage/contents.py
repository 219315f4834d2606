"""What the columns have, by hash and in memory: for what is new, or waits for nothing, no query is made.

8 bytes for each run, idempotency key and cell, 16 for each wait. It may say too much (of what was deleted, of waits
that are over) and never too little, so whoever asks looks at the rows as well.

This file knows numbers. It must not know SQL, nor lock anything.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from perdure.storage.absorption import Load
from perdure.storage.cells import cell_hash
from perdure.storage.hashed import hashed
from perdure.storage.tables import idempotency_hash
from perdure.storage.waits import match_key, waits_of

#: New ones are gathered in sets, which take ten times the room, and sorted in when they are so many.
_GATHERED_MAX: Final = 65_536


class Hashes:
    """A set of signed 64-bit numbers that only grows.

    Args:
        first: the first ones, in order.
    """

    def __init__(self, first: Iterable[int] = ()) -> None:
        self._sorted = array("q", first)
        self._gathered: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number in self._gathered or self._is_sorted_in(number)

    def add(self, hashes: Iterable[int]) -> None:
        """Take in more."""
        self._gathered.update(number for number in hashes if not self._is_sorted_in(number))
        if len(self._gathered) > _GATHERED_MAX:
            self._sorted = array("q", sorted([*self._sorted, *sorted(self._gathered)]))
            self._gathered = set()

    def _is_sorted_in(self, number: int) -> bool:
        place = bisect_left(self._sorted, number)
        return place < len(self._sorted) and self._sorted[place] == number


class WaitingRuns:
    """Which runs may wait under a match key (see waits.py).

    Args:
        keys, runs: of the first waits, one for each, in order of key and run.
    """

    def __init__(self, keys: Sequence[int] = (), runs: Sequence[int] = ()) -> None:
        self._keys, self._runs = array("q", keys), array("q", runs)
        self._gathered: dict[int, set[int]] = {}
        self._added = 0

    @property
    def is_crowded(self) -> bool:
        """Whether so much was added that it is worth making it anew."""
        return self._added > _GATHERED_MAX

    def add(self, waits: Iterable[tuple[int, int]]) -> None:
        """Take in more, as `(key, run)`."""
        for key, run in waits:
            first, last = bisect_left(self._keys, key), bisect_right(self._keys, key)
            place = bisect_left(self._runs, run, first, last)
            if place < last and self._runs[place] == run:
                continue
            runs = self._gathered.setdefault(key, set())
            self._added += run not in runs
            runs.add(run)

    def under(self, keys: Iterable[int], at_most: int) -> set[int] | None:
        """The runs that may wait under one of these keys; None when they are more than that."""
        found: set[int] = set()
        for key in keys:
            first, last = bisect_left(self._keys, key), bisect_right(self._keys, key)
            gathered = self._gathered.get(key, ())
            if last - first + len(gathered) + len(found) > at_most:
                return None
            found.update(self._runs[first:last], gathered)
        return found


@dataclass(frozen=True, slots=True)
class Additions:
    """The hashes of what an absorption brings."""

    runs: list[int]  # of run ids
    keys: list[int]  # of workflows and idempotency keys
    cells: list[int]
    waits: list[tuple[int, int]]

    @classmethod
    def of(cls, load: Load) -> Additions:
        """Work them out."""
        new = [row for run, row in load.rows.items() if load.before[run] is None]
        return cls(
            [hashed(row.run_id) for row in new],
            [idempotency_hash(row.workflow, row.idempotency_key) for row in new if row.idempotency_key is not None],
            [cell_hash(space, key) for space, cells in load.cells.items() for key in cells],
            [(match_key(kind, match), row.run) for row in load.rows.values() for _, kind, match in waits_of(row)],
        )


class Contents:
    """What the columns have.

    Args:
        runs, keys, cells: the hashes of those that are there, in order. waits: those that are there.
    """

    def __init__(
        self, runs: Iterable[int] = (), keys: Iterable[int] = (), cells: Iterable[int] = (),
        waits: tuple[Sequence[int], Sequence[int]] = ((), ()),
    ) -> None:  # fmt: skip
        self.runs, self.keys, self.cells = Hashes(runs), Hashes(keys), Hashes(cells)
        self.waits = WaitingRuns(*waits)

    def add(self, additions: Additions) -> None:
        """Take in what an absorption brought."""
        self.runs.add(additions.runs)
        self.keys.add(additions.keys)
        self.cells.add(additions.cells)
        self.waits.add(additions.waits)
