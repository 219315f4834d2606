"""Cascades: what comes of one run that an event or a change started. One that never ends is stopped, before it fills
the disk overnight.

A function that writes what it reacts to starts itself, again and again, as fast as the machine can; or twice each time,
which is worse. Nothing about one of its runs is wrong, only that they do not end. So of all runs that come of one first
reaction, those are counted that come of an earlier run of their own workflow, directly or through others.

What a caller, or a run that a caller started, writes and sends is no cascade however much it is: each reaction to it is
the first of its own. Nor is a row that takes its time, since only a day's are counted.

Each run says in its first entry of what it came, and the count is a cell beside it, so neither a restart nor a child or
a chain in between makes anything begin anew. Must not start any run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from perdure.engine.batch import Batch
from perdure.engine.created import first_entry_of
from perdure.engine.starting import Start
from perdure.errors import DefinitionError
from perdure.storage.cells import Cell

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

#: Runs of one cascade in a day that come of earlier runs of their workflow. A loop is there within a minute; whoever
#: walks a tree by events is not, or starts runs by hand (`workflows.start`), which nobody counts.
REPEATED_MAX: Final = 10_000
_DAY_US: Final = 86_400_000_000
#: Where the counts are kept, by the id of the run that a cascade began with.
_SPACE: Final = "cascade/runs"
_KEPT: Final = 10_000
#: What is the cause of a run, as CREATED says it, that begins a cascade.
_REACTIONS: Final = ("event", "change")


class _Descent(NamedTuple):
    """Of what the runs come that a run starts: the run that the cascade began with, and the workflows in between."""

    root: str | None  # None: no reaction is among them
    after: tuple[str, ...]


class Cascades:
    """The cascades of one engine's runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._source: int | None = None  # the run whose step does what is being done
        self._known: dict[int, _Descent] = {}

    @contextmanager
    def after(self, run: int | None) -> Iterator[None]:
        """Let what the block starts come of this run; None is nobody's."""
        self._source = run
        try:
            yield
        finally:
            self._source = None

    def placed(self, wanted: Start, batch: Batch) -> Start:
        """The same start, saying of what it comes."""
        if self._source is None:
            return wanted
        descent = self._descent(self._source, batch)
        if descent.root is None:
            return wanted
        return replace(wanted, cascade={"root": descent.root, "after": list(descent.after)})

    def count(self, wanted: Start, batch: Batch) -> None:
        """Count a reaction that is to be started.

        Raises:
            DefinitionError: it would be one too many.
        """
        cascade, id = wanted.cascade, wanted.definition.id
        if cascade is None or id not in cascade["after"]:
            return
        place = _SPACE, cascade["root"]
        cell = batch.cells.get(place) or self._engine.ledger.cell(*place)
        count, version = 0, 1
        expires_at = batch.now + _DAY_US
        if cell is not None:
            version = cell.version + 1
            if cell.is_there(batch.now) and cell.expires_at is not None:
                count, expires_at = json.loads(cell.body or "0"), min(cell.expires_at, expires_at)
        if count >= REPEATED_MAX:
            raise DefinitionError(
                f"{id} would be number {count + 1:,} of the runs that came of an earlier run of their own workflow.",
                where=f"all of them come of run {cascade['root']}, within a day",
                why="it causes what it reacts to, directly or through others",
                fix="write only what differs (compare with change.previous), or elsewhere; a retry goes on from here",
            )
        batch.cells[place] = Cell(*place, version, batch.now, str(count + 1), expires_at=expires_at)

    def forget(self) -> None:
        """Forget all, after a batch that could not be appended: other runs will have its numbers."""
        self._known.clear()

    def _descent(self, run: int, batch: Batch) -> _Descent:
        known = self._known.get(run)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            known = self._known[run] = self._found(run, batch)
        return known

    def _found(self, run: int, batch: Batch) -> _Descent:
        """Read of what a run comes, over the parents of children and the runs that go on as others."""
        workflows: list[str] = []
        while True:
            created = first_entry_of(run, self._engine.ledger, batch)
            facts = created.facts()
            workflows.append(created.name)
            cascade = facts.get("cascade")
            if cascade is not None:
                return _Descent(cascade["root"], tuple(dict.fromkeys([*cascade["after"], *workflows])))
            if (facts.get("cause") or {}).get("kind") in _REACTIONS:
                return _Descent(facts["run_id"], tuple(dict.fromkeys(workflows)))
            before = facts.get("parent_run_id") or (facts.get("continued_from") or {}).get("first_run_id")
            number = None if before is None else self._number(before, batch)
            if number is None:
                return _Descent(None, ())
            run = number

    def _number(self, run_id: str, batch: Batch) -> int | None:
        row = self._engine.ledger.run(run_id)
        return batch.created.get(run_id) if row is None else row.run
