"""Which runs a command is about: those that are named, or all that a filter finds; and the question before many.

Knows what was typed. Must not know what is done to the runs.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import progress as bars

from perdure.cli.administering import administering
from perdure.cli.arguments import parse_since, parse_statuses, parse_tags
from perdure.cli.output import console
from perdure.cli.worker import until_idle
from perdure.client.bulk import Progress
from perdure.client.handle import RunHandle
from perdure.client.runtime import Runtime
from perdure.declare.registry import Registry
from perdure.errors import DefinitionError
from perdure.storage.ledger import RunFilter

RunIds = Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids of runs; or choose by a filter.")]
Statuses = Annotated[
    list[str] | None, typer.Option("--status", metavar="STATUS", help="Only runs of this status; may be repeated.")
]
Version = Annotated[str | None, typer.Option("--version", metavar="V", help="Only runs of this version.")]
All = Annotated[bool, typer.Option("--all", help="All runs, when no filter is given.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before many runs.")]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Runs by their ids, or by a filter."""

    runs: tuple[str, ...]
    wanted: RunFilter | None


def choose(
    runs: Sequence[str] | None,
    *,
    workflow: str | None,
    version: str | None,
    status: list[str] | None,
    tag: list[str] | None,
    since: str | None,
    everything: bool,
) -> Chosen:
    """Read what was typed.

    Raises:
        DefinitionError: nothing says which runs, or both ids and a filter do.
    """
    filtered = any(each is not None for each in (workflow, version, since)) or bool(status) or bool(tag)
    if runs:
        if filtered or everything:
            raise DefinitionError("both runs and a filter are given.", fix="name the runs, or choose them by a filter")
        return Chosen(tuple(dict.fromkeys(runs)), None)
    if not filtered and not everything:
        raise DefinitionError(
            "which runs?", fix="name them, choose them (--workflow, --status, --tag, --since), or say --all"
        )
    wanted = RunFilter(
        workflow=workflow,
        version=version,
        statuses=parse_statuses(status),
        tags=parse_tags(tag),
        since=parse_since(since),
        limit=None,
    )
    return Chosen((), wanted)


@dataclass(frozen=True, slots=True)
class Deed:
    """What a command does to all runs of a filter.

    Attributes:
        name, doing: as it is asked, "Cancel", and as the bar says it, "cancelling".
        statuses: of the runs that `work` takes when the filter names none.
    """

    name: str
    doing: str
    work: Callable[[Runtime, RunFilter, Progress], Awaitable[int]]
    statuses: Sequence[str]


async def agreed(runtime: Runtime, deed: Deed, wanted: RunFilter, *, yes: bool) -> bool:
    """Ask at a terminal whether that many runs are meant; elsewhere nobody is there to say."""
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    counts = await runtime.ask(lambda engine, batch: engine.ledger.count(wanted))
    number = sum(count for status, count in counts.items() if status in (wanted.statuses or deed.statuses))
    return number == 0 or typer.confirm(f"{deed.name} {number:,} {'run' if number == 1 else 'runs'}?", err=True)


async def known(runtime: Runtime, chosen: Chosen) -> list[RunHandle[Any]]:
    """The runs that are named; an unknown one is told before anything is done to any.

    Raises:
        UnknownRun: there is no such run.
    """
    handles = [runtime.handle(run) for run in chosen.runs]
    for handle in handles:
        await handle.status()
    return handles


async def do_all(path: Path, registry: Registry, wanted: RunFilter, deed: Deed, *, yes: bool) -> int:
    """Do it to all runs of a filter, once whoever sits there agrees; give to how many."""
    async with administering(path, registry) as runtime:
        if not await agreed(runtime, deed, wanted, yes=yes):
            raise typer.Abort
        with bar(deed.doing) as progress:
            number = await deed.work(runtime, wanted, progress)
        await until_idle(runtime, patience_s=2.0)
        return number


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], Any]]:
    """A bar over the runs, on a terminal."""
    shown = console(stderr=True)
    columns = (
        bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeRemainingColumn(),
    )  # fmt: skip
    with bars.Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
