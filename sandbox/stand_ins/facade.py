"""What a body sees in place of a module: a read-only object with the members that are harmless.

This file knows how a facade behaves. It must not know which modules there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

from perdure.errors import SandboxViolation
from perdure.sandbox import refusals


class Facade:
    """A read-only stand-in for one module; there is one per process, shared by all runs.

    Members sit in the instance's dictionary, so that reading one costs what reading a module's member costs.
    """

    _name: str
    _late: Callable[[str], object | None] | None

    def __init__(
        self, name: str, members: Mapping[str, object], late: Callable[[str], object | None] | None = None
    ) -> None:
        self.__dict__.update(members)
        self.__dict__["_name"] = name
        self.__dict__["_late"] = late  # finds members that are not known beforehand; None means it has none

    def __getattr__(self, name: str) -> object:
        # Only reached for what is not a member.
        dotted = f"{self._name}.{name}"
        if name.startswith("_"):
            raise AttributeError(f"{dotted} can't be read in a body")
        if self._late is not None:
            found = self._late(name)
            if found is not None:
                return found
        refusal = refusals.named(dotted)
        if refusal is None:
            refusal = refusals.unvouched(dotted)
        raise refusal.error()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise self._read_only(name)

    def __delattr__(self, name: str) -> NoReturn:
        raise self._read_only(name)

    def _read_only(self, name: str) -> SandboxViolation:
        return SandboxViolation(
            f"{self._name}.{name} can't be changed in a body.",
            why="a module is shared by all runs of the process",
            fix="keep what changes in a variable of the body",
        )

    def __repr__(self) -> str:
        return f"<module {self._name!r}, as a body sees it>"

    def __copy__(self) -> Facade:
        return self

    def __deepcopy__(self, memo: object) -> Facade:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"a module can't be encoded: {self._name}")


class StandInType(type):
    """The metaclass of stand-ins for classes: instances of the real class are instances, and the two are equal.

    A stand-in class has `_real`, and its `__new__` gives instances of that.
    """

    _real: type

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls._real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(getattr(subclass, "_real", subclass), cls._real)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls._real

    def __hash__(cls) -> int:
        return hash(cls._real)

    def __repr__(cls) -> str:
        return repr(cls._real)

    def __setattr__(cls, name: str, value: object) -> None:
        if not name.startswith("_"):  # abc, typing and zoneinfo note things about classes; bodies can't write these
            raise refuse_change(cls, name)
        super().__setattr__(name, value)

    def __delattr__(cls, name: str) -> NoReturn:
        raise refuse_change(cls, name)


def refuse_change(cls: type, name: str) -> SandboxViolation:
    """Make the error for an attempt to change a shared class."""
    return SandboxViolation(
        f"{cls.__name__}.{name} can't be changed in a body.",
        why="a class is shared by all runs of the process",
        fix="write a function, or a class of your own",
    )


def refuse_subclass(cls: type) -> SandboxViolation:
    """Make the error for a class statement that names a stand-in as its base."""
    return SandboxViolation(
        f"{cls.__name__} can't be a base class in a body.",
        why="in a body it stands in for the real class, whose subclasses would read the real clock or generator",
        fix="define the class at the top of the module and use it in steps, or hold an instance in a class of your own",
    )
