"""`random` in a body: the current branch's generator, which the run and the branch seed.

Outside of a body the functions are the real ones. This file must not know how generators are seeded.
"""

from __future__ import annotations

import random as real
from collections.abc import Callable
from typing import Any, Final, NoReturn

from perdure.errors import SandboxViolation
from perdure.sandbox.activation import current
from perdure.sandbox.stand_ins.facade import refuse_change


class _FrozenType(type):
    """A class that a body can make instances and subclasses of, but not change."""

    def __setattr__(cls, name: str, value: object) -> None:
        if cls.__module__ == __name__:
            raise refuse_change(cls, name)
        super().__setattr__(name, value)

    def __delattr__(cls, name: str) -> None:
        if cls.__module__ == __name__:
            raise refuse_change(cls, name)
        super().__delattr__(name)


class Random(real.Random, metaclass=_FrozenType):
    """`random.Random`; without a seed it takes one from the branch's generator."""

    def seed(self, a: Any = None, version: int = 2) -> None:
        """Begin anew; without a seed, with one from the branch's generator."""
        environment = current()
        if a is None and environment is not None:
            a = environment.random().getrandbits(128)
        super().seed(a, version)


def _function(name: str) -> Callable[..., Any]:
    original: Callable[..., Any] = getattr(real, name)

    def function(*args: Any, **kwargs: Any) -> Any:
        environment = current()
        if environment is None:
            return original(*args, **kwargs)
        return getattr(environment.random(), name)(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = original.__doc__
    return function


def random() -> float:
    """Give a number from 0 up to 1, from the branch's generator."""
    environment = current()
    return real.random() if environment is None else environment.random().random()


def seed(a: Any = None, version: int = 2) -> None:
    """Begin the branch's generator anew; without a seed, with one that it gives itself."""
    environment = current()
    if environment is None:
        real.seed(a, version)
        return
    generator = environment.random()
    generator.seed(generator.getrandbits(128) if a is None else a, version)


def getstate() -> NoReturn:
    """Refuse: the state of a branch's generator is the run's."""
    raise _own_generator("random.getstate")


def setstate(state: object) -> NoReturn:
    """Refuse: the state of a branch's generator is the run's."""
    raise _own_generator("random.setstate")


def _own_generator(what: str) -> SandboxViolation:
    return SandboxViolation(
        f"{what} can't be used in a body.",
        why="the generator belongs to the run's branch",
        fix="make a generator of your own: rng = random.Random(seed)",
    )


_SHARED: Final = tuple(
    name
    for name in real.__all__
    if name not in ("Random", "SystemRandom", "random", "seed", "getstate", "setstate") and hasattr(real.Random, name)
)

STAND_INS: Final[dict[str, object]] = {
    "Random": Random,
    "random": random,
    "seed": seed,
    "getstate": getstate,
    "setstate": setstate,
    **{name: _function(name) for name in _SHARED},
}
