"""What kind of thing a value is, as far as the sandbox cares: the author's code, a library's, data, or opaque.

This file knows how to tell values apart. It must not know what becomes of them.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import linecache
import os
import re
import sys
import sysconfig
import types
import typing
import uuid
import zoneinfo
from collections.abc import Iterator
from pathlib import Path, PurePath
from types import CellType, FunctionType, ModuleType
from typing import Final

import perdure.errors

_LIBRARY_FOLDERS: Final = tuple(
    os.path.normcase(os.path.abspath(path)) + os.sep
    for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
# The folders of this package; an editable install has them apart from each other.
_HERE: Final = os.path.dirname(os.path.abspath(__file__))
_OURS: Final = tuple(
    os.path.normcase(folder) + os.sep
    for folder in (_HERE, os.path.join(os.path.dirname(_HERE), "storage"), os.path.dirname(perdure.errors.__file__))
)
_CONSTANTS: Final = (
    type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis), type(NotImplemented), enum.Enum,
    datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, zoneinfo.ZoneInfo, decimal.Decimal,
    fractions.Fraction, uuid.UUID, re.Pattern, PurePath, types.MappingProxyType,
)  # fmt: skip
_TYPING: Final = (
    types.GenericAlias, types.UnionType, typing.TypeVar, typing.ParamSpec, typing.ForwardRef,
    type(typing.Any), type(typing.Union[int, str]), type(typing.Callable), type(typing.Literal[1]),  # noqa: UP007
)  # fmt: skip
_MUTABLE: Final = (list, dict, set, bytearray, collections.deque)
_CACHED: Final = type(functools.lru_cache(lambda: None))


def is_opaque(value: object) -> bool:
    """Tell whether a value is held and called as it is: the runtime's own steps and workflows."""
    return bool(getattr(type(value), "__perdure_opaque__", False))


def is_user_file(filename: str) -> bool:
    """Tell whether code of this file is the author's: it has source, and is in no library folder."""
    if filename.startswith("<") and not linecache.getlines(filename):
        return False
    path = os.path.normcase(os.path.abspath(filename))
    return not path.startswith((*_LIBRARY_FOLDERS, *_OURS)) and "site-packages" not in path


# Top-level packages that hold workflows: theirs is the author's code, also where it is installed like a library.
_homes: set[str] = set()


def add_home(module: str) -> None:
    """Note that a module defines a workflow, so that its whole top-level package counts as the author's."""
    _homes.add(_top(module))


# Names of modules that `load` made.
_loaded: set[str] = set()


def add_loaded(name: str) -> None:
    """Note the module name of a loaded text, so that its classes count as the author's."""
    _loaded.add(name)


def _top(module: str | None) -> str:
    return (module or "").partition(".")[0]


def is_user_module(module: ModuleType) -> bool:
    """Tell whether a module is the author's own."""
    if _top(module.__name__) in _homes:
        return True
    filename = getattr(module, "__file__", None)
    if filename is None:
        # A namespace package has no file of its own.
        folders = list(getattr(module, "__path__", ()))
        return bool(folders) and all(is_user_file(os.path.join(folder, "x.py")) for folder in folders)
    return filename.endswith(".py") and is_user_file(filename)


def is_user_function(function: FunctionType) -> bool:
    """Tell whether a function is the author's, by the file that its code is from."""
    filename = function.__code__.co_filename
    if is_user_file(filename):
        return True
    module = sys.modules.get(function.__module__ or "")
    own = _top(function.__module__) in _homes and getattr(module, "__file__", None) == filename
    return own and bool(linecache.getlines(filename))


def is_user_class(kind: type) -> bool:
    """Tell whether a class is the author's, by its module."""
    if kind.__module__ in _loaded:
        return True
    module = sys.modules.get(kind.__module__)
    if module is None or kind.__module__ == "builtins":
        return False
    return is_user_module(module)


def library_of(value: object) -> str:
    """Name the library whose code a module, function, class or object runs, by its top-level module.

    Empty for the standard library's, the author's and our own.
    """
    if isinstance(value, ModuleType):
        module: object = value.__name__
    else:
        named = value if isinstance(value, type | FunctionType | types.BuiltinFunctionType) else type(value)
        module = getattr(named, "__module__", None)
    if not isinstance(module, str) or module in _loaded:
        return ""
    top = _top(module)
    if top in sys.stdlib_module_names or top in ("", "perdure", "__main__"):
        return ""
    loaded = sys.modules.get(top)
    return "" if loaded is None or is_user_module(loaded) else top


def is_restricted(function: object) -> bool:
    """Tell whether a function was compiled under the policy."""
    return isinstance(function, FunctionType) and "%realm" in function.__globals__


def is_constant(value: object) -> bool:
    """Tell whether nothing can change a value, so that all runs and replays see the same."""
    if isinstance(value, _CONSTANTS + _TYPING):
        return not isinstance(value, Path)
    if isinstance(value, tuple | frozenset):
        return all(is_constant(item) or callable(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return bool(value.__dataclass_params__.frozen)  # type: ignore[attr-defined]
    config = getattr(type(value), "model_config", None)  # a pydantic model
    return isinstance(config, dict) and bool(config.get("frozen"))


def is_mutable(value: object) -> bool:
    """Tell whether a value is a container that anybody may change."""
    return isinstance(value, _MUTABLE)


def inner_function(value: object) -> object | None:
    """Open a cache, which must not outlive a run, and give the function that it remembers; None for others."""
    return getattr(value, "__wrapped__", None) if isinstance(value, _CACHED) else None


def cell_contents(cell: CellType) -> tuple[bool, object]:
    """Look into a cell: whether it is filled, and with what."""
    try:
        return True, cell.cell_contents
    except ValueError:
        return False, None


def class_functions(kind: type) -> Iterator[tuple[str, FunctionType, bool]]:
    """Go through the functions that a class itself defines: name, function, and whether reading calls it."""
    for name, member in list(vars(kind).items()):
        if isinstance(member, FunctionType):
            yield name, member, False
        elif isinstance(member, classmethod | staticmethod):
            if isinstance(member.__func__, FunctionType):
                yield name, member.__func__, False
        elif isinstance(member, property):
            for part in (member.fget, member.fset, member.fdel):
                if isinstance(part, FunctionType):
                    yield name, part, True
        elif isinstance(member, functools.cached_property) and isinstance(member.func, FunctionType):
            yield name, member.func, True


def annotated_classes(value: object) -> Iterator[type]:
    """Go through the classes in an annotation, without evaluating text."""
    if isinstance(value, type) and not typing.get_args(value):
        yield value
    for argument in typing.get_args(value):
        yield from annotated_classes(argument)
