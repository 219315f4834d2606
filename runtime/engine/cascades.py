"""Cascades: runs that come of runs. One that never ends is stopped, before it fills the disk overnight.

A function that writes what it reacts to starts itself, again and again, as fast as the machine can. Nothing about one
of its runs is wrong, only that they come in an endless row; so the links are counted. A row that takes its time
(a link begins more than a minute after the one before) may be endless by intent, and costs little.

Counted in memory: a restart begins anew, and finds an endless row again. Knows runs by number. Must not start any.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final

from perdure.engine.batch import Batch
from perdure.errors import DefinitionError

#: Links of a row. Whoever hands on work from run to run needs tens; a loop is here after a few seconds.
LINKS_MAX: Final = 1_000
#: A link that began longer ago begins no row.
_QUICK_US: Final = 60_000_000
#: Runs that are kept before those that began too long ago are looked for.
_KEPT: Final = 10_000


class Cascades:
    """How many runs in a row each recent run of one engine comes after."""

    def __init__(self) -> None:
        self._links: dict[int, tuple[int, int]] = {}  # by run: its place in the row, and when it began
        self._place = 0  # of what is started now
        self._sweep_at = _KEPT

    @contextmanager
    def after(self, run: int | None, batch: Batch) -> Iterator[None]:
        """Count what the block starts as coming of this run; None is nobody's."""
        place, began = self._links.get(-1 if run is None else run, (0, batch.now))
        self._place = 0 if run is None else place + 1 if abs(batch.now - began) <= _QUICK_US else 1
        known = len(batch.created)
        try:
            yield
        finally:
            if self._place:
                for number in islice(batch.created.values(), known, None):
                    if number not in batch.ended:  # refused: a retry of it begins a row
                        self._links[number] = self._place, batch.now
            self._place = 0
        if len(self._links) > self._sweep_at:
            self._links = {run: each for run, each in self._links.items() if batch.now - each[1] <= _QUICK_US}
            self._sweep_at = len(self._links) + _KEPT

    def check(self, what: object) -> None:
        """Refuse one more run in a row that does not end.

        Args:
            what: starts it.

        Raises:
            DefinitionError: it would be one too many.
        """
        if self._place > LINKS_MAX:
            raise DefinitionError(
                f"{what} would be number {self._place:,} of a row of runs that each came of the one before.",
                why="it causes what it reacts to, directly or through others, each within a minute of the one before",
                fix="write only what differs (compare with change.previous), or elsewhere; a retry goes on from here",
            )

    def forget(self) -> None:
        """Forget all, after a batch that could not be appended: other runs will have its numbers."""
        self._links.clear()
