"""A branch: one task of a body, and the counters that give its commands their identity.

A branch's path tells how its task was created (`0` is the body, `0.2` the second task it created), never when it ran,
so that identities do not depend on who finished first. Knows nothing of commands or ledgers.
"""

from __future__ import annotations

import random
from hashlib import blake2b


class Branch:
    """The counters of one task of a body."""

    __slots__ = ("_random", "_seed", "calls", "children", "commands", "path")

    def __init__(self, path: str, seed: str) -> None:
        self.path = path
        self.commands = 0
        self.children = 0
        self.calls: dict[str, int] = {}  # of decorated steps, by name
        self._seed = seed
        self._random: random.Random | None = None

    def next_command(self) -> str:
        """Give the identity of the next command: the branch and the number within it."""
        number = self.commands
        self.commands = number + 1
        return f"{self.path}/{number}"

    def child(self) -> Branch:
        """Make the branch of the next task that this one creates."""
        self.children += 1
        return Branch(f"{self.path}.{self.children}", self._seed)

    def call_name(self, name: str) -> str:
        """Name a decorated step's call: `charge`, then `charge#2`, numbered within the branch."""
        count = self.calls.get(name, 0) + 1
        self.calls[name] = count
        return name if count == 1 else f"{name}#{count}"

    def random(self) -> random.Random:
        """The branch's own generator, seeded by the run's seed and the path.

        A stream per branch is what keeps one more `random()` here from shifting the numbers there. It is made on first
        use, because most branches never draw and a generator weighs 2.5 KiB.
        """
        if self._random is None:
            digest = blake2b(f"{self._seed}\0{self.path}".encode(), digest_size=32).digest()
            self._random = random.Random(int.from_bytes(digest, "big"))
        return self._random
