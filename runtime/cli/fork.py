"""`perdure fork LEDGER RUN --at STEP`: a new run that lives on from a place of another one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from perdure.cli.administering import administering, running_one
from perdure.cli.arguments import AsJson, LedgerPath, RunId, Tags, Workflows, parse_json, parse_tags
from perdure.cli.opening import need_ledger, need_workflows
from perdure.cli.output import console, print_json
from perdure.cli.run import spinning
from perdure.cli.worker import until_idle
from perdure.client.handle import RunHandle
from perdure.client.runtime import Runtime
from perdure.client.status import RunStatus
from perdure.core.places import parse_place
from perdure.declare.registry import Registry
from perdure.errors import DefinitionError

At = Annotated[
    str, typer.Option("--at", metavar="STEP", help="A step's name (name#2 for the second), or an entry's number.")
]
NewId = Annotated[
    str | None, typer.Option("--run-id", metavar="ID", help="An id of your own for the new run; the same is the same.")
]
Input = Annotated[
    str | None,
    typer.Option("--input", "-i", metavar="JSON", help="Another input, with --at 0; @file.json reads a file, - stdin."),
]
Results = Annotated[
    list[str] | None,
    typer.Option("--result", metavar="NAME=JSON", help="A step's result, instead of running it; may be repeated."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Run it to its end here, and print its output.")]


def fork_run(
    ledger: LedgerPath,
    run: RunId,
    at: At,
    workflows: Workflows = None,
    input: Input = None,
    result: Results = None,
    run_id: NewId = None,
    tag: Tags = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Live a run again from a step on.

    The new run takes over what the other one had recorded before, checks that today's code replays it, and runs the
    step and what follows anew. The other run stays as it is. With --result the step itself is not run: it gave that.
    With --at 0 and --input the whole run begins anew with another input. A moment of work is done here, the rest by a
    worker (perdure run); with --wait all of it, and its output is printed.
    """
    need_ledger(ledger)
    registry = need_workflows(workflows)
    options: dict[str, Any] = {"run_id": run_id, "tags": parse_tags(tag) if tag else None}
    if input is not None:
        options["input"] = parse_json(input, "--input")
    options["results"] = parse_results(result)
    wanted = _Wanted(run, parse_place(at), options)
    if wait:
        print_json(asyncio.run(_run_to_end(ledger, registry, wanted)))
        return
    status = asyncio.run(_fork(ledger, registry, wanted))
    if as_json:
        print_json(status.as_json())
    else:
        console().print(f"Run {status.run_id}, forked from {run} at {at}, is {status.status}.", soft_wrap=True)


def parse_results(texts: list[str] | None) -> dict[str, Any]:
    """Read `name=json` texts."""
    results = {}
    for text in texts or ():
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise DefinitionError(f"--result {text!r} is no result.", fix="write --result 'charge_card={\"ok\": true}'")
        results[name] = parse_json(value, f"--result {name}")
    return results


@dataclass(frozen=True, slots=True)
class _Wanted:
    run: str
    at: int | str
    options: dict[str, Any]

    async def made(self, runtime: Runtime) -> RunHandle:
        return await runtime.handle(self.run).fork(self.at, **self.options)


async def _fork(path: Path, registry: Registry, wanted: _Wanted) -> RunStatus:
    async with administering(path, registry) as runtime:
        fork = await wanted.made(runtime)
        await until_idle(runtime, patience_s=2.0)
        return await fork.status()


async def _run_to_end(path: Path, registry: Registry, wanted: _Wanted) -> Any:
    async with running_one(path, registry) as runtime:
        fork = await wanted.made(runtime)
        with spinning(f"run {fork.run_id}"):
            return await fork.result()
