"""What a body gets for a library: the thing itself, a stand-in, or a refusal with its reason.

`resolve` answers for modules, `resolve_object` for what was imported from them; both give None for what is refused or
unvouched, and `refusal` says why. Facades are made once per process, when first asked for.

This file knows how to look things up. What is allowed is in `allow_list`, what is refused in `refusals`.
"""

from __future__ import annotations

import builtins
import datetime as real_datetime
import decimal
import enum
import fractions
import functools
import io
import ipaddress
import logging
import operator
import os
import pathlib
import random as real_random
import re
import struct
import sys
import types
import uuid as real_uuid
import zoneinfo as real_zoneinfo
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Final

from perdure.sandbox import allow_list, formatting, refusals
from perdure.sandbox.activation import suspended
from perdure.sandbox.refusals import Refusal
from perdure.sandbox.sets import OrderedFrozenSet, OrderedSet
from perdure.sandbox.stand_ins import asyncio, datetime, decorating, random, template, time, uuid, zoneinfo
from perdure.sandbox.stand_ins.facade import Facade
from perdure.sandbox.stand_ins.hashing import stable_hash
from perdure.sandbox.stand_ins.printing import print_line

__all__ = ["Refusal", "allow", "refusal", "resolve", "resolve_leniently", "resolve_object", "static_refusal"]

_STAND_INS: Final[Mapping[str, Mapping[str, object]]] = {
    **decorating.STAND_INS,
    "asyncio": asyncio.STAND_INS,
    "datetime": {"date": datetime.date, "datetime": datetime.datetime},
    "operator": {"mod": formatting.percent, "imod": formatting.percent},
    "random": random.STAND_INS,
    "string": template.STAND_INS,
    "time": {function.__name__: function for function in time.STAND_INS},
    "uuid": {function.__name__: function for function in uuid.STAND_INS},
    "zoneinfo": zoneinfo.STAND_INS,
}

_BUILTIN_STAND_INS: Final[Mapping[str, object]] = {
    "ascii": formatting.ascii_representation,
    "format": formatting.formatted,
    "frozenset": OrderedFrozenSet,
    "hash": stable_hash,
    "print": print_line,
    "repr": formatting.representation,
    "set": OrderedSet,
}

#: The standard library's modules whose real name is another one, as `sys.modules` shows.
_ALIASES: Final = {"posixpath": "os.path", "ntpath": "os.path"}

_TYPING: Final = (types.GenericAlias, types.UnionType)
#: Instances of these can't change, so that one of the module serves all runs.
_CONSTANTS: Final = (
    decimal.Decimal, fractions.Fraction, real_datetime.date, real_datetime.time, real_datetime.timedelta,
    real_datetime.timezone, real_zoneinfo.ZoneInfo, real_uuid.UUID, re.Pattern, struct.Struct, operator.itemgetter,
    ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network,
    type(Ellipsis), type(NotImplemented),
)  # fmt: skip
_PRIMITIVE: Final = (int, float, complex, str, bytes, type(None), enum.Enum, range)
_METHODS: Final = (types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType)

_facades: dict[str, Facade] = {}
_known: dict[int, tuple[object, object]] = {}  # by identity: the real thing, and what a body gets for it
_indexed: set[str] = set()
_vouched: set[str] = set()


def allow(module_name: str) -> None:
    """Vouch for a library and its submodules: a body then may use them as they are.

    Raises:
        ValueError: the library is refused for a certain reason, which no vouching changes.
    """
    refused = refusals.named(module_name)
    if refused is not None and refused.certain:
        raise ValueError(f"{module_name} can't be vouched for: {refused.why}; {refused.fix}")
    _vouched.add(module_name)


def disallow(module_name: str) -> None:
    """Take back `allow`, for code that is linked from now on."""
    _vouched.discard(module_name)


# ── modules ──────────────────────────────────────────────────────────────────────────────────────


def resolve(module: ModuleType) -> object | None:
    """Give what a body gets for a module: a facade, or None when the module is refused or nobody vouched for it."""
    name = module.__name__
    name = _ALIASES.get(name, name)
    if name in allow_list.WHOLE or name in allow_list.MEMBERS or name in allow_list.PARENTS:
        return _facade(name, module)
    if _is_vouched(name):
        return _open_facade(name, module)
    return None


def _facade(name: str, module: ModuleType) -> Facade:
    found = _facades.get(name)
    if found is None:
        late = functools.partial(_late, name, module)
        found = _facades[name] = Facade(name, dict(_members(name, module)), late)
    return found


def _late(name: str, module: ModuleType, member: str) -> object | None:
    """Find a member that a facade does not hold: a submodule that was imported since, or a part of Perdure."""
    with suspended():  # Perdure imports its own parts when they are first asked for
        value = getattr(module, member, None)
    if isinstance(value, ModuleType):
        return resolve(value) if _canonical(value).startswith(f"{name}.") else None
    return resolve_object(value) if name == "perdure" and value is not None else None


def _canonical(module: ModuleType) -> str:
    return _ALIASES.get(module.__name__, module.__name__)


def resolve_leniently(module: ModuleType) -> object | None:
    """Give a facade for a module that nobody vouched for, where that is only a suspicion; None when it is refused.

    What it re-exports keeps its own verdict: modules and refused functions behind it stay out of reach.
    """
    found = resolve(module)
    if found is not None:
        return found
    refused = refusal(module)
    return None if refused is not None and refused.certain else _open_facade(module.__name__, module)


def _open_facade(name: str, module: ModuleType) -> Facade:
    """Make a facade with every member of a module whose own verdict is not a certain refusal."""
    found = _facades.get(name)
    if found is None:
        found = _facades[name] = Facade(name, {}, functools.partial(_open_member, module))
    return found


def _open_member(module: ModuleType, member: str) -> object | None:
    value = getattr(module, member, None)
    if isinstance(value, ModuleType):
        return resolve(value) or (_open_facade(value.__name__, value) if _same_root(module, value) else None)
    resolved = resolve_object(value)
    if resolved is not None:
        return resolved
    refused = refusal(value)
    if refused is not None and refused.certain:
        raise refused.error()
    return value


def _same_root(module: ModuleType, other: ModuleType) -> bool:
    return module.__name__.partition(".")[0] == other.__name__.partition(".")[0]


def _is_vouched(name: str) -> bool:
    while name:
        if name in _vouched:
            return True
        name = name.rpartition(".")[0]
    return False


def _members(name: str, module: ModuleType) -> Iterator[tuple[str, object]]:
    """Go through the members of an allowed module, as a body gets them."""
    stand_ins = _STAND_INS.get(name, {})
    for member in _listed(name, module):
        value = getattr(module, member, None)
        if value is not None and member not in stand_ins:
            yield member, value
    yield from stand_ins.items()


def _listed(name: str, module: ModuleType) -> list[str]:
    if name == "asyncio":
        return list(asyncio.HARMLESS)
    if name in allow_list.WHOLE:
        without = allow_list.WHOLE[name].split()
        public = getattr(module, "__all__", None)
        if public is None:
            public = [each for each, value in vars(module).items() if not isinstance(value, ModuleType)]
        return [each for each in public if each not in without and not each.startswith("_")]
    return allow_list.MEMBERS.get(name, "").split()


# ── objects ──────────────────────────────────────────────────────────────────────────────────────


def resolve_object(value: object) -> object | None:
    """Give what a body gets for an object that it names: the object, its stand-in, or None when it is refused."""
    if isinstance(value, _PRIMITIVE):
        return value
    if isinstance(value, ModuleType):
        return resolve(value)
    known = _look_up(value)
    if known is not None:
        return known
    if isinstance(value, _METHODS) and not isinstance(value.__self__, ModuleType | type(None)):
        return _resolve_method(value)
    if isinstance(value, types.MethodDescriptorType):  # such as str.upper
        return value if _look_up(value.__objclass__) is value.__objclass__ and value.__name__[:6] != "format" else None
    if isinstance(value, functools.partial):
        function = resolve_object(value.func)
        if not callable(function):
            return None
        return value if function is value.func else functools.partial(function, *value.args, **value.keywords)
    return value if _is_harmless(value) else None


def _look_up(value: object) -> object | None:
    found = _known.get(id(value))
    if found is None:
        with suspended():  # packages with lazy members import them now, whoever asks first
            _index_imported()
        found = _known.get(id(value))
    return found[1] if found is not None and found[0] is value else None


def _index_imported() -> None:
    """Note the members of allowed modules that were imported since the last time."""
    for names in (allow_list.WHOLE, allow_list.MEMBERS, allow_list.PARENTS):
        for name in names:
            module = sys.modules.get(name)
            if module is None or name in _indexed:
                continue
            _indexed.add(name)
            for member, given in _members(name, module):
                _note(getattr(module, member, given), given)
    if "builtins" not in _indexed:
        _indexed.add("builtins")
        for name in allow_list.BUILTINS.split():
            _note(getattr(builtins, name), _BUILTIN_STAND_INS.get(name, getattr(builtins, name)))


def _note(real: object, given: object) -> None:
    if not isinstance(real, _PRIMITIVE):
        _known.setdefault(id(real), (real, given))
        _known.setdefault(id(given), (given, given))


def _resolve_method(method: Any) -> object | None:
    """Resolve a bound method by what it is bound to: `now = datetime.now` is the stand-in's."""
    owner = method.__self__
    name = method.__name__
    if isinstance(owner, str) and name in ("format", "format_map"):
        return None  # only the guard knows how to read the fields
    given = resolve_object(owner)
    if given is None:
        return None
    return method if given is owner else getattr(given, name, None)


def _is_harmless(value: object) -> bool:
    kind = value if isinstance(value, type) else type(value)
    module = kind.__module__
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType):
        module = value.__module__ or ""
    if getattr(type(value), "__perdure_opaque__", False):
        return True
    if isinstance(value, _TYPING) or (type(value).__module__ == "typing" and not isinstance(value, type)):
        return True
    if module.partition(".")[0] == "perdure":
        return any(module == each or module.startswith(f"{each}.") for each in allow_list.OWN_MODULES)
    if _is_vouched(module):
        return True
    if isinstance(value, type):
        return issubclass(value, BaseException) and module == "builtins"
    return type(value) in _CONSTANTS


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────


def refusal(value: object) -> Refusal | None:
    """Say why a body can't have a module or an object; None when it can."""
    if value is None:
        return None
    if isinstance(value, ModuleType):
        if resolve(value) is not None:
            return None
        return refusals.named(value.__name__) or refusals.unvouched(value.__name__)
    if resolve_object(value) is not None:
        return None
    for kind, name in _INSTANCES:
        if isinstance(value, kind):
            return refusals.named(name)
    dotted = "os.environ" if value is os.environ else _dotted(value)
    return refusals.named(dotted) or refusals.unvouched(dotted)


#: Objects whose type is refused under another name, or only where the object is shared.
_INSTANCES: Final[tuple[tuple[type, str], ...]] = (
    (real_random.SystemRandom, "random.SystemRandom"),
    (real_random.Random, "random.Random()"),
    (pathlib.Path, "pathlib.Path"),
    (io.IOBase, "open"),
    (logging.Logger, "logging.Logger"),
)


def _dotted(value: object) -> str:
    """Name an object as people would: by its public module."""
    if isinstance(value, functools.partial):
        return _dotted(value.func)
    owner = getattr(value, "__self__", None)
    if isinstance(value, _METHODS) and owner is not None and not isinstance(owner, ModuleType):
        return f"{_dotted(owner)}.{value.__name__}"
    named = value if hasattr(value, "__qualname__") else type(value)
    module = getattr(named, "__module__", None) or "builtins"
    qualname = getattr(named, "__qualname__", "")
    for public in _PUBLIC_NAMES.get(module, ()):
        holder = sys.modules.get(public)
        if holder is not None and getattr(holder, qualname, None) is value:
            module = public
            break
    return qualname if module == "builtins" else f"{module}.{qualname}"


#: Where people find what a private module defines.
_PUBLIC_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "_io": ("builtins", "io"),
    "_operator": ("operator",),
    "_socket": ("socket",),
    "_thread": ("threading", "_thread"),
    "_functools": ("functools",),
    "nt": ("os",),
    "posix": ("os",),
    "os": ("os",),
    "io": ("builtins", "io"),
    "asyncio.runners": ("asyncio",),
    "asyncio.events": ("asyncio",),
    "asyncio.threads": ("asyncio",),
    "asyncio.streams": ("asyncio",),
    "asyncio.subprocess": ("asyncio",),
    "asyncio.tasks": ("asyncio",),
    "_asyncio": ("asyncio",),
    "pathlib._local": ("pathlib",),
    "genericpath": ("os.path",),
    "posixpath": ("os.path",),
    "ntpath": ("os.path",),
    "pydantic.main": ("pydantic",),
    "pydantic.type_adapter": ("pydantic",),
    "pydantic.validate_call_decorator": ("pydantic",),
    "pydantic.deprecated.tools": ("pydantic",),
    "pydantic.types": ("pydantic",),
    "perdure.engine.current_step": ("perdure",),
    "perdure.client.runtime": ("perdure",),
}


def static_refusal(dotted: str) -> Refusal | None:
    """Say why a body can't have what a dotted name stands for, as far as the name alone tells; else None.

    A name of which nothing is known here gives None: whether somebody vouched for it shows when it is resolved.
    """
    name, _, member = dotted.rpartition(".")
    while name:
        if name in _STAND_INS and member in _STAND_INS[name]:
            return None
        if member in allow_list.MEMBERS.get(name, "").split() or (name == "asyncio" and member in asyncio.HARMLESS):
            return None
        name, _, member = name.rpartition(".")
    if dotted in allow_list.MEMBERS or dotted in allow_list.WHOLE or dotted in allow_list.PARENTS:
        return None
    found = refusals.named(dotted)
    if found is not None or _is_vouched(dotted):
        return found
    module, _, member = dotted.rpartition(".")
    if module in allow_list.MEMBERS and sys.modules.get(module) is not None:
        submodule = f"{module}.{member}" in allow_list.MEMBERS or f"{module}.{member}" in allow_list.WHOLE
        return None if submodule else refusals.unvouched(dotted)
    return None
