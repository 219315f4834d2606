"""Proof on a laptop: the simulator, fakes, property-based determinism tests, and the pytest plugin.

Shipped with the library, never imported by the rest of it. Names are resolved when first used, so that the pytest
plugin costs a test run nothing that does not use it.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES: dict[str, str] = {
    "CrashReport": "everywhere",
    "DeterminismReport": "determinism",
    "WorkflowMachine": "stateful",
    "check_determinism": "determinism",
    "crash_everywhere": "everywhere",
    "CancelRun": "faults",
    "ClockJump": "faults",
    "Crash": "faults",
    "DuplicateOutcome": "faults",
    "Effect": "performers",
    "EventStorm": "faults",
    "FullDisk": "faults",
    "LawBroken": "laws",
    "LyingSync": "faults",
    "Restart": "faults",
    "RuntimeClock": "runtimes",
    "RuntimeFactory": "runtimes",
    "SimulatedClock": "clock",
    "SimulatedError": "performers",
    "SimulatedRun": "simulated_run",
    "Simulation": "simulation",
    "SlowStep": "faults",
    "StepError": "faults",
    "TornTail": "faults",
    "assert_history": "assertions",
    "assert_replays": "assertions",
    "assert_same_outcome": "assertions",
    "failing": "outside",
    "idempotent": "outside",
    "random_faults": "faults",
    "results": "outside",
    "seeds": "seeding",
}

__all__ = sorted(_HOMES)  # the names are the keys


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
