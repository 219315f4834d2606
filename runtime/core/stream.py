"""`Stream`: where steps write chunks while they work. A plain value, which a body may hold, hand on and record.

Knows who may write. Must not know how a chunk reaches the ledger: whoever runs the step says so (`writers`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

from perdure.errors import DefinitionError, SandboxViolation, WorkflowError
from perdure.sandbox import activation
from perdure.texts import checked_text


class Durable:
    """What `Stream.write` gives: await it to wait until the chunk is durable. Nobody has to."""

    __slots__ = ("_future", "_heard")

    def __init__(self, future: Future[Any], heard: Callable[[Future[Any]], object]) -> None:
        self._future = future
        self._heard = heard

    def __await__(self) -> Generator[Any, None, None]:
        try:
            # Shielded, because who stops waiting takes back nothing: the chunk is on its way.
            yield from asyncio.shield(asyncio.wrap_future(self._future)).__await__()
        finally:
            if self._future.done():
                self._heard(self._future)


class Writer(Protocol):
    """A step at work, as far as its streams need it."""

    def write(self, stream: Stream, chunk: object) -> Durable:
        """Hand over a chunk."""
        ...

    def close(self, stream: Stream) -> Durable:
        """Note that the stream is closed once the step is completed."""
        ...


#: The step that works in this task or thread.
writers: Final[ContextVar[Writer | None]] = ContextVar("perdure_writer", default=None)


@dataclass(frozen=True)
class Stream:
    """One of a run's streams of chunks. Steps write it, and `run.stream(namespace)` reads it while they work.

    A step gets it with `current_step().stream("logs")`; a body with `step.stream("logs")`, to hand it to a step, also
    to one of a child run. It is a value: passing and recording it costs nothing.

    Attributes:
        run_id: the run that it belongs to.
        namespace: which of the run's streams.
    """

    __perdure_opaque__ = True

    run_id: str
    namespace: str = "default"

    def write(self, chunk: object) -> Durable:
        """Hand a chunk over, in a step. In order, and at the latest durable when the step's outcome is.

        `await stream.write(chunk)` goes on when it is durable, so that a slow disk slows the writer down. A synchronous
        step just calls it; it blocks only while many of its chunks are not durable yet. A step that is tried again
        writes again: chunks are facts, and each says which attempt wrote it.

        Args:
            chunk: any value that has a lossless encoding.

        Raises:
            NotSerializable: at once. SandboxViolation: called in a body.
            WorkflowError: the stream is closed, the run has ended, or the attempt is over. Raised where the write is
                awaited, else at a later write, else as the step's failure. UnknownRun likewise.
        """
        return self._writer("write").write(self, chunk)

    def close(self) -> Durable:
        """Say that nothing more follows, in a step: its readers end there.

        The stream is closed when the step completes, in one commit with its result: an attempt that fails or is cut
        off has closed nothing, so the next one can write. Awaited, it waits until what was written is durable.
        """
        return self._writer("close").close(self)

    def __iter__(self) -> NoReturn:
        self._not_read()

    def __aiter__(self) -> NoReturn:
        self._not_read()

    def _writer(self, what: str) -> Writer:
        _only_in_steps(what)
        writer = writers.get()
        if writer is None:
            raise WorkflowError(
                f"stream.{what} was called outside of a step.",
                why="chunks are written by the steps that a runtime runs",
                fix='call it in the function that a body runs: await step.run("…", fn, stream)',
            )
        return writer

    def _not_read(self) -> NoReturn:
        _only_in_steps("read")
        raise WorkflowError(
            "a Stream is for writing; it is read from the outside.",
            fix=f"ask the run: async for chunk in runtime.handle({self.run_id!r}).stream({self.namespace!r})",
        )


def _only_in_steps(what: str) -> None:
    if activation.current() is not None:
        raise SandboxViolation(
            f"stream.{what} was called in a body, and streams are for steps.",
            why="a body runs again on every replay: it would write its chunks again, or read other ones",
            fix='hand the stream to a step, and write there: await step.run("talk", talk, stream)',
        )


def checked_namespace(namespace: object) -> str:
    """Take the name of a stream, a text."""
    if not isinstance(namespace, str) or not namespace:
        raise DefinitionError(f"namespace={namespace!r} names no stream.", fix='give a text such as "logs"')
    return checked_text(namespace, "namespace")
