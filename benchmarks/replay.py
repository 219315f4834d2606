"""How fast recorded runs are replayed: many short ones, one long one that diverges, and all of them that do.

    python benchmarks/replay.py [--runs 10000] [--jobs 2]

Figures beside it: the same body's awaits on a bare asyncio loop of CPython, in the same run of this script. What one
process does is measured in its processor time, which a busy machine distorts less; what several do, by the clock. The
ledger holds real runs, each as often as it takes, under other numbers and ids.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import changed
import workflows
from durable import resident_mib
from rich.console import Console
from rich.table import Table

from perdure import MemoryLedger, Runtime
from perdure.cli.replay_check import SurveyOpening
from perdure.declare.registry import Definition, Registry
from perdure.replay.report import Report
from perdure.replay.selection import Selection
from perdure.replay.survey import Survey
from perdure.replay.workers import Task, Workers
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.entries import DefinitionRow, Entry
from perdure.storage.ledger import RunFilter

STEPS = 10
LONG = 5_000
WORKFLOWS = str(Path(__file__).parent / "workflows.py")


async def recorded(lengths: list[int]) -> tuple[list[list[Entry]], DefinitionRow]:
    """Real runs of `sequential`, one of each length."""
    ledger = MemoryLedger()
    async with Runtime(ledger, workflows=[workflows.sequential]) as runtime:
        for length in lengths:
            await (await runtime.start("sequential", length)).result()
    rows = sorted(ledger.runs(RunFilter(limit=None)), key=lambda row: row.run)
    definition = ledger.definition(rows[0].definition)
    assert definition is not None
    return [ledger.entries(row.run) for row in rows], definition


def build(path: Path, histories: list[list[Entry]], definition: DefinitionRow, runs: int) -> None:
    """Write the same histories again and again, until there are so many runs."""
    ledger = DuckDBLedger(path)
    batch: list[Entry] = []
    for number in range(runs):
        run = ledger.next_run()
        first, *others = histories[number % len(histories)]
        detail = json.dumps({**json.loads(first.detail or "{}"), "run_id": f"run-{number}"})
        batch += [first._replace(run=run, detail=detail), *(entry._replace(run=run) for entry in others)]
        if len(batch) > 20_000:
            ledger.append(batch, [definition])
            batch = []
    if batch:
        ledger.append(batch, [definition])
    ledger.close()


def one_process(path: Path, definition: Definition, runs: int) -> tuple[float, Report, list[float]]:
    """Check all runs here; give steps per second, the report, and the resident memory after each quarter, in MiB."""
    ledger = DuckDBLedger(path, read_only=True)
    survey = Survey(ledger, Registry([definition]), name=str(path))
    report = Report(str(path))
    resident = []
    begun = time.process_time()
    for number, finding in enumerate(survey.check_all(Selection()), start=1):
        report.take(finding)
        if number % max(runs // 4, 1) == 0:
            resident.append(resident_mib())
    report.explain(survey.explained)
    rate = runs * STEPS / (time.process_time() - begun)
    ledger.close()
    assert report.runs == runs
    return rate, report, resident


def processes(path: Path, runs: int, jobs: int) -> tuple[float, float]:
    """Check all runs with workers: steps per second with their start, and between the first and the last answer."""
    opening = SurveyOpening(path, WORKFLOWS, "today")
    report = Report(str(path))
    begun = time.perf_counter()
    first: tuple[float, int] | None = None
    with Workers(Task(opening, Selection(), str(path), False), jobs) as workers:
        for part in workers.check(runs):
            report.add(part)
            first = first or (time.perf_counter(), report.runs)
        ended = time.perf_counter()
    assert first is not None
    assert (report.runs, report.replayed) == (runs, runs)
    return runs * STEPS / (ended - begun), (runs - first[1]) * STEPS / (ended - first[0])


class PlainStep:
    """Answers `step.run` on a bare asyncio loop: a future that the loop's next turn fills."""

    async def run(self, name: str, function: Any, *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_result, arguments[0])
        return await future


def plain(runs: int) -> float:
    """The same body, unrestricted, on CPython's own loop: awaits per second."""

    async def all_of_them() -> None:
        for _ in range(runs):
            await workflows.sequential.function(STEPS, PlainStep())

    begun = time.process_time()
    asyncio.run(all_of_them())
    return runs * STEPS / (time.process_time() - begun)


def reports_of_a_long_run(path: Path) -> Iterator[tuple[str, str, float]]:
    """How long it takes to find and explain a divergence of one long run: change, cause, seconds."""
    ledger = DuckDBLedger(path, read_only=True)
    (row,) = ledger.runs(RunFilter())
    for definition in (changed.at_the_first, changed.at_the_last, changed.one_less_half_way):
        begun = time.process_time()
        finding = Survey(ledger, Registry([definition]), name=str(path)).check(row)
        took = time.process_time() - begun
        divergence = getattr(finding, "divergence", None)
        assert divergence is not None, finding
        yield definition.__name__.replace("_", " "), divergence.cause, took
    ledger.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    wanted = parser.parse_args()
    console = Console()
    table = Table(title=f"{wanted.runs:,} runs of {STEPS} steps")
    for name in ("work", "figure", "beside it", "bar"):
        table.add_column(name)
    with tempfile.TemporaryDirectory(dir=".") as name, console.status("recording and replaying …"):
        path, long = Path(name) / "many.duckdb", Path(name) / "long.duckdb"
        histories, definition = asyncio.run(recorded([STEPS] * 50))
        build(path, histories, definition, wanted.runs)
        rounds = [(one_process(path, workflows.sequential, wanted.runs), plain(wanted.runs)) for _ in range(3)]
        rate = statistics.median(found[0] for found, _ in rounds)
        beside = statistics.median(bare for _, bare in rounds)
        (_, report, resident), _ = rounds[-1]
        assert report.exit_code == 0
        table.add_row(
            "one process, steps/s", f"{rate:,.0f}", f"bare loop {beside:,.0f}, {beside / rate:.1f} ×", "≥ 100,000"
        )
        table.add_row("resident MiB, by quarters", " ".join(f"{each:.0f}" for each in resident), "", "flat")
        with_start, between = processes(path, wanted.runs, wanted.jobs)
        ratio = f"{between / rate:.2f} × one"
        table.add_row(f"--jobs {wanted.jobs}, steps/s", f"{with_start:,.0f} with their start", "", "")
        table.add_row("", f"{between:,.0f} once they are at work", ratio, f"near {wanted.jobs} ×")
        diverging, report, _ = one_process(path, changed.at_the_last, wanted.runs)
        assert (report.diverged, len(report.divergences)) == (wanted.runs, 1)
        table.add_row("all diverge alike, steps/s", f"{diverging:,.0f}", f"{rate / diverging:.1f} × the time", "")
        build(long, *asyncio.run(recorded([LONG])), 1)
        for change, cause, took in reports_of_a_long_run(long):
            table.add_row(f"report of {LONG:,} steps, changed {change}", f"{took:.2f} s", cause, "< 0.5 s")
    console.print(table)


if __name__ == "__main__":
    main()
