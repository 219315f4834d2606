"""A run's entries as a replay needs them, read by the ten thousand: each column as one text, taken apart here.

Fetching rows one by one costs more than the replay itself; one text per column is a handful of objects. What a replay
never looks at is left out: digests, and everything of ordinary steps but their names, arguments and results. Where a
value holds the separator nothing is guessed: the caller reads row by row. Should rows ever come out of order, a replay
diverges, and whatever diverges is read again row by row before it counts.

This file knows how columns are packed. It must not know which entries are wanted, nor why.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from itertools import repeat
from typing import Any, Final

from perdure.storage import entries as kinds
from perdure.storage.entries import Entry

_SEPARATOR: Final = "\x1f"  # in JSON text it is always escaped; in a name it is possible, and noticed
_TEXTS: Final = ("kind", "command", "name", "coalesce(body, '')")
#: Kinds of which only the packed columns are read.
BRIEF: Final = (kinds.STEP, kinds.STEP_COMPLETED)

#: Wants `FROM (SELECT … ORDER BY "position")`; gives one row.
SELECTION: Final = ", ".join(
    [
        "count(*)",
        'max("position")',
        *(f"string_agg({each}, chr(31))" for each in _TEXTS),
        "CASE WHEN count(shape) > 0 THEN string_agg(coalesce(shape, ''), chr(31)) END",
        "string_agg(at_us::VARCHAR, ',')",
    ]
)


def unpack(run: int, row: Sequence[Any], whole: Sequence[Entry]) -> list[Entry] | None:
    """Make a run's entries of one packed row and of those that were read whole.

    Gives None when the row can't be taken apart without guessing.
    """
    count, last, *texts, shapes, times = row
    if not count:
        return []
    kind, command, name, body = (each.split(_SEPARATOR) for each in texts)
    shape = repeat(None, count) if shapes is None else [each or None for each in shapes.split(_SEPARATOR)]
    if not last + 1 == len(kind) == len(command) == len(name) == len(body) == count:
        return None
    columns = (
        repeat(run), range(count), kind, map(int, times.split(",")), command, name, repeat(0), repeat(None), body, shape,
        repeat(None), repeat(b""),
    )  # fmt: skip
    collecting = gc.isenabled()
    gc.disable()  # so many new tuples would set off one collection after another, and none of them is garbage
    try:
        entries = list(map(tuple.__new__, repeat(Entry), zip(*columns, strict=False)))
    finally:
        if collecting:
            gc.enable()
    for entry in whole:
        entries[entry.position] = entry
    return entries if len(entries) == count else None
