"""Which waits an event wakes: by type, and by equality of every key that the wait names (see matching.py).

A wait's `match` mapping is kept as canonical JSON. Type and canonical text hash to a 64-bit match key, so finding the
waits for a payload takes one look-up per distinct *set of keys* that waits of this type use, not one per wait.

This file knows who waits for what. It must not know what a payload is for.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

from perdure.storage.hashed import hashed
from perdure.storage.ledger import RunRow, Waiter
from perdure.storage.matching import canonical
from perdure.storage.plain import parse


def match_key(event_type: str, match: str) -> int:
    """Hash a type and a canonical match mapping to a signed 64-bit number."""
    return hashed(f"{event_type}\0{match}")


class KeySets:
    """The distinct sets of keys that waits have named, by event type: as many as programs have ways to wait."""

    def __init__(self) -> None:
        self._by_type: dict[str, set[tuple[str, ...]]] = {}

    def add(self, event_type: str, match: str) -> None:
        """Note that there was such a wait."""
        self._by_type.setdefault(event_type, set()).add(tuple(parse(match)))

    def candidates(self, event_type: str, payload: Mapping[str, Any]) -> dict[int, str]:
        """The canonical matches that this event satisfies, by match key."""
        found: dict[int, str] = {}
        for keys in self._by_type.get(event_type, ()):
            if all(key in payload for key in keys):
                match = canonical({key: payload[key] for key in keys})
                found[match_key(event_type, match)] = match
        return found


def waits_of(row: RunRow) -> Iterator[tuple[str, str, str]]:
    """The event waits of a row, and its hooks by their tokens, as `(command, type, match)`."""
    for pending in row.pending.values():
        if pending.event_type:
            yield pending.command, pending.event_type, pending.match


def waiters_of(row: RunRow, event_type: str, matches: Container[str]) -> list[Waiter]:
    """The waits of a row for this type with one of these canonical matches."""
    return [Waiter(row.run, row.run_id, command) for command, kind, match in waits_of(row)
            if kind == event_type and match in matches]  # fmt: skip


class WaitIndex:
    """Event waits of many runs, found by match key."""

    def __init__(self, key_sets: KeySets) -> None:
        self._key_sets = key_sets
        self._runs: dict[int, dict[int, None]] = {}  # match key → runs, in the order in which they began to wait

    def replace(self, before: RunRow | None, after: RunRow | None) -> None:
        """Let a run wait for what `after` says instead of what `before` said."""
        if before is not None:
            for _, event_type, match in waits_of(before):
                key = match_key(event_type, match)
                runs = self._runs.get(key)
                if runs is not None:
                    runs.pop(before.run, None)
                    if not runs:
                        del self._runs[key]
        if after is not None:
            for _, event_type, match in waits_of(after):
                self._key_sets.add(event_type, match)
                self._runs.setdefault(match_key(event_type, match), {})[after.run] = None

    def runs(self, keys: Mapping[int, str]) -> list[int]:
        """The runs with a wait under one of these match keys; hashes may collide, so ask the rows."""
        return [run for key in keys for run in self._runs.get(key, ())]
