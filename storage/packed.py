"""Entries as a replay needs them, read by the ten thousand: each column as one text, taken apart here.

Fetching rows one by one costs more than the replay itself; one text per column is a handful of objects, for one long
run or for many short ones. What a replay never looks at is left out: digests, and everything of ordinary steps but
their names, arguments and results. Where a value holds the separator nothing is guessed: the caller reads row by row.
Should rows ever come out of order, a replay diverges, and whatever diverges is read again row by row before it counts.

This file knows how columns are packed. It must not know which entries are wanted, nor why.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain, pairwise, repeat
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

#: The condition on entries that are read whole.
IS_WHOLE: Final = f"kind NOT IN {tuple(_BRIEF.values())}"
#: Wants `FROM (SELECT … ORDER BY run, "position")`; gives one row.
TEXTS: Final = ", ".join(
    [
        "count(*)",
        f"string_agg(CASE kind {_LETTER} ELSE '-' END, '')",
        *(f"string_agg({each}, chr(31))" for each in _TEXTS),
        "CASE WHEN count(shape) > 0 THEN string_agg(coalesce(shape, ''), chr(31)) END",
        "string_agg(at_us::VARCHAR, ',')",
    ]
)
#: The same of one run, with the entries that are read whole: for one run, one query is quicker than two.
SELECTION: Final = f'max("position"), list(struct_pack({_WHOLE})) FILTER (WHERE {IS_WHOLE}), {TEXTS}'


def unpack(run: int, start: int, row: Sequence[Any]) -> list[Entry] | None:
    """Make a run's entries from position `start` on of one row of SELECTION; None when that would be guessing."""
    last, whole, *texts = row
    if last is None:
        return []
    found = unpack_many({run: last + 1 - start}, texts, [Entry(**fields) for fields in whole or ()], start)
    return None if found is None else found[0]


def unpack_many(
    lengths: Mapping[int, int], row: Sequence[Any], whole: Iterable[Entry], start: int = 0
) -> list[list[Entry]] | None:
    """Make the entries of several runs of one row of TEXTS; None when it can't be taken apart without guessing.

    Args:
        lengths: how many entries of each run there are, by its number, in increasing order.
        whole: those of their entries that IS_WHOLE selects.
        start: the position of each run's first one.
    """
    count, letters, *texts, shapes, times = row
    if count == 0 or count != sum(lengths.values()):
        return None
    command, name, body = (each.split(_SEPARATOR) for each in texts)
    shape = repeat(None, count) if shapes is None else [each or None for each in shapes.split(_SEPARATOR)]
    if not len(letters) == len(command) == len(name) == len(body) == count:
        return None
    columns = (
        chain.from_iterable(repeat(run, length) for run, length in lengths.items()),
        chain.from_iterable(range(start, start + length) for length in lengths.values()),
        map(_BRIEF.get, letters), json.loads(f"[{times}]"), command, name, repeat(0),
        repeat(None), body, shape, repeat(None), repeat(b""),
    )  # fmt: skip
    collecting = gc.isenabled()
    gc.disable()  # so many new tuples would set off one collection after another, and none of them is garbage
    try:
        entries = list(map(tuple.__new__, repeat(Entry), zip(*columns, strict=False)))
    finally:
        if collecting:
            gc.enable()
    if len(entries) != count:
        return None
    bounds = list(accumulate(lengths.values(), initial=0))
    begins = dict(zip(lengths, bounds, strict=False))
    left = letters.count("-")
    for entry in whole:
        if entry.run not in begins or not 0 <= entry.position - start < lengths[entry.run]:
            return None
        entries[begins[entry.run] + entry.position - start] = entry
        left -= 1
    return [entries[first:last] for first, last in pairwise(bounds)] if left == 0 else None
