"""`perdure send LEDGER TYPE`: send an event to the runs that wait for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from perdure.cli.arguments import AsJson, LedgerPath, Workflows, parse_json
from perdure.cli.opening import need_ledger, need_workflows
from perdure.cli.output import console, print_json
from perdure.client.runtime import Runtime
from perdure.declare.registry import Registry

EventType = Annotated[str, typer.Argument(metavar="TYPE", help="The event's type, such as payment.completed.")]
Payload = Annotated[
    str | None,
    typer.Option("--payload", "-p", metavar="JSON", help="The payload; @file.json reads a file, - standard input."),
]


def send_event(
    ledger: LedgerPath,
    event_type: EventType,
    workflows: Workflows = None,
    payload: Payload = None,
    as_json: AsJson = False,
) -> None:
    """Send an event to waiting runs.

    It reaches the runs that wait for it now; a worker (perdure run) takes them on from there.
    """
    need_ledger(ledger)
    registry = need_workflows(workflows)
    value = None if payload is None else parse_json(payload, "--payload")
    woken = asyncio.run(_send(ledger, registry, event_type, value))
    if as_json:
        print_json({"type": event_type, "woken": woken})
    else:
        console().print(f"{event_type} woke {woken:,} run{'' if woken == 1 else 's'}.", soft_wrap=True)


async def _send(path: Path, registry: Registry, event_type: str, payload: Any) -> int:
    async with Runtime(path, workflows=registry.all()) as runtime:
        return await runtime.send_event(event_type, payload)
