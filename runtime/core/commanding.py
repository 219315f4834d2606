"""What a body asks for: a command is matched with the recorded one, or becomes a new entry.

The part of a machine that gives commands; the causes come in by `machine.py`. Must not know what answers a command.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from perdure.core.answering import Answering
from perdure.core.boxes import BOXED, Boxes
from perdure.core.children import child_named
from perdure.core.divergence import Difference, DivergenceSignal, divergence_of
from perdure.core.facts import Executable, RunFacts
from perdure.core.history import Reused, Stride, command_key, is_reused, same_command
from perdure.core.misfits import misfit
from perdure.core.outcomes import OUTCOMES
from perdure.core.refusals import too_long
from perdure.core.sites import site
from perdure.core.waiting import Waiting
from perdure.storage import entries as kinds
from perdure.storage.entries import Entry
from perdure.texts import checked_text

if TYPE_CHECKING:
    from perdure.core.loop import BodyLoop
    from perdure.errors import Divergence


class Commanding(Answering):
    """The commands; the machine has the state."""

    executable: Executable
    facts: RunFacts
    length: int
    boxes: Boxes
    loop: BodyLoop
    difference: Difference | None
    _asked: list[Entry]
    _coming: Stride | None
    _divergence: Divergence | None
    _replayed_length: int
    _reused: Reused
    _stride: Stride

    @abstractmethod
    def entry(self, kind: str, at: int, **fields: Any) -> Entry:
        """Make the run's next entry."""

    def ask(
        self,
        kind: str,
        name: str,
        body: str | None = None,
        shape: str | None = None,
        *,
        due: int | None = None,
        detail: Callable[[str], str | None] | None = None,
        call: Any = None,
        timer: bool = False,
    ) -> Waiting:
        """Ask for one command: match it with the recorded one, or make it a new entry.

        Args:
            body, shape: its encoded arguments, compared on replay.
            detail: makes the entry's detail from the command's identity; called only when a new entry is made.
            call: what the performer needs, kept in memory only; for a timer the callback.
        """
        if self._divergence is not None or self._closed:
            raise DivergenceSignal
        command = self.branch().next_command()
        if self._reused:
            reused = self._reused.get(command)
            if reused is not None and is_reused(reused, kind, name, body, shape):
                return self._reuse(command, reused, call, timer)
        if self._expected is not None:
            recorded = self._expected.pop(command, None)
            if recorded is None or not same_command(recorded, kind, name, body, shape):
                if recorded is None:
                    self.check_room()
                asked = Entry(self.facts.run, -1, kind, self._now, command, name, body=body, shape=shape, due=due)
                self._diverge(recorded, asked)
            position, text = recorded.position, recorded.detail
        else:
            if kind == kinds.STEP and self.executable.is_pinned:
                self._divergence = misfit(call, self.facts, site(), self.length)  # `feed` tells
            text = detail(command) if detail is not None else None
            position = self.write(kind, command, name, body=body, shape=shape, due=due, detail=text).position
        future: asyncio.Future[Any] | None = None if timer else asyncio.Future(loop=self.loop)
        call = child_named(text) if kind == kinds.CHILD else call
        waiting = self.waiting[command] = Waiting(command, kind, name, position, future, call, text)
        if kind in BOXED:
            self.boxes.answer(waiting, self.waiting)
        return waiting

    def record(
        self,
        kind: str,
        name: str,
        body: str | None = None,
        shape: str | None = None,
        *,
        detail: Callable[[str], str | None],
    ) -> str | None:
        """Ask for a command that is done once it is recorded; give its detail as it is recorded."""
        waiting = self.ask(kind, name, body, shape, detail=detail)
        self.waiting.pop(waiting.command, None)
        return waiting.detail

    def check_room(self) -> None:
        """Refuse one more command than `max_entries` allows; on replay, one that the ledger does not have."""
        limit = self.executable.options.max_entries
        if self.length >= limit if self._expected is None else self._stride.was_full(limit):
            raise too_long(limit, self._where())

    def write(self, kind: str, command: str, name: str, **fields: Any) -> Entry:
        """Make a command a new entry, while living."""
        self.check_room()
        checked_text(name, "the name")
        checked_text(fields.get("detail") or "", "the text")
        entry = self.entry(kind, self._now, command=command, name=name, **fields)
        self._asked.append(entry)
        return entry

    def _reuse(self, command: str, reused: tuple[Entry, Entry], call: Any, timer: bool) -> Waiting:
        """Answer at once with what an earlier attempt of the run completed."""
        asked, outcome = reused
        if outcome is asked:  # it was done when it was recorded
            return Waiting(command, asked.kind, asked.name, asked.position, None, call, asked.detail)
        if timer:
            self.loop.call_soon(call)
            return Waiting(command, asked.kind, asked.name, outcome.position, None, call)
        future: asyncio.Future[Any] = asyncio.Future(loop=self.loop)
        OUTCOMES[outcome.kind](future, outcome)
        call = child_named(asked.detail) if asked.kind == kinds.CHILD else call
        return Waiting(command, asked.kind, asked.name, outcome.position, future, call)

    def drop(self, waiting: Waiting) -> None:
        """Record that the body no longer waits for a command, because the task that did was cancelled."""
        if self._closed or self._divergence is not None:
            return
        returned = self.boxes.withdraw(waiting, self.waiting) if waiting.kind in BOXED else None
        if self.waiting.pop(waiting.command, None) is None and returned is None:
            return
        if self._expected is not None:
            key = command_key(kinds.DROPPED, waiting.command)
            if self._expected.pop(key, None) is None:
                asked = Entry(self.facts.run, -1, kinds.DROPPED, self._now, waiting.command, waiting.name)
                self._diverge(None, asked)
        else:
            fields = {"command": waiting.command, "name": waiting.name, "detail": returned}
            self._asked.append(self.entry(kinds.DROPPED, self._now, **fields))

    def _diverge(self, recorded: Entry | None, replayed: Entry) -> NoReturn:
        if recorded is None and self._expected:
            recorded = next(iter(self._expected.values()))
        if recorded is None:
            recorded = self._stride.ending
        self._differ(recorded, replayed, site())
        raise DivergenceSignal

    def _differ(self, recorded: Entry | None, replayed: Entry | None, where: str = "") -> None:
        position = recorded.position if recorded is not None else (self._stride.last + 1)
        self.difference = Difference(recorded, replayed, position, self._replayed_length, where)
        self._divergence = divergence_of(self.facts, self.difference)
        self._coming = None  # `ask` refuses whatever the body still tries

    def _where(self, position: int | None = None) -> str:
        facts = self.facts
        place = "" if position is None else f", entry {position}"
        return f"{facts.workflow} v{facts.version}, run {facts.run_id}{place}"

    def set_timer(self, due_us: int, callback: Callable[[], object]) -> Callable[[], None]:
        duration = str(due_us - self._now)
        waiting = self.ask(kinds.SLEEP, "asyncio.timeout", duration, due=due_us, call=callback, timer=True)
        return lambda: self.drop(waiting)
