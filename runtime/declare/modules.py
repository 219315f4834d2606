"""The modules that a path or a dotted name stands for: where they are, what they are called, and importing them.

A module is imported under the name that its own imports give it, because the ledger keeps classes by that name:

    orders.py                        `orders`; its folder is importable, so siblings import each other by plain names
    shop/__init__.py, shop/orders.py `shop.orders`, whose folder is importable; a package in a package likewise
    workflows/billing/refunds.py     `billing.refunds` without any `__init__.py`, when `workflows/` is what was named

Knows importing. Must not know workflows.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from perdure.errors import DefinitionError

#: Folders in a folder of workflows that hold something else.
_PASSED_OVER = frozenset({"tests", "node_modules", "site-packages", "build", "dist"})


@dataclass(frozen=True, slots=True)
class Importable:
    """One module that can be imported.

    Attributes:
        name: its dotted name.
        path: its file; None when it was given by its name.
        root: the folder that has to be importable; None likewise.
    """

    name: str
    path: Path | None = None
    root: Path | None = None

    @property
    def shown(self) -> str:
        """How to call it to its author: the file as one would type it, or the name."""
        return self.name if self.path is None else shortened(self.path)

    def load(self) -> ModuleType:
        """Import it, or give what was imported from the same file before.

        Raises:
            DefinitionError: there is no such module, or its name belongs to another one. Whatever the module raises.
        """
        if self.path is None or self.root is None:
            return _import_named(self.name)
        loaded = _loaded_from(self.path, self.name)
        if loaded is not None:
            return loaded
        _refuse_taken_name(self.name, self.path)
        if str(self.root) not in sys.path:
            sys.path.insert(0, str(self.root))
        if "." not in self.name and self.path.name != "__init__.py":
            return _execute(self.name, self.path)
        importlib.invalidate_caches()
        module = importlib.import_module(self.name)
        if not _is_from(module, self.path):
            raise _shadowed(self.name, self.path, str(getattr(module, "__file__", "a namespace package")))
        return module


def modules_in(source: str | os.PathLike[str]) -> list[Importable]:
    """List what a path to a file or folder, or the dotted name of a module, stands for; by path.

    A folder stands for the modules in it and below it. Left out are names that begin with `_` or `.`, tests
    (`tests/`, `test_*.py`, `*_test.py`, `conftest.py`), and folders that hold what was installed or built.

    Raises:
        DefinitionError: there is no such file or folder.
    """
    text = os.fspath(source)
    path = Path(text)
    if path.is_dir():
        folder = path.resolve()
        root = _root(folder)
        files = [*_init(folder), *_files_below(folder, {folder})]
        return [Importable(_dotted(file, root), file, root) for file in files]
    if text.endswith(".py") or os.sep in text or (os.altsep is not None and os.altsep in text):
        if not path.is_file():
            raise DefinitionError(f"there is no file or folder {text!r}.", where=str(Path.cwd()), fix="mend the path")
        file = path.resolve()
        root = _root(file.parent) if _init(file.parent) else file.parent
        return [Importable(_dotted(file, root), file, root)]
    return [Importable(text)]


def shortened(path: Path) -> str:
    """A path below the current folder as one would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _root(folder: Path) -> Path:
    """The folder that has to be importable: above the outermost package, or the folder itself."""
    while _init(folder) and folder.parent != folder:
        folder = folder.parent
    return folder


def _init(folder: Path) -> list[Path]:
    file = folder / "__init__.py"
    return [file] if file.is_file() else []


def _files_below(folder: Path, above: set[Path]) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        name = entry.name
        if name.startswith(("_", ".")):
            continue
        if entry.is_dir():
            if name in _PASSED_OVER or (entry / "pyvenv.cfg").exists() or entry.resolve() in above:
                continue  # the last is a link that leads in a circle
            yield from _init(entry)
            yield from _files_below(entry, {*above, entry.resolve()})
        elif name.endswith(".py") and not _is_test(name):
            yield entry


def _is_test(name: str) -> bool:
    return name == "conftest.py" or name.startswith("test_") or name.endswith("_test.py")


def _dotted(file: Path, root: Path) -> str:
    parts = list(file.relative_to(root).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


# ── importing ────────────────────────────────────────────────────────────────────────────────────


def _import_named(name: str) -> ModuleType:
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script does not have the current folder, `python -m` does
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise DefinitionError(
                f"there is no module {name!r}.",
                where=f"looked in {os.getcwd()} and the environment's packages",
                fix="name a module (orders.workflows), a file (orders.py) or a folder (workflows/)",
            ) from None
        raise


def _loaded_from(path: Path, name: str) -> ModuleType | None:
    """The module that was imported from a file, under whatever name: a second copy would be other classes."""
    loaded = sys.modules.get(name)
    if loaded is not None and _is_from(loaded, path):
        return loaded
    for other, module in list(sys.modules.items()):
        if other != "__main__" and _is_from(module, path):  # a script's own module ends with the script
            return module
    return None


def _is_from(module: ModuleType, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or os.path.basename(file) != path.name:
        return False
    return os.path.realpath(file) == str(path)


def _execute(name: str, path: Path) -> ModuleType:
    """Import a file by its path: another file of the same name may be importable too, and be found first."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DefinitionError(f"{path} can't be imported.", fix="name a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _refuse_taken_name(name: str, path: Path) -> None:
    """Refuse to take the name of something installed: its own users would get this file instead."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        raise _shadowed(name, path, f"the standard library's {top}")
    loaded = getattr(sys.modules.get(top), "__file__", None)
    origin = loaded
    if loaded is None:
        spec = importlib.util.find_spec(top)
        origin = None if spec is None else spec.origin
    if origin is not None and not path.is_relative_to(Path(origin).parent) and _is_installed(Path(origin)):
        raise _shadowed(name, path, origin)


def _is_installed(origin: Path) -> bool:
    return any(origin.is_relative_to(sysconfig.get_path(kind)) for kind in ("purelib", "platlib"))


def _shadowed(name: str, path: Path, other: str) -> DefinitionError:
    return DefinitionError(
        f"{shortened(path)} would be the module {name!r}, and there is another one of that name.",
        where=str(path),
        why=f"the other one is {other}",
        fix="rename the file; or put an empty __init__.py into its folder, so that the folder's name comes first",
    )
