"""`perdure retry LEDGER RUN…`: try runs again that failed or were cancelled, by their ids or by a filter."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from perdure.cli.administering import administering
from perdure.cli.arguments import AsJson, LedgerPath, Since, Tags, WorkflowId, Workflows
from perdure.cli.opening import need_ledger, need_workflows
from perdure.cli.output import console, print_json
from perdure.cli.several import All, Chosen, Deed, RunIds, Statuses, Version, Yes, choose, do_all, known
from perdure.cli.worker import until_idle, worker_command
from perdure.client.bulk import retry_all
from perdure.declare.registry import Registry

_ALL = Deed("Retry", "retrying", retry_all, ["failed"])


def retry_run(
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
    """Try runs again that failed or were cancelled.

    Name them, or choose failed ones by a filter (cancelled ones with --status cancelled). Completed steps are kept, the
    others run again. A moment of work is done here, the rest by a worker (perdure run); runs that were on a queue wait
    there for a place.
    """
    chosen = choose(
        runs, workflow=workflow, version=version, status=status, tag=tag, since=since, everything=everything
    )
    need_ledger(ledger)
    registry = need_workflows(workflows)
    if chosen.wanted is not None:
        number = asyncio.run(do_all(ledger, registry, chosen.wanted, _ALL, yes=yes))
        if as_json:
            print_json({"retried": number})
        else:
            console().print(f"{number:,} {'run is' if number == 1 else 'runs are'} tried again.", soft_wrap=True)
        return
    told = asyncio.run(_retry(ledger, registry, chosen))
    if as_json:
        print_json(told[0] if len(told) == 1 else told)
        return
    for each in told:
        console().print(f"Run {each['run_id']} is tried again; it is {each['status']}.", soft_wrap=True)
    if any(each["status"] == "queued" for each in told):
        console(stderr=True).print(
            f"A worker takes on what is queued: {worker_command(ledger, workflows)}", soft_wrap=True
        )


async def _retry(path: Path, registry: Registry, chosen: Chosen) -> list[dict[str, Any]]:
    async with administering(path, registry) as runtime:
        handles = await known(runtime, chosen)
        for handle in handles:
            await handle.retry()
        await until_idle(runtime, patience_s=2.0)
        return [{"run_id": handle.run_id, "status": (await handle.status()).status} for handle in handles]
