"""Realms: what the names of the author's modules stand for in restricted code, and the twins of their functions.

A realm keeps, per module, the globals that restricted code sees. Data is the module's own; functions are replaced by
twins, modules and clocks by stand-ins, and the author's classes stay themselves (so that `isinstance`, `except` and
step results work) while calls of their methods are led to twins.

One realm serves all live code of the process; pinned code and `load` have their own.

This file knows replacements. It must not know findings beyond raising them, nor who asked.
"""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import sys
import types
from collections.abc import Iterator, Mapping
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from perdure.errors import SandboxViolation
from perdure.sandbox import activation, compiler, handed, judgement, libraries, values, vocabulary
from perdure.sandbox.builtins import base_builtins, check_dynamic_name
from perdure.sandbox.checking import Members
from perdure.sandbox.findings import in_order, tell
from perdure.sandbox.guards import check_private, watched
from perdure.sandbox.pinned import pinned_for
from perdure.sandbox.sets import OrderedFrozenSet
from perdure.sandbox.sets import in_order as in_set_order
from perdure.sandbox.survey import Survey, Unit, checked
from perdure.sandbox.views import PropertyView, UserModule

_MISSING: Final = object()
_SHARED: Final = (type, enum.Enum, ModuleType, FunctionType, MethodType, types.BuiltinFunctionType)
_GLOBAL_LOADS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
#: What stands before a name that restricted code hands to a step.
HANDED: Final = "%step "


class Realm:
    """A world of restricted code.

    `overlay` maps module and name to pinned functions and constants. Where nobody vouched for a library, a `strict`
    realm refuses it; another one gives the real thing, because whoever is strict has refused the body before.
    """

    def __init__(self, overlay: Mapping[str, Mapping[str, Any]] | None = None, *, strict: bool = False) -> None:
        self.strict = strict
        self.overlay: Mapping[str, Mapping[str, Any]] = overlay or {}
        self.members = Members()
        self.stand_ins: dict[tuple[str, str], Any] = {}  # by module and name: what a name stands for that is gone
        self.builtins = base_builtins()
        self.builtins.update({
            "%attribute": self.attribute, "%bound": self.bound, "%import": self.imported, "%write": self.write,
            "%write_private": self.write_private, "setattr": self.set_attribute, "delattr": self.delete_attribute,
            "getattr": self.get_attribute, "hasattr": self.has_attribute,
        })  # fmt: skip
        self._namespaces: dict[int, dict[str, Any]] = {}
        self._twins: dict[FunctionType, FunctionType] = {}
        self._units: dict[CodeType, Unit] = {}
        self._late_cells: dict[FunctionType, list[tuple[CellType, CellType]]] = {}
        self._modules: dict[ModuleType, UserModule] = {}
        # By id: the value itself, so that it stays alive, and what replaces it.
        self._resolved: dict[int, tuple[object, object]] = {}

    # ── namespaces ───────────────────────────────────────────────────────────────────────────────

    def namespace(self, real: dict[str, Any]) -> dict[str, Any]:
        """The globals that restricted code of a module sees; empty but for what is bound for twins."""
        found = self._namespaces.get(id(real))
        if found is None:
            found = self._namespaces[id(real)] = {
                "__builtins__": self.builtins,
                "__name__": real.get("__name__", "<body>"),
                "__package__": real.get("__package__"),
                "%real": real,
                "%realm": self,
                "%substitutes": {},
            }
        return found

    def bind(self, code: CodeType, real: dict[str, Any]) -> None:
        """Give restricted code the names that it loads."""
        restricted = self.namespace(real)
        pinned = self.overlay.get(real.get("__name__", ""), {})
        for name in global_names(code):
            handed_over = name.startswith(HANDED)
            key = name.removeprefix(HANDED)
            # What is handed to a step is today's, what the body itself calls is the pinned one.
            first, second = (real, pinned) if handed_over else (pinned, real)
            value = first.get(key, second.get(key, _MISSING))
            if value is _MISSING and handed_over:
                value = vars(sys.modules["builtins"]).get(key, _MISSING)
            if value is _MISSING and self.stand_ins:
                value = self.stand_ins.get((real.get("__name__", ""), key), _MISSING)
            if value is _MISSING:
                if key not in ("__name__", "__builtins__", "__package__"):
                    restricted.pop(name, None)
            else:
                restricted[name] = value if handed_over else self.replacement(value)

    # ── twins ────────────────────────────────────────────────────────────────────────────────────

    def link(self, survey: Survey) -> None:
        """Make twins of everything that a survey found."""
        known, new = self.members, survey.members
        self.members = Members(known.methods | new.methods, known.properties | new.properties)
        added = (self.members.methods | self.members.properties) - (known.methods | known.properties)
        functions = [(unit, unit.plain()) for unit in survey.units if unit.kind != "native"]
        for unit, function in functions:
            if function is not None:
                self._units[function.__code__] = unit
        if added:
            self._recompile(added)
        for _, function in functions:
            if function is not None:
                self.twin(function)
                self._bind_twin(function)

    def _recompile(self, added: frozenset[str]) -> None:
        """Compile earlier twins again that read an attribute which has turned out to be a method or property."""
        for original, twin in self._twins.items():
            unit = self._units.get(original.__code__)
            if unit is not None and not added.isdisjoint(unit.attributes):
                twin.__code__ = self._compile(unit)
                handed.note_twin(twin, original)

    def _compile(self, unit: Unit) -> CodeType:
        assert unit.function is not None
        _, node = checked(unit, self.members)
        return compiler.compile_function(
            node, filename=unit.file.filename, free=unit.function.__code__.co_freevars, qualname=unit.qualname,
            flags=unit.file.future_flags,
        )  # fmt: skip

    def twin(self, function: FunctionType) -> FunctionType:
        """The restricted twin of a function of the author's."""
        known = self._twins.get(function)
        if known is not None:
            return known
        with activation.suspended():  # a method may be met for the first time while a body runs
            return self._new_twin(function)

    def _new_twin(self, function: FunctionType) -> FunctionType:
        pinned = pinned_for(self.overlay, function) if self.overlay else None
        if pinned is not None:
            known = self._twins[function] = self.twin(pinned)
            self._late_cells[function] = []
            return known
        unit = self._units.get(function.__code__)
        if unit is None:
            self._adopt(function)
            unit = self._units[function.__code__]
            if function in self._twins:
                return self._twins[function]
        if unit.plain() is not function:
            unit = _unit_for(unit, function)
        code = self._compile(unit)
        cells, late = self._cells(unit, function)
        twin = compiler.make_function(code, self.namespace(function.__globals__), function, cells, None, None)
        self._twins[function] = twin
        handed.note_twin(twin, function)
        # Only now, because what follows may lead back to this very function.
        self._late_cells[function] = late
        twin.__defaults__ = function.__defaults__ and tuple(map(self.replacement, function.__defaults__))
        keyword_defaults = function.__kwdefaults__
        twin.__kwdefaults__ = keyword_defaults and {k: self.replacement(v) for k, v in keyword_defaults.items()}
        self._bind_twin(function)
        return twin

    def _bind_twin(self, function: FunctionType) -> None:
        """Fill in the names and cells of a function's twin, as they are now."""
        for cell, real in self._late_cells[function]:
            filled, contents = values.cell_contents(real)
            if filled:
                cell.cell_contents = self.replacement(contents)
        self.bind(self._twins[function].__code__, function.__globals__)

    def _cells(self, unit: Unit, function: FunctionType) -> tuple[dict[str, CellType], list[tuple[CellType, CellType]]]:
        """Choose a twin's cells: the original's own, but new ones for what is another thing in a body.

        Gives the cells by name, and the pairs of new and original ones.
        """
        closure = function.__closure__
        if not closure:
            return {}, []
        only_handed = _only_handed(unit)
        substitutes = self.namespace(function.__globals__)["%substitutes"]
        chosen: dict[str, CellType] = {}
        late: list[tuple[CellType, CellType]] = []
        for name, cell in zip(function.__code__.co_freevars, closure, strict=True):
            filled, contents = values.cell_contents(cell)
            chosen[name] = cell
            if filled and name not in only_handed and _may_be_replaced(contents):
                chosen[name] = CellType()
                substitutes[id(chosen[name])] = cell
                late.append((chosen[name], cell))
        return chosen, late

    def _adopt(self, function: FunctionType) -> None:
        """Take in a function that no survey saw coming, such as one that a step's result carries."""
        survey = Survey(self.overlay)
        survey.add_function(function, (), "helper")
        survey.run()
        tell([item for item in in_order(survey.findings) if item.certain], strict=True, name=function.__qualname__)
        self.link(survey)

    # ── replacements ─────────────────────────────────────────────────────────────────────────────

    def replacement(self, value: Any) -> Any:
        """What a value of the author's module is in a body: mostly itself."""
        if values.is_opaque(value) or values.is_restricted(value) or isinstance(value, UserModule):
            return value
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, ModuleType):
            return self._module(value)
        if isinstance(value, tuple) and type(value) is tuple:
            items = tuple(map(self.replacement, value))
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        if type(value) is frozenset:
            return OrderedFrozenSet(in_set_order(value))
        if isinstance(value, MethodType):
            function = self.replacement(value.__func__)
            return value if function is value.__func__ else MethodType(function, value.__self__)
        if type(value) is functools.partial:
            function = self.replacement(value.func)
            return value if function is value.func else functools.partial(function, *value.args, **value.keywords)
        inner = values.inner_function(value)
        if inner is not None:
            return self.replacement(inner)
        if values.is_constant(value) or values.is_mutable(value):
            return value
        if isinstance(value, type) and values.is_user_class(value):
            return value
        return self._of_library(value)

    def _of_library(self, value: Any) -> Any:
        known = self._resolved.get(id(value))
        if known is None or known[0] is not value:
            resolved = libraries.resolve_object(value)
            refusal = libraries.refusal(value) if resolved is None else None
            if resolved is None and not self._is_refused(refusal):
                resolved = value
            known = self._resolved[id(value)] = value, resolved if resolved is not None else _refused(refusal)
        return known[1]

    def _is_refused(self, refusal: libraries.Refusal | None) -> bool:
        return self.strict or (refusal is not None and refusal.certain)

    def _function(self, function: FunctionType) -> Any:
        if values.is_user_function(function):
            return self.twin(function)
        resolved = self._of_library(function)
        if resolved is function and function.__closure__:
            return self._rewrapped(function)
        return resolved

    def _rewrapped(self, wrapper: FunctionType) -> FunctionType:
        """Copy a library's wrapper (`@contextmanager` makes one) around the twin of the function in it."""
        known = self._twins.get(wrapper)
        if known is not None:
            return known
        cells: list[CellType] = []
        for cell in wrapper.__closure__ or ():
            filled, contents = values.cell_contents(cell)
            is_user = filled and isinstance(contents, FunctionType) and values.is_user_function(contents)
            cells.append(CellType(self.twin(contents)) if is_user else cell)  # type: ignore[arg-type]
        if all(new is old for new, old in zip(cells, wrapper.__closure__ or (), strict=True)):
            return wrapper
        made = FunctionType(wrapper.__code__, wrapper.__globals__, wrapper.__name__, wrapper.__defaults__, tuple(cells))
        made.__kwdefaults__ = wrapper.__kwdefaults__
        made.__qualname__, made.__module__ = wrapper.__qualname__, wrapper.__module__
        self._twins[wrapper] = made
        handed.originals[made] = wrapper
        return made

    def _module(self, module: ModuleType) -> Any:
        if values.is_user_module(module):
            return self._modules.setdefault(module, UserModule(module, self))
        resolved = libraries.resolve(module)
        if resolved is None:
            refusal = libraries.refusal(module)
            return _refused(refusal) if self._is_refused(refusal) else module
        return resolved

    # ── guards that need the realm ───────────────────────────────────────────────────────────────

    def bound(self, value: Any) -> Any:
        """Guard a callable that was read from an object: a function of the author's is called as its twin."""
        kind = type(value)
        if kind is MethodType:
            function = value.__func__
            twin = self._callable(function)
            return value if twin is function else MethodType(twin, value.__self__)
        return self._callable(value) if kind is FunctionType else value

    def _callable(self, function: Any) -> Any:
        known = self._twins.get(function)
        if known is not None:
            return known
        if type(function) is not FunctionType or values.is_restricted(function):
            return function
        if not values.is_user_function(function):
            return function
        return self.twin(function)

    def attribute(self, holder: Any, name: str) -> Any:
        """Read an attribute that some class of the author's defines as a method or property."""
        member = _class_member(type(holder), name)
        if isinstance(member, property) and isinstance(member.fget, FunctionType):
            return self._callable(member.fget)(holder)
        if isinstance(member, functools.cached_property) and isinstance(member.func, FunctionType):
            if name not in vars(holder):
                vars(holder)[name] = self._callable(member.func)(holder)
            return vars(holder)[name]
        return self.bound(getattr(holder, name))

    def write(self, holder: Any, name: str) -> Any:
        """Guard the object whose attribute is about to be assigned or deleted."""
        if isinstance(holder, _SHARED):
            raise SandboxViolation(
                f"`.{name}` of {getattr(holder, '__name__', holder)} can't be changed in a body.",
                why="classes, their enum members, modules and functions are shared by all runs",
                fix="keep the state in an object of the run",
            )
        if name in self.members.properties:
            member = _class_member(type(holder), name)
            if isinstance(member, property) and isinstance(member.fset, FunctionType):
                return PropertyView(self, holder, member)
        return holder

    def write_private(self, holder: Any, name: str) -> Any:
        """The same for `_x`."""
        check_private(holder, name)
        return self.write(holder, name)

    def set_attribute(self, holder: Any, name: str, value: Any) -> None:
        """`setattr` in a body."""
        check_dynamic_name(name)
        guard = self.write_private if vocabulary.is_private(name) else self.write
        setattr(guard(holder, name), name, value)

    def delete_attribute(self, holder: Any, name: str) -> None:
        """`delattr` in a body."""
        check_dynamic_name(name)
        guard = self.write_private if vocabulary.is_private(name) else self.write
        delattr(guard(holder, name), name)

    def get_attribute(self, holder: Any, name: str, *default: Any) -> Any:
        """`getattr` in a body."""
        if name in vocabulary.WATCHED_ATTRIBUTES or name in vocabulary.READABLE_SPECIALS:
            return watched(holder, name)
        check_dynamic_name(name)
        if vocabulary.is_private(name) and name not in vocabulary.PUBLIC_UNDERSCORED:
            check_private(holder, name)
        try:
            return self.attribute(holder, name)
        except AttributeError:
            if default:
                return default[0]
            raise

    def has_attribute(self, holder: Any, name: str) -> bool:
        """`hasattr` in a body."""
        return self.get_attribute(holder, name, _MISSING) is not _MISSING

    def imported(self, module: str, member: str, level: int) -> Any:
        """An import inside a body; its modules were imported when the body was linked."""
        package = sys._getframe(1).f_globals.get("__package__") or ""
        found = judgement.loaded("." * level + module, package)
        if found is None:
            raise ImportError(f"{module} was not imported when the body was linked", name=module)
        if not member:
            return self.replacement(found)
        value = getattr(found, member, None) or judgement.loaded(f"{found.__name__}.{member}", "")
        if value is None:
            raise ImportError(f"cannot import name {member!r} from {module!r}", name=module)
        return self.replacement(value)


def _refused(refusal: libraries.Refusal | None) -> Any:
    """Make what a name stands for that is refused for certain: it raises as soon as it is used."""

    class Refused:
        def __getattr__(self, name: str) -> Any:
            raise _violation(refusal)

        def __call__(self, *arguments: object, **keywords: object) -> Any:
            raise _violation(refusal)

    return Refused()


def _violation(refusal: libraries.Refusal | None) -> SandboxViolation:
    return refusal.error() if refusal is not None else SandboxViolation("this can't be used in a body.")


def _unit_for(unit: Unit, function: FunctionType) -> Unit:
    """A unit of the same code for another function object, as a decorator makes one per call."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    return dataclasses.replace(unit, function=function, cells=cells)


def _only_handed(unit: Unit) -> frozenset[str]:
    """The free names that a function only hands to steps: their cells stay as they are."""
    policy, _ = checked(unit, Members())
    used = {reference.name for reference in policy.references if reference.free and reference.usage != "step"}
    return frozenset(unit.free - used)


def _may_be_replaced(value: object) -> bool:
    """Tell whether a value may be another thing in a body; asked before there are twins to ask for."""
    if values.is_opaque(value) or values.is_restricted(value) or values.is_mutable(value):
        return False
    if isinstance(value, tuple | frozenset):
        return type(value) is frozenset or any(map(_may_be_replaced, value))
    if isinstance(value, type):
        return not values.is_user_class(value)
    return callable(value) or isinstance(value, ModuleType)


def _class_member(kind: type, name: str) -> Any:
    for base in kind.__mro__:
        if name in vars(base):
            return vars(base)[name]
    return None


def global_names(code: CodeType) -> Iterator[str]:
    """Go through the names that code loads from its globals, nested code included."""
    seen: set[str] = set()
    for inner in compiler.all_code(code):
        for instruction in dis.get_instructions(inner):
            if instruction.opname in _GLOBAL_LOADS and instruction.argval not in seen:
                seen.add(instruction.argval)
                if not instruction.argval.startswith("%") or instruction.argval.startswith(HANDED):
                    yield instruction.argval


#: Everything that runs from today's code.
LIVE: Final = Realm()
