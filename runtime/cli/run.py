"""`perdure run LEDGER`: a worker. It resumes what was cut off, and goes on until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal, NoReturn

import typer
from rich.text import Text

from perdure.cli.arguments import AsJson, LedgerPath, Workflows
from perdure.cli.feed import Feed, Form
from perdure.cli.opening import need_workflows, usual_workflows, workflows_at
from perdure.cli.output import console, print_json
from perdure.cli.reloading import Reloader
from perdure.cli.worker import Worker
from perdure.client.runtime import Runtime
from perdure.declare.registry import Registry
from perdure.durations import duration_us
from perdure.engine.clock import SystemClock
from perdure.engine.definitions import checked_code
from perdure.errors import DefinitionError, PerdureError

UntilIdle = Annotated[
    bool, typer.Option("--until-idle", help="Stop when no run is open that the clock or a step will move.")
]

Verified = Annotated[
    str,
    typer.Option("--verify", metavar="SHARE", help='Replay ended runs in the background: "always", or a share: 0.01.'),
]

WalkedOn = Annotated[
    str,
    typer.Option(
        "--code",
        metavar="pinned|today",
        help="Walk open runs on the code that they started with, or on what is registered today (for development).",
    ),
]

Drain = Annotated[
    str, typer.Option("--drain", metavar="DURATION", help="How long steps at work may finish when it is to stop.")
]
Watch = Annotated[
    bool, typer.Option("--watch", help="Begin anew when the code of the workflows changes and can be used.")
]
Log = Annotated[
    str, typer.Option("--log", metavar="text|json", help="Show what happens in lines for people, or one JSON each.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show only what goes wrong.")]


def run_worker(
    ledger: LedgerPath,
    workflows: Workflows = None,
    until_idle: UntilIdle = False,
    watch: Watch = False,
    drain: Drain = "10s",
    log: Log = "text",
    quiet: Quiet = False,
    verify: Verified = "off",
    code: WalkedOn = "pinned",
    as_json: AsJson = False,
) -> None:
    """Work on a ledger's runs until Ctrl-C.

    A worker resumes what was cut off, runs steps and fires timers, and shows what happens. Ctrl-C or SIGTERM stop it:
    no step begins any more, those at work may finish, and what is cut off then is named and runs again at the next
    start. A second one stops at once.

    Exits with 0; with 3 when steps were cut off after --drain; with 130 or 143 when it was told twice.
    """
    form = _form(log)
    duration_us(drain, "--drain")
    feed = Feed(form, quiet=quiet, silent=as_json)
    since = SystemClock().now_us()
    try:
        registry = need_workflows(workflows)
    except PerdureError as error:
        if not watch:
            raise
        _begin_anew_once_usable(workflows, feed, since, error)
    runtime = Runtime(
        ledger, workflows=registry.all(), services=registry.back_ends.by_service, drain=drain, verify=_share(verify),
        code=checked_code(code),
    )  # fmt: skip
    reloader = Reloader(workflows_at(workflows), registry, feed, since) if watch else None
    worker = Worker(
        runtime, ledger, workflows_at(workflows), feed, drain, until_idle, reloader, registry.back_ends.by_service
    )
    exit_code = asyncio.run(worker.work())
    if reloader is not None and reloader.wanted and not worker.was_told_to_stop:
        reloader.begin_anew()
    if as_json:
        print_json({"ledger": str(ledger), "counts": worker.counts})
    if exit_code:  # the threads of steps that were cut off would hold the process up
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    raise typer.Exit(exit_code)


def _begin_anew_once_usable(workflows: str | None, feed: Feed, since: int, error: PerdureError) -> NoReturn:
    """Wait until workflows that can't be used can be."""
    typer.echo(f"{error}\n\nWaiting for a change.", err=True)
    try:
        with feed.opened():
            source = workflows if workflows is not None else usual_workflows()[0]
            reloader = Reloader(source, Registry(), feed, since, everything=True)
            asyncio.run(reloader.changed())
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
    reloader.begin_anew()


def _form(text: str) -> Form:
    if text == "text":
        return "text"
    if text == "json":
        return "json"
    raise DefinitionError(f"--log {text!r} is no form.", fix="give text or json")


def _share(text: str) -> Literal["off", "always"] | float:
    if text == "off":
        return "off"
    if text == "always":
        return "always"
    try:
        return float(text)
    except ValueError:
        raise DefinitionError(
            f"--verify {text!r} is no share of the runs.", fix='give "always", "off", or a number such as 0.01'
        ) from None


@contextmanager
def spinning(what: str) -> Iterator[None]:
    """Show on a terminal that something is being waited for."""
    shown = console(stderr=True)
    if not shown.is_terminal:
        yield
        return
    with shown.status(Text(what)):
        yield
