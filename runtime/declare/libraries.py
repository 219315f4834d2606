"""Which release of each library a body can call: what is recorded with a run, so that a later one shows.

Knows installed distributions. Must not know how a body reaches a library (`perdure.sandbox` does), nor runs.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata

from perdure.version import __version__

#: Whatever a body reaches, these two have a hand in it: we walk it, and pydantic validates what it returns.
_ALWAYS = ("pydantic",)


def library_versions(modules: Iterable[str]) -> dict[str, str]:
    """Find the versions of the distributions that have these top-level modules, and ours, by name.

    A module that no distribution has counts under its own name with its `__version__`, or not at all.
    """
    found = {"perdure": __version__}
    for module in sorted({*modules, *_ALWAYS}):
        found.update(_of_module(module))
    return found


@functools.cache
def _of_module(module: str) -> Mapping[str, str]:
    try:
        return {module: metadata.version(module)}
    except metadata.PackageNotFoundError:
        pass
    names = _distributions().get(module, ())
    if names:
        return {name: metadata.version(name) for name in dict.fromkeys(names)}
    version = getattr(sys.modules.get(module), "__version__", None)
    return {module: version} if isinstance(version, str) else {}


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    # Reads every distribution's list of files, so it is asked only for a module of another name than its distribution.
    return metadata.packages_distributions()
