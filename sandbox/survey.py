"""The survey of a definition: everything that its body reaches, and every finding on the way.

It starts at the body and follows names: to helpers, to methods of the author's classes that some code reached so far
mentions, across the author's modules. While a module is being imported, names that it defines later have no value yet;
they are followed through the file's tree instead.

This file knows how code reaches code. It must not compile, nor decide what a name becomes in a body.
"""

from __future__ import annotations

import ast
import builtins
import copy
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import CellType, FunctionType, ModuleType
from typing import Any, Literal, NamedTuple, cast

from perdure.sandbox import asking, class_state, judgement, values
from perdure.sandbox.checking import Members, Reference, Site
from perdure.sandbox.expressions import attribute_chain
from perdure.sandbox.findings import Finding, finding_at
from perdure.sandbox.policy import Policy
from perdure.sandbox.scopes import DEFS, FunctionNode, parameters
from perdure.sandbox.source import Source, SourceFile, file_of, first_line
from perdure.sandbox.swallowing import SWALLOWS, swallowing_handlers

Kind = Literal["body", "helper", "native"]  # native: called by the interpreter or a library, so never a twin


@dataclass(slots=True)
class Unit:
    """One function that is surveyed."""

    kind: Kind
    qualname: str
    node: FunctionNode
    file: SourceFile
    module: str
    namespace: Mapping[str, Any]  # the globals of its module
    function: FunctionType | None = None  # None while it is not defined yet
    via: tuple[str, ...] = ()
    class_name: str = ""
    free: frozenset[str] = frozenset()
    cells: Mapping[str, CellType] = field(default_factory=dict)
    step_names: frozenset[str] = frozenset({"step"})
    attributes: frozenset[str] = frozenset()  # names that it reads, for recompiling

    def plain(self) -> FunctionType | None:
        """The function; a type checker takes the attribute itself for a method."""
        return cast("FunctionType | None", self.function)

    def site(self, members: Members) -> Site:
        return Site(
            file=self.file.filename,
            lines=self.file.lines,
            function=self.qualname,
            via=self.via,
            class_name=self.class_name,
            free=self.free,
            step_names=self.step_names,
            members=members,
            catch_recursion=self.kind == "body",
        )


class Started(NamedTuple):
    """A place that starts a workflow by its id."""

    id: str
    file: str
    line: int


def checked(unit: Unit, members: Members) -> tuple[Policy, FunctionNode]:
    """Run the policy over a copy of a unit's tree, and give both."""
    node = copy.deepcopy(unit.node)
    policy = Policy(unit.site(members))
    node.args.defaults, node.args.kw_defaults = [], [None] * len(node.args.kwonlyargs)
    if not isinstance(node, ast.Lambda):
        node.decorator_list = []
    policy.outer_parts(node)
    if isinstance(node, ast.Lambda):
        policy.visit_Lambda(node)
    else:
        policy.compile_function(node)
    return policy, node


class Survey:
    """Goes through everything that one definition reaches. Call `run()`, then read the attributes.

    `overlay` replaces values of modules by pinned ones; `static` also follows what is not defined yet.
    """

    def __init__(
        self, overlay: Mapping[str, Mapping[str, Any]] | None = None, offers: asking.Offers | None = None
    ) -> None:
        self.overlay = overlay or {}
        self.offers = offers  # None: code that was accepted before; only what it may do is looked at
        self.started: list[Started] = []  # workflows that it starts by id
        self.findings: list[Finding] = []
        self.units: list[Unit] = []
        self.constants: list[Source] = []
        self.watched: list[tuple[Mapping[str, Any], str, object]] = []  # namespace, name, the value that was seen
        self.classes: dict[type, tuple[str, ...]] = {}
        self.mentioned: set[str] = set()
        self.libraries: set[str] = set()  # top-level modules, beyond the standard library's, whose code is reached
        self._seen: set[int] = set()
        self._pending: list[Unit] = []

    # ── adding ───────────────────────────────────────────────────────────────────────────────────

    def add_function(self, function: FunctionType, via: tuple[str, ...], kind: Kind, class_name: str = "") -> None:
        """Add a function of the author's by its object."""
        code = function.__code__
        if id(code) in self._seen or values.is_restricted(function):
            return
        self._seen.add(id(code))
        file = file_of(function)
        node = file.function_node(code)
        filled = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        unit = Unit(
            kind, function.__qualname__, node, file, function.__module__, function.__globals__, function,
            (*via, function.__qualname__), class_name or file.enclosing_class.get(node, ""),
            frozenset(code.co_freevars), filled,
        )  # fmt: skip
        self._add(unit)

    def add_node(self, node: FunctionNode, kind: Kind, like: Unit, via: tuple[str, ...]) -> None:
        """Add a function that is not defined yet by its tree; it is of the same file as `like`."""
        file = like.file
        qualname = file.qualnames[node]
        unit = Unit(
            kind, qualname, node, file, like.module, like.namespace, None, (*via, qualname), file.enclosing_class[node]
        )
        if kind == "body":
            unit.step_names |= {second_parameter(node) or "step"}
        self._add(unit)

    def _add(self, unit: Unit) -> None:
        if id(unit.node) not in self._seen:
            self._seen.add(id(unit.node))
            self._pending.append(unit)
            self.units.append(unit)

    def add_class(self, kind: type, via: tuple[str, ...]) -> None:
        """Add a class of the author's, and the author's among its bases and in its annotations."""
        for base in kind.__mro__:
            if not values.is_user_class(base):
                self._note_library(base)
                continue
            if base in self.classes:
                continue
            self.classes[base] = via
            for annotation in vars(base).get("__annotations__", {}).values():
                for other in values.annotated_classes(annotation):
                    self.add_class(other, via)

    def run(self) -> None:
        """Follow everything until nothing new comes up."""
        while self._pending or self._add_methods():
            if self._pending:
                self._examine(self._pending.pop(0))
        self.units.sort(key=lambda unit: unit.kind != "body")
        if self.offers is not None:
            self._examine_class_state()

    def _examine_class_state(self) -> None:
        for kind, via in self.classes.items():
            for file, node, found in class_state.shared_containers(kind, self.mentioned):
                self.findings.append(
                    finding_at(
                        node, file.lines, file=file.filename, rule=found.rule, message=found.message, fix=found.fix,
                        certain=found.certain, function=kind.__qualname__, via=(*via, kind.__qualname__),
                    )
                )  # fmt: skip

    def _add_methods(self) -> bool:
        """Add the methods that may be called: special ones always, others once some code mentions their name."""
        count = len(self._seen)
        for kind, via in list(self.classes.items()):
            for name, function, _ in values.class_functions(kind):
                native = judgement.is_called_natively(name, function)
                if (native or name in self.mentioned) and values.is_user_function(function):
                    self.add_function(function, via, "native" if native else "helper", kind.__name__)
        return len(self._seen) > count

    @property
    def members(self) -> Members:
        """Names of methods and properties of the classes that were reached."""
        methods: set[str] = set()
        properties: set[str] = set()
        for kind in self.classes:
            for name, _, is_property in values.class_functions(kind):
                (properties if is_property else methods).add(name)
        return Members(frozenset(methods), frozenset(properties))

    # ── following ────────────────────────────────────────────────────────────────────────────────

    def _examine(self, unit: Unit) -> None:
        if unit.kind == "body" and unit.function is not None:
            self._add_annotations(unit.function, unit.via)
        policy, _ = checked(unit, Members())
        unit.attributes = frozenset(policy.attributes)
        self.mentioned |= policy.attributes
        self.findings += policy.findings
        if unit.kind != "native":
            arguments = unit.node.args
            for default in (*arguments.defaults, *arguments.kw_defaults):
                if default is not None and judgement.is_mutable_display(default):
                    self.report(unit, default, judgement.mutable_default())
        if self.offers is not None:
            self._examine_requests(unit, self.offers)
        for reference in policy.references:
            self._follow(unit, reference)
        for module, member, node in policy.imports:
            self._note_library(sys.modules.get(module))  # a relative one is the author's
            for refusal in judgement.of_import(module, member, unit.namespace):
                self.report(unit, node, refusal)

    def _examine_requests(self, unit: Unit, offers: asking.Offers) -> None:
        """Find what is asked of `step` and `ctx` in vain."""
        step, ctx = asking.names_of(unit.node, is_body=unit.kind == "body")
        asked = asking.asked_of(unit.node, step, ctx, offers)
        self.started += [Started(id, unit.file.filename, node.lineno) for id, node in asked.started]
        for node, found in asked.judgements:
            self.report(unit, node, found)
        for call, is_local in asking.dropped_calls(unit.node):
            if is_local or self._gives_awaitable(unit, call.func):
                self.report(unit, call, asking.never_awaited(ast.unparse(call.func)))
        for handler in swallowing_handlers(unit.node, unit.step_names):
            self.report(unit, handler, SWALLOWS)

    def _gives_awaitable(self, unit: Unit, function: ast.expr) -> bool:
        """Tell whether a call of a global name, or of an attribute of a module, does nothing until it is awaited."""
        chain = attribute_chain(function)
        if chain is None:
            return False
        name, attributes = chain
        found, value = self.lookup(unit, Reference(name.id, attributes, "call", name.id in unit.free, name))
        if not found:
            binding = None if attributes else top_level(unit.file, name.id)
            is_async = isinstance(binding, ast.AsyncFunctionDef) and not binding.decorator_list
            return is_async or (isinstance(binding, DEFS) and is_decorated_as(binding, "step"))
        for attribute in attributes:
            value = getattr(value, attribute, None) if isinstance(value, ModuleType) else None
        return judgement.is_awaited(value)

    def _add_annotations(self, function: object, via: tuple[str, ...]) -> None:
        """Add the classes that a step or body takes and gives: the body will hold instances of them."""
        if values.is_opaque(function):
            function = getattr(function, "function", None)
        annotations = getattr(function, "__annotations__", None)
        for annotation in (annotations or {}).values() if isinstance(annotations, dict) else ():
            for kind in values.annotated_classes(annotation):
                self.add_class(kind, via)

    def report(self, unit: Unit, node: ast.AST, refusal: judgement.Judgement) -> None:
        """Turn a judgement on a value into a finding at the place where the value is used."""
        self.findings.append(
            finding_at(
                node, unit.file.lines, file=unit.file.filename, rule=refusal.rule, message=refusal.message,
                fix=refusal.fix, certain=refusal.certain, function=unit.qualname, via=unit.via,
            )
        )  # fmt: skip

    def lookup(self, unit: Unit, reference: Reference) -> tuple[bool, object]:
        """Find the value of a name as the function would."""
        name = reference.name
        if reference.free and name in unit.cells:
            return values.cell_contents(unit.cells[name])
        pinned = self.overlay.get(unit.module, {})
        if name in pinned:
            return True, pinned[name]
        if name in unit.namespace:
            value = unit.namespace[name]
            self.watched.append((unit.namespace, name, value))
            return True, value
        return False, None

    def _follow(self, unit: Unit, reference: Reference) -> None:
        found, value = self.lookup(unit, reference)
        if reference.usage == "step":
            if found:
                self._add_annotations(value, unit.via)
            return
        if not reference.free and reference.name in unit.file.rebound:
            self.report(unit, reference.node, judgement.rebound(reference.name))
        if found:
            self.follow_value(unit, reference, value, reference.chain)
        elif not reference.free:
            self._follow_tree(unit, reference)

    def follow_value(self, unit: Unit, reference: Reference, value: object, chain: tuple[str, ...]) -> None:
        """Follow a value that a name stands for; `chain` are the attributes that are read from it."""
        if values.is_opaque(value):
            self._add_annotations(value, unit.via)
        elif isinstance(value, ModuleType) and values.is_user_module(value):
            if chain and hasattr(value, chain[0]):
                self.watched.append((vars(value), chain[0], getattr(value, chain[0])))
                self.follow_value(unit, reference, getattr(value, chain[0]), chain[1:])
        elif isinstance(value, FunctionType) and values.is_user_function(value):
            self.add_function(value, unit.via, "native" if unit.kind == "native" else "helper")
        elif isinstance(value, FunctionType) and self._follow_cells(unit, reference, value):
            return
        elif (inner := values.inner_function(value)) is not None:
            self.follow_value(unit, reference, inner, chain)
        elif isinstance(value, type) and values.is_user_class(value):
            self.add_class(value, unit.via)
            if self.offers is not None and reference.usage == "call":
                self._examine_construction(unit, reference, value)
        elif isinstance(value, tuple):
            for item in value:
                self.follow_value(unit, reference, item, ())
        else:
            self._judge(unit, reference, value, chain)

    def _examine_construction(self, unit: Unit, reference: Reference, kind: type) -> None:
        """Look at what the class itself calls when the body makes an instance: validators, and defaults left to it."""
        if not reference.chain or reference.chain[0].startswith("model_validate"):
            for validator in class_state.validators(kind):
                self.add_function(validator, unit.via, "native")
        call = None if reference.chain else call_at(unit.node, reference.node)
        factories = dict(class_state.default_factories(kind, call))
        for name in [name for name, factory in factories.items() if class_state.is_authors(factory)]:
            self.add_function(cast("FunctionType", factories.pop(name)), unit.via, "native")
        found = class_state.native_defaults(kind, factories)
        if found is not None:
            self.report(unit, reference.node, found)

    def _follow_cells(self, unit: Unit, reference: Reference, wrapper: FunctionType) -> bool:
        """Follow the author's function inside a wrapper of a library's, such as `@contextmanager` makes."""
        inner = [contents for _, contents in map(values.cell_contents, wrapper.__closure__ or ())]
        wrapped = [item for item in inner if isinstance(item, FunctionType) and values.is_user_function(item)]
        # `wraps` makes a wrapper say that it is the author's; its globals don't lie.
        maker = sys.modules.get(wrapper.__globals__.get("__name__", ""))
        if not wrapped or maker is None or judgement.refusal_of(maker) is not None:
            return False
        self._note_library(maker)
        for item in wrapped:
            self.follow_value(unit, reference, item, ())
        return True

    def _judge(self, unit: Unit, reference: Reference, value: object, chain: tuple[str, ...]) -> None:
        native = unit.kind == "native"
        self._note_library(value)
        for found in judgement.of_value(reference.name, value, chain, native=native):
            self.report(unit, reference.node, found)
        self._pin_constant(unit, reference.name, value)

    def _note_library(self, value: object) -> None:
        """Note whose code a value runs, if it is a library's."""
        library = values.library_of(value)
        if library:
            self.libraries.add(library)

    def _pin_constant(self, unit: Unit, name: str, value: object) -> None:
        """Take a literal constant of the module into the closure: a changed constant is changed code."""
        if not isinstance(value, judgement.LITERALS) or unit.kind == "native":
            return
        assignment = top_level(unit.file, name)
        if isinstance(assignment, ast.Assign | ast.AnnAssign) and assignment.value is not None:
            try:
                ast.literal_eval(assignment.value)
            except ValueError:
                return
            line, text = unit.file.segment(assignment)
            constant = Source(unit.module, name, unit.file.filename, line, text)
            if constant not in self.constants:
                self.constants.append(constant)

    def _follow_tree(self, unit: Unit, reference: Reference) -> None:
        """Follow a name that its module defines further down."""
        name = reference.name
        binding = top_level(unit.file, name)
        if binding is None:
            if hasattr(builtins, name):
                for found in judgement.of_builtin(name):
                    self.report(unit, reference.node, found)
        elif isinstance(binding, DEFS):
            if not is_decorated_as(binding, "step") and not is_decorated_as(binding, "workflow"):
                self.add_node(binding, "helper", unit, unit.via)
        elif isinstance(binding, ast.ClassDef):
            for member in binding.body:
                if isinstance(member, DEFS) and judgement.is_called_natively(member.name, None):
                    self.add_node(member, "native", unit, unit.via)
        elif isinstance(binding, ast.Assign | ast.AnnAssign) and judgement.is_mutable_display(binding.value):
            self.report(unit, reference.node, judgement.mutable(name))

    # ── results ──────────────────────────────────────────────────────────────────────────────────

    def sources(self) -> tuple[Source, ...]:
        """The source closure: the body first, then helpers as they were reached, then constants."""
        pieces: list[Source] = []
        for unit in self.units:
            if unit.kind != "native":
                line, text = unit.file.segment(unit.node)
                if isinstance(unit.node, ast.Lambda):
                    line, text = first_line(unit.node), ast.unparse(unit.node) + "\n"
                pieces.append(Source(unit.module, unit.qualname, unit.file.filename, line, text))
        return (*pieces, *self.constants)


# ── trees ────────────────────────────────────────────────────────────────────────────────────────


def second_parameter(node: FunctionNode) -> str | None:
    """The name by which a body calls its steps."""
    names = [parameter.arg for parameter in parameters(node.args)]
    return names[1] if len(names) > 1 else None


def is_decorated_as(node: ast.AST, word: str) -> bool:
    """Tell whether a decorator's name is or ends with a word: `@workflow(…)`, `@strict.workflow`, `@my_workflow`."""
    for decorator in getattr(node, "decorator_list", []):
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")
        if name.endswith(word):
            return True
    return False


def call_at(function: FunctionNode, called: ast.expr) -> ast.Call | None:
    """Find the call whose function stands where `called` does, which may be of a copy of the tree."""
    place = called.lineno, called.col_offset
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and (node.func.lineno, node.func.col_offset) == place:
            return node
    return None


def top_level(file: SourceFile, name: str) -> ast.stmt | None:
    """Find the last statement at module level that binds a name."""
    found: ast.stmt | None = None
    for node in _module_statements(file.tree.body):
        if isinstance(node, (*DEFS, ast.ClassDef)):
            if node.name == name:
                found = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if any((alias.asname or alias.name.partition(".")[0]) == name for alias in node.names):
                found = node
        elif isinstance(node, ast.Assign):
            if any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
                found = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            found = node
    return found


def _module_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            for block in (node.body, getattr(node, "orelse", []), getattr(node, "finalbody", [])):
                yield from _module_statements(block)
