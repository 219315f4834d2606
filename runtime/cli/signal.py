"""`perdure signal LEDGER RUN NAME`: hand a run a signal, which it keeps until its body takes it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from perdure.cli.administering import administering
from perdure.cli.arguments import AsJson, LedgerPath, RunId, Workflows, parse_json
from perdure.cli.opening import need_ledger, need_workflows
from perdure.cli.output import console, print_json
from perdure.cli.send import Payload
from perdure.client.status import RunStatus, waiting_text
from perdure.declare.registry import Registry

SignalName = Annotated[str, typer.Argument(metavar="NAME", help="The signal's name, such as approved.")]


def signal_run(
    ledger: LedgerPath, run: RunId, name: SignalName, workflows: Workflows = None, payload: Payload = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Hand a run a signal.

    It is recorded when this returns; the body takes it in its turn, and a worker (perdure run) takes it on from there.
    """
    need_ledger(ledger)
    registry = need_workflows(workflows)
    value = None if payload is None else parse_json(payload, "--payload")
    status = asyncio.run(_signal(ledger, registry, run, name, value))
    if as_json:
        print_json({"run_id": run, "name": name, "status": status.status})
    else:
        kept = ", keeps it until something waits for it" if name in status.signals else ""
        console().print(f"{run} has the signal {name}{kept}, and is {waiting_text(status)}.", soft_wrap=True)


async def _signal(path: Path, registry: Registry, run_id: str, name: str, payload: Any) -> RunStatus:
    async with administering(path, registry) as runtime:
        run = runtime.handle(run_id)
        await run.signal(name, payload)
        return await run.status()
