"""The sandbox: bodies compiled under a policy, and the deterministic world that they run in.

Names are resolved when they are first used, because importing RestrictedPython and the stand-ins takes a moment that a
plain `import perdure` should not.

This package must not know runs, ledgers or steps; `environment.py` says what it asks of whoever runs a body.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.sandbox.activation import current, suspended
    from perdure.sandbox.environment import Environment
    from perdure.sandbox.findings import Finding
    from perdure.sandbox.fuel import refill
    from perdure.sandbox.guards import discard
    from perdure.sandbox.handed import StepCallable, StepClosure, unwrap
    from perdure.sandbox.libraries import allow
    from perdure.sandbox.loading import LoadedModule, load
    from perdure.sandbox.restriction import Restricted, dump_sources, load_sources, restrict, restrict_pinned
    from perdure.sandbox.sets import OrderedFrozenSet, OrderedSet
    from perdure.sandbox.source import Source

__all__ = [
    "Environment", "Finding", "LoadedModule", "OrderedFrozenSet", "OrderedSet", "Restricted", "Source", "StepCallable",
    "StepClosure", "allow", "current", "discard", "dump_sources", "load", "load_sources", "refill", "restrict",
    "restrict_pinned", "suspended", "unwrap",
]  # fmt: skip

_HOMES = {
    "Environment": "environment", "Finding": "findings", "LoadedModule": "loading", "OrderedFrozenSet": "sets",
    "OrderedSet": "sets", "Restricted": "restriction", "Source": "source", "StepCallable": "handed",
    "StepClosure": "handed", "allow": "libraries", "current": "activation", "discard": "guards",
    "dump_sources": "restriction", "load": "loading", "load_sources": "restriction", "refill": "fuel",
    "restrict": "restriction", "restrict_pinned": "restriction", "suspended": "activation", "unwrap": "handed",
}  # fmt: skip


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
