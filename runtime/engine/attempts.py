"""One attempt of a step on its way: out to a performer, and back with its outcome. Plain data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from types import FunctionType
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from perdure.core.calls import StepCall
from perdure.core.lifecycle import step_delay_us
from perdure.core.stream import Stream
from perdure.durations import duration_text
from perdure.engine.current_step import CurrentStep, Voice
from perdure.errors import NotSerializable, StepTimeout
from perdure.services.effects import Effects
from perdure.storage.encoding import Encoded, encode
from perdure.storage.failures import encode_failure


class Attempt(NamedTuple):
    """What a performer has to run, once."""

    run: int
    run_id: str
    command: str
    number: int  # 1 is the first
    call: StepCall
    serial: int  # of this attempt in this process: an abandoned one that reports late must not be taken for another
    heartbeat: Encoded | None = None  # the newest details that an earlier attempt, or one that was cut off, recorded

    @property
    def idempotency_key(self) -> str:
        """Stable across attempts, restarts of the run and of the process."""
        return f"{self.run_id}:{self.command}"

    @property
    def label(self) -> str:
        """Its name in errors."""
        return f"step {self.call.name!r} of run {self.run_id}"

    @property
    def written_under(self) -> str:
        """The key under which other back ends write once what it wrote, and from which ids of messages are made.

        A run's next attempt may ask for another step in the same place, whose writes are others: what was asked for is
        in the key.
        """
        asked = f"{self.call.name}\0{self.call.arguments.body}\0{self.call.arguments.shape or ''}"
        return f"{self.idempotency_key}:{blake2b(asked.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"

    def seen_from_inside(self, now_us: int, voice: Voice) -> CurrentStep:
        """What the step may know about itself."""
        limit_us = self.call.options.timeout_us
        deadline = None
        if limit_us is not None:
            deadline = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=now_us + limit_us)
        name, key = self.call.name, self.idempotency_key
        return CurrentStep(self.run_id, self.command, name, self.number, key, deadline, voice, self.heartbeat)

    def completed(self, result: object) -> Outcome:
        """Say that it gave a result. Raises `NotSerializable`."""
        try:
            value = encode(result)
        except NotSerializable as refused:
            refused.where = f"{refused.path} of what step {self.call.name!r} returned"
            raise
        return Outcome(self.run, self.command, self.number, self.serial, "completed", value)

    def failed(self, error: BaseException) -> Outcome:
        """Say that it raised: for good, or to be tried again."""
        value, delay = encode_failure(error), self.delay_us(error)
        if delay is None:
            return Outcome(self.run, self.command, self.number, self.serial, "failed", value)
        return Outcome(self.run, self.command, self.number, self.serial, "retrying", value, delay)

    def delay_us(self, error: BaseException) -> int | None:
        """How long until the next attempt after this error; None when there is none."""
        return step_delay_us(self.call.options, self.number, error, f"{self.run_id}\0{self.command}")

    def timed_out(self) -> StepTimeout:
        """The error of an attempt that passed its timeout."""
        limit = duration_text(self.call.options.timeout_us or 0)
        return StepTimeout(
            f"step {self.call.name!r} took longer than its timeout of {limit}.",
            where=f"run {self.run_id}, attempt {self.number}",
            fix="raise timeout=, or find what it waits for",
        )

    def fell_silent(self) -> StepTimeout:
        """The error of an attempt that gave no sign of life for too long."""
        limit = duration_text(self.call.options.heartbeat_timeout_us or 0)
        return StepTimeout(
            f"step {self.call.name!r} gave no heartbeat for longer than its heartbeat_timeout of {limit}.",
            where=f"run {self.run_id}, attempt {self.number}",
            fix="call current_step().heartbeat() more often, raise heartbeat_timeout=, or find what it waits for",
        )


class Outcome(NamedTuple):
    """How an attempt went.

    `value` is the encoded result of a completed one, else the encoded failure; `delay_us` is set only when the step is
    to be tried again. `closes` names the streams that a completed one closes, `effects` is what it did to the services.
    """

    run: int
    command: str
    number: int
    serial: int
    kind: Literal["completed", "failed", "retrying"]
    value: Encoded
    delay_us: int = 0
    closes: tuple[Stream, ...] = ()
    effects: Effects | None = None


Place: TypeAlias = tuple[int, str]  # (run, command): where an attempt belongs


class Performers(Protocol):
    """Who runs steps. Calls come from the engine and must not block."""

    def perform(self, attempts: Sequence[Attempt]) -> None:
        """Start these; report each `Outcome` to the engine."""
        ...

    def cancel(self, place: Place) -> None:
        """Stop an attempt if it still runs; its outcome is not wanted any more."""
        ...


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine."""
    if type(function) is FunctionType:
        return bool(function.__code__.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
