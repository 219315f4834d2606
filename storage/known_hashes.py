"""Which hashes a table may have: 8 bytes each, so that a look-up for something new costs no query.

What was deleted is still said to be there until the ledger is opened again; it costs the query that it would have
cost anyway.

This file knows numbers. It must not know what they are hashes of, nor lock anything.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

#: New ones are gathered in a set, which takes ten times the room, and sorted in when they are so many.
_GATHERED_MAX: Final = 65_536


class KnownHashes:
    """A set of signed 64-bit numbers that only grows.

    Args:
        hashes: the first ones, in order.
    """

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self._sorted = array("q", hashes)
        self._gathered: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number in self._gathered or self._is_sorted_in(number)

    def add(self, hashes: Iterable[int]) -> None:
        """Take in more."""
        self._gathered.update(number for number in hashes if not self._is_sorted_in(number))
        if len(self._gathered) > _GATHERED_MAX:
            self._sorted = array("q", sorted([*self._sorted, *self._gathered]))
            self._gathered = set()

    def _is_sorted_in(self, number: int) -> bool:
        place = bisect_left(self._sorted, number)
        return place < len(self._sorted) and self._sorted[place] == number
