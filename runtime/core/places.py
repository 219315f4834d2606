"""A place in a run's history as a person names it: a step by its name, or an entry by its number.

Knows the order of entries. Must not know what is done at the place.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import NamedTuple

from perdure.core.history import split_attempts, strides
from perdure.errors import DefinitionError
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry

_NAMES_SHOWN_MAX = 20
_NAMED = kinds.COMMANDS - {kinds.DROPPED, kinds.PATCHED}  # the one has its command's name, the other a change's


class Place(NamedTuple):
    """An entry, and the stride that it belongs to: what the body was fed last, and all that it did because of it."""

    entry: Entry  # the one that was meant
    attempt: int  # of the run, 1 is the first
    causes: tuple[Entry, ...]  # one, or after a recovery several
    last: int  # position of the stride's last entry


def find_place(entries: Sequence[Entry], at: int | str, run_id: str) -> Place:
    """Find a place in a whole history.

    Args:
        at: an entry's position, or the name of a step, sleep, wait or child. A name that was asked for several times
            means the first of the latest attempt of the run; `name#2` is the second. `created` is entry 0.

    Raises:
        DefinitionError: there is no such entry or name; it lists what there is.
    """
    if not isinstance(at, (int, str)):
        raise DefinitionError(f"at={at!r} is no place.", fix="give the name of a step, or the number of an entry")
    entry = _numbered(entries, at, run_id) if isinstance(at, int) else _named(entries, at, run_id)
    found: Place | None = None
    deferred: list[Entry] = []
    for number, attempt in enumerate(split_attempts(entries), start=1):
        for stride in strides(attempt, deferred):
            if stride.causes[0].position <= entry.position:
                found = Place(entry, number, tuple(stride.causes), stride.last)
    assert found is not None  # entry 0 is a cause
    return found


def parse_place(text: str) -> int | str:
    """Read a place given on a command line: digits are an entry's position."""
    return int(text) if text.isascii() and text.isdigit() else text


def asked_names(entries: Sequence[Entry]) -> list[str]:
    """The names that a run asked for, in order, each once."""
    return list(dict.fromkeys(entry.name for entry in _commands(entries)))


def _numbered(entries: Sequence[Entry], at: int, run_id: str) -> Entry:
    if isinstance(at, bool) or not 0 <= at < len(entries):
        raise DefinitionError(f"run {run_id} has no entry {at}.", fix=f"its entries are 0 to {len(entries) - 1}")
    return entries[at]


def _named(entries: Sequence[Entry], name: str, run_id: str) -> Entry:
    attempts = [_commands(attempt) for attempt in split_attempts(entries)]
    for commands in reversed(attempts):
        for command in commands:
            if command.name == name:
                return command
    plain, mark, number = name.rpartition("#")
    if mark and number.isascii() and number.isdigit():
        for commands in reversed(attempts):
            alike = [command for command in commands if command.name == plain]
            if 0 < int(number) <= len(alike):
                return alike[int(number) - 1]
    if name == kinds.CREATED:
        return entries[0]
    raise _unknown(asked_names(entries), name, run_id)


def _unknown(names: Sequence[str], name: object, run_id: str) -> DefinitionError:
    close = difflib.get_close_matches(str(name), names, n=1)
    shown = ", ".join(names[:_NAMES_SHOWN_MAX]) or "nothing"
    if len(names) > _NAMES_SHOWN_MAX:
        shown += f" and {len(names) - _NAMES_SHOWN_MAX} more"
    return DefinitionError(
        f"run {run_id} never asked for {name!r}.",
        why=f"it asked for: {shown}",
        fix=f"did you mean {close[0]!r}?" if close else "give one of these names, or the number of an entry",
    )


def _commands(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.kind in _NAMED]
