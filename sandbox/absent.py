"""What recorded code needs of today's modules and does not find there any more.

Two kinds of names are told apart. What the body only hands to steps, or calls and awaits at once, is a step: a stand-in
can take its place, because a replay asks for its name and arguments and never calls it. Anything else (a class, a
constant, a library) is needed as soon as the body runs.

This file knows names and where they are read. It must not know what stands in for them, nor who asked.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from perdure.errors import DefinitionError
from perdure.sandbox import judgement, values
from perdure.sandbox.checking import Members
from perdure.sandbox.reach import HANDED, Realm, global_names
from perdure.sandbox.source import Source
from perdure.sandbox.survey import Survey, Unit, checked

_ALWAYS_THERE = frozenset({"__name__", "__builtins__", "__package__"})


class Absent(NamedTuple):
    """A name that is not there."""

    module: str
    name: str
    is_step: bool  # nothing but a step can be meant, and no call of it is needed to replay


def settle(realm: Realm, survey: Survey, sources: Sequence[Source], stand_in: Callable[[str, str], Any] | None) -> None:
    """Put stand-ins in the place of steps that are gone, and refuse a closure that misses anything else.

    Args:
        stand_in: makes what a body holds instead of a step, from module and name; None refuses those too.

    Raises:
        DefinitionError: names every name that is missed.
    """
    absent = sorted({*_globals(realm, survey), *_members(sources), *_of_modules(survey)})
    missed = [each for each in absent if not each.is_step or stand_in is None]
    if missed:
        raise _refusal(missed, sources)
    if stand_in is None or not absent:
        return
    for each in absent:
        realm.stand_ins[each.module, each.name] = stand_in(each.module, each.name)
    for unit in survey.units:
        function = unit.plain()
        if unit.kind != "native" and function is not None:
            realm.bind(realm.twin(function).__code__, function.__globals__)


def lacking(function: object) -> str:
    """Name the first global that a plain function reads and that its module has no more; empty when it has all.

    A step that is a lambda of a recorded body is one: its code is recorded, what it calls is today's.
    """
    if not isinstance(function, FunctionType):
        return ""
    real = function.__globals__
    missing = (name for name in global_names(function.__code__) if name not in real and not hasattr(builtins, name))
    return next((name for name in missing if name not in _ALWAYS_THERE), "")


def _globals(realm: Realm, survey: Survey) -> Iterator[Absent]:
    for unit in survey.units:
        function = unit.plain()
        if unit.kind == "native" or function is None:
            continue
        pinned = realm.overlay.get(unit.module, {})
        for text in global_names(realm.twin(function).__code__):
            name = text.removeprefix(HANDED)
            if name in pinned or name in unit.namespace or hasattr(builtins, name) or name in _ALWAYS_THERE:
                continue
            others = (each for each in survey.units if each.module == unit.module and _is_read(each, name))
            yield Absent(unit.module, name, text != name or all(_only_awaited(each.node, name) for each in others))


def _is_read(unit: Unit, name: str) -> bool:
    """Whether a function itself reads a name, and does not just hand it, or a lambda over it, to steps."""
    policy, _ = checked(unit, Members())
    return any(each.name == name and each.usage != "step" for each in policy.references)


def _only_awaited(node: ast.AST, name: str) -> bool:
    """Whether every use of a name is `await name(…)`: what the sandbox lets a body await so is a step."""
    awaited = {
        id(part.value.func)
        for part in ast.walk(node)
        if isinstance(part, ast.Await) and isinstance(part.value, ast.Call)
    }
    uses = (part for part in ast.walk(node) if isinstance(part, ast.Name) and part.id == name)
    return all(id(part) in awaited for part in uses)


def _members(sources: Sequence[Source]) -> Iterator[Absent]:
    """Methods whose class, or whose place in it, is gone: a call of them is looked up in today's class."""
    for source in sources:
        owner_name, _, member = source.qualname.rpartition(".")
        if not owner_name or "<" in source.qualname:
            continue
        owner: object = sys.modules.get(source.module)
        for part in owner_name.split("."):
            owner = getattr(owner, part, None)
        if not isinstance(owner, type):
            yield Absent(source.module, owner_name, False)
        elif not hasattr(owner, member):
            yield Absent(source.module, source.qualname, False)


def _of_modules(survey: Survey) -> Iterator[Absent]:
    """What is read from the author's modules by attribute, or imported inside a body."""
    for unit in survey.units:
        policy, _ = checked(unit, Members())
        for reference in policy.references:
            _, value = survey.lookup(unit, reference)
            if reference.chain and isinstance(value, ModuleType) and values.is_user_module(value):
                name = reference.chain[0]
                if not hasattr(value, name) and judgement.loaded(f"{value.__name__}.{name}", "") is None:
                    yield Absent(value.__name__, name, False)
        for name, member, _ in policy.imports:
            found = judgement.import_real(name, unit.namespace)
            if found is None:
                yield Absent(name, "", False)
            elif member and not hasattr(found, member) and judgement.import_real(f"{name}.{member}", {}) is None:
                yield Absent(found.__name__, member, False)


def _refusal(missed: Sequence[Absent], sources: Sequence[Source]) -> DefinitionError:
    shown = [f"{each.name} of module {each.module}" if each.name else f"module {each.module}" for each in missed]
    body = sources[0]
    return DefinitionError(
        f"the recorded code of {body.qualname} needs {', '.join(shown)}, which today's code has no more.",
        where=f"{body.file}:{body.line}",
        why="the body is the recorded one; its steps, models and constants are those of today's modules",
        fix=f"bring back {'the name' if len(missed) == 1 else 'the names'} (an alias of what replaced it will do), "
        "and start the runtime again",
    )
