"""`load`: a whole source text in the sandbox, for tools and for anyone who wants to try what gets through.

This file knows how a text becomes a module-like object. It must not know the policy.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
from collections.abc import Callable, Coroutine, Iterator
from types import FunctionType
from typing import Any

from perdure.sandbox import activation, compiler, fuel, judgement, values
from perdure.sandbox.checking import Site
from perdure.sandbox.findings import Finding, finding_at, in_order, tell
from perdure.sandbox.fixed import FixedEnvironment
from perdure.sandbox.policy import Policy
from perdure.sandbox.reach import Realm
from perdure.sandbox.scopes import bound_names


class LoadedModule:
    """What `load` gives: the names of the text as attributes. Functions run in the sandbox."""

    def __init__(self, name: str, namespace: dict[str, Any], environment: FixedEnvironment) -> None:
        self.__dict__.update(
            {key: value for key, value in namespace.items() if not key.startswith("%") and key != "__builtins__"}
        )
        for key, value in namespace.items():
            if isinstance(value, FunctionType) and values.is_restricted(value):
                self.__dict__[key] = _entrance(value, environment)
        self.__name__ = name

    def __repr__(self) -> str:
        return f"<module {self.__name__!r} in the sandbox>"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def load(source: str, *, filename: str = "<body>") -> LoadedModule:
    """Compile and run a source text under the policy, its module level included.

    Functions of the result enter the sandbox when they are called from outside, in a small fixed world (`fixed.py`); a
    coroutine function's coroutine runs to its end there as soon as it is awaited, on any event loop.

    Raises:
        PolicyViolation: with all findings, in line order.
        SyntaxError: it is not Python.
    """
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    tree = ast.parse(source, filename)
    lines = source.splitlines()
    aliases = _aliases(tree)
    bound = bound_names(tree)
    policy = Policy(Site(file=filename, lines=lines, function=filename, is_module=True))
    policy.visit(tree)
    findings = [*policy.findings, *_judged(policy, aliases, bound, filename, lines)]
    tell(in_order(findings), strict=True, name=filename)
    code = compiler.compile_module(tree, filename=filename)
    realm = Realm(strict=True)
    # A name that no real module can have, so that its classes are told apart from a library's.
    name = filename if filename.startswith("<") else f"<{filename}>"
    values.add_loaded(name)
    namespace: dict[str, Any] = {"__name__": name}
    restricted = realm.namespace(namespace)
    environment = FixedEnvironment(source)
    # A function of the module's code, made out here: inside, the audit hook refuses `exec` and new functions.
    _inside(environment, FunctionType(code, restricted))
    return LoadedModule(name, restricted, environment)


def _aliases(tree: ast.Module) -> dict[str, str]:
    """Map the names that imports bind anywhere in the text to what they stand for."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return aliases


def _judged(
    policy: Policy, aliases: dict[str, str], bound: set[str], filename: str, lines: list[str]
) -> Iterator[Finding]:
    """Judge the names that the text uses and does not define."""
    places: list[tuple[ast.AST, judgement.Judgement]] = []
    for module, member, statement in policy.imports:
        places += [(statement, found) for found in judgement.of_import(module, member, {})]
    for reference in policy.references:
        if reference.name in aliases:
            dotted = ".".join((aliases[reference.name], *reference.chain))
            places += [(reference.node, found) for found in judgement.of_dotted(reference.dotted, dotted)]
        elif reference.name not in bound and judgement.is_builtin(reference.name):
            places += [(reference.node, found) for found in judgement.of_builtin(reference.name)]
    for node, found in places:
        yield finding_at(
            node, lines, file=filename, rule=found.rule, message=found.message, fix=found.fix, certain=found.certain,
            function=filename,
        )  # fmt: skip


# ── entering from outside ────────────────────────────────────────────────────────────────────────


def _inside(environment: FixedEnvironment, call: Callable[[], Any]) -> Any:
    """Make a call in the sandbox; within one already, it is a plain call."""
    if activation.current() is not None:
        return call()
    with activation.activation(environment):
        fuel.refill(environment.max_ops)
        try:
            return call()
        except RecursionError as error:
            raise fuel.too_deep(error) from None


def _entrance(function: FunctionType, environment: FixedEnvironment) -> Callable[..., Any]:
    """Wrap a function so that calling it from outside enters the sandbox."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def enter_coroutine(*args: Any, **kwargs: Any) -> Any:
            if activation.current() is not None:
                return await function(*args, **kwargs)
            coroutine: Coroutine[Any, Any, Any] = function(*args, **kwargs)
            return _inside(environment, functools.partial(environment.loop.run, coroutine))

        return enter_coroutine
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def enter_async_generator(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            while True:
                try:
                    yield _inside(environment, lambda: environment.loop.run(_next_of(generator)))
                except StopAsyncIteration:
                    return

        return enter_async_generator
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def enter_generator(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            ended = object()
            while (item := _inside(environment, lambda: next(generator, ended))) is not ended:
                yield item

        return enter_generator

    @functools.wraps(function)
    def enter(*args: Any, **kwargs: Any) -> Any:
        return _inside(environment, functools.partial(function, *args, **kwargs))

    return enter


async def _next_of(generator: Any) -> Any:
    return await anext(generator)
