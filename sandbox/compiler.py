"""From a checked tree to code, and from code to a function beside the original one.

The real file name and positions stay in, so that tracebacks, debuggers and coverage show the author's own lines.

This file knows trees, code and function objects. It must not know policy.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import CellType, CodeType, FunctionType
from typing import Any

from perdure.sandbox.scopes import FunctionNode

FACTORY = "%factory"


def compile_function(
    node: FunctionNode, *, filename: str, free: Sequence[str], qualname: str, flags: int = 0
) -> CodeType:
    """Compile one function alone; `free` are the names that it takes from functions around it.

    Its defaults and decorators are left out: the caller has the values already.
    """
    node.args.defaults = []
    node.args.kw_defaults = [None] * len(node.args.kwonlyargs)
    inner: list[ast.stmt]
    if isinstance(node, ast.Lambda):
        inner = [ast.copy_location(ast.Return(node), node)]
    else:
        node.decorator_list = []
        # A module's function calls itself by its global name; the factory must not make that a local one.
        is_global = node.name not in free
        inner = [ast.copy_location(ast.Global([node.name]), node), node] if is_global else [node]
    # A function around it makes the free names free again.
    arguments = ast.arguments(
        posonlyargs=[], args=[ast.arg(name) for name in free], kwonlyargs=[], kw_defaults=[], defaults=[]
    )
    factory = ast.FunctionDef(name=FACTORY, args=arguments, body=inner, decorator_list=[])
    factory.type_params = []  # type: ignore[attr-defined]  # required from Python 3.12 on
    module = ast.Module(body=[ast.copy_location(factory, node)], type_ignores=[])
    ast.fix_missing_locations(module)
    compiled = _compiled(module, filename, flags)
    factory_code = next(_nested(compiled))
    code = next(inner_code for inner_code in _nested(factory_code))
    return renamed(code, code.co_qualname, qualname)


def compile_module(tree: ast.Module, *, filename: str, flags: int = 0) -> CodeType:
    """Compile a whole checked module."""
    ast.fix_missing_locations(tree)
    return _compiled(tree, filename, flags)


def _compiled(tree: ast.Module, filename: str, flags: int) -> CodeType:
    with warnings.catch_warnings():
        # Python has told the author already, when it compiled the file itself.
        warnings.simplefilter("ignore", SyntaxWarning)
        code: CodeType = compile(tree, filename, "exec", flags=flags, dont_inherit=True)
    return code


def _nested(code: CodeType) -> Iterator[CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))


def renamed(code: CodeType, old: str, new: str) -> CodeType:
    """Put another qualified name before everything in a code object and the ones nested in it."""
    constants = tuple(renamed(item, old, new) if isinstance(item, CodeType) else item for item in code.co_consts)
    qualname = new + code.co_qualname[len(old) :] if code.co_qualname.startswith(old) else code.co_qualname
    return code.replace(co_consts=constants, co_qualname=qualname)


def all_code(code: CodeType) -> Iterator[CodeType]:
    """Go through a code object and all that are nested in it, in the order of the source."""
    yield code
    for inner in _nested(code):
        yield from all_code(inner)


def native_code(inside: CodeType, within: CodeType, original: CodeType) -> CodeType | None:
    """Find the plain code of a local function, given its restricted code, the outermost one around it, and the
    outermost one's original. Functions that share a line and a name are told apart by their order."""

    def alike(root: CodeType) -> list[CodeType]:
        key = inside.co_qualname, inside.co_firstlineno
        return [code for code in all_code(root) if (code.co_qualname, code.co_firstlineno) == key]

    restricted = alike(within)
    for index, code in enumerate(restricted):
        if code is inside or code == inside:
            found = alike(original)
            return found[index] if len(found) == len(restricted) else None
    return None


def make_function(
    code: CodeType,
    module_globals: dict[str, Any],
    like: FunctionType,
    cells: Mapping[str, CellType],
    defaults: tuple[Any, ...] | None,
    keyword_defaults: dict[str, Any] | None,
) -> FunctionType:
    """Make a function of other code and globals that looks like the given one from outside."""
    closure = tuple(cells[name] for name in code.co_freevars)
    made = FunctionType(code, module_globals, like.__name__, defaults, closure)
    made.__kwdefaults__ = keyword_defaults
    made.__qualname__ = like.__qualname__
    made.__module__ = like.__module__
    made.__doc__ = like.__doc__
    made.__annotations__ = dict(like.__annotations__)
    return made
