"""`perdure cancel LEDGER RUN…`: ask runs to stop, by their ids or all that a filter finds; their compensation runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from perdure.cli.administering import administering
from perdure.cli.arguments import AsJson, LedgerPath, Since, Tags, WorkflowId, Workflows
from perdure.cli.opening import need_ledger, need_workflows
from perdure.cli.output import console, print_json
from perdure.cli.several import All, Chosen, Deed, RunIds, Statuses, Version, Yes, choose, do_all, known
from perdure.cli.worker import until_idle
from perdure.client.bulk import cancel_all
from perdure.client.runtime import Runtime
from perdure.client.status import RunStatus
from perdure.declare.registry import Registry
from perdure.storage.ledger import ENDED, STATUSES

_ALL = Deed("Cancel", "cancelling", cancel_all, [status for status in STATUSES if status not in ENDED])


def cancel_run(
    ledger: LedgerPath,
    workflows: Workflows = None,
    runs: RunIds = None,
    workflow: WorkflowId = None,
    version: Version = None,
    status: Statuses = None,
    tag: Tags = None,
    since: Since = None,
    everything: All = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Ask runs to stop.

    Name them, or choose open ones by a filter. Their compensation runs here for a moment, and then in a worker, before
    they are cancelled. A run that continued as another one hands it on to the newest of its chain.
    """
    chosen = choose(
        runs, workflow=workflow, version=version, status=status, tag=tag, since=since, everything=everything
    )
    need_ledger(ledger)
    registry = need_workflows(workflows)
    if chosen.wanted is not None:
        number = asyncio.run(do_all(ledger, registry, chosen.wanted, _ALL, yes=yes))
        if as_json:
            print_json({"cancelled": number})
        else:
            console().print(f"{number:,} {'run was' if number == 1 else 'runs were'} asked to stop.", soft_wrap=True)
        return
    told = asyncio.run(_cancel(ledger, registry, chosen))
    if as_json:
        print_json(told[0] if len(told) == 1 else told)
        return
    for each in told:
        said = "was asked to stop; it is" if each["cancelled"] else "had ended already:"
        console().print(f"Run {each['run_id']} {said} {each['status']}.", soft_wrap=True)


async def _cancel(path: Path, registry: Registry, chosen: Chosen) -> list[dict[str, Any]]:
    async with administering(path, registry) as runtime:
        handles = await known(runtime, chosen)
        asked = [await handle.cancel() for handle in handles]
        await until_idle(runtime, patience_s=2.0)
        ends = [await _newest(runtime, handle.run_id) for handle in handles]
        return [
            {"run_id": end.run_id, "cancelled": each, "status": end.status}
            for end, each in zip(ends, asked, strict=True)
        ]


async def _newest(runtime: Runtime, run_id: str) -> RunStatus:
    """The run of a chain that a cancel goes to."""
    status = await runtime.handle(run_id).status()
    while status.continued_as is not None:
        status = await runtime.handle(status.continued_as).status()
    return status
