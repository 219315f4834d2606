"""The policy's part for expressions: names, attributes, calls, iteration, displays and patterns.

This file knows what an expression is compiled to. It must not know statements, nor values.
"""

from __future__ import annotations

import ast

from perdure.sandbox import rewriting, vocabulary
from perdure.sandbox.checking import Checker, Scope
from perdure.sandbox.scopes import ComprehensionNode, comprehension_names
from perdure.sandbox.step_positions import is_partial, step_callables

#: Expressions that are plainly neither an iterator nor a set.
_NO_ITERATORS = (
    ast.Constant, ast.Lambda, ast.JoinedStr, ast.List, ast.Tuple, ast.Dict, ast.ListComp, ast.DictComp,
)  # fmt: skip


def attribute_chain(node: ast.expr) -> tuple[ast.Name, tuple[str, ...]] | None:
    """Take `a.b.c` apart into the name and its attributes; None when it doesn't begin with a name."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node, tuple(reversed(names))) if isinstance(node, ast.Name) else None


def _is_sequence(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str | bytes)
    return isinstance(node, ast.List | ast.Tuple | ast.JoinedStr)


class Expressions(Checker):
    """The visits of expressions."""

    # ── names and attributes ─────────────────────────────────────────────────────────────────────

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.erased and not self.is_bound(node.id):
            return rewriting.at(ast.Name("%object", ast.Load()), node)
        self.check_name(node, node.id)
        if isinstance(node.ctx, ast.Load):
            self.refer(node.id, node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return self.attribute(node, called=False)

    def attribute(self, node: ast.Attribute, *, called: bool) -> ast.expr:
        name = vocabulary.mangle(node.attr, self.class_name)
        chain = attribute_chain(node)
        self.attributes.add(name)
        if not self._check_attribute(node, name):
            return node
        if chain is not None:
            self.refer(chain[0].id, node, chain[1], "call" if called else "load")
            node.value = self._chain_value(node.value)
        else:
            node.value = self.visit(node.value)
        if not isinstance(node.ctx, ast.Load):
            node.attr = name  # a method is compiled apart from its class, where nothing mangles
            kind = "write_private" if vocabulary.is_private(name) else "write"
            node.value = rewriting.guarded(kind, node.value, name)
            return node
        if name in vocabulary.WATCHED_ATTRIBUTES or vocabulary.is_special(name):
            return rewriting.guarded_attribute("getattr", node, name)
        if vocabulary.is_private(name) and name not in vocabulary.PUBLIC_UNDERSCORED:
            return rewriting.guarded_attribute("private", node, name)
        if name in self.site.members.properties:
            return rewriting.guarded_attribute("attribute", node, name)
        known = name in self.site.members.methods
        if known or (called and name not in vocabulary.NATIVE_METHODS and not self._is_step(node.value)):
            return rewriting.guarded("bound", node)
        return node

    def _chain_value(self, node: ast.expr) -> ast.expr:
        """Visit the inner part of a chain that was referred to as a whole."""
        count = len(self.references)
        visited: ast.expr = self.visit(node)
        del self.references[count:]
        return visited

    def _is_step(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self.site.step_names

    def _check_attribute(self, node: ast.Attribute | ast.AST, name: str) -> bool:
        if name in vocabulary.DENIED_ATTRIBUTES:
            self.refuse(
                node, "escape", f"`.{name}` leads out of the sandbox", "do without it, or move the code into a step"
            )
            return False
        if vocabulary.is_mangled(name):
            self.refuse(node, "escape", f"`.{name}` is private to a class", "use a public attribute")
            return False
        if not vocabulary.is_special(name):
            return True
        on_super = (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Name)
            and node.value.func.id == "super"
        )
        load = isinstance(getattr(node, "ctx", None), ast.Load)
        if load and (name in vocabulary.READABLE_SPECIALS or (on_super and name in vocabulary.REACHED_THROUGH_SUPER)):
            return True
        self.refuse(
            node,
            "escape",
            f"`.{name}` leads into the interpreter",
            "use the operator or builtin that it stands for, or move the code into a step",
        )
        return False

    # ── calls ────────────────────────────────────────────────────────────────────────────────────

    def visit_Call(self, node: ast.Call) -> ast.AST:
        handed = step_callables(node, self.site.step_names)
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        method = isinstance(node.func, ast.Attribute)
        consumes = name in (vocabulary.CONSUMING_METHODS if method else vocabulary.CONSUMERS)
        shows = name in ("str", "repr", "ascii", "format") and not method
        if isinstance(node.func, ast.Attribute):
            node.func = self.attribute(node.func, called=True)
        elif isinstance(node.func, ast.Name):
            self.refer(node.func.id, node.func, (), "call")
            node.func = self._chain_value(node.func)
        else:
            node.func = rewriting.guarded("bound", self.visit(node.func))
        arguments: list[ast.expr] = []
        for argument in node.args:
            if argument in handed:
                arguments.append(self._handed(argument))
                continue
            visited = self._text_maker(argument) if consumes else self.visit(argument)
            if consumes and not isinstance(argument, ast.Starred):
                visited = self._fed(argument, visited)
            arguments.append(rewriting.guarded("shown", visited) if shows and not arguments else visited)
        node.args = arguments
        for keyword in node.keywords:
            if keyword.arg is not None:
                self.check_name(keyword, keyword.arg)
            if keyword.value in handed:
                keyword.value = self._handed(keyword.value)
            else:
                keyword.value = self._text_maker(keyword.value) if keyword.arg == "key" else self.visit(keyword.value)
        return node

    def _text_maker(self, node: ast.expr) -> ast.expr:
        """Visit an argument that is called for each item: `map(str, …)`, `key=str`; that `str` shows no addresses."""
        if isinstance(node, ast.Name) and node.id == "str" and not self.is_bound("str"):
            return rewriting.at(ast.Name("%text", ast.Load()), node)
        return self.expression(node)

    def _fed(self, written: ast.expr, visited: ast.expr) -> ast.expr:
        """Meter an argument of something that eats iterables, unless it is plainly none."""
        return visited if isinstance(written, _NO_ITERATORS) else rewriting.guarded("each", visited)

    def _handed(self, node: ast.expr) -> ast.expr:
        """Compile a callable that is handed to a step: wrapped, so that the body itself can't call it."""
        return rewriting.guarded("closure", self._real(node))

    def _real(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Lambda):
            self.outer_parts(node)
            return node
        if is_partial(node):
            assert isinstance(node, ast.Call)
            first, *rest = node.args
            for keyword in node.keywords:
                keyword.value = self.visit(keyword.value)
            call = rewriting.guard("partial", self._real(first), *self.visit_all(rest))
            call.keywords = node.keywords
            return rewriting.at(call, node)
        chain = attribute_chain(node)
        if chain is None or self.is_bound(chain[0].id) or self.site.is_module:
            return self.expression(node)
        name, attributes = chain
        if any(vocabulary.is_special(attribute) for attribute in attributes):
            return self.expression(node)
        self.refer(name.id, node, attributes, "step")
        if name.id not in self.site.free:
            name.id = "%step " + name.id  # the real thing, under a name of its own
        return node

    def expression(self, node: ast.expr) -> ast.expr:
        """Visit an expression."""
        visited: ast.expr = self.visit(node)
        return visited

    # ── iteration ────────────────────────────────────────────────────────────────────────────────

    def metered(self, node: ast.expr) -> ast.expr:
        """Compile the iterable of a loop: ordered, and spending an operation per round."""
        iterable = self.ordered(self.expression(node))
        return rewriting.at(rewriting.guard("compress", iterable, ast.Name("%fuel", ast.Load())), node)

    def ordered(self, node: ast.expr, *, metered: bool = False) -> ast.expr:
        """Guard a visited expression that is about to be iterated over in C."""
        if isinstance(node, _NO_ITERATORS):
            return node
        return rewriting.guarded("each" if metered else "ordered", node)

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        raise AssertionError("comprehensions are compiled as a whole")

    def _comprehended(self, generator: ast.comprehension) -> ast.expr:
        return self.expression(generator.iter) if generator.is_async else self.metered(generator.iter)

    def _comprehension(self, node: ComprehensionNode) -> ast.AST:
        first = node.generators[0]
        outer = self._comprehended(first)
        with self.scope(Scope("comprehension", comprehension_names(node))):
            for generator in node.generators:
                if generator is first:
                    generator.iter = outer
                else:
                    generator.iter = self._comprehended(generator)
                generator.target = self.visit(generator.target)
                generator.ifs = self.visit_all(generator.ifs)
                if generator.is_async:
                    generator.ifs.insert(0, rewriting.spend(generator.target))
            if isinstance(node, ast.DictComp):
                if getattr(node, "value", None) is None:  # `{**each for …}`, from Python 3.15 on
                    self.not_allowed(node)
                    return node
                node.key, node.value = self.visit(node.key), self.visit(node.value)
            elif isinstance(node.elt, ast.Starred):
                self.not_allowed(node)
            else:
                node.elt = self.visit(node.elt)
        return node

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        return self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        return self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        return self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        self._comprehension(node)
        values = ast.copy_location(ast.ListComp(node.elt, node.generators), node)
        return rewriting.guarded("set", values)

    def visit_Set(self, node: ast.Set) -> ast.AST:
        values = ast.copy_location(ast.List(self.visit_all(node.elts), ast.Load()), node)
        return rewriting.guarded("set", values)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        node.left = self.visit(node.left)
        compared: list[ast.expr] = []
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if (
                isinstance(operator, ast.In | ast.NotIn)
                and isinstance(right, ast.Set)
                and all(isinstance(value, ast.Constant) for value in right.elts)
            ):
                compared.append(right)  # a constant set that is only looked into has no order to show
            else:
                compared.append(self.visit(right))
        node.comparators = compared
        return node

    def visit_Starred(self, node: ast.Starred) -> ast.AST:
        node.value = self.visit(node.value)
        if isinstance(node.ctx, ast.Load):
            node.value = self.ordered(node.value, metered=True)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return self.node_contents_visit(node)

    # ── text ─────────────────────────────────────────────────────────────────────────────────────

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        node.value = rewriting.guarded("shown", self.visit(node.value))
        if node.format_spec is not None:
            node.format_spec = self.visit(node.format_spec)
        return node

    def visit_TemplateStr(self, node: ast.AST) -> ast.AST:
        self.not_allowed(node)
        return node

    visit_Interpolation = visit_TemplateStr

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        text = isinstance(node.left, ast.JoinedStr) or (
            isinstance(node.left, ast.Constant) and isinstance(node.left.value, str | bytes)
        )
        node.left, node.right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Mult) and not isinstance(node.right, ast.Constant) and _is_sequence(node.left):
            node.right = rewriting.guarded("times", node.right)
        elif isinstance(node.op, ast.Mult) and not isinstance(node.left, ast.Constant) and _is_sequence(node.right):
            node.left = rewriting.guarded("times", node.left)
        if text and isinstance(node.op, ast.Mod):
            node.right = rewriting.guarded("shown", node.right)
        return node

    # ── the rest ─────────────────────────────────────────────────────────────────────────────────

    def visit_Await(self, node: ast.Await) -> ast.AST:
        return self.node_contents_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
        return self.node_contents_visit(node)

    # ── patterns ─────────────────────────────────────────────────────────────────────────────────

    def visit_Match(self, node: ast.AST) -> ast.AST:
        return self.node_contents_visit(node)

    visit_match_case = visit_MatchSequence = visit_MatchOr = visit_MatchSingleton = visit_Match

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> ast.AST:
        self.check_name(node, node.name)
        return self.node_contents_visit(node)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        self.check_name(node, node.rest)
        for key in node.keys:
            self._pattern_value(key)
        node.patterns = self.visit_all(node.patterns)
        return node

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.AST:
        self._pattern_value(node.value)
        return node

    def visit_MatchClass(self, node: ast.MatchClass) -> ast.AST:
        self._pattern_value(node.cls)
        for attribute in node.kwd_attrs:
            name = vocabulary.mangle(attribute, self.class_name)
            self._pattern_attribute(node, name)
        node.patterns = self.visit_all(node.patterns)
        node.kwd_patterns = self.visit_all(node.kwd_patterns)
        return node

    def _pattern_value(self, node: ast.expr) -> None:
        """Check a dotted name in a pattern, where no guard can stand."""
        chain = attribute_chain(node)
        if chain is None:
            self.visit(node)
            return
        self.check_name(node, chain[0].id)
        self.refer(chain[0].id, node, chain[1])
        for name in chain[1]:
            self._pattern_attribute(node, vocabulary.mangle(name, self.class_name))

    def _pattern_attribute(self, node: ast.AST, name: str) -> None:
        if (
            name in vocabulary.WATCHED_ATTRIBUTES
            or vocabulary.is_private(name)
            or vocabulary.is_special(name)
            or name in self.site.members.properties
        ):
            self.refuse(
                node,
                "pattern-attribute",
                f"`.{name}` can't be read in a pattern: reading it goes through a guard",
                "match the object, then compare the attribute in `if`",
            )
        else:
            self._check_attribute(node, name)
