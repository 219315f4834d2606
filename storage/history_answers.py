"""The histories of a ledger in a file: what is new of a run, behind what the columns have.

Many are read with one query where that is quicker, and a long one by the window.

This file joins two sources. It must not know SQL, nor what an entry says.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from perdure.storage.columns import Columns
from perdure.storage.entries import Entry
from perdure.storage.fold import fold_all
from perdure.storage.ledger import RunRow
from perdure.storage.recent import Recent
from perdure.storage.windows import WINDOW_ENTRIES, Windows

#: Below so many entries one query for all of them is quicker than two for less.
_WORTH_PACKING: Final = 200


class HistoryAnswers:
    """The readers of `Ledger` that are about entries."""

    def __init__(self, recent: Recent, columns: Columns) -> None:
        self._recent = recent
        self._columns = columns
        self._fetched: dict[int, list[Entry]] = {}  # whole histories as of the last `prefetch`

    def entries(self, run: int, start: int = 0, limit: int | None = None) -> list[Entry]:
        """Read a run's entries from position `start` on."""
        stop = None if limit is None else start + limit
        recent = self._new(run)
        if recent and recent[0].position <= start:
            first = recent[0].position
            return recent[start - first : None if stop is None else stop - first]
        before = recent[0].position if recent else None
        bounds = [bound for bound in (before, stop) if bound is not None]
        found = self._columns.entries(run, start, min(bounds, default=None))
        if recent and (stop is None or recent[0].position < stop):
            found += recent[: None if stop is None else stop - recent[0].position]
        return found

    def selected(self, run: int, kinds: Collection[str], start: int = 0, limit: int | None = None) -> list[Entry]:
        """Read a run's entries of some kinds from position `start` on."""
        recent = self._new(run)
        before = recent[0].position if recent else None
        found = (
            [] if before is not None and before <= start else self._columns.selected(run, kinds, start, before, limit)
        )
        found += [entry for entry in recent if entry.kind in kinds and entry.position >= start]
        return found if limit is None else found[:limit]

    def prefetch(self, runs: Sequence[int]) -> None:
        """Read the rows and the short histories of these runs with one query, for when they are asked for next."""
        old = sorted(filter(self._is_old, set(runs)))
        if not old:
            return
        found = self._columns.beginnings(old, _WORTH_PACKING)
        self._fetched = {run: entries for run, entries in found.items() if 0 < len(entries) < _WORTH_PACKING}
        unknown = [run for run in old if self._recent.row(run) is None]
        rows = [fold_all(None, self._fetched[run]) for run in unknown if run in self._fetched]
        longer = [run for run in unknown if run not in self._fetched]
        self._recent.warm([*rows, *(self._columns.numbered(longer) if longer else ())])

    def walk(self, row: RunRow) -> Sequence[Entry]:
        """Read a run's entries as a replay needs them."""
        fetched = self._fetched.get(row.run, ())
        if fetched and len(fetched) == row.length:
            return list(fetched)
        if row.length < _WORTH_PACKING:
            return self.entries(row.run)
        if row.length <= WINDOW_ENTRIES:
            return self._walk_between(row.run, 0, row.length)
        return Windows(lambda start, stop: self._walk_between(row.run, start, stop), 0, row.length)

    def walk_many(self, rows: Sequence[RunRow], *, whole: bool = False) -> Sequence[Sequence[Entry]]:
        """Read several runs' entries as a replay needs them, in one query where nothing of them is new."""
        ordered = {row.run: row.length for row in sorted(rows, key=lambda row: row.run)}
        if len(ordered) < 2 or not all(map(self._is_old, ordered)):
            return [self._whole(row) if whole else self.walk(row) for row in rows]
        if whole:
            found: dict[int, list[Entry]] = {run: [] for run in ordered}
            for entry in self._columns.entries_of(list(ordered)):
                found[entry.run].append(entry)
            return [found[row.run] for row in rows]
        packs = self._columns.walk_many(ordered)
        if packs is None:
            return [self.walk(row) for row in rows]
        by_run = dict(zip(ordered, packs, strict=True))
        return [by_run[row.run] for row in rows]

    def _new(self, run: int) -> list[Entry]:
        """What the overlays have of a run, in order."""
        return [entry for overlay in reversed(self._recent.overlays()) for entry in overlay.entries(run)]

    def _is_old(self, run: int) -> bool:
        """Whether the columns have all of a run."""
        return not any(overlay.entries(run) for overlay in self._recent.overlays())

    def _walk_between(self, run: int, start: int, stop: int) -> list[Entry]:
        return self._columns.walk(run, start, stop) if self._is_old(run) else self.entries(run, start, stop - start)

    def _whole(self, row: RunRow) -> Sequence[Entry]:
        if row.length <= WINDOW_ENTRIES:
            return self.entries(row.run)
        return Windows(lambda start, stop: self.entries(row.run, start, stop - start), 0, row.length)
