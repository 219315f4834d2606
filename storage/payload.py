"""What a record of the journal says: lines of ASCII text.

    [7,0,"created",…]<TAB>digest         an entry: its line as the chain covers it (chain.py), and its digest
    {"definition":[…]}                   a definition's fields
    {"cell":[…]}                         a cell's fields, its data as base64
    {"reserved":4096}                    run numbers up to this one may have been given out

This file knows text. It must not know how records are kept.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as _quote
from typing import Any

from perdure.storage.batch import Batch
from perdure.storage.cells import Cell
from perdure.storage.chain import entry_of
from perdure.storage.entries import DefinitionRow, Entry


@dataclass(slots=True)
class Payload:
    """A record, read back."""

    entries: list[Entry] = field(default_factory=list)
    definitions: list[DefinitionRow] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    reserved: int = 0


def write_batch(batch: Batch, definitions: Iterable[DefinitionRow], cells: Iterable[Cell] = ()) -> bytes:
    """Write a batch."""
    digests = (entry.digest for entries in batch.entries.values() for entry in entries)
    lines = [line + b"\t" + digest.hex().encode() for line, digest in zip(batch.lines, digests, strict=True)]
    lines += [json.dumps({"definition": definition}).encode() for definition in definitions]
    lines += [_line_of(cell) for cell in cells]
    return b"\n".join(lines)


def write_reservation(reserved: int) -> bytes:
    """Write that run numbers up to this one may have been given out."""
    return json.dumps({"reserved": reserved}).encode()


def read(payload: bytes) -> Payload:
    """Read a record. Raises ValueError when it isn't one of ours."""
    found = Payload()
    for line in payload.split(b"\n"):
        if line.startswith(b"["):
            text, _, digest = line.partition(b"\t")
            found.entries.append(entry_of(text, bytes.fromhex(digest.decode())))
        else:
            facts = json.loads(line)
            if "definition" in facts:
                found.definitions.append(DefinitionRow(*facts["definition"]))
            if "cell" in facts:
                found.cells.append(_cell(facts["cell"]))
            found.reserved = max(found.reserved, facts.get("reserved", 0))
    return found


def _line_of(cell: Cell) -> bytes:
    """Write a cell's line: what `json.dumps` gives without blanks, in a fraction of the time."""
    space, key, version, at, body, shape, data, due, expires_at = cell
    return (
        f'{{"cell":[{_quote(space)},{_quote(key)},{version:d},{at:d},{"null" if body is None else _quote(body)},'
        f"{'null' if shape is None else _quote(shape)},"
        f"{'null' if data is None else _quote(base64.b64encode(data).decode())},"
        f"{'null' if due is None else f'{due:d}'},{'null' if expires_at is None else f'{expires_at:d}'}]}}"
    ).encode("ascii")


def _cell(fields: list[Any]) -> Cell:
    cell = Cell(*fields)
    return cell if cell.data is None else cell._replace(data=base64.b64decode(cell.data, validate=True))
