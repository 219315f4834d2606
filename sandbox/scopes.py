"""Which names a function binds itself: the scoping rules of Python over an `ast`, as far as the policy needs them.

`symtable` knows the same, but its tables can't be matched to nodes without guessing.

This file knows scoping. It must not know what is allowed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
DefNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
ComprehensionNode: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
DEFS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def parameters(arguments: ast.arguments) -> list[ast.arg]:
    """List all parameters in the order of the signature."""
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return named + [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]


def bound_names(scope: ast.AST) -> set[str]:
    """Collect the names that are local to a function, lambda, class body or module."""
    bound: set[str] = set()
    elsewhere: set[str] = set()  # global and nonlocal
    if isinstance(scope, FUNCTIONS):
        bound.update(parameter.arg for parameter in parameters(scope.args))
    body = [scope.body] if isinstance(scope, ast.Lambda) else getattr(scope, "body", [])
    for node in body:
        _collect(node, bound, elsewhere)
    return bound - elsewhere


def comprehension_names(node: ComprehensionNode) -> set[str]:
    """Collect the targets of a comprehension, which live in its own scope."""
    return {
        part.id
        for generator in node.generators
        for part in ast.walk(generator.target)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    }


def _collect(node: ast.AST, bound: set[str], elsewhere: set[str]) -> None:
    if isinstance(node, ast.Global | ast.Nonlocal):
        elsewhere.update(node.names)
    elif isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
    elif isinstance(node, ast.Import | ast.ImportFrom):
        bound.update((alias.asname or alias.name.partition(".")[0]) for alias in node.names)
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        bound.add(node.name)
    elif isinstance(node, ast.MatchMapping) and node.rest:
        bound.add(node.rest)
    elif isinstance(node, (*DEFS, ast.ClassDef)):
        bound.add(node.name)
    for child in _same_scope_children(node):
        _collect(child, bound, elsewhere)


def _same_scope_children(node: ast.AST) -> Iterator[ast.AST]:
    """Go through the children that are evaluated in the scope of the node itself."""
    if isinstance(node, FUNCTIONS):
        yield from node.args.defaults
        yield from (default for default in node.args.kw_defaults if default is not None)
        yield from getattr(node, "decorator_list", [])
    elif isinstance(node, ast.ClassDef):
        yield from node.decorator_list
        yield from node.bases
        yield from node.keywords
    elif isinstance(node, COMPREHENSIONS):
        # Only a walrus reaches out of a comprehension.
        for part in ast.walk(node):
            if isinstance(part, ast.NamedExpr):
                yield part.target
    else:
        yield from ast.iter_child_nodes(node)


def module_rebound_names(tree: ast.Module) -> set[str]:
    """Collect the module's names that some function declares `global`: they change while the program runs."""
    return {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
