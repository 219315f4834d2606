"""Workflows in modules, files and folders: what `workflows=` and `--workflows` take, and where they are by default.

Knows which definitions a module has. Must not know how a module is found and imported (`modules.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from perdure.declare.modules import modules_in
from perdure.declare.registry import Definition, workflows_of

#: Where commands look in the current folder when nobody says where the workflows are; the first that is there.
USUAL_PLACES = ("workflows", "workflows.py")


def find_workflows(source: object) -> list[Definition]:
    """Find definitions in what the user named.

    Args:
        source: definitions, a module, the dotted name of a module, a path to a `.py` file or a folder of them, or a
            list of such.

    Raises:
        DefinitionError: there is no such module or path.
    """
    if isinstance(source, (str, os.PathLike)):
        return distinct(workflows_of([each.load() for each in modules_in(source)]))
    if isinstance(source, (list, tuple, set, frozenset)):
        return distinct(definition for each in source for definition in find_workflows(each))
    return distinct(workflows_of(source))


def distinct(found: Iterable[Definition]) -> list[Definition]:
    """Each definition once: one that is imported into a second module is the same object."""
    return list({id(definition): definition for definition in found}.values())


def usual_places(folder: Path) -> list[str]:
    """Those of the usual places that are there, the one that counts first; a folder without modules is none."""
    return [
        place
        for place in USUAL_PLACES
        if ((folder / place).is_file() if place.endswith(".py") else _has_modules(folder / place))
    ]


def _has_modules(folder: Path) -> bool:
    return folder.is_dir() and bool(modules_in(folder))
