"""Plain functions from a recorded source closure, so that they can be restricted like today's.

A recorded function replaces today's of the same module and qualified name. What its source does not hold comes from
today's module: the globals that are no helpers, the class that a method belongs to, a decorator's own doing.

This file knows how text becomes functions in a module's namespace. It must not know the policy.
"""

from __future__ import annotations
import __future__

import ast
import hashlib
import linecache
import sys
from collections.abc import Mapping, Sequence
from types import CellType, FunctionType, ModuleType
from typing import Any, Final

from perdure.errors import DefinitionError
from perdure.sandbox import compiler
from perdure.sandbox.scopes import DEFS
from perdure.sandbox.source import Source

#: Decorators that only say how a method is bound: the class of today does that.
_BINDING: Final = frozenset(
    {"classmethod", "staticmethod", "property", "cached_property", "abstractmethod", "override", "computed_field"}
)
#: Parts of a property after the getter, which share its name.
_PARTS: Final = ("setter", "deleter")

#: The names under which recorded text was compiled.
_files: set[str] = set()


def plain_functions(sources: Sequence[Source]) -> tuple[Mapping[str, Mapping[str, Any]], FunctionType]:
    """Make the functions and constants of a closure: by module and qualified name, and the body alone.

    Raises:
        DefinitionError: a module is not imported, or a function's surroundings are gone.
    """
    overlay: dict[str, dict[str, Any]] = {}
    body: FunctionType | None = None
    for source in sources:
        name, value = _plain(source, is_body=body is None)
        if body is None:
            body = value
        overlay.setdefault(source.module, {})[name] = value
    if body is None:
        raise DefinitionError("the recorded definition is empty.", fix="start a new run")
    return overlay, body


def pinned_for(overlay: Mapping[str, Mapping[str, Any]], function: FunctionType) -> FunctionType | None:
    """Find the recorded function that stands for one of today's; None when it is recorded itself, or nothing is."""
    of_module = overlay.get(function.__module__)
    if not of_module or function.__code__.co_filename in _files:
        return None
    name = function.__qualname__
    holder = _member(sys.modules.get(function.__module__), name)
    if isinstance(holder, property):
        parts = zip(_PARTS, (holder.fset, holder.fdel), strict=True)
        name += next((f".{part}" for part, member in parts if member is function), "")
    found = of_module.get(name)
    while isinstance(found, FunctionType) and hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    return found if isinstance(found, FunctionType) and found is not function else None


def _plain(source: Source, *, is_body: bool) -> tuple[str, Any]:
    module = sys.modules.get(source.module)
    if module is None:
        raise DefinitionError(
            f"the module {source.module} of a recorded definition is not imported.",
            why="pinned code takes its steps and models from today's modules",
            fix=f"import {source.module} before the runtime starts",
        )
    filename, statement = _parsed(source, module)
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        return source.qualname, ast.literal_eval(statement.value)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Lambda):
        code = compiler.compile_function(statement.value, filename=filename, free=(), qualname=source.qualname)
        return source.qualname, FunctionType(code, vars(module), "<lambda>")
    if not isinstance(statement, DEFS):
        raise DefinitionError(f"{source.qualname} of a recorded definition is no function.", where=filename)
    if statement.name != source.qualname.rpartition(".")[2]:
        raise DefinitionError(
            f"{source.qualname} was made by a decorator of the author's, {statement.name}, whose variables are gone.",
            where=f"{source.file}:{source.line}",
            fix="let bodies reach helpers without decorators of your own, or call the decorator's code in the helper",
        )
    decorators = [_last_name(each) for each in statement.decorator_list]
    name = next((f"{source.qualname}.{each}" for each in decorators if each in _PARTS), source.qualname)
    if is_body or _BINDING.issuperset(each for each in decorators if each not in _PARTS):
        return name, _function(statement, filename, source, module)
    namespace = dict(vars(module))
    tree = ast.Module(body=[statement], type_ignores=[])
    exec(compile(tree, filename, "exec", flags=_flags(module), dont_inherit=True), namespace)
    return name, namespace[statement.name]


def _parsed(source: Source, module: ModuleType) -> tuple[str, ast.stmt]:
    """Parse a piece at its place in a file of its own; the file of that name holds other text by now."""
    stamp = hashlib.blake2b(source.source.encode(), digest_size=4).hexdigest()
    filename = f"{source.file}@{stamp}"
    _files.add(filename)
    # Whoever reads the text for its annotations must read it as the module has it.
    first = "from __future__ import annotations" if _flags(module) and source.line > 1 else ""
    text = first + "\n" * (source.line - 1) + source.source
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    return filename, ast.parse(text, filename).body[-1]


def _flags(module: ModuleType) -> int:
    is_late = vars(module).get("annotations") is __future__.annotations
    return __future__.annotations.compiler_flag if is_late else 0


def _function(
    statement: ast.FunctionDef | ast.AsyncFunctionDef, filename: str, source: Source, module: ModuleType
) -> FunctionType:
    namespace = vars(module)
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
    owner = _member(module, source.qualname.rpartition(".")[0])
    free = ("__class__",) if isinstance(owner, type) and _names_its_class(statement) else ()
    first = min([statement.lineno, *(decorator.lineno for decorator in statement.decorator_list)])
    code = compiler.compile_function(
        statement, filename=filename, free=free, qualname=source.qualname, flags=_flags(module)
    ).replace(co_firstlineno=first)
    if "<locals>" in source.qualname or code.co_freevars != free:
        raise DefinitionError(
            f"{source.qualname} was defined inside another function, whose variables are gone.",
            where=f"{source.file}:{source.line}",
            fix="define workflows and their helpers at the top of a module",
        )
    made = FunctionType(code, namespace, statement.name, tuple(defaults) or None, tuple(CellType(owner) for _ in free))
    made.__kwdefaults__ = keyword_defaults or None
    made.__module__ = source.module
    made.__qualname__ = source.qualname
    return made


def _names_its_class(statement: ast.AST) -> bool:
    """Tell whether a method says `super()` or `__class__`."""
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    return not names.isdisjoint({"super", "__class__"})


def _evaluated(node: ast.expr, filename: str, namespace: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), filename, "eval", dont_inherit=True), namespace)


def _last_name(decorator: ast.expr) -> str:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")


def _member(module: ModuleType | None, qualname: str) -> object:
    """Find what a qualified name stands for, without calling any descriptor; None when nothing does."""
    found: object = module
    for part in qualname.split("."):
        found = vars(found).get(part) if isinstance(found, ModuleType | type) else None
    return found
