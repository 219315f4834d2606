"""`perdure fork LEDGER RUN --at STEP`: a new run that lives on from a place of another one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from perdure.cli.arguments import AsJson, LedgerPath, RunId, Tags, Workflows, parse_tags
from perdure.cli.opening import need_ledger, registry_of, some_workflows
from perdure.cli.output import console, print_json
from perdure.cli.run import spinning, until_idle
from perdure.client.runtime import Runtime
from perdure.client.status import RunStatus
from perdure.core.places import parse_place
from perdure.declare.registry import Registry

At = Annotated[
    str, typer.Option("--at", metavar="STEP", help="A step's name (name#2 for the second), or an entry's number.")
]
NewId = Annotated[
    str | None, typer.Option("--run-id", metavar="ID", help="An id of your own for the new run; the same is the same.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Run it to its end here, and print its output.")]


def fork_run(
    ledger: LedgerPath,
    run: RunId,
    at: At,
    workflows: Workflows,
    run_id: NewId = None,
    tag: Tags = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Live a run again from a step on.

    The new run takes over what the other one had recorded before, checks that today's code replays it, and runs the
    step and what follows anew. The other run stays as it is. A moment of work is done here, the rest by a worker
    (perdure run); with --wait all of it, and its output is printed.
    """
    need_ledger(ledger)
    registry = registry_of(workflows)
    some_workflows(registry, workflows)
    tags = parse_tags(tag) if tag else None
    if wait:
        print_json(asyncio.run(_run_to_end(ledger, registry, run, at, run_id, tags)))
        return
    status = asyncio.run(_fork(ledger, registry, run, at, run_id, tags))
    if as_json:
        print_json(status.as_json())
    else:
        console().print(f"Run {status.run_id}, forked from {run} at {at}, is {status.status}.", soft_wrap=True)


async def _fork(
    path: Path, registry: Registry, run: str, at: str, run_id: str | None, tags: Mapping[str, str] | None
) -> RunStatus:
    async with Runtime(path, workflows=registry.all()) as runtime:
        fork = await runtime.handle(run).fork(parse_place(at), run_id=run_id, tags=tags)
        await until_idle(runtime, patience_s=2.0)
        return await fork.status()


async def _run_to_end(
    path: Path, registry: Registry, run: str, at: str, run_id: str | None, tags: Mapping[str, str] | None
) -> Any:
    async with Runtime(path, workflows=registry.all()) as runtime:
        fork = await runtime.handle(run).fork(parse_place(at), run_id=run_id, tags=tags)
        with spinning(f"run {fork.run_id}"):
            return await fork.result()
