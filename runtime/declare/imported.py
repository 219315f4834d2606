"""Workflows that somebody names in a text, imported: whatever goes wrong is told with its place.

Knows that a module of the user's may raise anything. Must not know who asks.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from pathlib import Path

from perdure.declare.discovery import distinct
from perdure.declare.modules import Importable, modules_in, shortened
from perdure.declare.registry import Definition, Registry, workflows_of
from perdure.errors import DefinitionError, PerdureError


@dataclass(frozen=True, slots=True)
class Imported:
    """What a text stood for.

    Attributes:
        registry: the workflows that can be used.
        failures: what is wrong with the others, in the order of the files.
        looked_at: the modules, as their author calls them.
    """

    registry: Registry = field(default_factory=Registry)
    failures: list[PerdureError] = field(default_factory=list)
    looked_at: list[str] = field(default_factory=list)


def imported(workflows: str) -> Imported:
    """Import and check as much as can be had of a module, a file or a folder.

    Raises:
        DefinitionError: there is no such file or folder.
    """
    found = Imported()
    definitions: list[Definition] = []
    for module in modules_in(workflows):
        found.looked_at.append(module.shown)
        try:
            definitions += _definitions(module)
            found.registry.back_ends.add(module.load(), module.shown)
        except PerdureError as error:
            if str(error) not in map(str, found.failures):  # else a module that imports a bad one tells it again
                found.failures.append(error)
    for definition in distinct(definitions):
        try:
            found.registry.add(definition)
        except PerdureError as error:
            found.failures.append(error)
    return found


def registry_of(workflows: str) -> Registry:
    """Import workflows and check them.

    Raises:
        DefinitionError: the module fails to import. PolicyViolation: with all findings.
    """
    found = imported(workflows)
    if not found.failures:
        return found.registry
    first, *others = found.failures
    if others:
        first.details += (("also", "\n".join(_in_one_line(other) for other in others)),)
    raise first


def _in_one_line(error: PerdureError) -> str:
    return f"{error.message} ({error.where})" if error.where else error.message


def _definitions(module: Importable) -> list[Definition]:
    try:
        return workflows_of(module.load())
    except PerdureError as error:
        error.where = error.where or _place(error)  # a schedule, say, does not know in which file it stands
        raise
    except Exception as error:  # the user's module may raise anything; told as an error with its place
        raise DefinitionError(
            f"{module.shown!r} fails to import: {type(error).__name__}: {error}",
            where=_place(error),
            fix=f"make `{_import_command(module)}` work first",
        ) from error
    except SystemExit as error:
        raise DefinitionError(
            f"{module.shown!r} ends the process when it is imported (exit {error.code}).",
            where=_place(error),
            fix='put what it runs under `if __name__ == "__main__":`',
        ) from error


def _import_command(module: Importable) -> str:
    """What imports the module in a shell, where its folder is not the current one as well."""
    command = f"python -c 'import {module.name}'"
    return command if module.root in (None, Path.cwd()) else f"cd {shortened(module.root)} && {command}"


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    ours = Path(__file__).parent.parent
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename
        and not frame.filename.startswith("<")  # what `dataclass` made
        and ours not in Path(frame.filename).parents
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
