"""Where in a body a callable is handed to a step: `step.run(name, HERE)`, `step.map(name, HERE, …)`, `on_error=HERE`.

What stands there runs outside, as a step: it is not the body's code, so the policy does not look into it.

This file knows the shapes of such calls. It must not know what is done with them.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from perdure.sandbox.scopes import DEFS, FunctionNode

RUNNERS = frozenset({"run", "map"})
CALLBACKS = frozenset({"on_error"})


def is_partial(node: ast.expr) -> bool:
    """Tell whether an expression is `partial(fn, …)` or `functools.partial(fn, …)`."""
    if not isinstance(node, ast.Call) or not node.args or isinstance(node.args[0], ast.Starred):
        return False
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    return name == "partial"


def step_callables(call: ast.Call, step_names: frozenset[str]) -> list[ast.expr]:
    """List the callables that a call hands to a step, in the order of evaluation."""
    function = call.func
    if not (
        isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id in step_names
    ):
        return []
    handed = [keyword.value for keyword in call.keywords if keyword.arg in CALLBACKS]
    if (
        function.attr in RUNNERS
        and len(call.args) > 1
        and not any(isinstance(argument, ast.Starred) for argument in call.args[:2])
    ):
        handed.insert(0, call.args[1])
    return handed


def _leaves(node: ast.expr) -> Iterator[ast.expr]:
    while is_partial(node):
        assert isinstance(node, ast.Call)
        node = node.args[0]
    yield node


def step_only_functions(function: FunctionNode, step_names: frozenset[str]) -> set[ast.AST]:
    """Find the local functions of a function whose every use is to be handed to a step."""
    if isinstance(function, ast.Lambda):
        return set()
    defined = [node for node in _own_statements(function.body) if isinstance(node, DEFS) and not node.decorator_list]
    if not defined:
        return set()
    handed: set[ast.AST] = set()
    uses: dict[str, list[ast.Name]] = {}
    bindings: Counter[str] = Counter()
    inside = {id(part): node.name for node in defined for part in ast.walk(node) if part is not node}
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            for callable_node in step_callables(node, step_names):
                handed.update(_leaves(callable_node))
        elif isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load):
                bindings[node.id] += 1
            elif inside.get(id(node)) != node.id:  # a function's call of itself says nothing
                uses.setdefault(node.id, []).append(node)
        elif isinstance(node, (*DEFS, ast.ClassDef)):
            bindings[node.name] += 1
        elif isinstance(node, ast.arg):
            bindings[node.arg] += 1
    return {
        node
        for node in defined
        if bindings[node.name] == 1 and uses.get(node.name) and all(use in handed for use in uses[node.name])
    }


def _own_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Go through the statements of one scope, not into the functions and classes that it defines."""
    pending: list[ast.AST] = list(reversed(body))
    while pending:
        node = pending.pop()
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, (*DEFS, ast.ClassDef, ast.Lambda)):
            pending.extend(ast.iter_child_nodes(node))
