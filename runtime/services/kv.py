"""`kv`: values under keys, in namespaces. A value is anything that has a lossless encoding.

Knows values and keys. Must not know how cells are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.durations import Duration, duration_us
from perdure.errors import WorkflowError
from perdure.services.effects import Change
from perdure.services.operation import Blocking, blocking, operation
from perdure.services.scope import Scope
from perdure.services.transaction import Transaction, encoded
from perdure.storage.cells import Cell
from perdure.storage.encoding import decode, encode


class Kv:
    """Values under keys, in one namespace; `kv.namespace("invites")` is another one.

    In a step all operations are part of its result: they are recorded with it, or not at all. Outside of steps
    (`runtime.kv`) each is durable when it returns.
    """

    def __init__(self, scope: Scope, namespace: str = "default") -> None:
        self._scope = scope
        self._namespace = namespace
        self._space = f"kv/{namespace}"

    def __repr__(self) -> str:
        return f"<kv {self._namespace!r}>"

    def namespace(self, name: str) -> Kv:
        """Give the same service for another namespace."""
        return Kv(self._scope, name)

    @operation
    async def get(self, key: str, default: Any = None) -> Any:
        """Read a value; `default` when there is none."""
        async with self._scope.writing() as transaction:
            cell = transaction.cell(self._space, key)
        return default if cell is None else _value(cell)

    @operation
    async def put(self, key: str, value: Any, *, ttl: Duration | None = None, if_absent: bool = False) -> bool:
        """Write a value; give whether it was written.

        Args:
            ttl: how long it is there, a duration; for ever by default.
            if_absent: write only when the key has no value, and give False otherwise.
        """
        async with self._scope.writing() as transaction:
            before = await transaction.claim(self._space, key)
            if if_absent and before is not None:
                return False
            self._write(transaction, key, value, before, ttl)
            return True

    @operation
    async def update(self, key: str, change: Callable[[Any], Any], default: Any = None) -> Any:
        """Replace a value by what `change` makes of it (of `default` when there is none); give the new one."""
        async with self._scope.writing() as transaction:
            before = await transaction.claim(self._space, key)
            value = change(default if before is None else _value(before))
            self._write(transaction, key, value, before, None)
            return value

    @operation
    async def delete(self, key: str) -> bool:
        """Delete a value; give whether there was one."""
        async with self._scope.writing() as transaction:
            before = await transaction.claim(self._space, key)
            if before is None:
                return False
            change = Change("kv", self._namespace, key, "delete", None, encoded(before))
            transaction.put(change, None, space=self._space)
            return True

    @operation
    async def list(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> dict[str, Any]:
        """Read the values whose keys begin with `prefix`, in order of their keys.

        Args:
            after: only keys greater than this one, for paging.
        """
        async with self._scope.writing() as transaction:
            found = await transaction.cells(self._space, prefix=prefix, after=after, limit=limit)
        return {cell.key: _value(cell) for cell in found}

    def _write(self, transaction: Transaction, key: str, value: Any, before: Cell | None, ttl: Duration | None) -> None:
        _check_key(key)
        expires_at = None if ttl is None else self._scope.backing.now_us() + duration_us(ttl, "ttl")
        new = encode(value)
        change = Change("kv", self._namespace, key, "put", new, None if before is None else encoded(before))
        transaction.put(change, new, expires_at=expires_at, space=self._space)


class BlockingKv(Blocking):
    """`Kv` for code without asyncio."""

    def namespace(self, name: str) -> BlockingKv:
        """Give the same service for another namespace."""
        return BlockingKv(self._service.namespace(name))

    get = blocking(Kv.get)
    put = blocking(Kv.put)
    update = blocking(Kv.update)
    delete = blocking(Kv.delete)
    list = blocking(Kv.list)


def _value(cell: Cell) -> Any:
    return decode(*encoded(cell))


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not key:
        raise WorkflowError(f"{key!r} can't be a key.", fix="give a text, such as an id")
