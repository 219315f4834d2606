"""A history that is too long to be held: a sequence of entries that reads a window of them at a time.

Whoever goes through it in order, from either end, holds one window. Slices are views that read for themselves.

This file knows positions. It must not know where entries are read from, nor what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final, overload

from perdure.storage.entries import Entry

#: Entries in memory at a time: some 15 MiB of small ones.
WINDOW_ENTRIES: Final = 32_768


class Windows(Sequence[Entry]):
    """The entries of one run from position `start` up to `stop`, which is left out.

    Args:
        read: gives the entries between two positions, in order.
        size: entries in a window.
    """

    def __init__(
        self, read: Callable[[int, int], list[Entry]], start: int, stop: int, size: int = WINDOW_ENTRIES
    ) -> None:
        self._read = read
        self._start = start
        self._stop = max(start, stop)
        self._size = size
        self._begun: list[Entry] = []  # the first window, once somebody looked at how the history begins

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[Entry]:
        return chain.from_iterable(self.windows())

    def windows(self) -> Iterator[list[Entry]]:
        """Go through the history a window at a time."""
        # None of them is kept in a variable here: it would stay in memory until the next one has been read.
        if self._begun:
            yield self._begun
            self._begun = []  # whoever stopped before this comes back for it
            first = self._start + self._size
        else:
            first = self._start
        for start in range(first, self._stop, self._size):
            yield self._read(start, min(start + self._size, self._stop))

    def __reversed__(self) -> Iterator[Entry]:
        for stop in range(self._stop, self._start, -self._size):
            yield from reversed(self._read(max(stop - self._size, self._start), stop))

    @overload
    def __getitem__(self, index: int) -> Entry: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry]: ...

    def __getitem__(self, index: int | slice) -> Entry | Sequence[Entry]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise ValueError("a long history is cut into parts, and not taken by every second entry")
            return Windows(self._read, self._start + start, self._start + stop, self._size)
        if not -len(self) <= index < len(self):
            raise IndexError(f"entry {index} of {len(self)}")
        position = index % len(self)
        if position == 0:  # whoever looks at the first one goes on from there
            self._begun = self._begun or self._read(self._start, min(self._start + self._size, self._stop))
            return self._begun[0]
        return self._read(self._start + position, self._start + position + 1)[0]
