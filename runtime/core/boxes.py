"""A run's boxes: messages from outside, kept until its body takes them.

    rules   1. A message answers the earliest wait for its box; when nobody waits it is kept.
            2. A wait asked while its box keeps a message is answered at once, with the oldest one.
            3. What is kept and what is taken is a function of the history, so nothing records it: `storage/fold.py`
               counts the same, entry by entry.

There is a box for each name of signals, and one for each hook. Knows messages and waits. Must not know who sends, nor
how a run is recorded.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from perdure.core.outcomes import value_of
from perdure.core.schema import Schema
from perdure.core.waiting import Waiting
from perdure.errors import InvalidInput
from perdure.storage import entries as kinds
from perdure.storage.boxes import hook_box, signal_box
from perdure.storage.entries import Entry

if TYPE_CHECKING:
    from perdure.core.hook import Hook

#: Causes that are filed in boxes, whether or not somebody waits for them.
MESSAGES: Final = frozenset({kinds.SIGNAL_RECEIVED, kinds.HOOK_RECEIVED})
#: Commands that wait for a box.
BOXED: Final = frozenset({kinds.WAIT_SIGNAL, kinds.WAIT_HOOK})


class SignalWait:
    """What a WAIT_SIGNAL wants."""

    __slots__ = ("box", "schema")

    def __init__(self, name: str, schema: Schema | None) -> None:
        self.box = signal_box(name)
        self.schema = schema

    def took(self) -> None:
        """A message answered it."""

    def gave_back(self) -> None:
        """It was given up before the message's turn."""


class HookWait:
    """What a WAIT_HOOK wants: with `once`, its answer closes the hook."""

    __slots__ = ("answered", "box", "hook", "once", "schema")

    def __init__(self, hook: Hook, once: bool) -> None:
        self.box = hook_box(hook.command)
        self.schema = hook.schema
        self.hook = hook
        self.once = once
        self.answered = False  # a payload may be None, as is the answer of a timeout

    def took(self) -> None:
        """A message answered it."""
        self.answered = True
        if self.once:
            self.hook.closed = True

    def gave_back(self) -> None:
        """It was given up before the message's turn."""
        self.answered = False
        if self.once:
            self.hook.closed = False


class Boxes:
    """The boxes of one attempt of a run. `earlier` are the messages of the attempts before: they are read again."""

    def __init__(self, earlier: Iterable[Entry] = ()) -> None:
        self._kept: dict[str, deque[Entry]] = {}
        # By position: messages whose turn in the stride is yet to come, and what each of them answers.
        self._filed: dict[int, tuple[Entry, Waiting | None]] = {}
        for message in earlier:
            self._keep(message)

    def unread(self, kind: str | None = None) -> list[Entry]:
        """List the messages that nobody has taken, in the order in which they came; of one kind, or all."""
        kept = [message for box in self._kept.values() for message in box if kind is None or message.kind == kind]
        return sorted(kept, key=lambda message: message.position)

    def counts(self) -> dict[str, int]:
        """How many messages each box keeps, but for empty ones."""
        return {box: len(kept) for box, kept in self._kept.items()}

    def keeps(self, box: str) -> bool:
        """Whether a message of this box waits to be taken."""
        return box in self._kept

    def file(self, causes: Sequence[Entry], waiting: dict[str, Waiting]) -> None:
        """File the messages of a stride with several causes, before any of them is told.

        They reached the ledger while the run could not go on, so each answered what waited then: nothing that the body
        asks for because of the first may take the second before its turn.
        """
        for cause in causes:
            if cause.kind in MESSAGES:
                self._filed[cause.position] = (cause, self._file(cause, waiting))

    def withdraw(self, wait: Waiting, waiting: dict[str, Waiting]) -> str | None:
        """Take back the message that answered a wait which is given up before the message's turn has come.

        It goes to the next wait for its box, or back into the box. Gives the detail that says so to the ledger; None
        when there is no such message.
        """
        message = next((message for message, filed in self._filed.values() if filed is wait), None)
        if message is None:
            return None
        wait.call.gave_back()
        self._filed[message.position] = (message, self._file(message, waiting))
        return json.dumps({"box": wait.call.box, "once": wait.kind == kinds.WAIT_HOOK and wait.call.once})

    def hold(self, message: Entry) -> None:
        """Keep a message of a stride whose body has returned meanwhile."""
        _, wait = self._filed.pop(message.position)
        if wait is not None:
            self._keep(message)

    def deliver(self, message: Entry, waiting: dict[str, Waiting]) -> None:
        """Take a message in: it answers the earliest wait for its box, or is kept."""
        filed = self._filed.pop(message.position, None)
        wait = self._file(message, waiting) if filed is None else filed[1]
        if wait is not None:
            _give(wait, message)

    def answer(self, wait: Waiting, waiting: dict[str, Waiting]) -> None:
        """Answer a wait that was asked just now, if its box keeps a message."""
        kept = self._kept.get(wait.call.box)
        if kept:
            message = kept.popleft()
            if not kept:
                del self._kept[wait.call.box]
            del waiting[wait.command]
            wait.call.took()
            _give(wait, message)

    def _file(self, message: Entry, waiting: dict[str, Waiting]) -> Waiting | None:
        first = earliest(box_of(message), waiting)
        if first is None:
            self._keep(message)
            return None
        del waiting[first.command]
        first.call.took()
        return first

    def _keep(self, message: Entry) -> None:
        kept = self._kept.setdefault(box_of(message), deque())
        later = sum(1 for each in kept if each.position > message.position) if message.position in self._filed else 0
        kept.insert(len(kept) - later, message)  # one that went back is older than those that came after it


def box_of(message: Entry) -> str:
    """The box of a message."""
    return signal_box(message.name) if message.kind == kinds.SIGNAL_RECEIVED else hook_box(message.command)


def earliest(box: str, waiting: dict[str, Waiting]) -> Waiting | None:
    """The wait that the next message of a box answers."""
    waits = (each for each in waiting.values() if each.kind in BOXED and each.call.box == box)
    return min(waits, key=lambda each: each.position, default=None)


def _give(wait: Waiting, message: Entry) -> None:
    future = wait.future
    assert future is not None  # only timers have none
    if future.done():
        return  # the task that waited was cancelled in the same breath
    value = value_of(message)
    schema = wait.call.schema
    if schema is not None:
        try:
            value = schema.validated(value)
        except InvalidInput as error:  # it came before the body said what it wants
            future.set_exception(error)
            return
    future.set_result(value)
