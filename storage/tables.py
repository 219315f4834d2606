"""The ledger's physical tables, and how entries and rows become their rows and come back.

Tables live in the schema `_ledger`, so that the names of the documented views (views.py) are free. Times are
microseconds since 1970 UTC in columns that end in `_us`; a column that ends in `_hash` is what look-ups search by.
There is no key constraint and no index: run numbers grow, so DuckDB's zone maps find a run's entries, and an index
would cost several times the space and the loading time.

This file knows columns. It must not know how they are searched (columns.py) or how they are written (absorption.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from perdure.storage.cells import Cell, cell_hash
from perdure.storage.entries import Entry
from perdure.storage.hashed import hashed
from perdure.storage.ledger import Pending, RunRow
from perdure.storage.resumption import resumption
from perdure.storage.waits import match_key, waits_of

#: A row as DuckDB takes and gives it.
SqlRow = tuple[Any, ...]

#: JSON deeper than this is not shown as VARIANT: DuckDB 2.0 parses recursively, and 1600 levels crash the process.
DEPTH_MAX: Final = 200

ENTRY_COLUMNS: Final = {
    "run": "BIGINT",
    "position": "INTEGER",
    "kind": "VARCHAR",
    "at_us": "BIGINT",
    "command": "VARCHAR",
    "name": "VARCHAR",
    "attempt": "INTEGER",
    "due_us": "BIGINT",
    "body": "VARCHAR",
    "shape": "VARCHAR",
    "detail": "VARCHAR",
    "digest": "BLOB",
    "asked": "INTEGER",  # position of the command's own entry, for whatever answers it
    "shown": "BOOLEAN",  # whether `value` shows the body
    "value": "VARIANT",  # the body for queries; NULL for one that VARIANT can't hold
}

RUN_COLUMNS: Final = {
    "run": "BIGINT",
    "run_id": "VARCHAR",
    "run_id_hash": "BIGINT",
    "workflow": "VARCHAR",
    "version": "VARCHAR",
    "definition": "VARCHAR",
    "status": "VARCHAR",
    "attempt": "INTEGER",
    "created_us": "BIGINT",
    "updated_us": "BIGINT",
    "finished_us": "BIGINT",
    "tags": "MAP(VARCHAR, VARCHAR)",
    "idempotency_key": "VARCHAR",
    "idempotency_hash": "BIGINT",  # of workflow and key
    "parent_run_id": "VARCHAR",
    "parent_hash": "BIGINT",
    "parent_command": "VARCHAR",
    "due_us": "BIGINT",
    "timeout_us": "BIGINT",
    "cancel_requested": "BOOLEAN",
    "error": "VARCHAR",
    "length": "INTEGER",
    "digest": "BLOB",
    "pending": "VARCHAR",  # JSON: a list of lists, the fields of `Pending`
    "next_due_us": "BIGINT",
    "resumption": "VARCHAR",  # see resumption.py
    "verdict": "BOOLEAN",
    "forked_from": "VARCHAR",
    "continued_as": "VARCHAR",
    "continued_from": "VARCHAR",
    "queue": "VARCHAR",
    "queue_key": "VARCHAR",
    "priority": "INTEGER",
    "began_us": "BIGINT",
    "boxes": "VARCHAR",  # JSON, as in RunRow
    "streams": "VARCHAR",  # JSON, as in RunRow
    "requeued_us": "BIGINT",
}

WAIT_COLUMNS: Final = {
    "run": "BIGINT",
    "run_id": "VARCHAR",
    "position": "INTEGER",
    "command": "VARCHAR",
    "event_type": "VARCHAR",
    "match": "VARCHAR",
    "match_hash": "BIGINT",  # of type and match
}

DEFINITION_COLUMNS: Final = {
    "digest": "VARCHAR",
    "workflow": "VARCHAR",
    "version": "VARCHAR",
    "python": "VARCHAR",
    "source": "VARCHAR",
    "at_us": "BIGINT",
}

CELL_COLUMNS: Final = {
    "hash": "BIGINT",  # of space and key
    "space": "VARCHAR",
    "key": "VARCHAR",
    "version": "BIGINT",
    "at_us": "BIGINT",
    "body": "VARCHAR",
    "shape": "VARCHAR",
    "data": "BLOB",
    "due_us": "BIGINT",
    "expires_us": "BIGINT",
    "shown": "BOOLEAN",  # whether `value` shows the body
    "value": "VARIANT",  # the body for queries; NULL for one that VARIANT can't hold
}

META_COLUMNS: Final = {"key": "VARCHAR", "value": "VARCHAR"}

TABLES: Final = {
    "entries": ENTRY_COLUMNS,
    "runs": RUN_COLUMNS,
    "waits": WAIT_COLUMNS,
    "definitions": DEFINITION_COLUMNS,
    "cells": CELL_COLUMNS,
    "meta": META_COLUMNS,
}


def create_statement(name: str, columns: dict[str, str], temporary: bool = False) -> str:
    """The statement that makes one table."""
    body = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
    return f"CREATE {'TEMP ' if temporary else ''}TABLE {name} ({body})"


# ── entries ──────────────────────────────────────────────────────────────────────────────────────

#: What is loaded; `value` is made from it by DuckDB.
LOADED_ENTRY_COLUMNS: Final = {name: kind for name, kind in ENTRY_COLUMNS.items() if name != "value"}
ENTRY_SELECTION: Final = (
    'run, "position", kind, at_us, command, name, attempt, due_us, body, shape, detail, digest'  # as in Entry
)


def entry_row(entry: Entry, asked: int | None) -> SqlRow:
    """An entry as it is loaded."""
    return (*entry, asked, entry.body is not None and not _too_deep(entry.body))


def _too_deep(body: str) -> bool:
    if body.count("[") + body.count("{") <= DEPTH_MAX:
        return False
    depth, quoted, escaped = 0, False, False
    for character in body:
        if quoted:
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            if depth > DEPTH_MAX:
                return True
        elif character in "]}":
            depth -= 1
    return False


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────

#: What is loaded: as the table, but the tags are JSON text.
LOADED_RUN_COLUMNS: Final = {**RUN_COLUMNS, "tags": "VARCHAR"}
RUN_SELECTION: Final = (
    "run, run_id, workflow, version, definition, status, attempt, created_us, updated_us, finished_us, tags, "
    "idempotency_key, parent_run_id, parent_command, due_us, timeout_us, cancel_requested, error, length, digest, "
    "verdict, pending, forked_from, continued_as, continued_from, queue, queue_key, priority, began_us, boxes, "
    "streams, requeued_us"
    # as in RunRow
)


_JSON_PLACES: Final = tuple(RUN_SELECTION.split(", ").index(name) for name in ("pending", "boxes", "streams"))


def idempotency_hash(workflow: str, key: str) -> int:
    """What a run is found by when it was started under a key."""
    return hashed(f"{workflow}\0{key}")


def run_row(row: RunRow) -> SqlRow:
    """A run's row as it is loaded."""
    pending = [
        [p.command, p.kind, p.name, p.position, p.due, p.attempt, p.retrying, p.event_type, p.match, p.child_run_id,
         p.hook, p.once, p.closed, p.heartbeat, p.heartbeat_at,
         p.site]
        for p in row.pending.values()
    ]  # fmt: skip
    return (
        row.run, row.run_id, hashed(row.run_id), row.workflow, row.version, row.definition, row.status, row.attempt,
        row.created_at, row.updated_at, row.finished_at, json.dumps(row.tags), row.idempotency_key,
        None if row.idempotency_key is None else idempotency_hash(row.workflow, row.idempotency_key),
        row.parent_run_id, None if row.parent_run_id is None else hashed(row.parent_run_id), row.parent_command,
        row.due, row.timeout_at, row.cancel_requested, row.error, row.length, row.digest,
        json.dumps(pending) if pending else None, row.next_due, resumption(row), row.verdict,
        row.forked_from, row.continued_as, row.continued_from, row.queue, row.queue_key, row.priority, row.began_at,
        json.dumps(row.boxes) if row.boxes else None, json.dumps(row.streams) if row.streams else None,
        row.requeued_at,
    )  # fmt: skip


def row_of(values: Sequence[Any]) -> RunRow:
    """Read back what RUN_SELECTION gives."""
    row = RunRow(*values)
    row.tags = row.tags or {}
    row.digest = bytes(row.digest)
    pending, boxes, streams = (json.loads(values[place]) if values[place] else () for place in _JSON_PLACES)
    row.pending = {fields[0]: Pending(*fields) for fields in pending}
    row.boxes = boxes or {}
    row.streams = streams or {}
    row.queue_key = row.queue_key or ""
    row.priority = row.priority or 0
    return row


#: What a queue has to know of a run: reading the rest of 100,000 rows takes several times as long.
QUEUE_SELECTION: Final = (
    "run, run_id, workflow, version, status, created_us, finished_us, parent_run_id, due_us, continued_from, queue, "
    "queue_key, priority, began_us, requeued_us"  # as in QueueRow
)


def wait_rows(row: RunRow) -> list[SqlRow]:
    """The event waits of a run, one row each."""
    return [
        (row.run, row.run_id, row.pending[command].position, command, event_type, match, match_key(event_type, match))
        for command, event_type, match in waits_of(row)
    ]


# ── cells ────────────────────────────────────────────────────────────────────────────────────────

#: What is loaded; `value` is made from it by DuckDB.
LOADED_CELL_COLUMNS: Final = {name: kind for name, kind in CELL_COLUMNS.items() if name != "value"}
CELL_SELECTION: Final = 'space, "key", version, at_us, body, shape, data, due_us, expires_us'  # as in Cell


def cell_row(cell: Cell) -> SqlRow:
    """A cell as it is loaded."""
    return (cell_hash(cell.space, cell.key), *cell, cell.body is not None and not _too_deep(cell.body))


def cell_of(values: Sequence[Any]) -> Cell:
    """Read back what CELL_SELECTION gives."""
    cell = Cell._make(values)
    return cell if cell.data is None else cell._replace(data=bytes(cell.data))
