"""What a process forgets when it dies: the containers that workflows' code keeps outside of its runs.

The policy refuses most of them, but not a list in a class. Simulated lives share one real process, so without this a
second life would find what the first one left, and one simulation what another did. (Cached functions keep nothing: a
body calls what they wrap.)

Knows modules and source closures. Must not know when a process dies.
"""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from perdure.declare.registry import Definition
from perdure.replay.closures import Closure


class Memory:
    """The containers that the code of some workflows can reach by name, and what was in them."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._forget: list[Callable[[], object]] = []
        seen: set[int] = set()
        for definition in definitions:
            for module, name in _names_of(definition.source_json):
                value = vars(sys.modules[module]).get(name) if module in sys.modules else None
                self._remember(value, seen)

    def forget(self) -> None:
        """Make everything as it was when this was made."""
        for each in self._forget:
            each()

    def _remember(self, value: object, seen: set[int]) -> None:
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, type):
            if _is_the_authors(value):
                for member in list(vars(value).values()):
                    self._remember(member, seen)
        elif isinstance(value, (list, deque, bytearray)):
            self._remember_container(value, list(value), value, seen)
        elif isinstance(value, dict):
            self._remember_container(value, value.copy(), value.values(), seen)
        elif isinstance(value, set):
            self._remember_container(value, value.copy(), (), seen)

    def _remember_container(self, value: object, content: object, parts: Iterable[object], seen: set[int]) -> None:
        self._forget.append(functools.partial(_refill, value, content))
        for part in parts:
            if isinstance(part, (list, deque, bytearray, dict, set)):
                self._remember(part, seen)


def _refill(container: Any, content: Any) -> None:
    if len(container) == len(content) == 0:
        return
    container.clear()
    if isinstance(container, (dict, set)):
        container.update(content)
    else:
        container.extend(content)


def _is_the_authors(value: type) -> bool:
    root = value.__module__.partition(".")[0]
    return root not in sys.stdlib_module_names and root not in ("perdure", "pydantic")


@functools.lru_cache(maxsize=256)  # reading source takes longer than a short simulation
def _names_of(source_json: str) -> tuple[tuple[str, str], ...]:
    return tuple(_names(Closure.from_json(source_json)))


def _names(closure: Closure) -> Iterator[tuple[str, str]]:
    for unit in closure.units:
        for name in sorted(closure.names_read(unit)):
            yield unit.module, name
