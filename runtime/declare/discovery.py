"""Workflows in modules, files and folders: what `workflows=` and `--workflows` take. Knows importing, not running."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from perdure.declare.registry import Definition, workflows_of
from perdure.errors import DefinitionError


def find_workflows(source: object) -> list[Definition]:
    """Find definitions in what the user named.

    Args:
        source: definitions, a module, the dotted name of a module, a path to a `.py` file or a folder of them, or a
            list of such.

    Raises:
        DefinitionError: there is no such module or path.
    """
    if isinstance(source, (str, os.PathLike)):
        return _distinct(workflows_of(_modules(source)))
    if isinstance(source, (list, tuple, set, frozenset)):
        return _distinct(definition for each in source for definition in find_workflows(each))
    return _distinct(workflows_of(source))


def _distinct(found: object) -> list[Definition]:
    return list({id(definition): definition for definition in found}.values())  # type: ignore[attr-defined]


def _modules(source: str | os.PathLike[str]) -> list[ModuleType]:
    text = os.fspath(source)
    path = Path(text)
    if path.is_dir():
        return [_load(file) for file in sorted(path.glob("*.py")) if not file.name.startswith(("_", "."))]
    if text.endswith(".py") or os.sep in text:
        if not path.is_file():
            raise DefinitionError(f"there is no file or folder {text!r}.", where=str(Path.cwd()), fix="mend the path")
        return [_load(path)]
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script does not have the current folder, `python -m` does
    try:
        return [importlib.import_module(text)]
    except ModuleNotFoundError as error:
        if error.name is not None and (text == error.name or text.startswith(error.name + ".")):
            raise DefinitionError(
                f"there is no module {text!r}.",
                where=f"looked in {os.getcwd()} and the environment's packages",
                fix="name a module (orders.workflows), a file (orders.py) or a folder (workflows/)",
            ) from None
        raise


def _load(path: Path) -> ModuleType:
    """Import a file under the name it would have if its folder were on the path, so that classes are found again."""
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and _same_file(getattr(loaded, "__file__", None), path):
        return loaded
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise DefinitionError(f"{path} can't be imported.", fix="name a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _same_file(loaded: str | None, path: Path) -> bool:
    return loaded is not None and Path(loaded).resolve() == path.resolve()
