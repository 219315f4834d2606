"""`kv`: values under keys, in namespaces. A value is anything that has a lossless encoding.

Knows values and keys. Must not know how cells are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeAlias

from perdure.durations import Duration, duration_us
from perdure.errors import DefinitionError, WorkflowError
from perdure.services.drafts import draft_of
from perdure.services.effects import Change
from perdure.services.operation import Blocking, blocking, operation
from perdure.services.scope import Scope
from perdure.services.transaction import Transaction, encoded
from perdure.services.values import check_page, checked_name, encoded_value
from perdure.storage.cells import Cell
from perdure.storage.encoding import Encoded, decode
from perdure.triggers.changes import KvChanges

#: Of one value, encoded. Each write is copied into the journal and into the columns; a blob has a place of its own.
VALUE_BYTES_MAX: Final = 8 << 20
_PAGE: Final = 500  # keys that are looked at in one go when not all of them are wanted

Cells: TypeAlias = list[Cell]  # `Kv.list` hides the builtin within the class
Keys: TypeAlias = list[str]
Number: TypeAlias = int | float | Decimal
New: TypeAlias = tuple[Encoded, int | None]  # what a key is to hold: the value, and when it expires


class Kv:
    """Values under keys, in one namespace; `kv.namespace("invites")` is another one.

    In a step all operations are part of its result: what it writes is recorded with it, or not at all, and read back by
    the step meanwhile. Outside of steps (`runtime.kv`) each is durable when it returns.
    """

    def __init__(self, scope: Scope, namespace: str = "default") -> None:
        self._scope = scope
        self._namespace = checked_name(namespace, "namespace")
        self._space = f"kv/{namespace}"

    def __repr__(self) -> str:
        return f"<kv {self._namespace!r}>"

    def namespace(self, name: str) -> Kv:
        """Give the same service for another namespace."""
        return Kv(self._scope, name)

    @operation
    async def get(self, key: str, default: Any = None) -> Any:
        """Read a value; `default` when there is none."""
        checked_name(key, "key")
        async with self._scope.writing() as transaction:
            cell = await draft_of(transaction, "kv").read(self._space, key)
        return default if cell is None else _value(cell)

    @operation
    async def put(self, key: str, value: Any, *, ttl: Duration | None = None, if_absent: bool = False) -> bool:
        """Write a value; give whether it was written.

        Args:
            ttl: how long it is there, a duration; for ever by default.
            if_absent: write only when the key has no value, and give False otherwise.

        Raises:
            NotSerializable, ValueTooLarge: the value can't be kept.
            WriteConflict: somebody else wrote what this step had read of the key.
        """
        new = self._encoded(key, value), self._expiry(ttl)

        def decide(before: Cell | None) -> New | None:
            return None if if_absent and before is not None else new

        return await self._write(key, decide, depends=if_absent) is not None

    @operation
    async def update(
        self, key: str, change: Callable[[Any], Any], default: Any = None, *, ttl: Duration | None = None
    ) -> Any:
        """Replace a value by what `change` makes of it (of `default` when there is none); give the new one.

        Args:
            change: called once or, outside of steps and with another back end, again when somebody else was quicker.
            ttl: how long the value is there from now on; by default its expiry stays what it was.

        Raises:
            NotSerializable, ValueTooLarge, WriteConflict: as `put`.
        """
        return await self._update(key, change, default, ttl)

    @operation
    async def increment(self, key: str, by: Number = 1, *, ttl: Duration | None = None) -> Any:
        """Add to a number, which is 0 when there is none; give the new one.

        Args:
            by: how much, also negative.
            ttl: as in `update`.

        Raises:
            WorkflowError: the key holds something else than a number.
            WriteConflict: as `put`.
        """
        if isinstance(by, bool) or not isinstance(by, (int, float, Decimal)):
            raise DefinitionError(f"by={by!r} is no number.", fix="give how much to add, such as 1")

        def add(value: Any) -> Any:
            try:
                if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
                    raise TypeError
                return value + by  # type: ignore[operator]  # a float and a Decimal are refused below
            except TypeError:
                raise WorkflowError(
                    f"key {key!r} holds {type(value).__name__}, to which {by!r} can't be added.",
                    where=f"kv namespace {self._namespace!r}",
                    fix="use another key for the number, or update() with a function that knows both",
                ) from None

        return await self._update(key, add, type(by)(0), ttl)

    @operation
    async def delete(self, key: str) -> bool:
        """Delete a value; give whether there was one."""
        checked_name(key, "key")

        async def delete(transaction: Transaction) -> bool:
            draft = draft_of(transaction, "kv")
            before = await draft.claim(self._space, key)
            if before is None:
                return False
            change = Change("kv", self._namespace, key, "delete", None, encoded(before))
            draft.put(change, None, space=self._space)
            return True

        return await self._scope.write(delete)

    @operation
    async def list(
        self, prefix: str = "", *, pattern: str | None = None, after: str | None = None, limit: int | None = None
    ) -> dict[str, Any]:
        """Read values by their keys, in order of these (Unicode code points).

        Args:
            prefix: what the keys begin with; all of them by default.
            pattern: a glob over the whole key: `*` any text, `?` any character, `[ab]` one of them.
            after: only keys greater than this one: the last one of the page before.
            limit: at most so many; all of them by default.
        """
        found = await self._listed(prefix, pattern, after, limit)
        return {cell.key: _value(cell) for cell in found}

    @operation
    async def keys(
        self, prefix: str = "", *, pattern: str | None = None, after: str | None = None, limit: int | None = None
    ) -> Keys:
        """List keys, as `list` does without reading the values back."""
        return [cell.key for cell in await self._listed(prefix, pattern, after, limit)]

    async def _listed(self, prefix: str, pattern: str | None, after: str | None, limit: int | None) -> Cells:
        check_page(prefix, after, limit)
        wanted = KvChanges() if pattern is None else KvChanges(key_pattern=pattern)
        if pattern is not None and not prefix:
            prefix = pattern[: min((pattern.find(each) for each in "*?[" if each in pattern), default=len(pattern))]
        async with self._scope.writing() as transaction:
            draft = draft_of(transaction, "kv")
            chosen: Cells = []
            page_size = limit if pattern is None else _PAGE
            while True:
                page = await draft.cells(self._space, prefix=prefix, after=after, limit=page_size)
                chosen += [cell for cell in page if wanted.matches(self._namespace, cell.key, "put")]
                if page_size is None or len(page) < page_size or (limit is not None and len(chosen) >= limit):
                    draft.depend_on(self._space, {cell.key: cell.version for cell in chosen[:limit]})
                    return chosen[:limit]
                after = page[-1].key

    async def _update(self, key: str, change: Callable[[Any], Any], default: Any, ttl: Duration | None) -> Any:
        value: Any = None
        expires_at = self._expiry(ttl)

        def decide(before: Cell | None) -> New:
            nonlocal value
            value = change(default if before is None else _value(before))
            kept = before.expires_at if before is not None and ttl is None else expires_at
            return self._encoded(key, value), kept

        await self._write(key, decide)
        return value

    async def _write(
        self, key: str, decide: Callable[[Cell | None], New | None], *, depends: bool = True
    ) -> New | None:
        """Write what `decide` makes of what is there; None writes nothing. `depends`: what is there must stay so."""
        checked_name(key, "key")
        return await self._scope.write(partial(self._written, key, decide, depends))

    async def _written(
        self, key: str, decide: Callable[[Cell | None], New | None], depends: bool, transaction: Transaction
    ) -> New | None:
        draft = draft_of(transaction, "kv")
        before = await (draft.claim if depends else draft.overwrite)(self._space, key)
        new = decide(before)
        if new is not None:  # nothing may be awaited since the claim: the step's own operations interleave
            value, expires_at = new
            change = Change("kv", self._namespace, key, "put", value, None if before is None else encoded(before))
            draft.put(change, value, expires_at=expires_at, space=self._space)
        return new

    def _encoded(self, key: str, value: object) -> Encoded:
        def where() -> str:
            return f"the value of key {key!r}, kv namespace {self._namespace!r}"

        return encoded_value(value, where, VALUE_BYTES_MAX, "keep it in storage, and its name here")

    def _expiry(self, ttl: Duration | None) -> int | None:
        return None if ttl is None else self._scope.backing.now_us() + duration_us(ttl, "ttl")


class BlockingKv(Blocking):
    """`Kv` for code without asyncio."""

    def namespace(self, name: str) -> BlockingKv:
        """Give the same service for another namespace."""
        return BlockingKv(self._service.namespace(name))

    get = blocking(Kv.get)
    put = blocking(Kv.put)
    update = blocking(Kv.update)
    increment = blocking(Kv.increment)
    delete = blocking(Kv.delete)
    keys = blocking(Kv.keys)
    list = blocking(Kv.list)


def _value(cell: Cell) -> Any:
    return decode(*encoded(cell))
