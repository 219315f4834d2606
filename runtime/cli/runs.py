"""`perdure runs LEDGER`: the runs of a ledger."""

from __future__ import annotations

from typing import Annotated

import typer

from perdure.cli.arguments import (
    AsJson,
    LedgerPath,
    Since,
    Tags,
    WorkflowId,
    parse_since,
    parse_statuses,
    parse_tags,
)
from perdure.cli.dead import list_dead
from perdure.cli.opening import reading
from perdure.cli.output import cells, console, moment_text, print_json, print_table, status_text, table
from perdure.client.status import RunStatus, status_of
from perdure.errors import DefinitionError
from perdure.storage.ledger import RunFilter

Statuses = Annotated[
    list[str] | None, typer.Option("--status", metavar="STATUS", help="Only runs of this status; may be repeated.")
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=0, help="At most this many; 0 is all of them.")]
Dead = Annotated[
    bool,
    typer.Option("--dead", help="Dead letters: failed runs that a schedule, an event or a change had started."),
]


def list_runs(
    ledger: LedgerPath,
    workflow: WorkflowId = None,
    status: Statuses = None,
    tag: Tags = None,
    since: Since = None,
    limit: Limit = 50,
    dead: Dead = False,
    as_json: AsJson = False,
) -> None:
    """List the runs of a ledger, newest first."""
    if dead:
        if workflow or status or tag:
            raise DefinitionError(
                "--dead goes with no other filter than --since.", fix="leave out --workflow, --status and --tag"
            )
        list_dead(ledger, parse_since(since), limit or None, as_json=as_json)
        return
    wanted = RunFilter(
        workflow=workflow,
        statuses=parse_statuses(status),
        tags=parse_tags(tag),
        since=parse_since(since),
        limit=limit or None,
    )
    with reading(ledger) as opened:
        found = [status_of(row) for row in opened.runs(wanted)]
        total = sum(opened.count(wanted).values())
    if as_json:
        print_json([each.as_json() for each in found])
        return
    if not found:
        console().print("No such runs.")
        return
    shown = table("run", "workflow", "version", "status", "created", "entries", "what", right=["entries"])
    for each in found:
        shown.add_row(
            *cells(
                [
                    each.run_id,
                    each.workflow,
                    each.version,
                    status_text(each.status),
                    moment_text(each.created_at),
                    each.entries,
                    what_of(each),
                ]
            )
        )
    print_table(shown)
    if total > len(found):
        console(stderr=True).print(f"{len(found):,} of {total:,} runs; --limit 0 shows all.")


def what_of(status: RunStatus) -> str:
    """The one thing to know beside the status: the error, or what the run waits for."""
    if status.error and status.status not in ("completed", "running", "sleeping", "waiting_event"):
        return status.error
    if status.waits_for:
        first = status.waits_for[0]
        until = f" until {moment_text(first.until)}" if first.until is not None else ""
        more = f" and {len(status.waits_for) - 1} more" if len(status.waits_for) > 1 else ""
        event = f" {first.event_type}" if first.event_type else ""
        return f"{first.kind} {first.site or first.name}{event}{until}{more}"
    if status.status == "queued" and status.queue is not None:
        after = f" after {moment_text(status.due)}" if status.due is not None else ""
        return f"waits on queue {status.queue}{after}"
    return f"begins {moment_text(status.due)}" if status.due is not None else ""
