"""Reading what a run's steps write to its streams: so far, or chunk by chunk while they work.

Knows entries and how to wait for more. Must not know who writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from perdure.core.stream import checked_namespace
from perdure.durations import moment
from perdure.errors import DefinitionError, UnknownRun
from perdure.storage.encoding import decode
from perdure.storage.entries import STREAM_CLOSED, STREAM_WRITTEN, Entry
from perdure.storage.ledger import ENDED, Ledger, RunRow

if TYPE_CHECKING:
    from perdure.client.blocking import BlockingRuntime
    from perdure.client.runtime import Runtime

PAGE: Final = 500
_KINDS: Final = frozenset({STREAM_WRITTEN, STREAM_CLOSED})


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a stream.

    Attributes:
        offset: 0, 1, 2, … in the stream; a reader that has seen it goes on with `start=offset + 1`.
        value: what the step wrote.
        step, attempt: the name of the step that wrote it, and which attempt: one that is tried again writes again.
        at: when, aware, UTC.
    """

    offset: int
    value: Any
    step: str
    attempt: int
    at: datetime


class Page(NamedTuple):
    """A part of a run's history, as far as streams go."""

    row: RunRow
    entries: list[Entry]  # from the wanted position on, at most PAGE

    @property
    def is_last(self) -> bool:
        """Whether nothing follows now."""
        return len(self.entries) < PAGE


def read_page(ledger: Ledger, run_id: str, position: int) -> Page:
    """Read what a run's streams have from a position on. Raises `UnknownRun`."""
    row = ledger.run(run_id)
    if row is None:
        raise UnknownRun(f"the ledger has no run {run_id!r}.", fix="see the ids: perdure runs LEDGER")
    return Page(row, ledger.selected(row.run, _KINDS, position, PAGE))


def chunks_of(page: Page, namespace: str, start: int) -> tuple[list[Chunk], bool]:
    """Take a stream's chunks from the `start`-th on out of a page, and whether the stream is closed there."""
    chunks: list[Chunk] = []
    for entry in page.entries:
        if entry.name != namespace:
            continue
        if entry.kind == STREAM_CLOSED:
            return chunks, True
        detail = entry.facts()
        if detail["offset"] >= start:
            value = decode(entry.body or "null", entry.shape)
            chunks.append(Chunk(detail["offset"], value, detail.get("step", ""), entry.attempt, moment(entry.at)))
    return chunks, False


def checked_start(start: object) -> int:
    """Take the offset that a reader begins with."""
    if isinstance(start, bool) or not isinstance(start, int) or start < 0:
        raise DefinitionError(f"start={start!r} can't be used.", fix="give a whole number: 0 is the first chunk")
    return start


class RunStream:
    """A stream of a run, from the `start`-th chunk on.

    `await run.stream()` lists the values so far, `async for` waits for more. It ends when the stream is closed or the
    run has ended.
    """

    def __init__(self, runtime: Runtime, run_id: str, namespace: str, start: int) -> None:
        self._runtime = runtime
        self._run_id = run_id
        self._namespace = checked_namespace(namespace)
        self._start = checked_start(start)

    def __await__(self) -> Generator[Any, Any, list[Any]]:
        return self.so_far().__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for chunk in self._walk(live=True):
            yield chunk.value

    def chunks(self) -> AsyncIterator[Chunk]:
        """Go through the chunks with their offset, step, attempt and time, and wait for more. Raises `UnknownRun`."""
        return self._walk(live=True)

    async def so_far(self) -> list[Any]:
        """List what the ledger has now. Raises `UnknownRun`."""
        return [chunk.value async for chunk in self._walk(live=False)]

    async def _walk(self, *, live: bool) -> AsyncIterator[Chunk]:
        position = 0
        while True:
            page = await self._read(position)
            chunks, closed = chunks_of(page, self._namespace, self._start)
            for chunk in chunks:
                yield chunk
            if page.entries:
                position = page.entries[-1].position + 1
            if not page.is_last and not closed:
                continue
            if closed or not live or page.row.status in ENDED:
                return
            await asyncio.wrap_future(self._runtime.watch(self._run_id, self._has_more_than(page.row)))

    async def _read(self, position: int) -> Page:
        return await self._runtime.ask(lambda engine, batch: read_page(engine.ledger, self._run_id, position))

    def _has_more_than(self, read: RunRow) -> Any:
        name, none = self._namespace, [0, 0]
        known = list(read.streams.get(name, none))
        return lambda row: row.streams.get(name, none) != known or row.status in ENDED


class BlockingRunStream:
    """A stream of a run for code without asyncio: iterating waits for more until it ends; `so_far()` does not."""

    def __init__(self, runtime: BlockingRuntime, stream: RunStream) -> None:
        self._runtime = runtime
        self._stream = stream

    def so_far(self) -> list[Any]:
        """List what the ledger has now, as `RunStream.so_far`."""
        return self._runtime.wait_for(self._stream.so_far())

    def __iter__(self) -> Iterator[Any]:
        return (chunk.value for chunk in self.chunks())

    def chunks(self) -> Iterator[Chunk]:
        """Go through the chunks, as `RunStream.chunks`."""
        chunks = self._stream.chunks()

        async def following() -> Chunk | None:
            return await anext(chunks, None)

        while (chunk := self._runtime.wait_for(following())) is not None:
            yield chunk
