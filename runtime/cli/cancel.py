"""`perdure cancel LEDGER RUN`: ask a run to stop; its compensation runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from perdure.cli.arguments import AsJson, LedgerPath, RunId, Workflows
from perdure.cli.opening import need_ledger, registry_of, some_workflows
from perdure.cli.output import console, print_json
from perdure.cli.run import until_idle
from perdure.client.runtime import Runtime
from perdure.client.status import RunStatus
from perdure.declare.registry import Registry


def cancel_run(ledger: LedgerPath, run: RunId, workflows: Workflows, as_json: AsJson = False) -> None:
    """Ask a run to stop.

    Its compensation runs here for a moment, and then in a worker, before it is cancelled.
    """
    need_ledger(ledger)
    registry = registry_of(workflows)
    some_workflows(registry, workflows)
    asked, status = asyncio.run(_cancel(ledger, registry, run))
    if as_json:
        print_json({"run_id": run, "cancelled": asked, "status": status.status})
    elif asked:
        console().print(f"Run {run} was asked to stop; it is {status.status}.", soft_wrap=True)
    else:
        console().print(f"Run {run} had ended already: {status.status}.", soft_wrap=True)


async def _cancel(path: Path, registry: Registry, run_id: str) -> tuple[bool, RunStatus]:
    async with Runtime(path, workflows=registry.all()) as runtime:
        handle = runtime.handle(run_id)
        asked = await handle.cancel()
        await until_idle(runtime, patience_s=2.0)
        return asked, await handle.status()
