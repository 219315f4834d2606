"""Connections to a PostgreSQL: made when they are needed, kept for the next one, and told apart from broken ones.

This file and the types of `postgres` alone know psycopg. It must not know what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from perdure.errors import DefinitionError, ServiceFailed, WorkflowError, WriteConflict
from perdure.services.values import shown_url

if TYPE_CHECKING:
    from psycopg import AsyncConnection

T = TypeVar("T")

_CONNECT_S: Final = 5
_SWEEP_EVERY_S: Final = 60.0
_GONE: Final = ("57P", "080")  # states that say that the connection is of no use any more
#: So that a network that swallows packets holds no step for ever. What the URL says comes first.
_OPTIONS: Final = {
    "connect_timeout": _CONNECT_S, "tcp_user_timeout": 10_000, "keepalives_idle": 30, "application_name": "perdure",
}  # fmt: skip


class PostgresPool:
    """Connections for one back end. What is asked may be asked a second time, when a connection turns out broken.

    Args:
        tables: statements that are executed before all else.
        connections_max: at a time; who comes later waits.
        timeout_s: for an answer; the server itself gives up a little earlier, where it can.
    """

    def __init__(self, url: str, service: str, tables: str, connections_max: int, timeout_s: float) -> None:
        if type(connections_max) is not int or connections_max < 1:
            raise DefinitionError(f"connections={connections_max!r} is no number of connections.", fix="write 8")
        self._psycopg = _library()
        self._service = service
        self._tables = tables
        self._connections_max = connections_max
        self._timeout_s = timeout_s
        try:
            parts = self._psycopg.conninfo.conninfo_to_dict(url)
            options = {**_OPTIONS, **parts, "options": f"{_server_options(timeout_s)} {parts.get('options', '')}"}
            self._conninfo = self._psycopg.conninfo.make_conninfo(**options)
        except (self._psycopg.Error, AttributeError) as error:  # the latter for what is no text
            raise DefinitionError(
                f"{shown_url(url)} is no URL of a PostgreSQL.",
                why=str(error).strip(),
                fix='write "postgresql://user:password@localhost:5432/shop"',
            ) from None
        self.where = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
        self._idle: list[AsyncConnection[Any]] = []
        self._places: asyncio.Semaphore | None = None
        self._preparing: asyncio.Lock | None = None
        self._is_ready = False
        self._sweep_at: float | None = None

    async def do(self, work: Callable[[AsyncConnection[Any]], Awaitable[T]]) -> T:
        """Do something on a connection.

        Raises:
            ServiceFailed: the server can't be reached, or refuses.
            WriteConflict: somebody else wants the same rows in another order.
        """
        if self._places is None:
            self._places, self._preparing = asyncio.Semaphore(self._connections_max), asyncio.Lock()
        async with self._places:
            try:
                if self._idle:
                    try:
                        return await self._on_a_connection(work, self._idle.pop())
                    except self._psycopg.OperationalError as error:
                        if error.sqlstate is not None and error.sqlstate[:3] not in _GONE:
                            raise
                    # It had been idle, and the server has gone and come back meanwhile, or has cut it off.
                    await self._close_idle()
                return await self._on_a_connection(work, await self._connect())
            except (self._psycopg.Error, OSError) as error:
                raise self._failure(error) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._close_idle()
        self._places = self._preparing = None
        self._is_ready = False

    def is_time_to_sweep(self) -> bool:
        """Whether a minute has passed since this was last true."""
        now = asyncio.get_running_loop().time()
        if self._sweep_at is not None and now < self._sweep_at:
            return False
        self._sweep_at = now + _SWEEP_EVERY_S
        return True

    async def _on_a_connection(
        self, work: Callable[[AsyncConnection[Any]], Awaitable[T]], connection: AsyncConnection[Any]
    ) -> T:
        try:
            result = await self._answered(work, connection)
        except BaseException:
            # What was cut off in the middle is in no state to go on from.
            if connection.closed or connection.info.transaction_status != 0:
                await connection.close()
            else:
                self._idle.append(connection)
            raise
        self._idle.append(connection)
        return result

    async def _answered(
        self, work: Callable[[AsyncConnection[Any]], Awaitable[T]], connection: AsyncConnection[Any]
    ) -> T:
        """Do it, in a time in which any server answers that is there; and stop at once when nobody waits any more."""
        asking = asyncio.ensure_future(work(connection))
        try:
            await asyncio.wait({asking}, timeout=self._timeout_s)
            if not asking.done():
                raise TimeoutError(f"it has not answered for {self._timeout_s:g} s")
            return await asking
        finally:
            if not asking.done():
                connection.pgconn.finish()  # else psycopg would ask the server to stop, and wait ten seconds for that
                asking.cancel()
                await asyncio.wait({asking})

    async def _connect(self) -> AsyncConnection[Any]:
        connection: AsyncConnection[Any] = await self._psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
        try:
            assert self._preparing is not None  # `do` has made it
            async with self._preparing:
                if not self._is_ready:
                    async with connection.transaction():
                        await connection.execute(self._tables)
                    self._is_ready = True
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _close_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    def _failure(self, error: Exception) -> WorkflowError:
        errors = self._psycopg.errors
        reason = str(error).strip().partition("\n")[0]
        if isinstance(error, (errors.DeadlockDetected, errors.SerializationFailure)):
            return WriteConflict(
                f"the PostgreSQL of {self._service} chose somebody else: {reason}.",
                where=self.where,
                why="two wanted the same rows, each in another order",
                fix="nothing was written; it is tried again",
            )
        if isinstance(error, errors.DataError):
            return WorkflowError(
                f"the PostgreSQL of {self._service} can't keep this: {reason}.",
                where=self.where,
                fix="null characters, and names of more than about 2,000 bytes, have no place there",
            )
        fix = "see that the server runs, that this machine reaches it, and that the URL has the right user and password"
        if isinstance(error, errors.InsufficientPrivilege):
            fix = "give this user the right to create a schema in the database, or one of its own"
        return ServiceFailed(
            f"the PostgreSQL of {self._service} at {self.where} did not do what was asked: {reason}",
            where=self.where,
            why=type(error).__name__,
            fix=f"{fix}; a step is tried again as its retries= say, and nothing is written twice",
        )


def _server_options(timeout_s: float) -> str:
    """What a server is told of the time that it has; of a lock half, so that two who wait for each other end."""
    server_ms = max(1, round(timeout_s * 900))
    times = {"statement_timeout": server_ms, "lock_timeout": server_ms // 2 or 1}
    times["idle_in_transaction_session_timeout"] = 2 * server_ms
    return " ".join(f"-c {name}={value}" for name, value in times.items())


def _library() -> Any:
    try:
        import psycopg
        import psycopg.conninfo
    except ImportError as error:
        raise DefinitionError(
            "psycopg is not installed.", why=str(error).partition("\n")[0], fix="pip install 'perdure[postgres]'"
        ) from None
    return psycopg
