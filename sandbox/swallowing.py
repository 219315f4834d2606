"""Handlers that swallow a cancellation: `except:` or `except BaseException:` around a wait, without raising it again.

A run that is asked to stop gets `CancelledError` where it waits. Such a handler makes it go on as if nobody had asked.
One that names `CancelledError` means it, and is left alone.

This file knows trees of handlers. It must not know what is awaited.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from perdure.sandbox.judgement import Judgement
from perdure.sandbox.scopes import FUNCTIONS, FunctionNode
from perdure.sandbox.step_positions import step_only_functions

SWALLOWS = Judgement(
    "swallows-cancellation",
    "this handler catches the cancellation of the run as well, and the run goes on as if nobody had asked it to stop",
    "end the handler with `raise`, catch `Exception` instead, or name asyncio.CancelledError in a handler of its own",
    certain=False,
)


def swallowing_handlers(function: FunctionNode, step_names: frozenset[str]) -> Iterator[ast.ExceptHandler]:
    """Go through the handlers of a function, and of those inside it, that swallow a cancellation.

    What is only handed to steps is no code of the body: a run's cancellation does not come there.
    """
    for node in _of_the_body(function, step_names):
        if isinstance(node, ast.Try) and _waits(node.body):
            for handler in node.handlers:
                names = _names(handler.type)
                if "CancelledError" in names:
                    break  # what comes after it never sees a cancellation
                if (handler.type is None or "BaseException" in names) and not _passes_on(handler):
                    yield handler


def _of_the_body(function: FunctionNode, step_names: frozenset[str]) -> Iterator[ast.AST]:
    """Go through a function and those inside it, but for those that run as steps."""
    pending: list[ast.AST] = [function]
    handed: set[ast.AST] = set()
    while pending:
        node = pending.pop()
        if node in handed:
            continue
        if isinstance(node, FUNCTIONS):
            handed |= step_only_functions(node, step_names)
        yield node
        pending.extend(reversed(list(ast.iter_child_nodes(node))))


def _names(kind: ast.expr | None) -> list[str]:
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return [each.id if isinstance(each, ast.Name) else getattr(each, "attr", "") for each in kinds]


def _waits(body: list[ast.stmt]) -> bool:
    return any(isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith) for node in _inside(body))


def _passes_on(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler raises, or keeps what it caught for somebody who may."""
    return any(
        isinstance(node, ast.Raise) or (isinstance(node, ast.Name) and node.id == handler.name)
        for node in _inside(handler.body)
    )


def _inside(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Go through statements and what is in them, not into functions that are only defined there."""
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, FUNCTIONS):
            pending.extend(ast.iter_child_nodes(node))
