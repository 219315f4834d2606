"""What classes of the author's share between runs: containers that are attributes of a class, and defaults of fields
that are made natively, from the real clock or from entropy, whenever a body makes an instance.

This file knows classes as values, and where they are written. It must not know what reached them.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from perdure.sandbox import libraries, values, vocabulary
from perdure.sandbox.judgement import Judgement
from perdure.sandbox.source import SourceFile, source_file


class Shared(NamedTuple):
    """A container that all runs share through a class, and where it is written."""

    file: SourceFile
    node: ast.stmt
    judgement: Judgement


def shared_containers(kind: type, mentioned: set[str]) -> Iterator[Shared]:
    """Go through the containers of a class that some code of the body reads by name."""
    for name, value in list(vars(kind).items()):
        if name in mentioned and values.is_mutable(value) and name != "model_config":
            found = _written(kind, name)
            if found is not None:
                yield Shared(*found, _shared(f"{kind.__name__}.{name}"))


def _shared(shown: str) -> Judgement:
    return Judgement(
        "mutable-class-attribute",
        f"{shown} is a mutable object of the class: all runs share it, and a replay finds it changed",
        "make it a constant (a tuple, a frozenset, types.MappingProxyType({…})), or set it on the instance",
        certain=False,
    )


def _written(kind: type, name: str) -> tuple[SourceFile, ast.stmt] | None:
    module = sys.modules.get(kind.__module__)
    filename = getattr(module, "__file__", None)
    file = source_file(filename, vars(module)) if module is not None and filename else None
    if file is None:
        return None
    for node, qualname in file.qualnames.items():
        if isinstance(node, ast.ClassDef) and qualname == kind.__qualname__:
            for statement in node.body:
                targets = statement.targets if isinstance(statement, ast.Assign) else []
                if isinstance(statement, ast.AnnAssign):
                    targets = [statement.target]
                if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    return file, statement
    return None


# ── defaults of fields ───────────────────────────────────────────────────────────────────────────


def default_factories(kind: type, call: ast.Call | None) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Go through the fields that a call leaves to a factory: name and factory. An unknown call leaves none."""
    if call is None or any(isinstance(argument, ast.Starred) for argument in call.args):
        return
    given = {keyword.arg for keyword in call.keywords}
    if None in given:  # **values
        return
    fields = _factories(kind)
    given.update([name for name, _, positional in fields if positional][: len(call.args)])
    for name, factory, _ in fields:
        if factory is not None and name not in given:
            yield name, factory


def _factories(kind: type) -> list[tuple[str, Callable[..., Any] | None, bool]]:
    """List the fields of a class: name, factory, and whether a call may give it by its place."""
    models: dict[str, Any] | None = getattr(kind, "__pydantic_fields__", None)
    if isinstance(models, dict):
        return [(name, field.default_factory, True) for name, field in models.items()]  # of a RootModel: the only one
    if dataclasses.is_dataclass(kind):
        return [
            (
                field.name,
                None if field.default_factory is dataclasses.MISSING else field.default_factory,
                field.init and not field.kw_only,  # one that no call gives is made all the same
            )
            for field in dataclasses.fields(kind)
        ]
    return []


def validators(kind: type) -> Iterator[FunctionType]:
    """Go through the functions of the author's that pydantic calls whenever an instance of a model is made."""
    decorated = getattr(kind, "__pydantic_decorators__", None)
    for group in ("validators", "field_validators", "root_validators", "model_validators"):
        for each in getattr(decorated, group, {}).values():
            function = getattr(each.func, "__func__", each.func)
            if is_authors(function):
                yield function


def native_defaults(kind: type, factories: Mapping[str, Callable[..., Any]]) -> Judgement | None:
    """Judge factories that are not the author's, by field; None when they give the same on every replay."""
    made = {name: certain for name, each in factories.items() if (certain := _is_native(each)) is not None}
    if not made:
        return None
    shown = " and ".join(
        f"{kind.__name__}.{name} by {getattr(factories[name], '__qualname__', repr(factories[name]))}" for name in made
    )
    return Judgement(
        "native-default",
        f"{shown} would be the real one here: nothing stands in for a field's default, and a replay gets another one",
        f"give {' and '.join(made)} in the call, with a value that the body made",
        certain=any(made.values()),
    )


def _is_native(factory: Callable[..., Any]) -> bool | None:
    """Tell whether a factory is another thing in a body, True: for certain; None when it is the same."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    if isinstance(factory, type) and values.is_user_class(factory):
        return None
    owner = getattr(factory, "__self__", None)
    if isinstance(owner, type) and getattr(factory, "__name__", "") in vocabulary.WATCHED_ATTRIBUTES:
        return True  # datetime.now
    resolved = libraries.resolve_object(factory)
    if resolved is factory or (isinstance(factory, type) and resolved is not None):
        return None
    return resolved is not None


def is_authors(factory: object) -> bool:
    """Tell whether a factory is a function of the author's, which can be looked into."""
    return isinstance(factory, FunctionType) and values.is_user_function(factory)
