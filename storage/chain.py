"""The hash chain over a run's entries: each digest covers the entry and the digest before it.

An entry's *line* is the compact JSON array of its fields without the digest, in the order of `Entry`, ASCII only. The
same bytes go into the journal and into the digest, so there is one serialisation and one thing to check:

    digest = BLAKE2b-256(previous digest + line),   the first previous digest is 32 zero bytes

The line names run and position, so an entry that was moved, swapped, inserted or dropped in the middle breaks the
chain. A tail that was cut off doesn't; `verify.py` finds it by the run's own length and digest.

This file knows bytes. It must not know what an entry means, nor where it is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import blake2b
from json.encoder import encode_basestring_ascii as _quote
from typing import Final

from perdure.storage.entries import Entry

DIGEST_BYTES: Final = 32

#: What stands before the first entry of every run.
GENESIS: Final = bytes(DIGEST_BYTES)


def line_of(entry: Entry) -> bytes:
    """Write an entry's line: what `json.dumps` gives for its fields without blanks, at a third of the time."""
    run, position, kind, at, command, name, attempt, due, body, shape, detail, _ = entry
    return (
        f"[{run:d},{position:d},{_quote(kind)},{at:d},{_quote(command)},{_quote(name)},{attempt:d},"
        f"{'null' if due is None else f'{due:d}'},{'null' if body is None else _quote(body)},"
        f"{'null' if shape is None else _quote(shape)},{'null' if detail is None else _quote(detail)}]"
    ).encode("ascii")


def entry_of(line: bytes, digest: bytes) -> Entry:
    """Read a line back. Raises ValueError when it isn't one."""
    fields = json.loads(line)
    if not isinstance(fields, list) or len(fields) != len(Entry._fields) - 1:
        raise ValueError("not an entry's line")
    return Entry._make([*fields, digest])


def digest_of(previous: bytes, line: bytes) -> bytes:
    """The digest of the entry with this line, after the one with digest `previous`."""
    return blake2b(previous + line, digest_size=DIGEST_BYTES).digest()


def seal(previous: bytes, entry: Entry) -> tuple[Entry, bytes]:
    """Give an entry the digest that links it to `previous`; also return its line, for the journal."""
    line = line_of(entry)
    return tuple.__new__(Entry, (*entry[:-1], digest_of(previous, line))), line


def verify_chain(entries: Iterable[Entry], previous: bytes = GENESIS, start: int = 0) -> int | None:
    """Walk one run's entries and return the position at which the chain breaks first, or None.

    Args:
        entries: in order, as they were read back.
        previous: the digest of the entry before the first of them.
        start: the position that the first of them must have.
    """
    run: int | None = None
    for position, entry in enumerate(entries, start):
        run = entry.run if run is None else run
        if entry.position != position or entry.run != run or entry.digest != digest_of(previous, line_of(entry)):
            return position
        previous = entry.digest
    return None
