"""What restricted code calls in place of a few operations. Each guard returns what plain Python would, or raises.

A guard never wraps an object: code that was compiled natively sees the same one. That is also why `guard(o).a += v` is
a complete in-place operation.

This file knows objects at run time. It must not know trees, nor where a body came from.
"""

from __future__ import annotations

import datetime
import enum
import functools
import sys
import types
from collections.abc import Callable
from itertools import compress
from typing import Any, Final, NoReturn

from perdure.errors import BudgetExceeded, PolicyViolation, SandboxViolation
from perdure.sandbox import formatting, fuel, libraries, values, vocabulary
from perdure.sandbox.sets import in_order
from perdure.sandbox.stand_ins.datetime import METHODS
from perdure.sandbox.views import UserModule

STEP_FIX: Final = 'move it into a step: `await step.run("name", …)`'
_UNCATCHABLE: Final = (BudgetExceeded, SandboxViolation, PolicyViolation)
_ITERATORS: Final = "__next__"

# ── iteration ────────────────────────────────────────────────────────────────────────────────────

_MATERIAL: Final = frozenset({list, tuple, dict, str, bytes, int, float, bool, type(None)})


def ordered(iterable: Any) -> Any:
    """Give the iterable itself, or a plain set's members in an order that every process agrees on."""
    return iterable if type(iterable) in _MATERIAL else in_order(iterable)


def each(value: Any) -> Any:
    """Guard an argument that C code may eat as a whole: iterators and ranges spend fuel, sets get an order."""
    kind = type(value)
    if kind in _MATERIAL:
        return value
    if kind is range or hasattr(kind, _ITERATORS):
        return compress(value, fuel.FUEL)
    return in_order(value)


# ── exceptions ───────────────────────────────────────────────────────────────────────────────────

_discarding = False


def caught() -> None:
    """Begin every handler: what must end the body passes, whatever the handler names."""
    error = sys.exception()
    if isinstance(error, _UNCATCHABLE) or (_discarding and isinstance(error, GeneratorExit)):
        raise error
    if isinstance(error, RecursionError):
        raise fuel.too_deep(error) from None


def finally_() -> None:
    """Begin every `finally`: a body that is dropped from memory must not clean up as if it had ended."""
    if _discarding:
        error = sys.exception()
        if isinstance(error, GeneratorExit):
            raise error


def too_deep() -> NoReturn:
    """Turn a RecursionError that leaves the body into what it is."""
    error = sys.exception()
    assert isinstance(error, RecursionError)
    raise fuel.too_deep(error) from None


def discard(coroutine: Any) -> None:
    """Drop a body that waits, without running its `except` and `finally` blocks: it comes back by replay."""
    global _discarding
    _discarding = True
    try:
        coroutine.close()
    except (RuntimeError, GeneratorExit):
        pass  # an `__aexit__` that awaits; nobody drives it any more
    finally:
        _discarding = False


# ── attributes ───────────────────────────────────────────────────────────────────────────────────

_CLOCKS: Final = frozenset({"now", "today", "utcnow", "fromtimestamp", "utcfromtimestamp"})


def _refuse(name: str, why: str, fix: str = STEP_FIX) -> NoReturn:
    frame = sys._getframe(2)
    raise SandboxViolation(
        f"`.{name}` can't be used here.",
        where=f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_qualname}",
        why=why,
        fix=fix,
    )


def watched(holder: Any, name: str) -> Any:
    """Read an attribute whose name is harmless on most objects and not on some."""
    subject = getattr(holder, "__self__", holder) if type(holder) is super else holder
    kind = type(subject)
    if name in vocabulary.READABLE_SPECIALS:
        return _special(holder, name)
    if name == "obj" and isinstance(subject, BaseException):
        _refuse(name, "it leads to the object that lacks an attribute, past the checks")
    if isinstance(subject, str) or (isinstance(subject, type) and issubclass(subject, str)):
        if name not in ("format", "format_map"):
            return getattr(holder, name)
        return formatting.format_method(subject, name, read_for_format)
    if isinstance(subject, datetime.datetime) and name in METHODS:
        return functools.partial(METHODS[name], subject)
    if name == "register" and isinstance(subject, type):
        _refuse(name, "it changes what isinstance says, for all runs", "define a class of your own")
    is_date = issubclass(kind, datetime.date) or (isinstance(subject, type) and issubclass(subject, datetime.date))
    if is_date and name in _CLOCKS:
        owner = subject if isinstance(subject, type) else kind
        real = datetime.datetime if issubclass(owner, datetime.datetime) else datetime.date
        return getattr(libraries.resolve_object(real), name)
    value = getattr(holder, name)
    if isinstance(value, types.ModuleType):
        _refuse(name, "it leads to a module past the checks", "import the module by name")
    return value


def read_for_format(holder: object, name: str) -> object:
    """Read an attribute for a field of a format string, where only plain names are let through."""
    if name in vocabulary.DENIED_ATTRIBUTES or name.startswith("_"):
        _refuse(name, "a format string would read it past the checks", "pass the value itself as an argument")
    return watched(holder, name) if name in vocabulary.WATCHED_ATTRIBUTES else getattr(holder, name)


def _special(holder: Any, name: str) -> Any:
    if name == "__class__":
        return class_of(holder)
    value = getattr(holder, name)
    if name in ("__name__", "__qualname__", "__doc__"):
        harmless = value is None or isinstance(value, str)
    elif name in ("__cause__", "__context__"):
        harmless = value is None or isinstance(value, BaseException)
    elif name == "__members__":
        harmless = isinstance(value, types.MappingProxyType)
    else:
        harmless = isinstance(value, list | bool)
    if not harmless:
        _refuse(name, "it leads into the interpreter")
    return value


def class_of(value: Any) -> type:
    """Give a value's class, but never a metaclass: that one makes and opens classes."""
    kind = type(value)
    if issubclass(kind, type):
        _refuse("__class__", "the class of a class leads into the interpreter", "compare classes themselves")
    given = libraries.resolve_object(kind)
    return given if isinstance(given, type) else kind


_private: dict[tuple[type, str], bool] = {}


def private(holder: Any, name: str) -> Any:
    """Read `_x`: only what classes of the author's define, never the insides of a library's objects."""
    check_private(holder, name)
    return getattr(holder, name)


def check_private(holder: Any, name: str) -> None:
    """Refuse a private name that is not the author's own."""
    subject = getattr(holder, "__self__", holder) if type(holder) is super else holder
    kind = subject if isinstance(subject, type) else type(subject)
    if kind is UserModule and not name.startswith("_UserModule__"):
        return  # a name of the author's own module
    known = _private.get((kind, name))
    if known is None:
        known = _private[kind, name] = _is_private_to_author(kind, name)
    if not known:
        owner = f"{kind.__module__}.{kind.__qualname__}"
        _refuse(name, f"`{name}` is private to {owner}, which is not yours", "use its public attributes")


def _is_private_to_author(kind: type, name: str) -> bool:
    if issubclass(kind, enum.Enum) and name.endswith("_"):
        return False  # the machinery keeps its tables in the author's class
    for base in kind.__mro__:
        if name in vars(base):
            return values.is_user_class(base)
    # An attribute of instances, or none at all: somebody in the class's line must be the author's.
    return any(values.is_user_class(base) for base in kind.__mro__)


def base(kind: Any) -> Any:
    """Guard a base of a class in a body."""
    module = getattr(kind, "__module__", "")
    if isinstance(kind, type) and (kind.__name__ == "BaseModel" and module.startswith("pydantic")):
        _refuse(
            "BaseModel",
            "pydantic evaluates annotations and keeps every model for ever",
            "define the model at the top of the module, or use @dataclass",
        )
    if isinstance(kind, type) and issubclass(kind, type):
        _refuse(kind.__name__, "a metaclass leads into the interpreter", "use an ordinary class")
    return kind


GUARDS: Final[dict[str, Callable[..., Any] | Any]] = {
    "%compress": compress,
    "%next": next,
    "%fuel": fuel.FUEL,
    "%ordered": ordered,
    "%each": each,
    "%caught": caught,
    "%finally": finally_,
    "%too_deep": too_deep,
    "%RecursionError": RecursionError,
    "%getattr": watched,
    "%private": private,
    "%base": base,
    "%object": object,
}
