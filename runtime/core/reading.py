"""Entries on their way into a replay: a long history is read while the body is walked, and reading is not its doing.

Knows windows and the sandbox's pause. Must not know what entries say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from perdure.sandbox import activation
from perdure.storage.entries import Entry
from perdure.storage.windows import Windows


def entries_in_order(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Go through entries; what reading takes on the way runs outside of the body that is being advanced."""
    if isinstance(entries, Windows):
        return chain.from_iterable(_read_outside(entries.windows()))
    return iter(entries)


def _read_outside(windows: Iterator[list[Entry]]) -> Iterator[list[Entry]]:
    while True:
        with activation.suspended():
            window = next(windows, None)
        if window is None:
            return
        yield window
        del window  # else it stayed in memory until the next one has been read
