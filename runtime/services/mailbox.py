"""Mailboxes: how messages are taken off a queue at once, so that nobody else sees them, in the ledger or in a store.

Taking is a transaction of its own, durable before anybody has the message; what a step makes of it goes with its
result.

Knows cells of messages. Must not know payloads.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from perdure.services.backing import Backing
from perdure.services.drafts import Draft, Store, store_of
from perdure.services.effects import Change
from perdure.services.scope import Scope
from perdure.services.transaction import Transaction, encoded
from perdure.storage.cells import Cell

_AHEAD: Final = 256  # messages that one look at a queue in the ledger finds, for the takes that follow


class Facts(NamedTuple):
    """What is known of a message beside its payload; the bytes of its cell."""

    deliveries: int = 0
    sent_at: int = 0
    reason: str = ""  # of a dead one

    def written(self) -> bytes:
        """As the cell keeps it: JSON, so that it can be read in SQL."""
        facts = {"deliveries": self.deliveries, "sent_at": self.sent_at}
        return json.dumps(facts | {"reason": self.reason} if self.reason else facts).encode()


def facts_of(cell: Cell) -> Facts:
    """Read what is known of a message."""
    return Facts(**json.loads(cell.data or b"{}"))


def live(queue: str) -> str:
    """The space of the messages on a queue."""
    return f"queue/{queue}"


def dead(queue: str) -> str:
    """The space of its dead letters."""
    return f"queue.dead/{queue}"


class Mailbox(Protocol):
    """Where messages are taken."""

    async def take(self, scope: Scope, queue: str, now: int, until: int, limit: int, deliveries_max: int) -> list[Cell]:
        """Take messages that are due, the earliest first, out of sight until a time; durable when it returns.

        What was delivered so often already becomes a dead letter instead.
        """
        ...

    async def prolong(self, scope: Scope, queue: str, cell: Cell, until: int) -> Cell | None:
        """Keep a message that was taken out of sight until another time; None when it was given to somebody else."""
        ...

    async def next_due(self, queue: str) -> int | None:
        """When the next message comes into sight; None when it can't be told, or there is none."""
        ...


def mailbox_of(backing: Backing) -> Mailbox:
    """The mailbox of a runtime's queues."""
    store = store_of(backing, "queue")
    return LedgerMailbox.of(backing) if store is None else StoreMailbox(backing, store)


class LedgerMailbox:
    """The queues of a ledger. Only one process has it, so what a look found is kept for the next take."""

    def __init__(self, backing: Backing) -> None:
        self._backing = backing
        self._ahead: dict[str, deque[str]] = {}  # keys that were due when they were looked up, in order

    @classmethod
    def of(cls, backing: Backing) -> LedgerMailbox:
        """The one of a runtime."""
        box = backing.parts.setdefault("mailbox", cls(backing))
        assert isinstance(box, LedgerMailbox)
        return box

    async def take(self, scope: Scope, queue: str, now: int, until: int, limit: int, deliveries_max: int) -> list[Cell]:
        """Take messages that nobody holds."""
        taken: list[Cell] = []
        async with scope.apart() as transaction:
            is_fresh = False
            while len(taken) < limit:
                ahead = self._ahead.get(queue)
                if not ahead:
                    if is_fresh:
                        break  # all that was due is taken, or held by somebody
                    ahead = await self._look(queue, now)
                    is_fresh = True
                    if not ahead:
                        break
                key = ahead.popleft()
                cell = transaction.try_claim(live(queue), key)
                if cell is None or cell.due is None or cell.due > now:
                    continue
                facts = facts_of(cell)
                if facts.deliveries >= deliveries_max:
                    bury(transaction, queue, cell, "delivered too often")
                else:
                    put_back(transaction, queue, cell, facts._replace(deliveries=facts.deliveries + 1), until)
                    written = transaction.cell(live(queue), key)
                    assert written is not None
                    taken.append(written)
        return taken

    async def prolong(self, scope: Scope, queue: str, cell: Cell, until: int) -> Cell | None:
        """Write another time into the cell, if nobody has received or acknowledged it meanwhile."""
        async with scope.apart() as transaction:
            found = await transaction.claim(live(queue), cell.key)
            if found is None or found.version != cell.version:
                return None
            put_back(transaction, queue, found, facts_of(found), until)
            return transaction.cell(live(queue), cell.key)

    async def next_due(self, queue: str) -> int | None:
        """Ask the ledger."""
        cells = self._backing.cells
        found = await self._backing.loop.offload(lambda: cells.cells(live(queue), due_until=2**62, limit=1))
        return found[0].due if found else None

    async def _look(self, queue: str, now: int) -> deque[str]:
        cells = self._backing.cells
        found = await self._backing.loop.offload(lambda: cells.cells(live(queue), due_until=now, limit=_AHEAD))
        if found:
            ahead = self._ahead[queue] = deque(cell.key for cell in found)
        else:
            ahead = deque()
            self._ahead.pop(queue, None)
        return ahead


class StoreMailbox:
    """Queues in another store, from which several processes take."""

    def __init__(self, backing: Backing, store: Store) -> None:
        self._backing = backing
        self._store = store

    async def take(self, scope: Scope, queue: str, now: int, until: int, limit: int, deliveries_max: int) -> list[Cell]:
        """Take what is there, and of that what nobody else took in this moment."""
        space, lost = live(queue), 0
        taken: list[Cell] = []
        while len(taken) < limit:
            found = await self._store.due(space, now, limit - len(taken) + lost)
            worn = [cell for cell in found if facts_of(cell).deliveries >= deliveries_max]
            for cell in worn:
                await self._bury(queue, cell)
            fresh = [cell for cell in found if cell not in worn]
            wanted = limit - len(taken)
            # Two that met at the first one begin somewhere, by chance enough.
            begin = self._backing.new_version() % len(fresh) if lost and fresh else 0
            chosen = (fresh[begin:] + fresh[:begin])[:wanted]
            got = await self._take(queue, chosen, until) if chosen else []
            taken += got
            if not found or (not worn and len(got) == len(chosen)):
                break
            lost = min(2 * lost + 1, _AHEAD)
        return taken

    async def _take(self, queue: str, chosen: list[Cell], until: int) -> list[Cell]:
        cells = []
        for cell in chosen:
            facts = facts_of(cell)
            data = facts._replace(deliveries=facts.deliveries + 1).written()
            cells.append(cell._replace(data=data, due=until, at=self._backing.now_us()))
        return await self._write(chosen, cells)

    async def prolong(self, scope: Scope, queue: str, cell: Cell, until: int) -> Cell | None:
        """Write another time into the cell, if it is as this receiver left it."""
        written = await self._write([cell], [cell._replace(due=until, at=self._backing.now_us())])
        return written[0] if written else None

    async def next_due(self, queue: str) -> int | None:
        """Ask the store, as far as it can be told."""
        found = await self._store.due(live(queue), 2**52, 1)
        return found[0].due if found else None

    async def _write(self, before: Iterable[Cell], cells: list[Cell]) -> list[Cell]:
        expected = {(cell.space, cell.key): cell.version for cell in before}
        store = self._store
        written = await store.write(cells, expected, store.token(), for_good=False, each=True)
        if not written.versions:
            return []
        return [
            cell._replace(version=version) for cell, version in zip(cells, written.versions, strict=True) if version
        ]

    async def _bury(self, queue: str, cell: Cell) -> None:
        now = self._backing.now_us()
        facts = facts_of(cell)._replace(reason="delivered too often")
        gone = cell._replace(body=None, shape=None, data=None)
        letter = cell._replace(space=dead(queue), data=facts.written(), due=None, at=now)
        expected = {(cell.space, cell.key): cell.version}
        await self._store.write([gone, letter], expected, self._store.token(), for_good=False)


def put_back(draft: Draft | Transaction, queue: str, cell: Cell, facts: Facts, due: int) -> None:
    """Have a message, which is claimed, come into sight at a time."""
    change = Change("queue", queue, cell.key, "update", encoded(cell), encoded(cell))
    draft.put(change, encoded(cell), data=facts.written(), due=due, space=live(queue))


def bury(draft: Draft | Transaction, queue: str, cell: Cell, reason: str) -> None:
    """Make a message, which is claimed, a dead letter."""
    value = encoded(cell)
    draft.put(Change("queue", queue, cell.key, "delete", None, value), None, space=live(queue))
    facts = facts_of(cell)._replace(reason=reason)
    draft.put(Change("queue", queue, cell.key, "insert", value), value, data=facts.written(), space=dead(queue))
