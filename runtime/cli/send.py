"""`perdure send LEDGER TYPE`: send an event to the runs that wait for it, and start those that it triggers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from perdure.cli.administering import administering
from perdure.cli.arguments import AsJson, LedgerPath, Workflows, parse_json
from perdure.cli.opening import need_ledger, need_workflows
from perdure.cli.output import console, print_json
from perdure.declare.registry import Registry
from perdure.engine.reactions import EventReceipt

_SHOWN_MAX = 20

EventType = Annotated[str, typer.Argument(metavar="TYPE", help="The event's type, such as payment.completed.")]
Payload = Annotated[
    str | None,
    typer.Option("--payload", "-p", metavar="JSON", help="The payload; @file.json reads a file, - standard input."),
]
Resource = Annotated[str | None, typer.Option("--resource", metavar="TEXT", help="What it is about.")]
Namespace = Annotated[str | None, typer.Option("--namespace", metavar="TEXT", help="Where that is.")]
EventId = Annotated[
    str | None, typer.Option("--event-id", metavar="ID", help="The same id again is the same event, and does nothing.")
]


def send_event(
    ledger: LedgerPath,
    event_type: EventType,
    workflows: Workflows = None,
    payload: Payload = None,
    resource: Resource = None,
    namespace: Namespace = None,
    event_id: EventId = None,
    as_json: AsJson = False,
) -> None:
    """Send an event to waiting runs, and start those that it triggers.

    It reaches the runs that wait for it now; a worker (perdure run) takes them on from there.
    """
    need_ledger(ledger)
    registry = need_workflows(workflows)
    value = None if payload is None else parse_json(payload, "--payload")
    about = {"resource": resource, "namespace": namespace, "event_id": event_id}
    receipt = asyncio.run(_send(ledger, registry, event_type, value, about))
    if as_json:
        facts = {"started": list(receipt.started), "is_duplicate": receipt.is_duplicate}
        print_json({"type": event_type, "woken": receipt.woken, **facts})
    elif receipt.is_duplicate:
        console().print(f"{event_type} came before under the id {event_id}; it did nothing.", soft_wrap=True)
    else:
        started = f" and started {_runs(len(receipt.started))}" if receipt.started else ""
        console().print(f"{event_type} woke {_runs(receipt.woken)}{started}.", soft_wrap=True)
        for run_id in receipt.started[:_SHOWN_MAX]:
            console().print(f"  {run_id}", soft_wrap=True)


def _runs(count: int) -> str:
    return f"{count:,} run{'' if count == 1 else 's'}"


async def _send(
    path: Path, registry: Registry, event_type: str, payload: Any, about: dict[str, str | None]
) -> EventReceipt:
    async with administering(path, registry) as runtime:
        return await runtime.send_event(event_type, payload, **about)
