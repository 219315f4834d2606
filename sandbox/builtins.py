"""The builtins of a body: an allow-list, stand-ins for the ones that need one, and refusals that explain themselves.

This file knows builtin names. It must not know what a body is made of.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator
from itertools import compress
from types import ModuleType
from typing import Any, Final, NoReturn

from perdure.errors import SandboxViolation
from perdure.sandbox import formatting, fuel, guards, handed, refusals, vocabulary
from perdure.sandbox.sets import OrderedFrozenSet, OrderedSet
from perdure.sandbox.stand_ins.hashing import stable_hash
from perdure.sandbox.stand_ins.printing import print_line

_PLAIN: Final = """
    abs aiter all anext any ascii bin bool bytearray bytes callable chr classmethod complex dict divmod enumerate
    filter float int isinstance issubclass len list map max min next object oct ord pow property range
    reversed round slice sorted staticmethod str sum super tuple zip hex
    True False None Ellipsis NotImplemented __debug__ __build_class__
"""

#: They end a process or a generator; a body has no business raising or catching them by name.
_WITHHELD_EXCEPTIONS: Final = frozenset({"SystemExit", "KeyboardInterrupt", "GeneratorExit"})

_REFUSED: Final = """
    breakpoint compile copyright credits dir eval exec exit globals help id input license locals memoryview open quit
    vars
"""


def _exceptions() -> Iterator[tuple[str, object]]:
    for name, value in vars(builtins).items():
        if isinstance(value, type) and issubclass(value, BaseException) and name not in _WITHHELD_EXCEPTIONS:
            yield name, value


class _TypeOfTypes(type):
    """Makes `type` in a body answer `isinstance` like the real one, and nothing more."""

    def __call__(cls, *arguments: Any, **keywords: Any) -> type:
        if len(arguments) != 1 or keywords:
            raise SandboxViolation(
                "type(…) with several arguments makes a class, which a body can't.", fix="write a class statement"
            )
        return guards.class_of(arguments[0])

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, type)

    def __getitem__(cls, item: object) -> object:
        return type[item]

    def __setattr__(cls, name: str, value: object) -> NoReturn:
        raise SandboxViolation(f"type.{name} can't be changed in a body.", fix="keep it in a variable of the body")


class TypeStandIn(metaclass=_TypeOfTypes):
    """What `type` is in a body."""


def _refuser(name: str) -> Callable[..., NoReturn]:
    def refused(*arguments: object, **keywords: object) -> NoReturn:
        raise (refusals.named(name) or refusals.unvouched(name)).error()

    refused.__name__ = refused.__qualname__ = name
    return refused


def iterator(value: Any, *sentinel: Any) -> Any:
    """`iter` in a body: sets in order, and spending fuel when C code drains it."""
    if sentinel:
        return compress(iter(value, *sentinel), fuel.FUEL)
    return iter(guards.ordered(value))


def check_dynamic_name(name: str) -> None:
    """Refuse attribute names that the policy would refuse when written down."""
    if type(name) is not str:
        raise TypeError("attribute name must be string")
    unspellable = not name.isidentifier()
    if name in vocabulary.DENIED_ATTRIBUTES or vocabulary.is_special(name) or unspellable:
        raise SandboxViolation(
            f"`.{name}` can't be used in a body.",
            why="it leads into the interpreter",
            fix="do without it, or move the code into a step",
        )


def _import_for_c(name: str, *_: object, **__: object) -> ModuleType:
    """`__import__` for C code that imports when first called (`strptime` does); bodies can't name it."""
    module = sys.modules.get(name)
    if module is None or name not in ("_strptime", "_pydecimal", "encodings.idna", "time", "datetime", "re"):
        raise ImportError(f"{name} can't be imported while a body runs", name=name)
    return module


def times(count: Any) -> Any:
    """Guard the factor of a repeated sequence that is written down: `[0] * n`."""
    if isinstance(count, int) and count > 10_000_000:
        raise fuel.exceeded(sys._getframe(1), 10_000_000)
    return count


def base_builtins() -> dict[str, Any]:
    """Make a new dictionary of everything that bodies have in common."""
    found: dict[str, Any] = {name: getattr(builtins, name) for name in _PLAIN.split()}
    found.update(_exceptions())
    found.update({name: _refuser(name) for name in _REFUSED.split()})
    found.update(guards.GUARDS)
    found.update({
        "__import__": _import_for_c,
        "ascii": formatting.ascii_representation,
        "format": formatting.formatted,
        "frozenset": OrderedFrozenSet,
        "hash": stable_hash,
        "iter": iterator,
        "print": print_line,
        "repr": formatting.representation,
        "set": OrderedSet,
        "type": TypeStandIn,
        "%closure": handed.StepClosure,
        "%partial": handed.partial,
        "%set": OrderedSet,
        "%shown": formatting.shown,
        "%text": formatting.text,
        "%times": times,
    })  # fmt: skip
    return found
