"""The one source of chance in a simulation: whatever may go either way asks `choose(n)`.

A simulation is a function of its choices. Seeds, Hypothesis and an exhaustive walk are different makers of them, and
the first choice (0) is always the plainest one, so that shrinking leads to the plainest story.

Knows numbers. Must not know what they decide.
"""

from __future__ import annotations

import random
from typing import Protocol


class Choices(Protocol):
    """Who decides."""

    def choose(self, count: int) -> int:
        """Give a number from 0 to `count` - 1."""
        ...


class Plain:
    """Always the plainest: first come, first served, one at a time."""

    def choose(self, count: int) -> int:
        """Give 0."""
        return 0

    def __repr__(self) -> str:
        return "in plain order"


class Seeded:
    """Choices from a seed; the same seed chooses the same."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._random = random.Random(f"perdure {seed}").random

    def choose(self, count: int) -> int:
        """Draw a number from 0 to `count` - 1."""
        return int(self._random() * count) if count > 1 else 0

    def __repr__(self) -> str:
        return f"seed {self.seed}"


class Listed:
    """Choices from a list, as far as it goes, then the plainest."""

    def __init__(self) -> None:
        self.coming: list[int] = []

    def choose(self, count: int) -> int:
        """Give the next of the list, within bounds."""
        return self.coming.pop(0) % count if self.coming and count > 1 else 0

    def __repr__(self) -> str:
        return "listed by rules"
