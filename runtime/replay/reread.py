"""Recorded values that today's classes read otherwise: a model that gained a field, a class that is gone.

Knows how values are encoded. Must not know bodies.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from perdure.errors import NotSerializable, ValueUnreadable
from perdure.replay.values import changes
from perdure.storage import entries as kinds
from perdure.storage.encoding import decode, encode
from perdure.storage.entries import Entry

_READ_BY_BODIES = frozenset(
    {
        kinds.CREATED, kinds.DEBOUNCED, kinds.STEP_COMPLETED, kinds.EVENT_RECEIVED, kinds.SIGNAL_RECEIVED,
        kinds.HOOK_RECEIVED, kinds.CHILD_COMPLETED,
    }
)  # fmt: skip


class Reread(NamedTuple):
    """One recorded value that does not come back as it was."""

    entry: Entry
    evidence: tuple[str, ...]
    readable: bool = True


def reread(entries: Iterable[Entry]) -> list[Reread]:
    """Read every value that a body was given and write it again; list those that differ then."""
    found = []
    for entry in entries:
        if entry.kind not in _READ_BY_BODIES or entry.body is None or entry.shape is None:
            continue  # without a shape it is plain JSON, which no class has a say in
        try:
            body, shape = encode(decode(entry.body, entry.shape))
        except (ValueUnreadable, NotSerializable) as error:
            found.append(Reread(entry, (error.message, *([error.why] if error.why else [])), readable=False))
            continue
        if (body, shape) != (entry.body, entry.shape):
            lines = tuple(str(change) for change in changes(entry.body, entry.shape, body, shape))
            found.append(Reread(entry, lines))
    return found
