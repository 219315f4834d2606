"""The policy: what a body may say, and what each piece of it is compiled to.

One visitor does both, because a construct that nobody thought about must be neither allowed nor compiled: the base
class denies every node that has no method here or there. Names and attributes are judged when they are written down;
only a few go through a guard at run time.

This file knows statements; expressions are in `expressions.py`. It must not know values: which object a global name
stands for is `reach.py`'s business.
"""

from __future__ import annotations

import ast
import sys

from perdure.sandbox import rewriting, vocabulary
from perdure.sandbox.checking import Scope
from perdure.sandbox.expressions import Expressions
from perdure.sandbox.scopes import FUNCTIONS, DefNode, FunctionNode, bound_names
from perdure.sandbox.step_positions import step_only_functions


class Policy(Expressions):
    """Checks and rewrites one function (or module). Afterwards `findings`, `references` and `imports` are filled in."""

    # ── functions ────────────────────────────────────────────────────────────────────────────────

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: DefNode) -> ast.AST:
        inner = self.scopes[-1] if self.scopes else None
        if inner is not None and node in inner.step_only:
            self.outer_parts(node)
            self._no_changes_from_outside(node)
            return node
        in_class = inner is not None and inner.kind == "class"
        if not (in_class and node.name in vocabulary.MAGIC_METHODS):
            self._check_function_name(node, in_class)
        node.decorator_list = self.visit_all(node.decorator_list)
        self.outer_parts(node)
        self.compile_function(node)
        return node

    def _check_function_name(self, node: DefNode, in_class: bool) -> None:
        if vocabulary.is_special(node.name) and in_class:
            self.refuse(
                node,
                "special-method",
                f"a class in a body may not define {node.name}: it changes how the interpreter treats the class",
                "use an ordinary method",
            )
        else:
            self.check_name(node, node.name)

    def compile_function(self, node: DefNode) -> None:
        """Visit a function's inside and put the meter in."""
        step_only = step_only_functions(node, self.site.step_names)
        has_docstring = rewriting.is_docstring(node.body[0]) and len(node.body) > 1
        place = rewriting.first_evaluated(node.body[1 if has_docstring else 0])  # before the visit rewrites it
        with self.scope(Scope("function", bound_names(node), step_only=step_only)):
            node.body = self.visit_all(node.body)
        rewriting.tick_first(node.body, place)
        if self.site.catch_recursion and not self.scopes:
            self._catch_recursion(node)

    def _catch_recursion(self, node: DefNode) -> None:
        first = node.body[1] if rewriting.is_docstring(node.body[0]) and len(node.body) > 1 else node.body[0]
        handler = ast.ExceptHandler(
            type=ast.Name("%RecursionError", ast.Load()), name=None, body=[ast.Expr(rewriting.guard("too_deep"))]
        )
        docstring = [node.body[0]] if first is not node.body[0] else []
        guarded = ast.Try(body=node.body[len(docstring) :], handlers=[handler], orelse=[], finalbody=[])
        node.body = [*docstring, rewriting.at(guarded, first)]

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self.outer_parts(node)
        with self.scope(Scope("function", bound_names(node))):
            body = self.visit(node.body)
        node.body = ast.copy_location(ast.BoolOp(ast.And(), [rewriting.spend(node.body), body]), node.body)
        return node

    def _no_changes_from_outside(self, function: FunctionNode) -> None:
        """A step must not assign to the body's variables: on replay it is not called."""
        for part in ast.walk(function):
            if isinstance(part, ast.Nonlocal) and any(name not in bound_names(function) for name in part.names):
                outside = [name for name in part.names if self.is_bound(name)]
                if outside:
                    self.refuse(
                        part,
                        "step-assigns",
                        f"a step assigns to the body's variable {outside[0]}; on replay the step is not called",
                        "return the value from the step and assign it in the body",
                    )

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        for name in node.names:
            self.check_name(node, name)
            if name in self.site.free and not self.is_bound(name):
                self.refuse(
                    node,
                    "outer-state",
                    f"{name} belongs to the function around the body; runs share it, and replays change it again",
                    "keep the state in a variable of the body",
                )
        return node

    def visit_Global(self, node: ast.Global) -> ast.AST:
        self.refuse(
            node,
            "global",
            "`global` changes the module for all runs, and replays change it again",
            "keep the state in a variable of the body and pass it to helpers",
        )
        return node

    # ── classes ──────────────────────────────────────────────────────────────────────────────────

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.check_name(node, node.name)
        node.decorator_list = self.visit_all(node.decorator_list)
        self.erase_type_parameters(node)
        node.bases = [rewriting.guarded("base", base) for base in self.visit_all(node.bases)]
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg == "metaclass" or keyword.arg.startswith("_"):
                self.refuse(node, "class-keyword", "a class in a body takes no metaclass", "use an ordinary class")
            keyword.value = self.visit(keyword.value)
        with self.scope(Scope("class", bound_names(node), class_name=node.name)):
            node.body = self.visit_all(node.body)
        return node

    # ── statements ───────────────────────────────────────────────────────────────────────────────

    def visit_Module(self, node: ast.Module) -> ast.AST:
        with self.scope(Scope("module", bound_names(node))):
            node.body = self.visit_all(node.body)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        node.value = self.visit(node.value)
        if any(isinstance(target, ast.Tuple | ast.List) for target in node.targets):
            starred = any(isinstance(part, ast.Starred) for target in node.targets for part in ast.walk(target))
            node.value = self.ordered(node.value, metered=starred)
        node.targets = self.visit_all(node.targets)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if isinstance(node.target, ast.Attribute) and node.target.attr in vocabulary.WATCHED_ATTRIBUTES:
            self.refuse(
                node.target,
                "watched-attribute",
                f"`.{node.target.attr}` can't be assigned in place: reading it goes through a guard",
                "read, compute and assign in separate statements, or use another name",
            )
        node.target = self.visit(node.target)
        node.value = self.visit(node.value)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if self.scopes and self.scopes[-1].kind == "class":
            node.annotation = self.visit(node.annotation)
        else:
            # Functions never evaluate it; and a module that `load` compiles has no use for it.
            node.annotation = ast.copy_location(ast.Constant(None), node.annotation)
        node.target = self.visit(node.target)
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        node.iter = self.metered(node.iter)
        if sys.version_info < (3, 13) and isinstance(node.iter, ast.Call):
            # Before 3.13, Python blames the statement, not the iterable, when that can't be iterated over.
            node.iter.end_lineno, node.iter.end_col_offset = node.end_lineno, node.end_col_offset
            node.iter.col_offset = node.col_offset
        node.target = self.visit(node.target)
        node.body = self.visit_all(node.body)
        node.orelse = self.visit_all(node.orelse)
        return node

    def _round(self, node: ast.AsyncFor | ast.While) -> None:
        """Visit the body of a loop; each round spends an operation."""
        place = rewriting.first_evaluated(node.body[0])
        node.body = self.visit_all(node.body)
        node.body.insert(0, rewriting.tick(place))

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        node.iter = self.visit(node.iter)
        node.target = self.visit(node.target)
        self._round(node)
        node.orelse = self.visit_all(node.orelse)
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        node.test = self.visit(node.test)
        self._round(node)
        node.orelse = self.visit_all(node.orelse)
        return node

    def visit_With(self, node: ast.With) -> ast.AST:
        return self.node_contents_visit(node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        return self.node_contents_visit(node)

    def visit_Try(self, node: ast.Try) -> ast.AST:
        node.body = self.visit_all(node.body)
        node.handlers = self.visit_all(node.handlers)
        node.orelse = self.visit_all(node.orelse)
        if node.finalbody:
            self._check_finally(node.finalbody)
            node.finalbody = self.visit_all(node.finalbody)
            node.finalbody.insert(0, rewriting.statement("finally", node.finalbody[0]))
        return node

    def visit_TryStar(self, node: ast.AST) -> ast.AST:
        self.refuse(
            node,
            "except-star",
            "`except*` is not allowed in a body: it confuses exception types on several CPython versions",
            "catch ExceptionGroup with `except` and look through its `.exceptions`",
        )
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        self.check_name(node, node.name)
        if node.type is not None:
            node.type = self.visit(node.type)
        node.body = self.visit_all(node.body)
        # What must end the body (no budget, a refusal) passes every handler.
        node.body.insert(0, rewriting.statement("caught", node.body[0]))
        return node

    def _check_finally(self, body: list[ast.stmt]) -> None:
        """Refuse jumps that leave `finally`, because they swallow what is being raised."""
        pending: list[tuple[ast.AST, bool]] = [(statement, False) for statement in body]
        while pending:
            node, in_loop = pending.pop()
            if isinstance(node, ast.Return) or (isinstance(node, ast.Break | ast.Continue) and not in_loop):
                self.refuse(
                    node,
                    "finally-jump",
                    "a jump out of `finally` swallows the exception that is being raised",
                    "set a variable and jump after the try statement",
                )
            if not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
                loop = in_loop or isinstance(node, ast.For | ast.AsyncFor | ast.While)
                pending.extend((child, loop) for child in ast.iter_child_nodes(node))

    # ── imports ──────────────────────────────────────────────────────────────────────────────────

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        return [self._import(node, alias) for alias in node.names]

    def _import(self, node: ast.Import, alias: ast.alias) -> ast.stmt:
        bound = alias.asname or alias.name.partition(".")[0]
        self.check_name(node, bound)
        self.imports.append((alias.name, "", node))
        wanted = alias.name if alias.asname else bound
        call = rewriting.guard("import", ast.Constant(wanted), ast.Constant(""), ast.Constant(0))
        return rewriting.at(ast.Assign([ast.Name(bound, ast.Store())], call), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        if node.module == "__future__":
            return []
        statements: list[ast.stmt] = []
        for alias in node.names:
            if alias.name == "*":
                self.refuse(node, "import-star", "`import *` hides what a body uses", "import the names that you use")
                continue
            bound = alias.asname or alias.name
            self.check_name(node, bound)
            if vocabulary.is_special(alias.name):
                self.check_name(node, alias.name)
            module = "." * node.level + (node.module or "")
            self.imports.append((module, alias.name, node))
            arguments = [ast.Constant(node.module or ""), ast.Constant(alias.name), ast.Constant(node.level)]
            call = rewriting.guard("import", *arguments)
            statements.append(rewriting.at(ast.Assign([ast.Name(bound, ast.Store())], call), node))
        return statements
