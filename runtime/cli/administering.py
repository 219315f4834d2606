"""Runtimes of commands that do one thing and are gone: they leave to workers what was not asked of them.

Knows what a short command leaves alone. Must not know any command.
"""

from __future__ import annotations

from pathlib import Path

from perdure.client.runtime import Runtime
from perdure.declare.registry import Registry
from perdure.engine.engine import Engine


def administering(path: Path, registry: Registry) -> Runtime:
    """A runtime that moves only the runs that it is told to.

    It starts nothing for ticks, missed ones neither; begins no run that waits on a queue or for its time; and does not
    resume what was cut off. All that is a worker's, which has the time for it.
    """
    return _prepared(path, registry, is_for_one_run=False)


def running_one(path: Path, registry: Registry) -> Runtime:
    """A runtime that takes one run to its end. It starts nothing for ticks; its run may need all else."""
    return _prepared(path, registry, is_for_one_run=True)


def _prepared(path: Path, registry: Registry, *, is_for_one_run: bool) -> Runtime:
    def prepare(engine: Engine) -> None:
        engine.schedules.held = True
        engine.administers = not is_for_one_run

    runtime = Runtime(path, workflows=registry.all(), services=registry.back_ends.by_service)
    runtime.prepare(prepare)
    return runtime
