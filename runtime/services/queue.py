"""`queue`: messages on named queues, each for one receiver at a time, until somebody has acknowledged it.

Knows sending, receiving and dead letters. Must not know how cells are kept.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final

from perdure.durations import Duration, duration_us
from perdure.errors import DefinitionError, PerdureError
from perdure.services.backing import Backing
from perdure.services.drafts import draft_of, store_of
from perdure.services.effects import Change
from perdure.services.mailbox import Facts, dead, live, mailbox_of, put_back
from perdure.services.message import BlockingMessage, DeadLetter, Message
from perdure.services.operation import Blocking, blocking, operation
from perdure.services.scope import Scope
from perdure.services.transaction import Transaction, encoded
from perdure.services.values import check_page, checked_name, encoded_value

#: Of one message, encoded: it is written again each time it is received.
MESSAGE_BYTES_MAX: Final = 1 << 20
DELIVERIES_MAX: Final = 5
_CONSUMER_WAITS: Final = "1m"
_HELD_US: Final = 20_000
_LOOK_AGAIN_S: Final = 0.5  # at a queue that other processes send to


class MessageQueues:
    """Messages on named queues. A queue is there as soon as something is sent to it.

    In a step, what it sends and acknowledges goes with its result: recorded with it, or not at all. Receiving hides a
    message from others at once. Outside of steps (`runtime.queue`) each operation is durable when it returns.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __repr__(self) -> str:
        return "<queues>"

    @operation
    async def send(self, queue: str, payload: Any, *, delay: Duration | None = None, key: str | None = None) -> str:
        """Send a message; give its id.

        Args:
            delay: how long nobody receives it, a duration.
            key: its id, of your own: nothing is sent while a message with this id is on the queue.

        Raises:
            NotSerializable, ValueTooLarge: the payload can't be kept.
        """
        space = live(checked_name(queue, "queue"))
        value = encoded_value(
            payload, lambda: f"a message to queue {queue!r}", MESSAGE_BYTES_MAX, "send its name in storage"
        )
        now = self._scope.backing.now_us()
        due = now + (0 if delay is None else duration_us(delay, "delay"))
        if key is not None:
            checked_name(key, "key")

        async def send(transaction: Transaction) -> str:
            draft = draft_of(transaction, "queue")
            if key is not None and await draft.claim(space, key) is not None:
                return key
            message = _new_id(transaction) if key is None else key
            change = Change("queue", queue, message, "insert", value)
            draft.put(change, value, data=Facts(sent_at=now).written(), due=due, space=space)
            _wake(transaction, queue)
            return message

        return await self._scope.write(send)

    @operation
    async def receive(
        self,
        queue: str,
        *,
        limit: int = 1,
        visibility_timeout: Duration = "30s",
        max_deliveries: int = DELIVERIES_MAX,
        wait: Duration = 0,
    ) -> list[Message]:
        """Receive messages, those first that have been in sight for longest. Others don't see them for a while.

        Args:
            limit: at most so many.
            visibility_timeout: how long, unless it is acknowledged by then.
            max_deliveries: what was received so often and not acknowledged becomes a dead letter instead.
            wait: how long to wait for the first one, a duration; with 0 nothing waits and the list may be empty.
        """
        checked_name(queue, "queue")
        limit, deliveries_max = _count("limit", limit), _count("max_deliveries", max_deliveries)
        hidden_us, wait_us = duration_us(visibility_timeout, "visibility_timeout"), duration_us(wait, "wait")
        if not hidden_us:
            raise DefinitionError("visibility_timeout=0 hides nothing.", fix='give time to work on it, such as "30s"')
        backing, box = self._scope.backing, mailbox_of(self._scope.backing)
        until = backing.now_us() + wait_us
        while True:
            now = backing.now_us()
            self._scope.wake_at_end(queue)
            cells = await box.take(self._scope, queue, now, now + hidden_us, limit, deliveries_max)
            if not cells and now < until and not backing.arrivals.is_closed:
                await _arrival(backing, queue, until)
                if not backing.arrivals.is_closed:
                    continue
            return [Message(self._scope, queue, cell, deliveries_max) for cell in cells]

    async def consume(
        self,
        queue: str,
        *,
        visibility_timeout: Duration = "30s",
        max_deliveries: int = DELIVERIES_MAX,
    ) -> AsyncIterator[Message]:
        """Receive messages one after the other, for ever: `async for message in runtime.queue.consume("emails"):`.

        It waits for the next one, and ends when the runtime closes. Acknowledge each: `await message.ack()`.
        Arguments as in `receive`.
        """
        backing = self._scope.backing
        while not backing.arrivals.is_closed:
            for message in await self.receive(
                queue, visibility_timeout=visibility_timeout, max_deliveries=max_deliveries, wait=_CONSUMER_WAITS
            ):
                yield message

    @operation
    async def dead_letters(self, queue: str, *, after: str | None = None, limit: int | None = 100) -> list[DeadLetter]:
        """List the messages that nobody could use, by id.

        Args:
            after: only ids greater than this one, for paging.
        """
        space = dead(checked_name(queue, "queue"))
        check_page("", after, limit)
        async with self._scope.writing() as transaction:
            found = await draft_of(transaction, "queue").cells(space, after=after, limit=limit)
        return [DeadLetter(queue, cell) for cell in found]

    @operation
    async def redrive(self, queue: str, ids: str | Sequence[str] | None = None) -> int:
        """Put dead letters back on their queue, with no deliveries; all of them by default. Gives how many."""
        now = self._scope.backing.now_us()

        async def redrive(transaction: Transaction) -> int:
            draft = draft_of(transaction, "queue")
            count = 0
            for id in await self._dead_ids(transaction, queue, ids):
                letter = await draft.claim(dead(queue), id)
                if letter is None or await draft.claim(live(queue), id) is not None:  # its key was sent anew
                    continue
                draft.put(Change("queue", queue, id, "delete", None, encoded(letter)), None, space=dead(queue))
                put_back(draft, queue, letter, Facts(sent_at=now), now)
                count += 1
            _wake(transaction, queue)
            return count

        return await self._scope.write(redrive)

    @operation
    async def discard(self, queue: str, ids: str | Sequence[str] | None = None) -> int:
        """Delete dead letters; all of them by default. Gives how many."""

        async def discard(transaction: Transaction) -> int:
            draft = draft_of(transaction, "queue")
            count = 0
            for id in await self._dead_ids(transaction, queue, ids):
                letter = await draft.claim(dead(queue), id)
                if letter is not None:
                    draft.put(Change("queue", queue, id, "delete", None, encoded(letter)), None, space=dead(queue))
                    count += 1
            return count

        return await self._scope.write(discard)

    async def _dead_ids(self, transaction: Transaction, queue: str, ids: str | Sequence[str] | None) -> Sequence[str]:
        space = dead(checked_name(queue, "queue"))
        if ids is None:
            return [cell.key for cell in await draft_of(transaction, "queue").cells(space)]
        return [ids] if isinstance(ids, str) else ids


class BlockingMessageQueues(Blocking):
    """`MessageQueues` for code without asyncio."""

    send = blocking(MessageQueues.send)
    dead_letters = blocking(MessageQueues.dead_letters)
    redrive = blocking(MessageQueues.redrive)
    discard = blocking(MessageQueues.discard)

    def receive(
        self,
        queue: str,
        *,
        limit: int = 1,
        visibility_timeout: Duration = "30s",
        max_deliveries: int = DELIVERIES_MAX,
        wait: Duration = 0,
    ) -> list[BlockingMessage]:
        """Receive messages, as `MessageQueues.receive`."""
        found = self._received(
            queue, limit=limit, visibility_timeout=visibility_timeout, max_deliveries=max_deliveries, wait=wait
        )
        return [BlockingMessage(each) for each in found]

    def consume(
        self, queue: str, *, visibility_timeout: Duration = "30s", max_deliveries: int = DELIVERIES_MAX
    ) -> Iterator[BlockingMessage]:
        """Receive messages one after the other: `for message in runtime.queue.consume("emails"):`."""
        while not self._service._scope.backing.arrivals.is_closed:
            yield from self.receive(
                queue, visibility_timeout=visibility_timeout, max_deliveries=max_deliveries, wait=_CONSUMER_WAITS
            )

    _received = blocking(MessageQueues.receive)


async def _arrival(backing: Backing, queue: str, until: int) -> None:
    """Wait until there may be something, or so long."""
    if asyncio._get_running_loop() is None:
        raise PerdureError(
            f"a plain def step of a simulation waits for a message on queue {queue!r}, where nobody else goes on.",
            fix="make it an async def, or receive without wait= and look again in another step",
        )
    with backing.arrivals.expecting(queue) as arrival:
        due = await mailbox_of(backing).next_due(queue)
        now = backing.now_us()
        # What is due and was not taken is held by somebody: a moment later it is theirs, or in sight for all.
        wait_us = min(until, until if due is None else max(due, now + _HELD_US)) - now
        wait_s = wait_us / 1_000_000 if store_of(backing, "queue") is None else min(wait_us / 1_000_000, _LOOK_AGAIN_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(arrival.wait(), max(0.0, wait_s))


def _wake(transaction: Transaction, queue: str) -> None:
    """Tell those who wait in this process, once it is durable."""
    arrivals = transaction.backing.arrivals
    transaction.when_over(lambda: arrivals.came(queue))


def _new_id(transaction: Transaction) -> str:
    """An id that no other message has; of a step the same in every attempt, in the order of its sends."""
    backing = transaction.backing
    if not transaction.idempotency_key:
        return backing.new_id()
    numbers = transaction.part("queue.sent", itertools.count)
    sender = blake2b(transaction.idempotency_key.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{sender}-{next(numbers):06d}"


def _count(what: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise DefinitionError(f"{what}={value!r} can't be used.", fix="give a number from 1 on")
    return value
