"""Judgements on values and names that a body uses: what is refused, and what is merely suspicious.

This file knows which questions to ask `libraries`. It must not know trees beyond a module's assignments, nor findings.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, Final

from perdure.sandbox import libraries, values, vocabulary

LITERALS: Final = (bool, int, float, complex, str, bytes, tuple, type(None))
_MAKERS: Final = frozenset({"dict", "list", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict"})


@dataclass(frozen=True, slots=True)
class Judgement:
    """Why a value can't be used in a body, without a place."""

    rule: str
    message: str
    fix: str
    certain: bool = True


def mutable(name: str) -> Judgement:
    """Judge a container at module level."""
    return Judgement(
        "mutable-global",
        f"{name} is a mutable object of the module: all runs share it, and a replay finds it changed",
        "make it a constant (a tuple, a frozenset, types.MappingProxyType({…})), or pass it as input",
        certain=False,
    )


def mutable_default() -> Judgement:
    """Judge a container that a function of the module has for a default."""
    return Judgement(
        "mutable-global",
        "a mutable default is made once: all runs share it, and a replay finds it changed",
        "make the default None, and the container in the function",
        certain=False,
    )


def rebound(name: str) -> Judgement:
    """Judge a name that some function of the module assigns to."""
    return Judgement(
        "mutable-global",
        f"{name} is assigned to by a function of the module (`global {name}`): a replay may find another value",
        "make it a constant, or pass it as input",
        certain=False,
    )


def is_mutable_display(node: ast.expr | None) -> bool:
    """Tell whether an expression makes a mutable container."""
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        return name in _MAKERS
    return isinstance(node, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def is_called_natively(name: str, function: FunctionType | None) -> bool:
    """Tell whether the interpreter or pydantic calls a method by itself, so that the body can't be given another."""
    if vocabulary.is_special(name):
        return True
    return function is not None and any(
        hasattr(function, mark) for mark in ("decorator_info", "__pydantic_decorator__")
    )


def is_awaited(value: object) -> bool:
    """Tell whether calling a value in a body does nothing until the result is awaited."""
    if isinstance(value, FunctionType):
        return bool(value.__code__.co_flags & inspect.CO_COROUTINE)
    return values.is_opaque(value) and bool(getattr(type(value), "__perdure_awaited__", False))


def _refused(name: str, refusal: libraries.Refusal) -> Judgement:
    rule = "refused" if refusal.certain else "unvouched"
    return Judgement(rule, f"{name} can't be used in a body: {refusal.why}", refusal.fix, refusal.certain)


def refusal_of(value: object) -> libraries.Refusal | None:
    """Ask why a value is refused; None when it may be used."""
    if isinstance(value, ModuleType):
        return None if libraries.resolve(value) is not None else libraries.refusal(value)
    return None if libraries.resolve_object(value) is not None else libraries.refusal(value)


def of_builtin(name: str) -> Iterator[Judgement]:
    """Judge a builtin by name."""
    refusal = libraries.static_refusal(name)
    if refusal is not None:
        yield _refused(name, refusal)


def of_dotted(shown: str, dotted: str) -> Iterator[Judgement]:
    """Judge a dotted name by what is refused by name."""
    refusal = libraries.static_refusal(dotted)
    if refusal is not None:
        yield _refused(shown, refusal)


def of_value(name: str, value: object, chain: tuple[str, ...], *, native: bool) -> Iterator[Judgement]:
    """Judge what a name of the module stands for, and the attributes that are read from it."""
    if isinstance(value, ModuleType):
        yield from _of_module(name, value, chain, native=native)
    elif values.is_mutable(value):
        yield mutable(name)
    elif values.is_constant(value):
        return
    else:
        resolved = libraries.resolve_object(value)
        if resolved is None:
            refusal = libraries.refusal(value)
            if refusal is not None and (callable(value) or refusal.certain):
                yield _refused(name, refusal)
            else:
                yield mutable(name)
        elif native and resolved is not value:
            yield from _of_native_use(name, value, chain)


def _of_module(name: str, module: ModuleType, chain: tuple[str, ...], *, native: bool) -> Iterator[Judgement]:
    dotted = ".".join((module.__name__, *chain))
    shown = ".".join((name, *chain))
    refusal = libraries.static_refusal(dotted)
    if refusal is None and libraries.resolve(module) is None:
        refusal = libraries.refusal(module)
    if refusal is not None:
        yield _refused(shown, refusal)
        return
    if native:
        value: object = module
        for depth, attribute in enumerate(chain):
            value = getattr(value, attribute, None)
            if callable(value):
                resolved = libraries.resolve_object(value)
                if resolved is not None and resolved is not value:
                    yield from _of_native_use(shown, value, chain[depth + 1 :])
                return


def _of_native_use(name: str, value: object, chain: tuple[str, ...]) -> Iterator[Judgement]:
    """Judge the use of something that has a stand-in, in code that can't be given the stand-in."""
    if isinstance(value, type) and not (chain and chain[0] in vocabulary.WATCHED_ATTRIBUTES):
        return
    yield Judgement(
        "native-call",
        f"{'.'.join((name, *chain))} would be the real one here: the interpreter calls this method by itself",
        "take the value as an argument, and compute it in the body",
    )


def of_import(module: str, member: str, namespace: Mapping[str, Any]) -> Iterator[Judgement]:
    """Judge an import inside a body; the module is imported now, because a running body may not."""
    dotted = f"{module}.{member}" if member else module
    if not module.startswith("."):
        refusal = libraries.static_refusal(dotted)
        if refusal is not None:
            yield _refused(dotted, refusal)
            return
    found = import_real(module, namespace)
    if found is None:
        yield Judgement("import", f"there is no module {module}", "install it, or mend the name", certain=False)
    elif not values.is_user_module(found):
        value = getattr(found, member, None) if member else found
        refusal = refusal_of(value) if value is not None else None
        if refusal is not None:
            yield _refused(dotted, refusal)


def import_real(module: str, namespace: Mapping[str, Any]) -> ModuleType | None:
    """Import a module by absolute or relative name; None when there is none."""
    try:
        name = importlib.util.resolve_name(module, namespace.get("__package__") or "") if module[:1] == "." else module
        importlib.import_module(name)
    except ImportError:
        return None
    return sys.modules.get(name)


def is_builtin(name: str) -> bool:
    """Tell whether Python has a builtin of that name."""
    return hasattr(builtins, name)


def loaded(module: str, package: str) -> ModuleType | None:
    """Find a module that is imported already, by absolute or relative name."""
    name = importlib.util.resolve_name(module, package) if module.startswith(".") else module
    return sys.modules.get(name)
