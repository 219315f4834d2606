"""A run's entries as a replay needs them, read by the ten thousand: each column as one text, taken apart here.

Fetching rows one by one costs more than the replay itself; one text per column is a handful of objects. What a replay
never looks at is left out: digests, and everything of ordinary steps but their names, arguments and results. Where a
value holds the separator nothing is guessed: the caller reads row by row. Should rows ever come out of order, a replay
diverges, and whatever diverges is read again row by row before it counts.

This file knows how columns are packed. It must not know which entries are wanted, nor why.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from itertools import repeat
from typing import Any, Final

from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.storage.tables import ENTRY_SELECTION

_SEPARATOR: Final = "\x1f"  # in JSON text it is always escaped; in a name it is possible, and noticed
_TEXTS: Final = ("command", "name", "coalesce(body, '')")
#: Kinds of which only the packed columns are read, by the letter that stands for them; others are read whole.
_BRIEF: Final = {"s": kinds.STEP, "c": kinds.STEP_COMPLETED}
_LETTER: Final = " ".join(f"WHEN '{kind}' THEN '{letter}'" for letter, kind in _BRIEF.items())
_WHOLE: Final = ", ".join(
    f'"{name}" := {column}' for name, column in zip(Entry._fields, ENTRY_SELECTION.split(", "), strict=True)
)

#: Wants `FROM (SELECT … ORDER BY "position")`; gives one row.
SELECTION: Final = ", ".join(
    [
        "count(*)",
        'max("position")',
        f"list(struct_pack({_WHOLE})) FILTER (WHERE kind NOT IN {tuple(_BRIEF.values())})",
        f"string_agg(CASE kind {_LETTER} ELSE '-' END, '')",
        *(f"string_agg({each}, chr(31))" for each in _TEXTS),
        "CASE WHEN count(shape) > 0 THEN string_agg(coalesce(shape, ''), chr(31)) END",
        "string_agg(at_us::VARCHAR, ',')",
    ]
)


def unpack(run: int, row: Sequence[Any]) -> list[Entry] | None:
    """Make a run's entries of one packed row; None when it can't be taken apart without guessing."""
    count, last, whole, letters, *texts, shapes, times = row
    if not count:
        return []
    command, name, body = (each.split(_SEPARATOR) for each in texts)
    shape = repeat(None, count) if shapes is None else [each or None for each in shapes.split(_SEPARATOR)]
    if not last + 1 == len(letters) == len(command) == len(name) == len(body) == count:
        return None
    columns = (
        repeat(run), range(count), map(_BRIEF.get, letters), json.loads(f"[{times}]"), command, name, repeat(0),
        repeat(None), body, shape, repeat(None), repeat(b""),
    )  # fmt: skip
    collecting = gc.isenabled()
    gc.disable()  # so many new tuples would set off one collection after another, and none of them is garbage
    try:
        entries = list(map(tuple.__new__, repeat(Entry), zip(*columns, strict=False)))
    finally:
        if collecting:
            gc.enable()
    for fields in whole or ():
        entries[fields["position"]] = Entry(**fields)
    return entries if len(entries) == count else None
