"""`perdure schedules`: the schedules of workflows, and how far a ledger has come with them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from perdure.cli.administering import administering
from perdure.cli.arguments import AsJson, LedgerPath, Workflows
from perdure.cli.command import Command, Group, examples
from perdure.cli.opening import need_ledger, need_workflows, reading
from perdure.cli.output import cells, console, moment_text, print_json, print_table, table
from perdure.client.runtime import Runtime
from perdure.client.triggering import BACKFILLED_MAX, ScheduleStatus, status_of_schedule
from perdure.declare.registry import Registry
from perdure.declare.subscriptions import Subscriptions, found_schedule
from perdure.durations import moment_us
from perdure.engine.clock import SystemClock
from perdure.engine.cursors import read_cursors
from perdure.engine.owed import cursor_for
from perdure.errors import DefinitionError, LedgerLocked

T = TypeVar("T")

ScheduleId = Annotated[
    str, typer.Argument(metavar="SCHEDULE", help="Its id, or its workflow's when that has one schedule.")
]
OneSchedule = Annotated[str | None, typer.Argument(metavar="[SCHEDULE]", help="Only this one.", show_default=False)]
Count = Annotated[int, typer.Option("--count", "-n", metavar="N", min=1, help="How many ticks of each schedule.")]
From = Annotated[str, typer.Option("--from", metavar="WHEN", help="An ISO-8601 time with an offset.")]
To = Annotated[str | None, typer.Option("--to", metavar="WHEN", help="Likewise; now by default.")]

SkipMissed = Annotated[
    bool, typer.Option("--skip-missed", help="Also leave out the ticks that were missed before the pause.")
]
_NONE = "No workflow has a schedule: @workflow(trigger=Schedule(…))."
AnyNumber = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask, however many ticks there are.")]


def list_schedules(ledger: LedgerPath, workflows: Workflows = None, as_json: AsJson = False) -> None:
    """List the schedules of the workflows, and how far the ledger has come with them."""
    found = _statuses(ledger, need_workflows(workflows))
    if as_json:
        print_json([each.as_json() for each in found])
        return
    if not found:
        console().print(_NONE, soft_wrap=True)
        return
    shown = table("schedule", "cron", "timezone", "catch up", "next", "last", "last run")
    for each in found:
        following = "paused" if each.paused else moment_text(each.next_at)
        times = [following, moment_text(each.last_at), each.last_run_id or ""]
        shown.add_row(*cells([each.id, each.cron, each.timezone, each.catch_up, *times]))
    print_table(shown)


def list_ticks(
    ledger: LedgerPath,
    schedule: OneSchedule = None,
    workflows: Workflows = None,
    count: Count = 5,
    as_json: AsJson = False,
) -> None:
    """List the ticks that come next, in UTC and as the schedule's zone shows them."""
    registry = need_workflows(workflows)
    wanted = None if schedule is None else found_schedule(Subscriptions(registry).schedules, schedule).id
    ticks = [
        (each, tick)
        for each in _statuses(ledger, registry)
        if wanted in (None, each.id)
        for tick in each.next_ticks(count)
    ]
    ticks.sort(key=lambda pair: pair[1])
    if as_json:
        print_json([{"schedule": each.id, "at": tick.isoformat(), "paused": each.paused} for each, tick in ticks])
        return
    if not ticks:
        console().print(_NONE, soft_wrap=True)
        return
    shown = table("at", "there", "schedule")
    for each, tick in ticks:
        name = f"{each.id}, paused" if each.paused else each.id
        shown.add_row(*cells([moment_text(tick), each.local(tick), name]))
    print_table(shown)


def pause_schedule(
    ledger: LedgerPath, schedule: ScheduleId, workflows: Workflows = None, as_json: AsJson = False
) -> None:
    """Let the ticks of a schedule pass without runs, until it is resumed."""
    changed = _do(ledger, workflows, f"pause_schedule({schedule!r})", lambda runtime: runtime.pause_schedule(schedule))
    _tell({"schedule": schedule, "paused": True, "changed": changed}, as_json, "is paused", "was paused already")


def resume_schedule(
    ledger: LedgerPath,
    schedule: ScheduleId,
    workflows: Workflows = None,
    skip_missed: SkipMissed = False,
    as_json: AsJson = False,
) -> None:
    """Have a paused schedule go on.

    What passed during the pause was not missed. What was missed before it, while nothing ran, a worker catches up with
    as the schedule's catch_up says; --skip-missed leaves that out too.
    """
    changed = _do(
        ledger, workflows, f"resume_schedule({schedule!r}, skip_missed={skip_missed})",
        lambda runtime: runtime.resume_schedule(schedule, skip_missed=skip_missed),
    )  # fmt: skip
    _tell({"schedule": schedule, "paused": False, "changed": changed}, as_json, "goes on", "was not paused")


def trigger_schedule(
    ledger: LedgerPath, schedule: ScheduleId, workflows: Workflows = None, as_json: AsJson = False
) -> None:
    """Start a run of a schedule now, beside its ticks; a worker (perdure run) takes it on."""

    async def trigger(runtime: Runtime) -> str:
        return (await runtime.trigger_schedule(schedule)).run_id

    run_id = _do(ledger, workflows, f"trigger_schedule({schedule!r})", trigger)
    if as_json:
        print_json({"schedule": schedule, "run_id": run_id})
    else:
        console().print(f"Started run {run_id}.", soft_wrap=True)


def backfill_schedule(
    ledger: LedgerPath,
    schedule: ScheduleId,
    start: From,
    end: To = None,
    workflows: Workflows = None,
    yes: AnyNumber = False,
    as_json: AsJson = False,
) -> None:
    """Start a run for every tick of a range that has none; a worker (perdure run) takes them on.

    At a terminal it says how many ticks there are and asks. Elsewhere more than 1,000 want --yes.
    """
    need_ledger(ledger)  # before anybody is asked
    until = end or datetime.fromtimestamp(SystemClock().now_us() // 1_000_000, UTC).isoformat()
    found = found_schedule(Subscriptions(need_workflows(workflows)).schedules, schedule)
    ticks = found.schedule.count_between(moment_us(start) - 1, moment_us(until))
    at_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    agreed = yes or moment_us(until) > SystemClock().now_us()  # what has not come yet is refused whoever agrees
    if not agreed and at_terminal:
        number = "1 tick" if ticks == 1 else f"{ticks:,} ticks"
        question = f"{found.id} has {number} from {start} to {until}. Start a run for each that has none?"
        if ticks and not typer.confirm(question, err=True):
            raise typer.Abort
    elif not agreed and ticks > BACKFILLED_MAX:
        raise DefinitionError(
            f"schedule {found.id!r} has {ticks:,} ticks from {start} to {until}.",
            why=f"more than {BACKFILLED_MAX:,} are started only when that is said; nothing was started",
            fix="give a shorter range (--from, --to), or say that so many are meant: --yes",
        )
    started = _do(
        ledger, workflows, f"backfill_schedule({schedule!r}, {start!r}, {until!r}, limit={ticks:_})",
        lambda runtime: runtime.backfill_schedule(schedule, start, until, limit=None),
    )  # fmt: skip
    if as_json:
        print_json({"schedule": schedule, "started": started})
    else:
        console().print(f"Started {started:,} run{'' if started == 1 else 's'}.", soft_wrap=True)


def _statuses(ledger: Path, registry: Registry) -> list[ScheduleStatus]:
    """How far each schedule has come, as a stopped ledger says; one that it does not know begins now."""
    now = SystemClock().now_us()
    with reading(ledger) as opened:
        cursors = read_cursors(opened)
    found = Subscriptions(registry).schedules
    return [
        status_of_schedule(found[id], cursor_for(found[id].schedule, cursors.get(id), now), now) for id in sorted(found)
    ]


def _do(ledger: Path, workflows: str | None, call: str, work: Callable[[Runtime], Awaitable[T]]) -> T:
    """Do something to a schedule; `call` is how an application does the same."""
    need_ledger(ledger)
    registry = need_workflows(workflows)

    async def inside() -> T:
        async with administering(ledger, registry) as runtime:
            return await work(runtime)

    try:
        return asyncio.run(inside())
    except LedgerLocked as error:
        stop = f"kill {error.owner_pid}; " if error.owner_pid is not None else ""
        raise LedgerLocked(
            error.message, owner_pid=error.owner_pid, where=error.where,
            why=f"{error.why}, and only that one can change a schedule",
            fix=f"stop it, do this, and start it again ({stop}its runs are parked and go on)\n"
            f"or call it there: await runtime.{call}",
        ) from None  # fmt: skip


def _tell(facts: dict[str, Any], as_json: bool, done: str, was_so: str) -> None:
    if as_json:
        print_json(facts)
    else:
        console().print(f"Schedule {facts['schedule']} {done if facts['changed'] else was_so}.", soft_wrap=True)


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Schedules: list them, pause, resume and trigger them, and make up for what was missed.",
    epilog=examples("perdure schedules list orders.duckdb"),
)
_COMMANDS = (
    ("list", list_schedules, "perdure schedules list orders.duckdb --workflows jobs.py"),
    ("next", list_ticks, "perdure schedules next orders.duckdb nightly -w jobs.py --count 10"),
    ("pause", pause_schedule, "perdure schedules pause orders.duckdb nightly -w jobs.py"),
    ("resume", resume_schedule, "perdure schedules resume orders.duckdb nightly -w jobs.py"),
    ("trigger", trigger_schedule, "perdure schedules trigger orders.duckdb nightly -w jobs.py"),
    ("backfill", backfill_schedule,
     "perdure schedules backfill orders.duckdb nightly -w jobs.py --from 2030-01-01T00:00:00Z"),
)  # fmt: skip
for _name, _function, _example in _COMMANDS:
    app.command(_name, cls=Command, epilog=examples(_example))(_function)
