"""Source files as the sandbox reads them, and the source closure of a definition with its digest.

A file is parsed whole, so that restricted code keeps the real line and column of everything. A definition's closure is
the list of the functions and constants that its body is made of, the body first; it is what gets pinned to a run.

This file knows text, trees and positions. It must not know what is allowed.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from perdure.errors import DefinitionError
from perdure.sandbox.scopes import DEFS, FUNCTIONS, FunctionNode, module_rebound_names, parameters


class Source(NamedTuple):
    """One piece of a source closure."""

    module: str
    qualname: str
    file: str
    line: int  # of the first line of `source`
    source: str  # dedented text, with its decorators


class SourceFile:
    """One parsed file and an index of its functions."""

    def __init__(self, filename: str, text: str) -> None:
        self.filename = filename
        self.text = text
        self.lines = text.splitlines()
        with warnings.catch_warnings():
            # Python has told the author already, when it compiled the file itself.
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            self.tree = ast.parse(text, filename)
        self.rebound = module_rebound_names(self.tree)
        self._functions: dict[int, list[FunctionNode]] = {}
        self.qualnames: dict[ast.AST, str] = {}
        self.enclosing_class: dict[ast.AST, str] = {}
        self._index(self.tree, "", "")

    def _index(self, node: ast.AST, prefix: str, class_name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner, inner_class = prefix, class_name
            if isinstance(child, (*DEFS, ast.ClassDef, ast.Lambda)):
                qualname = prefix + getattr(child, "name", "<lambda>")
                self.qualnames[child] = qualname
                self.enclosing_class[child] = class_name
                if isinstance(child, ast.ClassDef):
                    inner, inner_class = qualname + ".", child.name
                else:
                    inner = qualname + ".<locals>."
                    self._functions.setdefault(first_line(child), []).append(child)
            self._index(child, inner, inner_class)

    @property
    def future_flags(self) -> int:
        """Compiler flags of the file's `from __future__` imports."""
        flags = 0
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                import __future__  # its features are looked up by name

                for alias in node.names:
                    flags |= getattr(__future__, alias.name).compiler_flag
        return flags

    def function_node(self, code: CodeType) -> FunctionNode:
        """Find the node that a function was compiled from.

        Raises:
            DefinitionError: the file on disk is not the one that the function was loaded from.
        """
        candidates = [
            node
            for node in self._functions.get(code.co_firstlineno, [])
            if getattr(node, "name", "<lambda>") == code.co_name
        ]
        if len(candidates) > 1:
            candidates = [node for node in candidates if _fits(node, code)] or candidates
            candidates.sort(key=_extent)
        if not candidates:
            raise DefinitionError(
                f"the source of {code.co_qualname} is not at its place.",
                where=f"{self.filename}:{code.co_firstlineno}",
                why="the file changed since Python loaded it, or the function was made from another text",
                fix="restart the process, so that code and file agree",
            )
        return candidates[0]

    def segment(self, node: ast.AST) -> tuple[int, str]:
        """Cut out the node's whole lines, decorators included: first line and dedented text."""
        start = first_line(node)
        end = getattr(node, "end_lineno", start) or start
        return start, textwrap.dedent("\n".join(self.lines[start - 1 : end]) + "\n")


def first_line(node: ast.AST) -> int:
    """The line on which Python says that a function begins: its first decorator's, if it has any."""
    lines: list[int] = [decorator.lineno for decorator in getattr(node, "decorator_list", [])]
    return min([getattr(node, "lineno", 1), *lines])


def _fits(node: FunctionNode, code: CodeType) -> bool:
    """Tell apart several lambdas of one line: by their parameters, and by the columns of their code."""
    names = [parameter.arg for parameter in parameters(node.args)]
    count = code.co_argcount + code.co_kwonlyargcount
    if sorted(names[:count]) != sorted(code.co_varnames[:count]):
        return False
    begin, end = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    for line, end_line, column, end_column in code.co_positions():
        if line is None or not column or end_line is None or end_column is None:
            continue
        if (line, column) < begin or (end_line, end_column) > end:
            return False
    return True


def _extent(node: FunctionNode) -> tuple[int, int]:
    return (node.end_lineno or 0) - node.lineno, (node.end_col_offset or 0) - node.col_offset


_files: dict[str, SourceFile] = {}


def source_file(filename: str, module_globals: dict[str, Any] | None = None) -> SourceFile | None:
    """Read and parse a file once; None when it has no readable source."""
    linecache.checkcache(filename)
    lines = linecache.getlines(filename, module_globals)
    if not lines:
        return None
    text = "".join(lines)
    known = _files.get(filename)
    if known is None or known.text != text:
        try:
            known = SourceFile(filename, text)
        except SyntaxError:
            return None
        _files[filename] = known
    return known


def file_of(function: FunctionType) -> SourceFile:
    """Read the file of a function.

    Raises:
        DefinitionError: there is no source, so nothing can be checked.
    """
    code = function.__code__
    found = source_file(code.co_filename, function.__globals__)
    if found is None:
        raise DefinitionError(
            f"there is no source for {code.co_qualname}.",
            where=f"{code.co_filename}:{code.co_firstlineno}",
            why="a body is checked and compiled from its source text, which can't be read",
            fix="define it in a .py file (or a notebook cell), not in a string given to exec",
        )
    return found


# ── digest ───────────────────────────────────────────────────────────────────────────────────────


def _canonical(node: object) -> Iterator[str]:
    """Spell out a tree without positions, comments and docstrings, alike on every Python version."""
    if isinstance(node, ast.AST):
        yield type(node).__name__ + "("
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(node, ast.JoinedStr) and name == "values":
                value = [part for part in value or [] if not _is_empty_text(part)]  # Python 3.12 adds some
            # Absent, None and empty are one: newer Pythons add fields, and leave them empty in older code.
            if value is None or value == [] or name in ("kind", "type_comment", "ctx"):
                continue
            if name == "body" and isinstance(node, FUNCTIONS) and not isinstance(node, ast.Lambda):
                value = _without_docstring(node.body)
            yield name + "="
            yield from _canonical(value)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for item in node:
            yield from _canonical(item)
        yield "]"
    else:
        yield f"{type(node).__name__}:{node!r};"


def _is_empty_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == ""


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:]
    return body


def digest_of(sources: Iterable[Source]) -> str:
    """Hash a source closure: equal for equal code, whatever its place, paths, comments and layout.

    The body comes first and goes in without its decorators, whose options don't change what it does. Names count
    without the module, which is another one when a script is run instead of imported.
    """
    hasher = hashlib.blake2b(digest_size=16)
    for index, item in enumerate(sources):
        tree = ast.parse(item.source)
        if index == 0 and isinstance(tree.body[0], DEFS):
            tree.body[0].decorator_list = []
        hasher.update(f"{item.qualname}\0".encode())
        hasher.update("".join(_canonical(tree)).encode("utf-8", "surrogatepass"))
        hasher.update(b"\0")
    return hasher.hexdigest()
