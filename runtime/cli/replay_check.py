"""`replay-check LEDGER`: replay recorded runs against today's code, before a deploy. Also `perdure replay-check`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from perdure.cli.arguments import LedgerPath, Since, WorkflowId, Workflows, parse_since
from perdure.cli.command import Command, examples
from perdure.cli.opening import need_run, reading, registry_of, some_workflows
from perdure.cli.output import console
from perdure.errors import DefinitionError, PerdureError
from perdure.replay.report import Report
from perdure.replay.survey import Survey
from perdure.storage.ledger import ENDED, STATUSES, Ledger, RunFilter

OneRun = Annotated[str | None, typer.Option("--run", metavar="ID", help="Only this run.")]
OnlyOpen = Annotated[bool, typer.Option("--open/--all", help="Only runs that have not ended, or all runs.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the findings as JSON; - is standard output.")
]
JUnitFile = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit file; - is standard output.")
]

_STANDARD_OUTPUT = Path("-")

EXAMPLES = examples(
    "replay-check orders.duckdb --workflows orders.py",
    "replay-check orders.duckdb --workflows shop.workflows --open --since 7d --junit replay.xml",
)
HELP_END = EXAMPLES + "\n\nExit code 0: all runs replay. 1: a run diverged. 2: something could not be checked."


def check_ledger(
    ledger: LedgerPath,
    workflows: Workflows,
    run: OneRun = None,
    only_open: OnlyOpen = False,
    since: Since = None,
    workflow: WorkflowId = None,
    json_file: JsonFile = None,
    junit_file: JUnitFile = None,
) -> None:
    """Replay recorded runs on today's code.

    Nothing is performed. Where code and ledger part, it says at which entry, what was recorded and what is asked for
    now, the likely cause with its evidence, and what to do.
    """
    if json_file == junit_file == _STANDARD_OUTPUT:
        raise DefinitionError("--json and --junit both want standard output.", fix="give one of them a file")
    registry = registry_of(workflows)
    some_workflows(registry, workflows)
    report = Report(str(ledger))
    with reading(ledger) as opened:
        survey = Survey(opened, registry, name=str(ledger))
        if run is not None:
            report.take(survey.check(need_run(opened, run, ledger)))
        else:
            statuses = tuple(status for status in STATUSES if status not in ENDED) if only_open else ()
            wanted = RunFilter(workflow=workflow, statuses=statuses, since=parse_since(since), limit=None)
            _check_selected(survey, wanted, report)
            if workflow is not None and not report.tallies:
                _need_workflow(opened, workflow)
    to_stdout = _STANDARD_OUTPUT in (json_file, junit_file)
    report.show(console(stderr=to_stdout))
    if json_file is not None:
        _write(json_file, json.dumps(report.as_json(), ensure_ascii=False, indent=2) + "\n")
    if junit_file is not None:
        _write(junit_file, report.as_junit())
    raise typer.Exit(report.exit_code)


def _check_selected(survey: Survey, wanted: RunFilter, report: Report) -> None:
    shown = console(stderr=True)
    columns = (
        TextColumn("replaying"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[bad]}"),
    )
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task = progress.add_task("replaying", total=survey.count(wanted), bad="")
        for finding in survey.check_all(wanted):
            report.take(finding)
            progress.update(task, advance=1, bad=f"{len(report.diverged)} diverged" if report.diverged else "")


def _need_workflow(ledger: Ledger, workflow: str) -> None:
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
