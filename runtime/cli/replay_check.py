"""`replay-check LEDGER`: replay recorded runs against today's code, before a deploy. Also `perdure replay-check`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from perdure.cli.arguments import Since, WorkflowId, Workflows, parse_since
from perdure.cli.command import Command, examples
from perdure.cli.opening import need_run, need_workflows, reading, workflows_at
from perdure.cli.output import console
from perdure.errors import DefinitionError, PerdureError
from perdure.replay.documents import report_json, report_junit
from perdure.replay.golden import check_history, history_files
from perdure.replay.history_file import SUFFIX, read_history
from perdure.replay.printing import show_report
from perdure.replay.report import Report
from perdure.replay.selection import Selection
from perdure.replay.survey import Code, Survey
from perdure.replay.workers import Task, Workers
from perdure.storage.ledger import ENDED, STATUSES, Ledger, RunFilter

Recorded = Annotated[
    Path,
    typer.Argument(metavar="LEDGER", help="A ledger, or exported histories: a *.history.jsonl, or a folder of them."),
]
OneRun = Annotated[str | None, typer.Option("--run", metavar="ID", help="Only this run.")]
OnlyOpen = Annotated[bool, typer.Option("--open/--all", help="Only runs that have not ended, or all runs.")]
Sample = Annotated[
    float | None,
    typer.Option("--sample", metavar="SHARE", help="Only a share of them, such as 0.05; the same ones each time."),
]
Jobs = Annotated[
    str, typer.Option("--jobs", "-j", metavar="N", help="Processes that share the work; auto is one a core.")
]
CodeToReplay = Annotated[
    str,
    typer.Option(
        "--code",
        metavar="today|pinned",
        help="Replay today's bodies, or those that the ledger recorded with each run, which must always replay.",
    ),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the findings as JSON; - is standard output.")
]
JUnitFile = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit file; - is standard output.")
]

_STANDARD_OUTPUT = Path("-")
_RUNS_A_PART = 250  # between two looks at the progress bar

EXAMPLES = examples(
    "replay-check orders.duckdb --workflows orders.py",
    "replay-check orders.duckdb --workflows shop.workflows --open --since 7d --junit replay.xml",
    "replay-check orders.duckdb --workflows orders.py --sample 0.05 --jobs auto --code pinned",
)
HELP_END = EXAMPLES + "\n\nExit code 0: all runs replay. 1: a run diverged. 2: something could not be checked."


@dataclass(frozen=True, slots=True)
class SurveyOpening:
    """How this process and each worker opens the ledger and imports the workflows."""

    ledger: Path
    workflows: str
    code: Code

    @contextmanager
    def opened(self) -> Iterator[tuple[Ledger, Survey]]:
        """Open both, for as long as the block lasts."""
        registry = need_workflows(self.workflows)
        with reading(self.ledger) as ledger:
            yield ledger, Survey(ledger, registry, name=str(self.ledger), code=self.code)

    @contextmanager
    def __call__(self) -> Iterator[Survey]:
        """Open the survey alone, as a worker needs it."""
        with self.opened() as (_, survey):
            yield survey


def check_ledger(
    ledger: Recorded,
    workflows: Workflows = None,
    run: OneRun = None,
    only_open: OnlyOpen = False,
    since: Since = None,
    workflow: WorkflowId = None,
    sample: Sample = None,
    code: CodeToReplay = "today",
    jobs: Jobs = "1",
    json_file: JsonFile = None,
    junit_file: JUnitFile = None,
) -> None:
    """Replay recorded runs on today's code.

    Nothing is performed. Where code and ledger part, it says at which entry, what was recorded and what is asked for
    now, the likely cause with its evidence, and what to do. Runs that share a divergence share a report.
    """
    if json_file == junit_file == _STANDARD_OUTPUT:
        raise DefinitionError("--json and --junit both want standard output.", fix="give one of them a file")
    if run is not None and sample is not None:
        raise DefinitionError("--run names one run, so there is nothing to sample.", fix="leave out one of them")
    processes = parse_jobs(jobs)
    statuses = tuple(status for status in STATUSES if status not in ENDED) if only_open else ()
    wanted = RunFilter(workflow=workflow, statuses=statuses, since=parse_since(since), limit=None)
    selection = Selection(wanted, 1.0 if sample is None else sample)
    opening = SurveyOpening(ledger, workflows_at(workflows), _parse_code(code))
    report = Report(str(ledger), keep_cases=junit_file is not None)
    if ledger.is_dir() or ledger.name.endswith(SUFFIX):
        if run is not None or selection != Selection(RunFilter(limit=None), 1.0) or (processes, code) != (1, "today"):
            raise DefinitionError(
                "a ledger's runs can be selected, and histories are named.",
                where=str(ledger),
                fix="name the file of the one that you mean, and leave the options to ledgers",
            )
        _check_histories(ledger, workflows, report)
    else:
        with opening.opened() as (opened, survey):
            if run is not None:
                report.take(survey.check(need_run(opened, run, ledger)))
            else:
                _check_selected(opening, opened, survey, selection, processes, report)
                if workflow is not None and not report.tallies:
                    need_workflow(opened, workflow)
    to_stdout = _STANDARD_OUTPUT in (json_file, junit_file)
    show_report(report, console(stderr=to_stdout))
    if json_file is not None:
        _write(json_file, json.dumps(report_json(report), ensure_ascii=False, indent=2) + "\n")
    if junit_file is not None:
        _write(junit_file, report_junit(report))
    raise typer.Exit(report.exit_code)


def _check_histories(path: Path, workflows: str | None, report: Report) -> None:
    registry = need_workflows(workflows)
    for file in history_files([path]):
        report.take(check_history(read_history(file), registry))
    if not report.runs:  # an empty folder must not look like success
        raise DefinitionError(f"there is no *{SUFFIX} in {str(path)!r}.", fix="export one: perdure history export")


def parse_jobs(text: str) -> int:
    """Read a number of processes; `auto` is one a core that this process may use."""
    if text == "auto":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise DefinitionError(f"--jobs {text!r} is no number of processes.", fix="give 1 to 256, or auto")
    return int(text)


def _parse_code(text: str) -> Code:
    for code in get_args(Code):
        if text == code:
            return code  # type: ignore[no-any-return]
    raise DefinitionError(f"--code {text!r} is not known.", fix="give today or pinned")


def _check_selected(
    opening: SurveyOpening, ledger: Ledger, survey: Survey, selection: Selection, processes: int, report: Report
) -> None:
    shown = console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[bad]}"),
    )
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        # Of a sample nobody knows the size before its end: it is about the share.
        total = round(survey.count(selection.wanted) * selection.sample)
        task = progress.add_task("replaying", total=total, bad="")
        for part in _parts(opening, ledger, survey, selection, processes, report.keep_cases):
            report.add(part)
            bad = f"{report.diverged:,} diverged" if report.diverged else ""
            progress.update(task, completed=report.runs, total=max(total, report.runs), bad=bad)
        if report.divergences:
            progress.update(task, description="looking for causes")
            report.explain(survey.explained)


def _parts(
    opening: SurveyOpening, ledger: Ledger, survey: Survey, selection: Selection, processes: int, keep_cases: bool
) -> Iterator[Report]:
    """Check everything that is selected; give a report for every few hundred runs."""
    if processes == 1:
        part = Report(str(opening.ledger), keep_cases)
        for finding in survey.check_all(selection):
            part.take(finding)
            if part.runs == _RUNS_A_PART:
                yield part
                part = Report(str(opening.ledger), keep_cases)
        yield part
        return
    newest = ledger.runs(RunFilter(limit=1))
    with Workers(Task(opening, selection, str(opening.ledger), keep_cases), processes) as workers:
        yield from workers.check(newest[0].run if newest else 0)


def need_workflow(ledger: Ledger, workflow: str) -> None:
    """A misspelt --workflow must not look like success; no run in the chosen time is one."""
    if not ledger.runs(RunFilter(workflow=workflow, limit=1)):
        raise DefinitionError(f"the ledger has no run of workflow {workflow!r}.", fix="see them: perdure runs LEDGER")


def _write(file: Path, text: str) -> None:
    if file == _STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PerdureError(f"{str(file)!r} can't be written.", why=str(error), fix="choose another file") from None


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.command(cls=Command, epilog=HELP_END)(check_ledger)


def main() -> None:
    """The entry point `replay-check`."""
    app(prog_name="replay-check")
