"""Proof on a laptop: the simulator, fakes, property-based determinism tests, and the pytest plugin.

Shipped with the library, never imported by the rest of it. Names are resolved when first used, so that the pytest
plugin costs a test run nothing that does not use it. Type checkers and editors see where each name is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.testing.assertions import assert_history as assert_history
    from perdure.testing.assertions import assert_replays as assert_replays
    from perdure.testing.assertions import assert_same_outcome as assert_same_outcome
    from perdure.testing.clock import SimulatedClock as SimulatedClock
    from perdure.testing.determinism import DeterminismReport as DeterminismReport
    from perdure.testing.determinism import check_determinism as check_determinism
    from perdure.testing.everywhere import CrashReport as CrashReport
    from perdure.testing.everywhere import crash_everywhere as crash_everywhere
    from perdure.testing.faults import CancelRun as CancelRun
    from perdure.testing.faults import ClockJump as ClockJump
    from perdure.testing.faults import Crash as Crash
    from perdure.testing.faults import DuplicateOutcome as DuplicateOutcome
    from perdure.testing.faults import EventStorm as EventStorm
    from perdure.testing.faults import FullDisk as FullDisk
    from perdure.testing.faults import LyingSync as LyingSync
    from perdure.testing.faults import Restart as Restart
    from perdure.testing.faults import SlowStep as SlowStep
    from perdure.testing.faults import StepError as StepError
    from perdure.testing.faults import TornTail as TornTail
    from perdure.testing.faults import random_faults as random_faults
    from perdure.testing.laws import LawBroken as LawBroken
    from perdure.testing.outside import failing as failing
    from perdure.testing.outside import idempotent as idempotent
    from perdure.testing.outside import results as results
    from perdure.testing.performers import Effect as Effect
    from perdure.testing.performers import SimulatedError as SimulatedError
    from perdure.testing.runtimes import RuntimeClock as RuntimeClock
    from perdure.testing.runtimes import RuntimeFactory as RuntimeFactory
    from perdure.testing.seeding import seeds as seeds
    from perdure.testing.simulated_run import SimulatedRun as SimulatedRun
    from perdure.testing.simulation import Simulation as Simulation
    from perdure.testing.stateful import WorkflowMachine as WorkflowMachine

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


if not TYPE_CHECKING:  # a checker that saw it would take a misspelt name for Any

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{home}"), name)
