"""The tables of cells in a PostgreSQL, and what is asked of them.

    <schema>.cells      one row for each cell. `body` and `shape` are the value, lossless; `value` is the body as jsonb,
                        for queries, and null where jsonb can't have it (a null character in a text)
    <schema>.marks      one row for each write of the last time, by its key, with what the cells held before it
    <schema>.documents  a view: collection, id, document (jsonb), version, at
    <schema>.versions   a sequence: no two writes of a cell have the same version

Knows SQL. Must not know connections, nor when to ask.
"""

from __future__ import annotations

import re
from typing import Final

from perdure.errors import DefinitionError
from perdure.storage.cells import Cell

CELL_COLUMNS: Final = Cell._fields
_READ: Final = ", ".join(CELL_COLUMNS)
_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_IS_THERE: Final = f"(expires_at IS NULL OR expires_at > {_NOW})"
_HELD: Final = (
    " AND (EXISTS (SELECT FROM unnest(%s::text[]) AS text WHERE strpos(body, text) > 0)"
    " OR body IS NOT NULL AND EXISTS (SELECT FROM unnest(%s::text[]) AS text WHERE strpos(shape, text) > 0))"
)  # see holding.py
_WRITTEN: Final = [name for name in CELL_COLUMNS if name != "version"]
_TYPES: Final = {"space": "text", "key": "text", "body": "text", "shape": "text", "data": "bytea"}
_ARRAYS: Final = ", ".join(f"%s::{_TYPES.get(name, 'bigint')}[]" for name in _WRITTEN)


class Statements:
    """All statements, for one schema. Their placeholders are psycopg's."""

    def __init__(self, schema: str) -> None:
        if not isinstance(schema, str) or not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
            raise DefinitionError(
                f"schema={schema!r} can't be the name of a schema.", fix='write small letters, such as "perdure"'
            )
        cells, marks, versions = f"{schema}.cells", f"{schema}.marks", f"{schema}.versions"
        self.tables = _tables(schema)
        self.before = f"SELECT before FROM {marks} WHERE key = %s"
        self.cell = f"SELECT {_READ} FROM {cells} WHERE space = %s AND key = %s AND {_IS_THERE}"
        self._listed = (
            f"SELECT {_READ} FROM {cells} WHERE space = %s AND key >= %s AND starts_with(key, %s) "
            f"AND (%s::text IS NULL OR key > %s) AND {_IS_THERE}"
        )
        self.cells = f"{self._listed} ORDER BY key LIMIT %s"
        self.due = (
            f"SELECT {_READ} FROM {cells} WHERE space = %s AND due <= %s AND {_IS_THERE} ORDER BY due, key LIMIT %s"
        )
        # From one space to the next by the index, whatever the number of cells in each.
        self.spaces = f"""
            WITH RECURSIVE found AS (
                (SELECT space FROM {cells} WHERE space >= %s ORDER BY space LIMIT 1)
                UNION ALL
                SELECT (SELECT space FROM {cells} WHERE space > found.space ORDER BY space LIMIT 1)
                FROM found WHERE starts_with(found.space, %s))
            SELECT space FROM found WHERE starts_with(space, %s) ORDER BY space
        """
        self.lock = (
            f"SELECT {', '.join(f'cells.{name}' for name in CELL_COLUMNS)} FROM {cells} AS cells "
            f"JOIN unnest(%s::text[], %s::text[]) AS wanted(space, key) USING (space, key) "
            f"WHERE {_IS_THERE} ORDER BY cells.space, cells.key FOR UPDATE OF cells"
        )
        self.mark = (
            f"INSERT INTO {marks} (key, until, before) VALUES (%s, {_NOW} + %s, %s) ON CONFLICT (key) DO NOTHING"
        )
        columns = ", ".join([*_WRITTEN, "value"])
        insert = (
            f"WITH new AS (SELECT nextval('{versions}') AS version) "
            f"INSERT INTO {cells} AS cells ({columns}, version) "
            f"SELECT {', '.join(f'given.{name}' for name in _WRITTEN)}, given.value::jsonb, new.version "
            f"FROM new, unnest({_ARRAYS}, %s::text[]) AS given({columns}) ON CONFLICT (space, key) DO "
        )
        changed = ", ".join(f"{name} = excluded.{name}" for name in (*_WRITTEN[2:], "value", "version"))
        returning = "RETURNING cells.space, cells.key, cells.version"
        # What has expired is not there, and makes room.
        is_over = f"cells.expires_at <= {_NOW}"
        self.insert = f"{insert} UPDATE SET {changed} WHERE {is_over} {returning}"
        self.put = f"{insert} UPDATE SET {changed} {returning}"
        self.delete = (
            f"WITH gone AS (DELETE FROM {cells} AS cells USING unnest(%s::text[], %s::text[]) AS given(space, key) "
            f"WHERE cells.space = given.space AND cells.key = given.key) SELECT nextval('{versions}')"
        )
        self.forget = (
            f"WITH old AS (DELETE FROM {marks} WHERE until < {_NOW}), "
            f"gone AS (DELETE FROM {cells} WHERE expires_at <= {_NOW}) SELECT 1"
        )

    def holding(self, count: int) -> str:
        """What lists cells that hold so many things (holding.py): for each an array of texts, and one of a shape's."""
        return f"{self._listed}{_HELD * count} ORDER BY key LIMIT %s"


def _tables(schema: str) -> str:
    """What makes everything, unless it is there: even to look, `CREATE INDEX IF NOT EXISTS` waits for all who write."""
    cells, marks, documents = f"{schema}.cells", f"{schema}.marks", f"{schema}.documents"
    # One process at a time: CREATE … IF NOT EXISTS is no protection against another one that does the same.
    return f"""
        DO $$ BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('perdure {schema}'));
        IF to_regclass('{documents}') IS NOT NULL THEN RETURN; END IF;  -- it is made last
        CREATE SCHEMA IF NOT EXISTS {schema};
        CREATE SEQUENCE IF NOT EXISTS {schema}.versions;
        CREATE TABLE IF NOT EXISTS {cells} (
            space text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, version bigint NOT NULL,
            at bigint NOT NULL, body text, shape text, data bytea, due bigint, expires_at bigint, value jsonb,
            PRIMARY KEY (space, key));
        CREATE INDEX IF NOT EXISTS cells_due ON {cells} (space, due, key) WHERE due IS NOT NULL;
        CREATE INDEX IF NOT EXISTS cells_expiry ON {cells} (expires_at) WHERE expires_at IS NOT NULL;
        CREATE TABLE IF NOT EXISTS {marks} (
            key text PRIMARY KEY, until bigint NOT NULL, before text NOT NULL);
        CREATE INDEX IF NOT EXISTS marks_until ON {marks} (until);
        CREATE VIEW {documents} AS
            SELECT substr(space, 4) AS collection, key AS id, value AS document, version,
                to_timestamp(at / 1000000.0) AS at
            FROM {cells} WHERE space >= 'db/' AND space < 'db0';
        END $$
    """
