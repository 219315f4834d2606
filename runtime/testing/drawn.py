"""A simulated world drawn by Hypothesis: what steps give, which attempts fail, which events come, and in which order.

Everything is drawn before it happens and kept by its place, so that a life with faults meets the same world as one
without. Whatever is drawn shrinks towards the plainest: first come first served, no failure, the smallest values.

Knows Hypothesis and places. Must not know what a property demands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol, TypeVar

from hypothesis import strategies as st

from perdure.declare.registry import Definition
from perdure.declare.workflow import WorkflowDefinition
from perdure.engine.attempts import Attempt
from perdure.engine.current_step import current_step
from perdure.storage.ledger import Pending
from perdure.testing.fakes import Fakes, Steps
from perdure.testing.faults import CallFault, StepError
from perdure.testing.fitting import results_of
from perdure.testing.messenger import Numbered, Payload, Post, fitting, given, numbered, wanted_by

T = TypeVar("T")

#: Draws of one example; later ones give the plainest, because Hypothesis bounds what one example may be made of.
DRAWS_MAX = 300

When = Literal["before", "after"]

#: How many attempts of a call fail, where failures are asked for; the last one is more than anybody tries.
_FAILING: st.SearchStrategy[tuple[int, When]] = st.tuples(
    st.sampled_from([0, 0, 0, 0, 1, 2, 1_000_000]), st.sampled_from(["before", "after"])
)


class Draw(Protocol):
    """How Hypothesis hands out values: `data.draw`, or the `draw` of a composite strategy."""

    def __call__(self, strategy: st.SearchStrategy[T], /) -> T:
        """Draw a value."""
        ...


class DrawnChoices:
    """Choices that Hypothesis makes, and shrinks."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._left = DRAWS_MAX

    def choose(self, count: int) -> int:
        """Draw a number from 0 to `count` - 1."""
        if count <= 1 or self._left == 0:
            return 0
        self._left -= 1
        return self._draw(st.integers(0, count - 1))

    def __repr__(self) -> str:
        return "drawn and shrunk"


class DrawnWorld:
    """What the outside does, drawn once and remembered.

    Args:
        draw: who draws.
        workflows: whose steps are stood in for.
        steps: by step or name: a strategy, a function, an exception, or a value; results of all others are drawn from
            their return annotations.
        events: by type: a strategy, a value, or a function of what the wait must match.
        signals, hooks: by name, and by token or a pattern of it: a strategy, a value, or a function of the number.
        failures: whether attempts fail, drawn attempt by attempt.
    """

    def __init__(
        self,
        draw: Draw,
        workflows: Iterable[object],
        steps: Steps | None,
        events: Mapping[str, Any] | None,
        signals: Mapping[str, Any] | None,
        hooks: Mapping[str, Any] | None,
        *,
        failures: bool = False,
    ) -> None:
        self._draw = draw
        self._definitions = [each for each in workflows if isinstance(each, WorkflowDefinition)]
        self._steps = dict(steps or {})
        self._failures = failures
        self._results: dict[str, Any] = {}  # by idempotency key
        self._failing: dict[str, tuple[int, When]] = {}  # how many attempts fail, before or after their effect
        self._payloads: dict[tuple[str, str], Any] = {}
        self.post = Post(
            {
                kind: self._drawn_payload(what) if isinstance(what, st.SearchStrategy) else given(what)
                for kind, what in (events or {}).items()
            },
            self._numbered(signals),
            self._numbered(hooks),
        )

    def fakes(self) -> Fakes:
        """What stands in for steps in one life; acts begin afresh, what was drawn stays."""
        return _DrawnFakes(self._steps, self._definitions, self._results)

    def fate(self, attempt: Attempt) -> CallFault | None:
        """Draw what this attempt gives, and whether it fails, before it is called.

        Here, and not in the fake: what Hypothesis raises to end an example must not become a step's failure.
        """
        key, name = attempt.idempotency_key, attempt.call.name
        if key not in self._results:
            strategy = self._strategy_of(name, attempt.call.function)
            if strategy is not None:
                self._results[key] = self._draw(strategy)
        if self._failures and key not in self._failing:
            self._failing[key] = self._draw(_FAILING) if len(self._failing) < DRAWS_MAX else (0, "before")
        times, when = self._failing.get(key, (0, "before"))
        return StepError(1, name, when) if attempt.number <= times else None

    def _strategy_of(self, name: str, real: Callable[..., Any]) -> st.SearchStrategy[Any] | None:
        base = name.partition("#")[0].partition("[")[0]
        for key, what in self._steps.items():
            if (key if isinstance(key, str) else getattr(key, "name", None)) in (name, base):
                return what if isinstance(what, st.SearchStrategy) else None
        return results_of(real, base)

    def _numbered(self, messages: Mapping[str, Any] | None) -> dict[str, Numbered]:
        return {
            name: self._drawn_message(what) if isinstance(what, st.SearchStrategy) else numbered(what)
            for name, what in (messages or {}).items()
        }

    def _drawn_message(self, strategy: st.SearchStrategy[Any]) -> Numbered:
        def payload(run_id: str, box: str, number: int) -> Any:
            place = (run_id, f"{box}/{number}")
            if place not in self._payloads:
                self._payloads[place] = self._draw(strategy)
            return self._payloads[place]

        return payload

    def _drawn_payload(self, strategy: st.SearchStrategy[Any]) -> Payload:
        def payload(run_id: str, pending: Pending) -> Any:
            place = (run_id, pending.command)
            if place not in self._payloads:
                self._payloads[place] = self._draw(strategy)
            return fitting(self._payloads[place], wanted_by(pending))

        return payload


class _DrawnFakes(Fakes):
    """Fakes that give what was drawn, where nobody says otherwise."""

    def __init__(self, steps: Steps, definitions: Iterable[Definition], results: Mapping[str, Any]) -> None:
        super().__init__(
            {key: _ANYTHING if isinstance(what, st.SearchStrategy) else what for key, what in steps.items()},
            definitions,
        )
        self._results = results

    def stand_in(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """Give what to call for a step."""
        try:
            fake = self.of(name)
        except KeyError:
            fake = _ANYTHING
        return self._give if fake is _ANYTHING else super().stand_in(name, real)

    def _give(self, *_: object, **__: object) -> Any:
        return self._results[current_step().idempotency_key]


def _ANYTHING(*_: object, **__: object) -> Any:  # a mark in place of a fake; it fits every signature
    raise AssertionError("a strategy's mark was called")
