"""Why a value is refused, where it sits, and the fix that fits it.

A `Refused` starts at the value and travels up through the containers, each of which adds its step of the path; so the
path costs nothing until it is needed.

This file knows kinds of values that have no encoding. It must not know how the others are encoded.
"""

from __future__ import annotations

import array
import asyncio
import collections
import functools
import io
import re
import socket
import threading
import types
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from perdure.errors import NotSerializable

#: Levels of containers; deeper values are refused. DuckDB and CPython crash or raise far beyond it.
DEPTH_MAX: Final = 100


_FUNCTIONS: Final = types.FunctionType | types.BuiltinFunctionType | types.MethodType


class Refused(Exception):
    """Internal: a value without an encoding, on its way up to `encode`."""

    def __init__(self, value: object, problem: str, *, fix: str, why: str = "") -> None:
        super().__init__(problem)
        self.type_name = _name(type(value))
        self.problem = problem
        self.why = why
        self.fix = fix
        self.too_deep = False
        self._trail: list[tuple[str, int]] = []  # from the value outwards: step of the path, id of the container

    def within(self, step: str, container: object) -> None:
        """Add the step that leads from a container to what is refused."""
        self._trail.append((step, id(container)))

    def error(self) -> NotSerializable:
        """Make the error that the caller of `encode` sees."""
        trail = self._trail[::-1]
        path = "$" + "".join(step for step, _ in trail)
        if not self.too_deep:
            return NotSerializable(f"{path} {self.problem}.", path=path, where=path, why=self.why, fix=self.fix)
        seen: dict[int, str] = {}
        path = "$"
        for step, container in trail:
            if container in seen:
                return NotSerializable(
                    f"{path} contains itself: it is the same object as {seen[container]}.",
                    path=path,
                    where=path,
                    why="values are recorded by value, and a cycle has no end",
                    fix="refer to the outer object by its id or name",
                )
            seen[container] = path
            path += step
        return NotSerializable(
            f"{path[:40]}… is nested more than {DEPTH_MAX} levels deep.",
            path=path,
            fix="flatten the value, for example into a list of records that refer to each other by id",
        )


def too_deep(container: object) -> Refused:
    """Make the refusal of a container below the last level; `error` finds out whether it is a cycle."""
    refused = Refused(container, "is too deep", fix="")
    refused.too_deep = True
    return refused


def step_to(name: str) -> str:
    """Write the step of a path to a name: `.total`, or `['a b']`."""
    return f".{name}" if name.isidentifier() else f"[{name!r}]"


def refusal(value: object) -> Refused:
    """Make the refusal of a value of an unknown type."""
    for kind, fix in _FIXES:
        if isinstance(value, kind):
            return Refused(value, f"is {_described(value)}, which has no lossless encoding", fix=fix)
    for test, fix in _FOREIGN:
        if test(value):
            return Refused(value, f"is {_described(value)}, which has no lossless encoding", fix=fix)
    for base in (str, bytes, int, float, complex, dict, list, tuple, set, frozenset):
        if isinstance(value, base):
            return Refused(
                value,
                f"is {_described(value)}, a subclass of {base.__name__}",
                why="only enums and named tuples may subclass a builtin type: nothing says what else the class holds",
                fix=f"pass {base.__name__}(value), or put it into a dataclass",
            )
    return Refused(
        value,
        f"is {_described(value)}, which has no lossless encoding",
        why="values go into the ledger by value: JSON types, the standard scalars and containers, enums, dataclasses, "
        "pydantic models",
        fix="make the class a dataclass or a pydantic model, or pass the parts that you need as a dict",
    )


def _described(value: object) -> str:
    name = getattr(value, "__qualname__", None)
    if isinstance(name, str) and isinstance(value, _FUNCTIONS | type):
        kind = "the class" if isinstance(value, type) else "the function"
        return f"{kind} {name}"
    name = _name(type(value))
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _foreign(module: str, name: str = "") -> Callable[[object], bool]:
    """Recognise instances of another library's classes without importing it."""

    def test(value: object) -> bool:
        return any(
            base.__module__.partition(".")[0] == module and name in ("", base.__name__) for base in type(value).__mro__
        )

    return test


def _kinds() -> Iterator[tuple[Any, str]]:
    yield (_FUNCTIONS, functools.partial), "pass its name (a string) and look the function up where it is called"
    yield type, "pass its name (a string) and look the class up where it is used"
    yield types.CoroutineType, "await it first, and pass its result"
    yield (asyncio.Future, Awaitable), "await it first, and pass its result"
    yield (types.GeneratorType, map, filter, zip, enumerate, reversed), "make it a list: list(value)"
    yield (types.AsyncGeneratorType,), "collect it first: [item async for item in value]"
    yield io.IOBase, "pass its path or its contents, and open it in the step"
    yield socket.socket, "pass its address, and connect in the step"
    locks: tuple[Any, ...] = (
        type(threading.Lock()),
        type(threading.RLock()),
        threading.Condition,
        threading.Semaphore,
        threading.Event,
    )
    yield (
        (*locks, asyncio.Lock, asyncio.Semaphore, asyncio.Event),
        "keep it out of values that cross a step; create it where it is used",
    )
    yield memoryview, "pass bytes(value)"
    yield array.array, "pass value.tolist(), or value.tobytes() with its typecode"
    yield re.Pattern, "pass value.pattern, and compile it where it is used"
    yield types.ModuleType, "pass its name (a string)"
    yield BaseException, "pass str(error); an exception that a step raises is recorded by itself"
    yield collections.UserDict, "pass value.data"
    yield collections.ChainMap, "pass dict(value)"
    yield types.MappingProxyType, "pass dict(value)"
    yield (type({}.keys()), type({}.values()), type({}.items())), "make it a list: list(value)"
    yield types.SimpleNamespace, "pass vars(value), or make it a dataclass"
    yield slice, "pass (value.start, value.stop, value.step)"


_FIXES: Final = tuple(_kinds())
_FOREIGN: Final = (
    (_foreign("numpy", "ndarray"), "pass value.tolist(); store large arrays in a file and pass its path"),
    (_foreign("numpy"), "pass value.item()"),
    (_foreign("pandas", "Timestamp"), "pass value.to_pydatetime()"),
    (_foreign("pandas"), 'pass value.to_dict("records"); store large tables in a file and pass its path'),
    (_foreign("polars"), "pass value.to_dicts(); store large tables in a file and pass its path"),
    (_foreign("pydantic", "_SecretBase"), "keep secrets out of the ledger: read the secret inside the step"),
    (_foreign("pydantic", "SecretStr"), "keep secrets out of the ledger: read the secret inside the step"),
)
