"""`perdure run LEDGER`: a worker. It resumes what was cut off, and goes on until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.live import Live
from rich.text import Text

from perdure.cli.arguments import AsJson, LedgerPath, Workflows
from perdure.cli.opening import need_workflows
from perdure.cli.output import STATUS_STYLES, console, print_json
from perdure.client.runtime import Runtime
from perdure.engine.batch import Batch
from perdure.engine.definitions import checked_code
from perdure.engine.engine import Engine
from perdure.errors import DefinitionError
from perdure.storage.ledger import ENDED, STATUSES, RunFilter

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

_LOOK_EVERY_S = 0.2


def run_worker(
    ledger: LedgerPath,
    workflows: Workflows = None,
    until_idle: UntilIdle = False,
    verify: Verified = "off",
    code: WalkedOn = "pinned",
    as_json: AsJson = False,
) -> None:
    """Work on a ledger's runs until Ctrl-C.

    A worker resumes what was cut off, runs steps and fires timers. SIGTERM stops it too; steps at work get a moment to
    finish, and what is cut off runs again at the next start.
    """
    registry = need_workflows(workflows)
    runtime = Runtime(ledger, workflows=registry.all(), verify=_share(verify), code=checked_code(code))
    counts = asyncio.run(_work(runtime, ledger, until_idle))
    if as_json:
        print_json({"ledger": str(ledger), "counts": counts})
    else:
        console().print(_counted(counts), soft_wrap=True)


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


async def _work(opened: Runtime, path: Path, stop_when_idle: bool) -> dict[str, int]:
    stop = asyncio.Event()
    with _stopped_by_signals(stop):
        async with opened as runtime:
            progress = asyncio.create_task(_show_progress(runtime, path))
            waits: list[asyncio.Task[bool]] = [asyncio.create_task(_stopped(stop))]
            if stop_when_idle:
                waits.append(asyncio.create_task(until_idle(runtime)))
            try:
                done, _ = await asyncio.wait([*waits, progress], return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in (*waits, progress):
                    task.cancel()
                await asyncio.gather(*waits, progress, return_exceptions=True)
            return await _counts(runtime)


async def _stopped(stop: asyncio.Event) -> bool:
    return await stop.wait()


async def until_idle(runtime: Runtime, patience_s: float | None = None) -> bool:
    """Wait until only the outside could move a run; False when `patience_s` passed first."""
    loop = asyncio.get_running_loop()
    end = None if patience_s is None else loop.time() + patience_s
    # Resuming is asked for when the runtime opens, and asks for one batch after the other: after two answers of the
    # engine all of them are done or stand before the next question.
    await runtime.ask(_is_idle)
    while True:
        if await runtime.ask(_is_idle):
            return True
        if end is not None and loop.time() >= end:
            return False
        await asyncio.sleep(_LOOK_EVERY_S / 4)


def _is_idle(engine: Engine, batch: Batch) -> bool:
    if batch.entries or batch.perform or batch.follow:
        return False
    return not any(engine.in_flight.values()) and engine.ledger.next_due() is None


async def _counts(runtime: Runtime) -> dict[str, int]:
    found = await runtime.ask(lambda engine, batch: engine.ledger.count(RunFilter(limit=None)))
    return {status: found[status] for status in STATUSES if status in found}


async def _show_progress(runtime: Runtime, path: Path) -> None:
    shown = console(stderr=True)
    if not shown.is_terminal:
        await asyncio.Event().wait()  # nobody looks; the log and the last line say what happened
    with Live(console=shown, transient=True, auto_refresh=False) as live:
        while True:
            line = Text(f"{path.name}  ") + _counted(await _counts(runtime)) + Text("   Ctrl-C stops", style="dim")
            live.update(line, refresh=True)
            await asyncio.sleep(_LOOK_EVERY_S)


def _counted(counts: Mapping[str, int]) -> Text:
    if not counts:
        return Text("no runs")
    text = Text()
    for status, count in counts.items():
        text.append(f"{count:,} {status}  ", style=STATUS_STYLES.get(status, ""))
    still_open = sum(count for status, count in counts.items() if status not in ENDED)
    return text.append(f"({still_open:,} open)")


@contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` on SIGINT and SIGTERM, so that steps at work are drained; a second one ends at once."""
    loop = asyncio.get_running_loop()

    def asked(number: int, frame: object = None) -> None:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        loop.call_soon_threadsafe(stop.set)

    before: dict[int, Any] = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def spinning(what: str) -> Iterator[None]:
    """Show on a terminal that something is being waited for."""
    shown = console(stderr=True)
    if not shown.is_terminal:
        yield
        return
    with shown.status(Text(what)):
        yield
