"""What the core must be told about a run and its workflow: plain data, and one protocol."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from perdure.declare.options import WorkflowOptions
from perdure.storage.encoding import Encoded
from perdure.storage.entries import Entry


@dataclass(frozen=True, slots=True)
class Origin:
    """The run that a run was forked from, and what its body knew of itself: the entries before `position` are its."""

    run_id: str
    position: int
    parent_run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    origin: Origin | None = None  # when that run was a fork too


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
    seed: str = ""  # of its random numbers; empty is the run_id, a fork has that of the run it comes from
    origin: Origin | None = None  # of a fork
    first_run_id: str = ""  # of a run that goes on with another one: the first of the chain
    timeout_at: int | None = None  # the run's deadline, as its row has it

    def at(self, position: int) -> RunFacts:
        """The facts as the body learned them at an entry: what a fork took over, it learned as another run."""
        known: Origin | None = None
        origin = self.origin
        while origin is not None and position < origin.position:
            known, origin = origin, origin.origin
        if known is None:
            return self
        return replace(self, run_id=known.run_id, parent_run_id=known.parent_run_id, tags=known.tags)


def seed_and_origin(created: Entry) -> tuple[str, Origin | None]:
    """Read from a run's first entry what seeds its random numbers, and what it was forked from."""
    if not created.detail or '"forked_from"' not in created.detail:
        return "", None
    detail = created.facts()
    return detail.get("seed", ""), _origin(detail.get("forked_from"))


def first_run_id_of(created: Entry) -> str:
    """Read from a run's first entry which run the chain began with that it goes on with; empty when it begins one."""
    if not created.detail or '"continued_from"' not in created.detail:
        return ""
    return str((created.facts().get("continued_from") or {}).get("first_run_id", ""))


def _origin(detail: Any) -> Origin | None:
    if detail is None:
        return None
    parent, tags = detail.get("parent_run_id"), detail.get("tags") or {}
    return Origin(detail["run_id"], detail["position"], parent, tags, _origin(detail.get("forked_from")))


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

    @property
    def is_pinned(self) -> bool:
        """Whether the body was recorded, so that what it needs of today's code may be gone."""
        ...

    def body(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The restricted body."""
        ...

    def encode_input(self, value: object) -> Encoded:
        """Validate and encode what a run is started with."""
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
