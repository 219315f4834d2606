"""A call of a step, as the body makes it: the real function, its arguments by value, its options.

Must not run it: performers do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import blake2b
from types import CellType, FunctionType
from typing import Any, NamedTuple

from perdure.declare.options import StepOptions
from perdure.errors import NotSerializable
from perdure.sandbox import activation
from perdure.sandbox.handed import unwrap
from perdure.storage.encoding import Encoded, decode, encode, encode_arguments

#: Captured values longer than this are compared by digest, so that a large input is not recorded with every closure.
_CAPTURED_CHARACTERS_MAX = 256


class StepCall(NamedTuple):
    """What a performer has to run."""

    name: str
    function: Callable[..., Any]  # the real thing, never the restricted twin
    arguments: Encoded  # of (args, kwargs) as `encode_call` writes them
    options: StepOptions
    has_keywords: bool = False

    def values(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Decode the arguments anew: a step gets its own copies, so the body never sees what it does to them."""
        if not self.has_keywords:
            positional: Any = decode(*self.arguments)
            return tuple(positional), {}
        decoded: Any = decode(*self.arguments)
        return tuple(decoded["args"]), dict(decoded.get("kwargs", {}))


def prepare(
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    options: StepOptions,
) -> StepCall:
    """Make the call of what a body passed: find the real function, take the arguments by value.

    A closure's captured variables are arguments too: they are recorded (long ones as digests) and copied.

    Raises:
        NotSerializable: an argument has no lossless encoding. A captured variable may: it is then passed as it is.
    """
    options = _opened(options)
    with activation.suspended():  # looking into functions and rebuilding them is ours, not the body's
        real = unwrap(function)
    captured = real.captured
    if not captured and not kwargs:
        return StepCall(name, real.function, encode_arguments(args), options)
    with activation.suspended():
        return _prepare_closure(name, real.function, captured, args, kwargs, options)


def prepare_ordinary(name: str, function: Callable[..., Any], arguments: Encoded, options: StepOptions) -> StepCall:
    """Make the call of a module's own function, whose arguments are written down already."""
    return StepCall(name, function, arguments, _opened(options))


def _opened(options: StepOptions) -> StepOptions:
    if options.on_error is None:
        return options
    with activation.suspended():
        return replace(options, on_error=unwrap(options.on_error).function)


def _prepare_closure(
    name: str,
    function: Callable[..., Any],
    captured: Mapping[str, Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    options: StepOptions,
) -> StepCall:
    record: dict[str, Any] = {"args": list(args)}
    if kwargs:
        record["kwargs"] = dict(kwargs)
    copies: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    for variable, value in captured.items():
        try:
            encoded = encode(value)
        except NotSerializable:
            continue  # a function, `step`, a lock: nothing to compare, nothing to copy
        copies[variable] = decode(*encoded)
        shown[variable] = value if len(encoded.body) <= _CAPTURED_CHARACTERS_MAX else _digest(encoded)
    if shown:
        record["captured"] = shown
    function = _with_cells(function, copies) if copies else function
    return StepCall(name, function, encode(record), options, has_keywords=True)


def _digest(encoded: Encoded) -> str:
    text = encoded.body + (encoded.shape or "")
    return "blake2b:" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _with_cells(function: Callable[..., Any], copies: Mapping[str, Any]) -> Callable[..., Any]:
    """Rebuild a closure over copies of what it captured."""
    if isinstance(function, functools.partial):
        return functools.partial(_with_cells(function.func, copies), *function.args, **function.keywords)
    if not isinstance(function, FunctionType) or function.__closure__ is None:
        return function
    cells = tuple(
        CellType(copies[variable]) if variable in copies else cell
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True)
    )
    rebuilt = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    rebuilt.__kwdefaults__ = function.__kwdefaults__
    return rebuilt
