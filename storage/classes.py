"""References to classes: how a class is written into a shape, and found again in another process.

A class is written `module:qualname`. A parametrized generic model is written as a list, the generic class first:
`["shop:Box", "builtins:int"]`; `null` stands for None and `["|", …]` for a union.

`__main__` is written under the name by which others import the script (from its `__spec__`, or the file's stem), and
that name means `__main__` when the same script is running: so a script and a checker that imports it understand each
other.

This file knows names. It must not know what the classes are for.
"""

from __future__ import annotations

import functools
import importlib
import operator
import sys
import types
import typing
from pathlib import PurePath
from typing import Any, Final, TypeAlias

from perdure.storage.plain import quote
from perdure.storage.refusals import Refused

#: A parsed reference: "module:qualname", null, or a list of a head and its arguments.
Reference: TypeAlias = "str | list[Any] | None"

_MAIN: Final = frozenset({"__main__", "__mp_main__"})  # the second in processes that multiprocessing spawns


class ClassGone(Exception):
    """Internal: a reference leads nowhere. `reference` is its text, `problem` completes "the class …"."""

    def __init__(self, reference: str, problem: str) -> None:
        super().__init__(f"{reference} {problem}")
        self.reference = reference
        self.problem = problem


def class_name(cls: type) -> str:
    """Write `module:qualname`, whether or not the class can be found under it."""
    module = cls.__module__
    return f"{_main_name() if module in _MAIN else module}:{cls.__qualname__}"


def reference_text(cls: type, value: object) -> str:
    """Write the reference to a class as JSON text.

    Args:
        value: the instance on whose behalf it is asked, for the refusal.

    Raises:
        Refused: the class can't be found under its name.
    """
    generic = cls.__dict__.get("__pydantic_generic_metadata__") or {}
    if generic.get("args"):
        return _generic_text(cls, generic["origin"], generic["args"], value)
    name = class_name(cls)
    if "<locals>" in cls.__qualname__:
        raise Refused(
            value,
            f"is of the class {name}, which is local to a function",
            why="another process could not find the class",
            fix="move the class to module level",
        )
    try:
        found = find_class(name)
    except ClassGone as gone:
        raise Refused(
            value,
            f"is of the class {name}, which {gone.problem}",
            why="another process could not find the class",
            fix="define the class at module level under its own name, in a module that can be imported",
        ) from gone
    # A script that is also imported by its name has every class twice; either one finds the other.
    if found is not cls and getattr(sys.modules.get(cls.__module__), cls.__name__, None) is not cls:
        raise Refused(
            value,
            f"is of a class {name} that is no longer the one of that name",
            why="the module was loaded again, or the name was given to something else, after the value was made",
            fix="make the value anew, or give the class its own name",
        )
    return quote(name)


def _generic_text(cls: type, origin: type, args: tuple[Any, ...], value: object) -> str:
    parts = [reference_text(origin, value), *(_argument_text(arg, cls, value) for arg in args)]
    return f"[{','.join(parts)}]"


def _argument_text(arg: Any, cls: type, value: object) -> str:
    if arg is None or arg is type(None):
        return "null"
    head = typing.get_origin(arg)
    if head is typing.Union or head is types.UnionType:
        return f'["|",{",".join(_argument_text(each, cls, value) for each in typing.get_args(arg))}]'
    if isinstance(head, type):
        parts = [_argument_text(each, cls, value) for each in (head, *typing.get_args(arg))]
        return f"[{','.join(parts)}]"
    if isinstance(arg, type):
        return reference_text(arg, value)
    raise Refused(
        value,
        f"is of the generic model {cls.__qualname__}, whose parameter {arg!r} can't be written as a reference",
        fix=f"give it a name: class MyModel({cls.__qualname__}): pass",
    )


def find_class(reference: Reference) -> Any:
    """Find what a reference names.

    Raises:
        ClassGone: the module can't be imported, or has no such class.
    """
    if isinstance(reference, str):
        return _find(reference)
    if reference is None:
        return None
    head, *arguments = reference
    found = [find_class(argument) for argument in arguments]
    if head == "|":
        return functools.reduce(operator.or_, found)
    return find_class(head)[found[0] if len(found) == 1 else tuple(found)]


def _find(reference: str) -> Any:
    module_name, _, qualname = reference.partition(":")
    found: Any = _module(module_name, reference)
    for name in qualname.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ClassGone(reference, f"is not in the module {module_name}") from None
    if not isinstance(found, type):
        raise ClassGone(reference, "is not a class")
    return found


def _module(name: str, reference: str) -> types.ModuleType:
    if name == _main_name():
        return sys.modules["__main__"]
    module = sys.modules.get(name)
    if module is not None:
        return module
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a user's module raises: the decoder reports it
        raise ClassGone(reference, f"can't be imported: {type(error).__name__}: {error}") from error


_known_main: tuple[types.ModuleType | None, str] = (None, "")


def _main_name() -> str:
    global _known_main
    main = sys.modules.get("__main__")
    if main is None or main is not _known_main[0]:  # the name is asked for at every value of a class
        _known_main = (main, _importable_name(main))
    return _known_main[1]


def _importable_name(main: types.ModuleType | None) -> str:
    """Give the name under which others import the running script; `__main__` in an interactive session."""
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name not in _MAIN:
        name: str = spec.name
        return name
    file = getattr(main, "__file__", None)
    return PurePath(file).stem if file else "__main__"
