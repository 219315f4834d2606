"""Messages as their receivers hold them, and those that nobody could use.

Knows what a receiver may do with a message. Must not know how it was taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from perdure.durations import Duration, duration_us, moment
from perdure.errors import MessageLost
from perdure.services.drafts import Draft, draft_of
from perdure.services.effects import Change
from perdure.services.mailbox import bury, facts_of, live, mailbox_of, put_back
from perdure.services.operation import Blocking, blocking, operation
from perdure.services.scope import Scope
from perdure.services.transaction import Transaction, encoded
from perdure.storage.cells import Cell
from perdure.storage.encoding import decode


class Kept:
    """What every message has, on a queue or dead.

    Attributes:
        queue, id: which message.
    """

    def __init__(self, queue: str, cell: Cell) -> None:
        self.queue = queue
        self.id = cell.key
        self._cell = cell
        self._facts = facts_of(cell)

    @property
    def payload(self) -> Any:
        """What was sent. Raises ValueUnreadable when a class of it is gone."""
        return decode(*encoded(self._cell))

    @property
    def deliveries(self) -> int:
        """How often it was received, this time included."""
        return self._facts.deliveries

    @property
    def sent_at(self) -> datetime:
        """When it was sent."""
        return moment(self._facts.sent_at)


class Message(Kept):
    """A message that nobody else sees until its visibility timeout has passed.

    In a step, what is made of it goes with the step's result: it is acknowledged when the step is completed, and comes
    back after its visibility timeout when the step fails.

    Raises (all operations): MessageLost: it was given to somebody else since, or is acknowledged already.
    """

    def __init__(self, scope: Scope, queue: str, cell: Cell, deliveries_max: int) -> None:
        super().__init__(queue, cell)
        self._scope = scope
        self._deliveries_max = deliveries_max
        self._is_settled = False
        self._turn = asyncio.Lock()  # what extends it now and then, and what acknowledges it, are often two tasks

    def __repr__(self) -> str:
        return f"<message {self.id} of queue {self.queue!r}, delivery {self.deliveries}>"

    @property
    def visible_at(self) -> datetime:
        """When others see it again, unless it is acknowledged by then."""
        return moment(self._cell.due or 0)

    @operation
    async def ack(self) -> None:
        """Say that it is done with: it is deleted."""

        def delete(draft: Draft, cell: Cell) -> None:
            draft.put(Change("queue", self.queue, self.id, "delete", None, encoded(cell)), None, space=live(self.queue))

        await self._settle(delete)

    @operation
    async def retry(self, delay: Duration = 0, reason: str = "") -> None:
        """Give it back, to be received again after `delay`; a dead letter when it was delivered often enough."""
        due = self._scope.backing.now_us() + duration_us(delay, "delay")

        def give_back(draft: Draft, cell: Cell) -> None:
            if self.deliveries >= self._deliveries_max:
                bury(draft, self.queue, cell, reason or "given back too often")
            else:
                put_back(draft, self.queue, cell, facts_of(cell), due)

        await self._settle(give_back)

    @operation
    async def reject(self, reason: str = "rejected") -> None:
        """Make it a dead letter now."""
        await self._settle(lambda draft, cell: bury(draft, self.queue, cell, reason))

    @operation
    async def extend(self, visibility_timeout: Duration) -> None:
        """Keep it for longer, from now on. It takes effect at once, also in a step."""
        until = self._scope.backing.now_us() + duration_us(visibility_timeout, "visibility_timeout")
        await self._turn.acquire()
        if asyncio._get_running_loop() is None:  # a simulated step that blocks: nobody can cut it off meanwhile
            await self._keep(until)
        else:  # cut off between the write and our knowing of it, the message would not be ours any more
            await asyncio.shield(asyncio.ensure_future(self._keep(until)))

    async def _keep(self, until: int) -> None:
        """Do it, and end the turn that the caller has."""
        try:
            if self._is_settled:  # in a step it still holds the message, and would wait for itself
                raise self._lost()
            kept = await mailbox_of(self._scope.backing).prolong(self._scope, self.queue, self._cell, until)
            if kept is None:
                raise self._lost()
            self._cell = kept
        finally:
            self._turn.release()

    async def _settle(self, change: Callable[[Draft, Cell], None]) -> None:
        async def settle(transaction: Transaction) -> None:
            draft = draft_of(transaction, "queue")
            cell = await draft.claim(live(self.queue), self.id)
            if cell is None or cell.version != self._cell.version:
                raise self._lost()
            change(draft, cell)
            arrivals = self._scope.backing.arrivals
            transaction.when_over(lambda: arrivals.came(self.queue))

        async with self._turn:
            await self._scope.write(settle)
            self._is_settled = True

    def _lost(self) -> MessageLost:
        return MessageLost(
            f"message {self.id} of queue {self.queue!r} is not this receiver's any more.",
            where=f"received for the {self.deliveries}. time",
            why="its visibility timeout passed and somebody else received it, or it is acknowledged already",
            fix="receive with a longer visibility_timeout=, or await message.extend(…) during long work",
        )


class DeadLetter(Kept):
    """A message that was delivered too often, or rejected."""

    def __repr__(self) -> str:
        return f"<dead letter {self.id} of queue {self.queue!r}: {self.reason}>"

    @property
    def reason(self) -> str:
        """Why it is here."""
        return self._facts.reason

    @property
    def died_at(self) -> datetime:
        """Since when it is here."""
        return moment(self._cell.at)


class BlockingMessage(Blocking, Kept):
    """A `Message` for code without asyncio."""

    def __init__(self, message: Message) -> None:
        Blocking.__init__(self, message)
        Kept.__init__(self, message.queue, message._cell)

    @property
    def visible_at(self) -> datetime:
        """When others see it again, unless it is acknowledged by then."""
        return moment(self._service._cell.due or 0)

    ack = blocking(Message.ack)
    retry = blocking(Message.retry)
    reject = blocking(Message.reject)
    extend = blocking(Message.extend)
