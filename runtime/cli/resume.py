"""`perdure resume LEDGER TOKEN`: hand a payload to the open hook of a run that has this token."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from perdure.cli.administering import administering
from perdure.cli.arguments import AsJson, LedgerPath, Workflows, parse_json
from perdure.cli.opening import need_ledger, need_workflows
from perdure.cli.output import console, print_json
from perdure.cli.send import Payload
from perdure.client.status import RunStatus, waiting_text
from perdure.declare.registry import Registry

Token = Annotated[str, typer.Argument(metavar="TOKEN", help="The hook's token, such as approval:7.")]


def resume_hook(
    ledger: LedgerPath, token: Token, workflows: Workflows = None, payload: Payload = None, as_json: AsJson = False
) -> None:
    """Answer a hook: hand its run a payload.

    It is recorded when this returns; a worker (perdure run) takes the run on from there. perdure show names the tokens
    of a run's open hooks.
    """
    need_ledger(ledger)
    registry = need_workflows(workflows)
    value = None if payload is None else parse_json(payload, "--payload")
    status = asyncio.run(_resume(ledger, registry, token, value))
    if as_json:
        print_json({"run_id": status.run_id, "token": token, "status": status.status})
    else:
        console().print(f"{status.run_id} has the payload for {token}, and is {waiting_text(status)}.", soft_wrap=True)


async def _resume(path: Path, registry: Registry, token: str, payload: Any) -> RunStatus:
    async with administering(path, registry) as runtime:
        run_id = await runtime.resume_hook(token, payload)
        return await runtime.handle(run_id).status()
