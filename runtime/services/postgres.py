"""PostgreSQL as the place of `database`: `Runtime(…, services={"database": PostgresDatabase("postgresql://…")})`.

What a step writes is written in one transaction before its result is recorded, together with a mark under the step's
idempotency key: whoever comes later under that key writes nothing.

This file knows cells, marks and what conflicts. It must not know what is kept, nor connections.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from perdure.durations import Duration, duration_us
from perdure.errors import DefinitionError, WorkflowError
from perdure.services.claims import Name
from perdure.services.drafts import Written
from perdure.services.postgres_pool import PostgresPool
from perdure.services.postgres_tables import CELL_COLUMNS, Statements
from perdure.storage.cells import Cell
from perdure.storage.holding import Holding

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_SOON_US: Final = 600 * 1_000_000  # how long a call from outside may be asked for again, when its connection broke
#: What JSON may say and `jsonb` may not: a null character, and halves of surrogate pairs.
_NOT_FOR_JSONB: Final = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)

_DATA: Final = CELL_COLUMNS.index("data")


class _Lost(Exception):
    """Cells were not as expected: nothing is to be written."""

    def __init__(self, names: frozenset[Name]) -> None:
        self.names = names


class PostgresCells:
    """Cells in a PostgreSQL, for one service.

    It connects when it is first used, and makes its tables if they are not there. Processes with the same URL and
    schema share what is kept.

    Args:
        url: such as `"postgresql://user:password@localhost/shop"`; anything that libpq takes.
        schema: where its tables are.
        remember: how long it is known that a step has written; longer than a runtime may be down in between.
        connections: at most so many at a time.
        timeout: how long the server may take for one answer; after that the step has failed, and is tried again.

    Raises:
        DefinitionError: the URL can't be used, or psycopg is not installed.
    """

    service: str

    def __init__(
        self, url: str, *,
        schema: str = "perdure", remember: Duration = "30d", connections: int = 8, timeout: Duration = "30s",
    ) -> None:  # fmt: skip
        self._sql = Statements(schema)
        self._remember_us = max(duration_us(remember, "remember"), _SOON_US)
        timeout_us = duration_us(timeout, "timeout")
        if not timeout_us:
            raise DefinitionError("timeout=0 leaves no time to answer.", fix='write "30s"')
        self._pool = PostgresPool(url, self.service, self._sql.tables, connections, timeout_us / 1_000_000)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._pool.where!r})"

    def token(self) -> str:
        """Give a text that nobody else is given."""
        return secrets.token_hex(12)

    async def close(self) -> None:
        """Give back the connections."""
        await self._pool.close()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    async def before(self, under: str) -> Mapping[Name, Cell | None] | None:
        """Give what the cells held that were written under this key; None when none were."""
        rows = await self._rows(self._sql.before, [under])
        return _read_before(rows[0][0]) if rows else None

    async def cell(self, space: str, key: str) -> Cell | None:
        """Find a cell."""
        rows = await self._rows(self._sql.cell, [space, key])
        return Cell(*rows[0]) if rows else None

    async def cells(self, space: str, *, prefix: str, after: str | None, limit: int | None) -> list[Cell]:
        """List the cells of a space whose key begins with `prefix`, by key."""
        rows = await self._rows(self._sql.cells, [space, prefix, prefix, after, after, limit])
        return [Cell(*row) for row in rows]

    async def holding(
        self, space: str, wanted: Sequence[Holding], *, prefix: str, after: str | None, limit: int | None
    ) -> list[Cell]:
        """List those of `cells` that have all of this in their texts."""
        texts = [values for each in wanted for values in (list(each.texts), list(each.unless))]
        statement = self._sql.holding(len(wanted))
        rows = await self._rows(statement, [space, prefix, prefix, after, after, *texts, limit])
        return [Cell(*row) for row in rows]

    async def due(self, space: str, until: int, limit: int) -> list[Cell]:
        """List the cells of a space that are due, the earliest first."""
        rows = await self._rows(self._sql.due, [space, until, limit])
        return [Cell(*row) for row in rows]

    async def spaces(self, prefix: str) -> list[str]:
        """List the spaces that begin with `prefix` and have cells, in order."""
        return [row[0] for row in await self._rows(self._sql.spaces, [prefix, prefix, prefix])]

    async def _rows(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        async def work(connection: AsyncConnection[Any]) -> list[tuple[Any, ...]]:
            return await (await connection.execute(statement, values)).fetchall()

        return await self._pool.do(work)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    async def write(
        self, cells: Sequence[Cell], expected: Mapping[Name, int], under: str, *, for_good: bool, each: bool = False
    ) -> Written:
        """Write cells at once, and once under a key."""
        write = _Write(self._sql, cells, expected, each)
        life_us = self._remember_us if for_good else _SOON_US

        async def work(connection: AsyncConnection[Any]) -> Written:
            async with connection.transaction():
                await write.lock(connection)
                marked = await connection.execute(
                    self._sql.mark, [under, life_us, write.before_text() if for_good else "[]"]
                )
                if not marked.rowcount:  # by an earlier attempt, or by this one when its connection broke
                    return Written(frozenset(write.names) if each else frozenset())
                return await write.put(connection)

        try:
            written = await self._pool.do(work)
        except _Lost as lost:
            return Written(lost.names)
        await self._forget()
        return written

    async def _forget(self) -> None:
        """Now and then, delete marks that nobody will ask for and cells that have expired."""
        if self._pool.is_time_to_sweep():
            with suppress(WorkflowError):  # what it follows is written, and would be written again; a next one sweeps
                await self._rows(self._sql.forget, [])


class _Write:
    """One call of `write`, within its transaction."""

    def __init__(self, sql: Statements, cells: Sequence[Cell], expected: Mapping[Name, int], each: bool) -> None:
        self._sql = sql
        self._cells = {(cell.space, cell.key): cell for cell in cells}
        self._expected = expected
        self._each = each
        self._found: dict[Name, Cell] = {}
        self.names = list(self._cells)

    async def lock(self, connection: AsyncConnection[Any]) -> None:
        """Read what is there, and let nobody else change it before the end. In one order, whoever writes."""
        names = sorted(self._cells)
        columns = [[space for space, _ in names], [key for _, key in names]]
        rows = await (await connection.execute(self._sql.lock, columns)).fetchall()
        self._found = {(row[0], row[1]): Cell(*row) for row in rows}

    def before_text(self) -> str:
        """What the cells held, for a later attempt."""
        return json.dumps([_fields(name, self._found.get(name)) for name in self.names])

    async def put(self, connection: AsyncConnection[Any]) -> Written:
        """Write what is as expected."""
        lost = frozenset(name for name in self.names if not self._is_as_expected(name))
        self._stop(lost)
        wanted = [self._cells[name] for name in self.names if name not in lost]
        # What nobody has locked, because it is not there, may come from somebody else in this moment.
        fresh = [cell for cell in wanted if not cell.is_gone and self._expects_nothing((cell.space, cell.key))]
        fresh_names = {(cell.space, cell.key) for cell in fresh}
        others = [cell for cell in wanted if not cell.is_gone and (cell.space, cell.key) not in fresh_names]
        gone = [cell for cell in wanted if cell.is_gone]
        versions: dict[Name, int] = {}
        for statement, some in ((self._sql.insert, fresh), (self._sql.put, others)):
            if some:
                rows = await (await connection.execute(statement, _columns(some))).fetchall()
                versions.update({(space, key): version for space, key, version in rows})
        late = frozenset(fresh_names - versions.keys())
        self._stop(late)
        if gone:
            columns = [[cell.space for cell in gone], [cell.key for cell in gone]]
            version = (await (await connection.execute(self._sql.delete, columns)).fetchall())[0][0]
            versions.update({(cell.space, cell.key): version for cell in gone})
        return Written(lost | late, tuple(versions.get(name, 0) for name in self.names))

    def _stop(self, lost: frozenset[Name]) -> None:
        if lost and not self._each:
            raise _Lost(lost)

    def _is_as_expected(self, name: Name) -> bool:
        found = self._found.get(name)
        return name not in self._expected or self._expected[name] == (0 if found is None else found.version)

    def _expects_nothing(self, name: Name) -> bool:
        return name not in self._found and self._expected.get(name) == 0


class PostgresDatabase(PostgresCells):
    """`database` in a PostgreSQL: `services={"database": PostgresDatabase("postgresql://localhost/shop")}`.

    Documents can be queried there, in the view `perdure.documents`: `SELECT document->>'customer' FROM
    perdure.documents WHERE collection = 'orders'`.
    """

    service = "database"


def _columns(cells: Sequence[Cell]) -> list[Any]:
    """Cells as arrays, one for each column."""
    values = [None if cell.body is None or _NOT_FOR_JSONB.search(cell.body) else cell.body for cell in cells]
    return [*([getattr(cell, name) for cell in cells] for name in CELL_COLUMNS if name != "version"), values]


def _fields(name: Name, cell: Cell | None) -> list[Any]:
    """A cell for a mark's JSON."""
    if cell is None:
        return list(name)
    return [each.hex() if isinstance(each, bytes) else each for each in cell]


def _read_before(text: str) -> dict[Name, Cell | None]:
    before: dict[Name, Cell | None] = {}
    for fields in json.loads(text):
        cell = None
        if len(fields) > 2:
            data = fields[_DATA]
            fields[_DATA] = None if data is None else bytes.fromhex(data)
            cell = Cell(*fields)
        before[fields[0], fields[1]] = cell
    return before
