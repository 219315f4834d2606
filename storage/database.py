"""The only file that knows DuckDB's Python interface: opening a file, transactions, and its errors in our words.

It must not know a table's columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb

from perdure.errors import LedgerCorrupt, LedgerError, LedgerFull, LedgerLocked, LedgerReadOnly
from perdure.storage.ledger import SqlResult

Connection = duckdb.DuckDBPyConnection

#: Statement types that only read. PRAGMA and CALL are left out: some change the file or the process.
_READING: Final = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


class Database:
    """An open DuckDB file, or one in memory.

    Args:
        path: None for one in memory.
        read_only: attach the file so that nothing of it changes; queries begin in an empty database in memory.
        threads: how many cores one query may use. Short look-ups take half as long with one.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False, threads: int = 1) -> None:
        self._path = path
        #: Attached under one name, whatever the file is called: `ledger.duckdb` would be taken for a schema `ledger`.
        self.catalog = "memory" if path is None else "kept"
        self._home = "memory" if read_only else self.catalog
        config: dict[str, Any] = {"threads": threads, "python_enable_replacements": False}
        with self.in_our_words("opening the ledger"):
            self._root = duckdb.connect(":memory:", config=config)
            try:
                if path is not None:
                    quoted = str(path).replace("'", "''")
                    self._root.execute(f"ATTACH '{quoted}' AS kept{' (READ_ONLY)' if read_only else ''}")
                # From here on no query reads or writes files of its own.
                self._root.execute("SET enable_external_access = false")
            except BaseException:
                self._root.close()
                raise

    def cursor(self) -> Connection:
        """A connection of its own, for one thread."""
        cursor = self._root.cursor()
        cursor.execute(f"USE {self._home}")
        return cursor

    def close(self) -> None:
        """Give the file back."""
        with self.in_our_words("closing the ledger"):
            self._root.close()

    @contextmanager
    def transaction(self, cursor: Connection, doing: str) -> Iterator[None]:
        """Commit at the end, or roll back on any exception."""
        with self.in_our_words(doing):
            cursor.execute("BEGIN TRANSACTION")
            try:
                yield
                cursor.execute("COMMIT")
            except BaseException:
                self._roll_back(cursor)
                raise

    def query(self, query: str, parameters: Sequence[Any] = ()) -> SqlResult:
        """Run one statement that a user wrote, in a transaction that can't write."""
        cursor = self.cursor()
        try:
            try:
                statements = cursor.extract_statements(query)
            except duckdb.Error as error:
                raise _mistake(error) from error
            if len(statements) != 1 or statements[0].type not in _READING:
                raise LedgerReadOnly(
                    "sql() runs one statement that only reads.",
                    where=query.strip()[:200],
                    why=f"this is {_described(statements)}",
                    fix="use SELECT, WITH, FROM, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN",
                )
            try:
                cursor.execute("BEGIN TRANSACTION READ ONLY")
                result = cursor.execute(statements[0], list(parameters))
                columns = tuple(column[0] for column in result.description or ())
                return SqlResult(columns, tuple(result.fetchall()))
            except duckdb.Error as error:
                if _is_mistake(error):
                    raise _mistake(error) from error
                raise self._error(error, "running a query") from error
        finally:
            cursor.close()

    @contextmanager
    def in_our_words(self, doing: str) -> Iterator[None]:
        """Turn DuckDB's errors into the ledger's."""
        try:
            yield
        except duckdb.Error as error:
            raise self._error(error, doing) from error

    def _roll_back(self, cursor: Connection) -> None:
        try:
            cursor.execute("ROLLBACK")
        except duckdb.Error:
            # The database has given up on the transaction, or on everything; the first error says why.
            return

    def _error(self, error: duckdb.Error, doing: str) -> LedgerError:
        text = str(error)
        where = "memory" if self._path is None else str(self._path)
        owner = re.search(r"\(PID (\d+)\)", text)
        if "lock" in text.lower() and (owner or "conflict" in text.lower()):
            return LedgerLocked(
                "the ledger is in use by another process.",
                owner_pid=int(owner[1]) if owner else None,
                where=where,
                why=text,
                fix="close it there, or work on a copy of the file",
            )
        if "No space left" in text or "File too large" in text or "disk quota" in text.lower():
            return LedgerFull(f"no room {doing}.", where=where, why=text, fix="make room on the disk and try again")
        if "Permission denied" in text or "Read-only file system" in text:
            return LedgerReadOnly(
                f"no permission {doing}.", where=where, why=text, fix="let this process write the file and its folder"
            )
        if isinstance(error, _DAMAGE) or (isinstance(error, duckdb.IOException) and doing == "opening the ledger"):
            return LedgerCorrupt(
                f"the ledger's file can't be read ({doing}).",
                where=where,
                why=text,
                fix="restore the file from a backup together with its journal; keep this one for inspection",
            )
        return LedgerError(
            f"DuckDB failed {doing}.", where=where, why=text, fix="open the ledger again; nothing acknowledged is lost"
        )


_DAMAGE: Final = (
    duckdb.IOException, duckdb.SerializationException, duckdb.FatalException, duckdb.InternalException,
)  # fmt: skip
_MISTAKES: Final = (
    duckdb.ParserException, duckdb.SyntaxException, duckdb.BinderException, duckdb.CatalogException,
    duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException, duckdb.InvalidTypeException,
    duckdb.TypeMismatchException, duckdb.NotImplementedException, duckdb.PermissionException,
)  # fmt: skip


def _is_mistake(error: duckdb.Error) -> bool:
    if isinstance(error, duckdb.TransactionException):
        return "read-only" in str(error)
    return isinstance(error, _MISTAKES)


def _mistake(error: duckdb.Error) -> LedgerError:
    first, _, rest = str(error).partition("\n")
    return LedgerError(
        f"the query can't be run: {first}",
        where=rest.strip("\n"),
        fix='the views are runs, steps, entries, events, kv, … (docs/ledger.md); "DESCRIBE steps" lists one\'s columns',
    )


def _described(statements: Sequence[Any]) -> str:
    if len(statements) != 1:
        return f"{len(statements)} statements"
    return f"of type {statements[0].type.name}"
