"""Plain functions from a recorded source closure, so that they can be restricted like today's.

This file knows how text becomes functions in a module's namespace. It must not know the policy.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
import sys
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any

from perdure.errors import DefinitionError
from perdure.sandbox import compiler
from perdure.sandbox.scopes import DEFS
from perdure.sandbox.source import Source


def plain_functions(sources: Sequence[Source]) -> tuple[Mapping[str, Mapping[str, Any]], FunctionType]:
    """Make the functions and constants of a closure: by module and qualified name, and the body alone.

    Raises:
        DefinitionError: a module is not imported, or a function was defined inside another one.
    """
    overlay: dict[str, dict[str, Any]] = {}
    body: FunctionType | None = None
    for source in sources:
        value = _plain(source, is_body=body is None)
        if body is None:
            body = value
        overlay.setdefault(source.module, {})[source.qualname] = value
    if body is None:
        raise DefinitionError("the recorded definition is empty.", fix="start a new run")
    return overlay, body


def _plain(source: Source, *, is_body: bool) -> Any:
    module = sys.modules.get(source.module)
    if module is None:
        raise DefinitionError(
            f"the module {source.module} of a recorded definition is not imported.",
            why="pinned code takes its steps and models from today's modules",
            fix=f"import {source.module} before the runtime starts",
        )
    # A name of its own, because the file of that name holds other text by now.
    stamp = hashlib.blake2b(source.source.encode(), digest_size=4).hexdigest()
    filename = f"{source.file}@{stamp}"
    text = "\n" * (source.line - 1) + source.source
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    tree = ast.parse(text, filename)
    statement = tree.body[0]
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        return ast.literal_eval(statement.value)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Lambda):
        return FunctionType(_code(statement.value, filename, source), vars(module), "<lambda>")
    if not isinstance(statement, DEFS):
        raise DefinitionError(f"{source.qualname} of a recorded definition is no function.", where=filename)
    if is_body or not statement.decorator_list:
        return _function(statement, filename, source, vars(module))
    namespace = dict(vars(module))
    exec(compile(tree, filename, "exec", dont_inherit=True), namespace)
    return namespace[statement.name]


def _code(node: Any, filename: str, source: Source) -> Any:
    return compiler.compile_function(node, filename=filename, free=(), qualname=source.qualname)


def _function(
    statement: ast.FunctionDef | ast.AsyncFunctionDef, filename: str, source: Source, namespace: dict[str, Any]
) -> FunctionType:
    defaults = [_evaluated(node, filename, namespace) for node in statement.args.defaults]
    keyword_defaults = {
        parameter.arg: _evaluated(node, filename, namespace)
        for parameter, node in zip(statement.args.kwonlyargs, statement.args.kw_defaults, strict=True)
        if node is not None
    }
    for part in ast.walk(statement):
        if isinstance(part, ast.arg):
            part.annotation = None
    statement.returns = None
    first = min([statement.lineno, *(decorator.lineno for decorator in statement.decorator_list)])
    code = _code(statement, filename, source).replace(co_firstlineno=first)
    if code.co_freevars:
        raise DefinitionError(
            f"{source.qualname} was defined inside another function, whose variables are gone.",
            where=f"{source.file}:{source.line}",
            fix="define workflows and their helpers at the top of a module",
        )
    made = FunctionType(code, namespace, statement.name, tuple(defaults) or None)
    made.__kwdefaults__ = keyword_defaults or None
    made.__module__ = source.module
    made.__qualname__ = source.qualname
    return made


def _evaluated(node: ast.expr, filename: str, namespace: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), filename, "eval", dont_inherit=True), namespace)
