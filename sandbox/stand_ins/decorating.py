"""Decorators that change the class or function they are given: in a body, only one that the body made itself.

This file knows which decorators do that. It must not know what they are for.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import sys
import typing
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

from perdure.errors import SandboxViolation


def _is_shared(target: object) -> bool:
    """Tell whether a class or function is one of a module, which all runs share."""
    if not isinstance(target, type | FunctionType):
        return not hasattr(target, "__get__")  # properties and the like are made where they are decorated
    if "<locals>" in target.__qualname__:
        return False
    module = sys.modules.get(target.__module__)  # the text that `load` runs is in no module
    return module is not None and getattr(module, target.__qualname__.partition(".")[0], None) is not None


def _own(name: str, target: Any) -> Any:
    if _is_shared(target):
        raise SandboxViolation(
            f"{name} can't change {getattr(target, '__qualname__', target)} in a body.",
            why="it is shared by all runs of the process",
            fix="decorate it where it is defined",
        )
    return target


def _guarded(name: str, decorator: Callable[..., Any]) -> Callable[..., Any]:
    def decorate(target: Any) -> Any:
        return decorator(_own(name, target))

    decorate.__name__ = decorate.__qualname__ = name
    decorate.__doc__ = decorator.__doc__
    return decorate


def dataclass(cls: type | None = None, /, **options: Any) -> Any:
    """`dataclasses.dataclass`, for classes of the body."""
    if cls is not None:
        return dataclasses.dataclass(_own("dataclass", cls), **options)
    return lambda each: dataclasses.dataclass(_own("dataclass", each), **options)


def dataclass_transform(**options: Any) -> Any:
    """`typing.dataclass_transform`, for classes and functions of the body."""
    return _guarded("dataclass_transform", typing.dataclass_transform(**options))


def _those(module: Any, names: str) -> dict[str, object]:
    return {name: _guarded(name, getattr(module, name)) for name in names.split() if hasattr(module, name)}


STAND_INS: Final[dict[str, dict[str, object]]] = {
    "abc": _those(abc, "abstractmethod"),
    "dataclasses": {"dataclass": dataclass},
    "functools": _those(functools, "total_ordering"),
    "typing": {
        **_those(typing, "final no_type_check overload override runtime_checkable"),
        "dataclass_transform": dataclass_transform,
    },
}
