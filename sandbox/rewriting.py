"""Small pieces of tree that the policy puts into a body, always at the place of what they stand for.

Guards have names that can't be spelled in Python (`%tick`), so that nothing in a body can shadow or reach one.

This file knows how to build nodes. It must not know when.
"""

from __future__ import annotations

import ast
import sys
from typing import TypeVar

Node = TypeVar("Node", bound=ast.AST)


def at(new: Node, place: ast.AST) -> Node:
    """Give a node, and what is in it without a place of its own, the place of another."""
    for part in ast.walk(new):
        if "lineno" in part._attributes and not hasattr(part, "lineno"):
            ast.copy_location(part, place)
            # A node that spans several lines would make the tracer step through them.
            if isinstance(place, ast.stmt):
                part.end_lineno = place.lineno  # type: ignore[attr-defined]
                part.end_col_offset = place.col_offset  # type: ignore[attr-defined]
    return new


def guard(name: str, *arguments: ast.expr) -> ast.Call:
    """Call a guard; the place is still to be given."""
    return ast.Call(func=ast.Name("%" + name, ast.Load()), args=list(arguments), keywords=[])


def guarded(name: str, node: ast.expr, *constants: str) -> ast.Call:
    """Put a guard around an expression, in its place."""
    return at(guard(name, node, *(ast.Constant(value) for value in constants)), node)


def spend(place: ast.AST) -> ast.Call:
    """The expression that spends one operation, and is true.

    `next(fuel)` costs half of calling a bound `fuel.__next__`. In `for`, `compress(iterable, fuel)` is cheaper still:
    about 11 ns a round against 30.
    """
    return at(guard("next", ast.Name("%fuel", ast.Load())), place)


def tick(place: ast.AST) -> ast.Expr:
    """The statement that spends one operation."""
    return at(ast.Expr(spend(place)), place)


def statement(name: str, place: ast.AST) -> ast.Expr:
    """A guard without arguments as a statement."""
    return at(ast.Expr(guard(name)), place)


def is_docstring(node: ast.stmt) -> bool:
    """Tell whether a statement is a bare string."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


# Where a statement or expression looks first; what is not here begins with itself.
_FIRST_LOOKED_AT = {
    ast.Assign: "value", ast.AnnAssign: "value", ast.AugAssign: "target", ast.Return: "value", ast.Expr: "value",
    ast.If: "test", ast.While: "test", ast.For: "iter", ast.AsyncFor: "iter", ast.With: "items", ast.AsyncWith: "items",
    ast.Raise: "exc", ast.Assert: "test", ast.Match: "subject", ast.Delete: "targets", ast.withitem: "context_expr",
    ast.FunctionDef: "decorator_list", ast.AsyncFunctionDef: "decorator_list", ast.ClassDef: "decorator_list",
    ast.BinOp: "left", ast.BoolOp: "values", ast.Compare: "left", ast.Call: "func", ast.Attribute: "value",
    ast.Subscript: "value", ast.IfExp: "test", ast.Await: "value", ast.NamedExpr: "value", ast.UnaryOp: "operand",
    ast.Tuple: "elts", ast.List: "elts", ast.Set: "elts", ast.Dict: "keys", ast.Starred: "value", ast.Yield: "value",
    ast.YieldFrom: "value",
}  # fmt: skip
_INLINED = (ast.ListComp, ast.SetComp, ast.DictComp) if sys.version_info >= (3, 12) else ()


def first_evaluated(node: ast.AST) -> ast.AST:
    """Find what a statement evaluates first: that is where Python says that the statement begins."""
    while True:
        if isinstance(node, _INLINED):
            inner: object = node.generators[0].iter
        else:
            inner = getattr(node, _FIRST_LOOKED_AT.get(type(node), ""), None)
        if isinstance(inner, list):
            inner = inner[0] if inner else None
        if not isinstance(inner, ast.AST):
            return node
        node = inner


def tick_first(body: list[ast.stmt], place: ast.AST) -> None:
    """Spend an operation first in a function or loop, at the given place."""
    position = 1 if is_docstring(body[0]) and len(body) > 1 else 0
    body.insert(position, tick(place))


def guarded_attribute(name: str, node: ast.Attribute, attribute: str) -> ast.Call:
    """Read an attribute through a guard that is given the object and the name."""
    return at(guard(name, node.value, ast.Constant(attribute)), node)
