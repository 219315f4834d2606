"""The ground that the policy stands on: what is compiled, which names it can see, and what was found in it.

This file knows scopes, findings and references. It must not know what any construct is compiled to.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from RestrictedPython.transformer import RestrictingNodeTransformer

from perdure.sandbox import vocabulary
from perdure.sandbox.findings import STEP_FIX, Finding, finding_at
from perdure.sandbox.scopes import DefNode, FunctionNode, parameters

Node = TypeVar("Node", bound=ast.AST)
Usage = Literal["load", "call", "step"]


@dataclass(frozen=True, slots=True)
class Members:
    """Attribute names of the user's own classes that can't be compiled to a plain attribute access."""

    methods: frozenset[str] = frozenset()
    properties: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Site:
    """What is compiled, and where it stands."""

    file: str
    lines: Sequence[str]
    function: str = "<module>"  # qualified name
    via: tuple[str, ...] = ()
    class_name: str = ""  # of the class whose method it is
    free: frozenset[str] = frozenset()  # names of the functions around it
    step_names: frozenset[str] = frozenset({"step"})
    members: Members = Members()
    is_module: bool = False  # a whole module, as `load` compiles
    catch_recursion: bool = False  # the outermost function of a run


@dataclass(frozen=True, slots=True)
class Reference:
    """One use of a name that the compiled function does not bind itself."""

    name: str
    chain: tuple[str, ...]  # attributes read from it, as far as they are written down
    usage: Usage
    free: bool  # of a function around it, not of the module
    node: ast.expr

    @property
    def dotted(self) -> str:
        return ".".join((self.name, *self.chain))


@dataclass(slots=True)
class Scope:
    """One scope on the way down: what it binds and what kind it is."""

    kind: Literal["function", "class", "comprehension", "module"]
    bound: set[str]
    class_name: str = ""
    step_only: set[ast.AST] = field(default_factory=set)


class Checker(RestrictingNodeTransformer):
    """What every visit needs: where we are, what names mean here, and a place for findings."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site
        self.findings: list[Finding] = []
        self.references: list[Reference] = []
        self.imports: list[tuple[str, str, ast.stmt]] = []  # module, member or "", where
        self.attributes: set[str] = set()  # every attribute that is read, by name
        self.scopes: list[Scope] = []
        self.erased: set[str] = set()  # type parameters

    # ── findings ─────────────────────────────────────────────────────────────────────────────────

    def refuse(self, node: ast.AST, rule: str, message: str, fix: str = STEP_FIX) -> None:
        """Write a finding down and go on, so that all come at once."""
        site = self.site
        self.findings.append(
            finding_at(
                node,
                site.lines,
                file=site.file,
                rule=rule,
                message=message,
                fix=fix,
                function=site.function,
                via=site.via,
            )
        )

    def error(self, node: ast.AST, info: str) -> None:
        """Take what the base class finds."""
        self.refuse(node, "policy", info, "write it in another way, or " + STEP_FIX)

    def not_allowed(self, node: ast.AST) -> None:
        """Deny a construct as a whole."""
        name = type(node).__name__
        self.refuse(node, "construct", f"{name} is not allowed in a body: the policy does not know it is safe")

    # ── names ────────────────────────────────────────────────────────────────────────────────────

    def check_name(self, node: ast.AST, name: str | None, allow_magic_methods: bool = False) -> None:
        """Refuse special names as variables; every other name is the author's."""
        if name is not None and vocabulary.is_special(name) and name not in ("__name__", "__doc__"):
            self.refuse(
                node,
                "special-name",
                f"the name {name} leads into the interpreter",
                "use an ordinary name",
            )

    def is_bound(self, name: str) -> bool:
        """Tell whether a name is bound by a scope that the current place can see."""
        for depth, scope in enumerate(reversed(self.scopes)):
            if scope.kind == "module" or (scope.kind == "class" and depth > 0):
                continue
            if name in scope.bound:
                return True
        return False

    def refer(self, name: str, node: ast.expr, chain: tuple[str, ...] = (), usage: Usage = "load") -> None:
        """Write down that a name from outside is used."""
        if not self.is_bound(name):
            self.references.append(Reference(name, chain, usage, name in self.site.free, node))

    @property
    def class_name(self) -> str:
        """The class whose privacy counts here."""
        for scope in reversed(self.scopes):
            if scope.kind == "class":
                return scope.class_name
        return self.site.class_name

    @contextmanager
    def scope(self, scope: Scope) -> Iterator[None]:
        self.scopes.append(scope)
        try:
            yield
        finally:
            self.scopes.pop()

    def visit_all(self, nodes: Sequence[Node]) -> list[Any]:
        """Visit statements or expressions; a visit may give several in place of one."""
        visited: list[Any] = []
        for node in nodes:
            result = self.visit(node)
            if isinstance(result, list):
                visited.extend(result)
            else:
                visited.append(node if result is None else result)  # None: denied, and there is a finding
        return visited

    def outer_parts(self, node: FunctionNode) -> None:
        """Visit what is evaluated outside of the function, and drop annotations: nothing may evaluate them."""
        arguments = node.args
        arguments.defaults = self.visit_all(arguments.defaults)
        arguments.kw_defaults = [default and self.visit(default) for default in arguments.kw_defaults]
        for parameter in parameters(arguments):
            parameter.annotation = None
            self.check_name(parameter, parameter.arg)
        if not isinstance(node, ast.Lambda):
            node.returns = None
            self.erase_type_parameters(node)

    def erase_type_parameters(self, node: DefNode | ast.ClassDef) -> None:
        """Forget `[T]`: it is for type checkers, and the machinery behind it is not for bodies."""
        parameters: list[Any] = getattr(node, "type_params", [])  # from Python 3.12 on
        self.erased.update(parameter.name for parameter in parameters)
        parameters.clear()
