"""What a machine answers the sandbox and the loop: the time, random numbers, `print`, what asyncio would log.

The part of a machine that is `perdure.sandbox.Environment`. Must not ask for anything durable.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

from perdure.core.calls import StepCall
from perdure.core.divergence import DivergenceSignal
from perdure.core.facts import Output

if TYPE_CHECKING:
    from perdure.core.branch import Branch
    from perdure.core.step import StepContext
    from perdure.core.waiting import Waiting
    from perdure.storage.entries import Entry


class Answering:
    """The answers; the machine has the state."""

    output: list[Output]
    waiting: dict[str, Waiting]
    _now: int
    _cancel: str | None
    _closed: bool
    _expected: dict[str, Entry] | None
    _step: StepContext

    @abstractmethod
    def branch(self) -> Branch:
        """The branch of the task that runs now."""

    _read_at = -1  # the moment at which the body looked at the clock last
    reads = 0  # how often it did at that moment
    stopped_at = ""  # the line at which the body waited when somebody asked it to stop

    def now_us(self) -> int:
        if self._read_at != self._now:
            self._read_at, self.reads = self._now, 0
        self.reads += 1
        return self._now

    def random(self) -> random.Random:
        return self.branch().random()

    def emit(self, text: str) -> None:
        self.put_out(0, text, {})

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody asked the run to stop."""
        return self._cancel is not None

    def step_context(self) -> StepContext:
        """The `step` through which a decorated step makes its call."""
        return self._step

    def step_call(self, command: str) -> StepCall:
        """What a performer has to run for a STEP command that waits."""
        call = self.waiting[command].call
        assert isinstance(call, StepCall)
        return call

    def sleep(self, seconds: float) -> Awaitable[None]:
        return self._step.asyncio_sleep(seconds)

    def put_out(self, level: int, text: str, fields: Mapping[str, object]) -> None:
        """Keep a line for after the append; a replay has already shown it."""
        if self._expected is None and not self._closed:
            self.output.append(Output(level, text, fields))

    def report(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, (DivergenceSignal, GeneratorExit)):
            self.put_out(40, f"{context.get('message', 'asyncio')}: {error!r}", {})
