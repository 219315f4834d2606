"""Two source closures of one definition, the recorded one and today's: what changed, and what names each has.

Knows source text. Must not know runs or entries.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from functools import cached_property
from os.path import basename
from types import ModuleType

_DIFF_LINES_MAX = 14
_NUMBERED = re.compile(r"(#\d+|\[\d+\])$")  # what a second call, or an item of step.map, adds to a name


@dataclass(frozen=True)
class Unit:
    """One function or constant of a closure."""

    module: str
    qualname: str
    file: str
    line: int
    source: str


@dataclass(frozen=True)
class Closure:
    """The body and the helpers that it reaches, the body first."""

    units: tuple[Unit, ...] = field(default=())

    @classmethod
    def from_json(cls, text: str) -> Closure:
        """Read what the ledger keeps of a definition."""
        return cls(
            tuple(
                Unit(each["module"], each["qualname"], each["file"], each["line"], each["source"])
                for each in json.loads(text)
            )
        )

    def unit_at(self, site: str) -> Unit | None:
        """The function that has a source line named as `file.py:12`."""
        file, _, number = site.rpartition(":")
        if not number.isdigit():
            return None
        for unit in self.units:
            if basename(unit.file) == file and 0 <= int(number) - unit.line < len(unit.source.splitlines()):
                return unit
        return None

    def line_at(self, site: str) -> str:
        """The text of a source line named as `file.py:12`; empty when the closure does not have it."""
        unit = self.unit_at(site)
        return "" if unit is None else unit.source.splitlines()[int(site.rpartition(":")[2]) - unit.line].strip()

    def mentions(self, name: str) -> bool:
        """Whether the source can give a command this name: as a text, an f-string, or a function that it calls."""
        plain = _NUMBERED.sub("", name)
        if name in self._words or plain in self._words:
            return True
        return any(pattern.fullmatch(name) or pattern.fullmatch(plain) for pattern, _ in self._templates)

    def outline_of(self, name: str) -> str | None:
        """A name with `*` for what an f-string or a count puts into it; None when the source does not say."""
        plain = _NUMBERED.sub("", name)
        count = "" if plain == name else "#*"
        if name in self._words or plain in self._words:
            return name if name in self._words else plain + count
        return next((text + count for pattern, text in self._templates if pattern.fullmatch(plain)), None)

    def words(self) -> frozenset[str]:
        """Every text and name in the source, for who looks for what somebody may have meant."""
        named = {node.id for unit in self.units for node in _nodes(unit) if isinstance(node, ast.Name)}
        return self._words | named

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(word for unit in self.units for word, _ in _spoken(unit))

    @cached_property
    def _templates(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        """What f-strings may give: as a pattern, and as a text with `*`."""
        templates = []
        for node in (node for unit in self.units for node in _nodes(unit)):
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else None for part in node.values]
                if any(part is not None for part in parts):
                    pattern = "".join(".*" if part is None else re.escape(part) for part in parts)
                    text = "".join("*" if part is None else part for part in parts)
                    templates.append((re.compile(pattern, re.DOTALL), text))
        return tuple(templates)

    def order_of(self, name: str) -> tuple[int, int] | None:
        """Where a name is first mentioned, as something to compare with another name's place; None when nowhere."""
        plain = _NUMBERED.sub("", name)
        for index, unit in enumerate(self.units):
            lines = [line for words, line in _spoken(unit) if words in (name, plain)]
            if lines:
                return index, min(lines)
        return None

    @staticmethod
    def names_read(unit: Unit) -> set[str]:
        """The plain names that a unit reads."""
        return {node.id for node in _nodes(unit) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _nodes(unit: Unit) -> Iterator[ast.AST]:
    try:
        yield from ast.walk(ast.parse(unit.source))
    except SyntaxError:  # of a newer Python than this one: its text is still shown, its names are not known
        return


def _spoken(unit: Unit) -> Iterator[tuple[str, int]]:
    """The texts and names that may name a command, with their lines: a variable of the unit's own never does."""
    own = {node.id for node in _nodes(unit) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in _nodes(unit):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno
        elif isinstance(node, ast.Name) and node.id not in own:
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno


def changed_lines(recorded: Closure, today: Closure) -> tuple[str, ...]:
    """The lines that differ, as a short unified diff; a header names each function and its line today."""
    shown: list[str] = []
    before = {unit.qualname: unit for unit in recorded.units}
    after = {unit.qualname: unit for unit in today.units}
    for qualname in [*after, *(each for each in before if each not in after)]:
        shown.extend(_unit_diff(qualname, before, after))
    if len(shown) > _DIFF_LINES_MAX:
        rest = len(shown) - _DIFF_LINES_MAX
        shown = [*shown[:_DIFF_LINES_MAX], f"… and {rest} more changed lines"]
    return tuple(shown)


def count_changed_lines(recorded: Closure, today: Closure) -> int:
    """How many lines differ; one that was rewritten counts twice, as gone and as new."""
    before = {unit.qualname: unit for unit in recorded.units}
    after = {unit.qualname: unit for unit in today.units}
    return sum(max(len(_unit_diff(qualname, before, after)) - 1, 0) for qualname in {**before, **after})


def _unit_diff(qualname: str, before: Mapping[str, Unit], after: Mapping[str, Unit]) -> Sequence[str]:
    old, new = before.get(qualname), after.get(qualname)
    if old is not None and new is not None and old.source == new.source:
        return ()
    place = new or old
    assert place is not None  # the name came from one of the two
    lines = unified_diff(
        old.source.splitlines() if old is not None else [],
        new.source.splitlines() if new is not None else [],
        lineterm="",
        n=0,
    )
    # unified_diff opens with two lines that name files, and marks each hunk with @@: the function's name says more.
    changed = [line for line in lines if not line.startswith(("---", "+++", "@@")) and line[1:].strip()]
    changed = [line for line in changed if not line[1:].strip().startswith("#")]
    if not changed:
        return ()
    header = f"in {qualname}, {basename(place.file)}:{place.line}" + ("" if new is not None else " (gone)")
    return (header, *changed)


def unpinned_names(closure: Closure) -> list[tuple[str, object]]:
    """The module globals that the code reads and that are not pinned with it, with their values of this process.

    Functions, classes and the standard library's modules are left out.
    """
    pinned = {unit.qualname for unit in closure.units}
    found: dict[str, object] = {}
    for unit in closure.units:
        names = vars(sys.modules[unit.module]) if unit.module in sys.modules else {}
        for word in closure.names_read(unit):
            value = names.get(word)
            if word in pinned or value is None or getattr(value, "__perdure_opaque__", False):
                continue
            if isinstance(value, ModuleType):
                if value.__name__.split(".")[0] not in sys.stdlib_module_names:
                    found[word] = value
            elif not callable(value):
                found[word] = value
    return list(found.items())
