"""What a run told about itself with `step.emit`: its events so far, or one by one while it runs.

Knows entries and how to wait for more. Must not know who emits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from perdure.durations import moment
from perdure.errors import DefinitionError, UnknownRun
from perdure.storage.encoding import decode
from perdure.storage.entries import EMIT, Entry
from perdure.storage.ledger import ENDED

if TYPE_CHECKING:
    from perdure.client.blocking import BlockingRuntime
    from perdure.client.runtime import Runtime

_PAGE: Final = 1_000
_KINDS: Final = frozenset({EMIT})


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One event of a run.

    Attributes:
        type, payload: as the body gave them to `step.emit`.
        at: when, aware, UTC.
        position: of its entry in the run.
        index: 0, 1, 2, … among the run's events; a reader that has seen it goes on with `run.events(start=index + 1)`.
    """

    type: str
    payload: Any
    at: datetime
    position: int
    index: int


class _Page(NamedTuple):
    entries: list[Entry]
    length: int  # of the run, when it was read
    ended: bool


class RunEvents:
    """The events of a run from the `start`-th on: `await run.events()` lists those so far, `async for` waits for more.

    Waiting ends with the run; a run that failed and is tried again tells each event once.
    """

    def __init__(self, runtime: Runtime, run_id: str, start: int) -> None:
        if isinstance(start, bool) or not isinstance(start, int) or start < 0:
            raise DefinitionError(f"start={start!r} can't be used.", fix="give a whole number: 0 is the first event")
        self._runtime = runtime
        self._run_id = run_id
        self._start = start

    def __await__(self) -> Generator[Any, Any, list[RunEvent]]:
        return self.so_far().__await__()

    def __aiter__(self) -> AsyncIterator[RunEvent]:
        return self._walk(live=True)

    async def so_far(self) -> list[RunEvent]:
        """List the events that the ledger has now. Raises `UnknownRun`."""
        return [event async for event in self._walk(live=False)]

    async def _walk(self, *, live: bool) -> AsyncIterator[RunEvent]:
        position = index = 0
        while True:
            page = await self._read(position)
            for entry in page.entries:
                if index >= self._start:
                    yield _event(entry, index)
                index += 1
            if len(page.entries) == _PAGE:
                position = page.entries[-1].position + 1
                continue
            if page.ended or not live:
                return
            position = page.length
            await asyncio.wrap_future(self._runtime.watch(self._run_id, _has_more_than(position)))

    async def _read(self, position: int) -> _Page:
        def read(engine: Any, batch: Any) -> _Page | None:
            row = engine.ledger.run(self._run_id)
            if row is None:
                return None
            entries = engine.ledger.selected(row.run, _KINDS, position, _PAGE)
            return _Page(entries, row.length, row.status in ENDED)

        page = await self._runtime.ask(read)
        if page is None:
            raise UnknownRun(f"the ledger has no run {self._run_id!r}.", fix="see the ids: perdure runs LEDGER")
        return page


class BlockingRunEvents:
    """The events of a run for code without asyncio: iterating waits for more until it ends; `so_far()` does not."""

    def __init__(self, runtime: BlockingRuntime, events: RunEvents) -> None:
        self._runtime = runtime
        self._events = events

    def so_far(self) -> list[RunEvent]:
        """List the events that the ledger has now, as `RunEvents.so_far`."""
        return self._runtime.wait_for(self._events.so_far())

    def __iter__(self) -> Iterator[RunEvent]:
        events = aiter(self._events)

        async def following() -> RunEvent | None:
            return await anext(events, None)

        while (event := self._runtime.wait_for(following())) is not None:
            yield event


def _has_more_than(length: int) -> Any:
    return lambda row: row.length > length or row.status in ENDED


def _event(entry: Entry, index: int) -> RunEvent:
    payload = None if entry.body is None else decode(entry.body, entry.shape)
    return RunEvent(entry.name, payload, moment(entry.at), entry.position, index)
