"""One attempt of a step on its way: out to a performer, and back with its outcome. Plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

from perdure.core.calls import StepCall
from perdure.storage.encoding import Encoded


class Attempt(NamedTuple):
    """What a performer has to run, once."""

    run: int
    run_id: str
    command: str
    number: int  # 1 is the first
    call: StepCall
    serial: int  # of this attempt in this process: an abandoned one that reports late must not be taken for another

    @property
    def idempotency_key(self) -> str:
        """Stable across attempts, restarts of the run and of the process."""
        return f"{self.run_id}:{self.command}"


class Outcome(NamedTuple):
    """How an attempt went.

    `value` is the encoded result of a completed one, else the encoded failure; `delay_us` is set only when the step is
    to be tried again.
    """

    run: int
    command: str
    number: int
    serial: int
    kind: Literal["completed", "failed", "retrying"]
    value: Encoded
    delay_us: int = 0


Place: TypeAlias = tuple[int, str]  # (run, command): where an attempt belongs


class Performers(Protocol):
    """Who runs steps. Calls come from the engine and must not block."""

    def perform(self, attempts: Sequence[Attempt]) -> None:
        """Start these; report each `Outcome` to the engine."""
        ...

    def cancel(self, place: Place) -> None:
        """Stop an attempt if it still runs; its outcome is not wanted any more."""
        ...
