"""Schema versions: how a ledger file of any earlier release becomes one of this release.

`STEPS[n]` takes a file from version n to n + 1; an empty file has version 0, so making the tables is the first step.
Each step runs in one transaction with the note of its version. A step is never changed once it was released: files out
there have gone through it.

This file knows versions. It must not know what a table is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from perdure.errors import LedgerTooNew


class Connection(Protocol):
    """As much of a DuckDB connection as a migration needs."""

    def execute(self, query: str, parameters: object = None) -> Connection:
        """Run a statement."""
        ...

    def fetchone(self) -> tuple[object, ...] | None:
        """The first row of its result."""
        ...


Step = Callable[[Connection], None]


#: Written out although tables.py could make them: that follows the newest version, and this must stay as released.
_VERSION_1: Final = (
    "CREATE SCHEMA _ledger",
    """
    CREATE TABLE _ledger.entries (
        "run" BIGINT, "position" INTEGER, "kind" VARCHAR, "at_us" BIGINT, "command" VARCHAR, "name" VARCHAR,
        "attempt" INTEGER, "due_us" BIGINT, "body" VARCHAR, "shape" VARCHAR, "detail" VARCHAR, "digest" BLOB,
        "asked" INTEGER, "shown" BOOLEAN, "value" VARIANT
    )
    """,
    """
    CREATE TABLE _ledger.runs (
        "run" BIGINT, "run_id" VARCHAR, "run_id_hash" BIGINT, "workflow" VARCHAR, "version" VARCHAR,
        "definition" VARCHAR, "status" VARCHAR, "attempt" INTEGER, "created_us" BIGINT, "updated_us" BIGINT,
        "finished_us" BIGINT, "tags" MAP(VARCHAR, VARCHAR), "idempotency_key" VARCHAR, "idempotency_hash" BIGINT,
        "parent_run_id" VARCHAR, "parent_hash" BIGINT, "parent_command" VARCHAR, "due_us" BIGINT,
        "timeout_us" BIGINT, "cancel_requested" BOOLEAN, "error" VARCHAR, "length" INTEGER, "digest" BLOB,
        "pending" VARCHAR, "next_due_us" BIGINT, "resumption" VARCHAR
    )
    """,
    """
    CREATE TABLE _ledger.waits (
        "run" BIGINT, "run_id" VARCHAR, "position" INTEGER, "command" VARCHAR, "event_type" VARCHAR,
        "match" VARCHAR, "match_hash" BIGINT
    )
    """,
    """
    CREATE TABLE _ledger.definitions (
        "digest" VARCHAR, "workflow" VARCHAR, "version" VARCHAR, "python" VARCHAR, "source" VARCHAR, "at_us" BIGINT
    )
    """,
    """
    CREATE TABLE _ledger.meta (
        "key" VARCHAR, "value" VARCHAR
    )
    """,
)


def _first_tables(connection: Connection) -> None:
    for statement in _VERSION_1:
        connection.execute(statement)


def _verdicts(connection: Connection) -> None:
    connection.execute('ALTER TABLE _ledger.runs ADD COLUMN "verdict" BOOLEAN')


def _forks(connection: Connection) -> None:
    connection.execute('ALTER TABLE _ledger.runs ADD COLUMN "forked_from" VARCHAR')


def _messages_and_queues(connection: Connection) -> None:
    for column in (
        '"continued_as" VARCHAR', '"continued_from" VARCHAR', '"queue" VARCHAR', '"queue_key" VARCHAR',
        '"priority" INTEGER', '"began_us" BIGINT', '"boxes" VARCHAR', '"streams" VARCHAR',
    ):  # fmt: skip
        connection.execute(f"ALTER TABLE _ledger.runs ADD COLUMN {column}")
    # Runs of before began when they were created, unless they were delayed.
    connection.execute("""
        UPDATE _ledger.runs AS r SET began_us = coalesce((
            SELECT min(e.at_us) FROM _ledger.entries AS e
            WHERE e.run = r.run AND (e.kind = 'began' OR (e.kind = 'created' AND e.due_us IS NULL))), began_us)
    """)
    # As a fold of today writes them, so that what is derived can be compared with what is kept.
    connection.execute("UPDATE _ledger.runs SET queue_key = '', priority = 0")


def _cells(connection: Connection) -> None:
    connection.execute("""
        CREATE TABLE _ledger.cells (
            "hash" BIGINT, "space" VARCHAR, "key" VARCHAR, "version" BIGINT, "at_us" BIGINT, "body" VARCHAR,
            "shape" VARCHAR, "data" BLOB, "due_us" BIGINT, "expires_us" BIGINT, "shown" BOOLEAN, "value" VARIANT
        )
    """)


def _requeued_runs(connection: Connection) -> None:
    connection.execute('ALTER TABLE _ledger.runs ADD COLUMN "requeued_us" BIGINT')


STEPS: Final[tuple[Step, ...]] = (_first_tables, _verdicts, _forks, _messages_and_queues, _cells, _requeued_runs)


def migrate(connection: Connection, version: int, path: Path | str, steps: Sequence[Step] = STEPS) -> None:
    """Bring a file from `version` to the newest. Raises LedgerTooNew when it is beyond that."""
    check_version(version, path, steps)
    for number in range(version, len(steps)):
        connection.execute("BEGIN TRANSACTION")
        try:
            steps[number](connection)
            connection.execute("DELETE FROM _ledger.meta WHERE key = 'schema'")
            connection.execute("INSERT INTO _ledger.meta VALUES ('schema', ?)", [str(number + 1)])
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def check_version(version: int, path: Path | str, steps: Sequence[Step] = STEPS) -> None:
    """Refuse a file of a newer release."""
    if version > len(steps):
        raise LedgerTooNew(
            f"the ledger has schema version {version}, and this release knows {len(steps)}.",
            where=str(path),
            why="a newer release of Perdure wrote it",
            fix="upgrade Perdure (pip install -U perdure) before opening it; nothing was changed",
        )
