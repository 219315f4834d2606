"""What the core must be told about a run and its workflow: plain data, and one protocol."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from perdure.declare.options import WorkflowOptions
from perdure.storage.encoding import Encoded


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What stays the same during an attempt of a run."""

    run: int
    run_id: str
    workflow: str
    version: str
    attempt: int = 1
    parent_run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


class Executable(Protocol):
    """A workflow's definition, as far as a body needs it to run."""

    @property
    def id(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def options(self) -> WorkflowOptions: ...

    @property
    def takes(self) -> int:
        """How many of (input, step, ctx) the body takes."""
        ...

    def body(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The restricted body."""
        ...

    def encode_output(self, value: object) -> Encoded:
        """Validate and encode what the body returned."""
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """One line that a body printed or logged while it was living, not replaying; shown after the append."""

    level: int  # of `logging`; 0 for print
    text: str
    fields: Mapping[str, object] = field(default_factory=dict)
