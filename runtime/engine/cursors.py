"""How far a schedule has come: one cell for each, written in the batch of the runs that its ticks start.

Knows cells. Must not know when a tick is due, nor what it starts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Final

from perdure.storage.cells import Cell
from perdure.storage.ledger import Ledger

#: Where they are kept, by the schedule's id.
SPACE: Final = "schedule/ticks"


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far one schedule has come. Times are microseconds since 1970 UTC.

    Attributes:
        cron, timezone: what it went by; another expression begins anew.
        done_until: every tick up to here is done with.
        paused: whether its ticks pass without a run.
        last_tick, last_run_id: the tick that started a run last, and that run.
        highest_tick: no tick after it has a run yet. A clock that was put back lets others come again.
        paused_at: since when, while it is paused.
        passed: spans after `done_until` whose ticks are not owed, each after one time and up to another; in order.
        undeclared: when a runtime was first and last at work that lacked the schedule; None while it is declared.
    """

    cron: str
    timezone: str
    done_until: int
    paused: bool = False
    last_tick: int | None = None
    last_run_id: str | None = None
    highest_tick: int = 0
    paused_at: int | None = None
    passed: tuple[tuple[int, int], ...] = ()
    undeclared: tuple[int, int] | None = None
    version: int = 0

    def moved(self, **changes: object) -> Cursor:
        """The same, further on."""
        return replace(self, **changes, version=self.version + 1)  # type: ignore[arg-type]


#: The cell has its version as its own.
_KEPT: Final = tuple(field.name for field in fields(Cursor) if field.name != "version")


def read_cursors(ledger: Ledger) -> dict[str, Cursor]:
    """All cursors of a ledger, by the ids of their schedules."""
    return {cell.key: cursor_in(cell) for cell in ledger.cells(SPACE)}


def cell_of(id: str, cursor: Cursor, next_tick: int | None, now: int) -> Cell:
    """What the ledger keeps of a cursor; its `due` is the next tick, for people to see."""
    facts = {name: getattr(cursor, name) for name in _KEPT}
    return Cell(SPACE, id, cursor.version, now, json.dumps(facts, ensure_ascii=False), due=next_tick)


def cursor_in(cell: Cell) -> Cursor:
    """Read a cursor back."""
    facts = json.loads(cell.body or "{}")
    passed = tuple((begin, end) for begin, end in facts.pop("passed", ()))
    begin_end = facts.pop("undeclared", None)
    undeclared = None if begin_end is None else (begin_end[0], begin_end[1])
    return Cursor(**facts, passed=passed, undeclared=undeclared, version=cell.version)
