"""`perdure upgrade LEDGER`: which open runs replay on today's code, and with --apply their move to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from perdure.cli.arguments import AsJson, LedgerPath, WorkflowId, Workflows
from perdure.cli.command import examples
from perdure.cli.opening import need_ledger, need_run, need_workflows, reading
from perdure.cli.output import cells, console, print_json, print_table, table
from perdure.cli.replay_check import OneRun, need_workflow
from perdure.client.upgrade import check_target, need_open
from perdure.engine.clock import SystemClock
from perdure.engine.upgrade import definition_row, entry_of
from perdure.replay.documents import findings_json
from perdure.replay.printing import counted, show_findings
from perdure.replay.report import Report
from perdure.replay.selection import Selection
from perdure.replay.survey import Finding, Unchecked
from perdure.replay.upgrade import OPEN, CodeName, Upgrade, UpgradeSurvey, upgrade_of
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.ledger import Ledger, RunFilter, RunRow

ToVersion = Annotated[
    str | None,
    typer.Option("--to-version", metavar="V", help="Move to this version, and not to the run's own or the newest."),
]
Apply = Annotated[bool, typer.Option("--apply", help="Move the runs that replay; without it nothing is written.")]

_RUNS_PER_BATCH = 500
HELP_END = (
    examples(
        "perdure upgrade orders.duckdb --workflows orders.py",
        "perdure upgrade orders.duckdb --workflows orders.py --workflow fulfill-order --to-version 2 --apply",
    )
    + "\n\nExit code 0: all replay on today's code. 1: some diverge. 2: something could not be checked."
)


@dataclass
class _Found:
    """What came out, counted by workflow, code of before and code of after."""

    report: Report
    runs: dict[tuple[str, CodeName, CodeName | None], list[int]] = field(default_factory=dict)
    passed: list[RunRow] = field(default_factory=list)

    def take(self, row: RunRow, upgrade: Upgrade, finding: Finding) -> None:
        self.report.take(finding)
        counts = self.runs.setdefault((upgrade.workflow, upgrade.before, upgrade.after), [0, 0, 0])
        counts[0 if upgrade.ok else 2 if isinstance(finding, Unchecked) else 1] += 1
        if upgrade.ok:
            self.passed.append(row)

    def groups(self) -> list[tuple[str, CodeName, CodeName | None, list[int]]]:
        return sorted(((*key, counts) for key, counts in self.runs.items()), key=lambda each: (each[0], each[1]))


def upgrade_runs(
    ledger: LedgerPath,
    workflows: Workflows = None,
    workflow: WorkflowId = None,
    run: OneRun = None,
    to_version: ToVersion = None,
    apply: Apply = False,
    as_json: AsJson = False,
) -> None:
    """Move open runs to today's code.

    Open runs go on with the code that they started with. This replays those whose code has changed since on today's
    code and shows which of them would go on with it, and where the others part from it. With --apply the former move:
    they are walked on today's code from then on, and those that had diverged go on at the next start. The others stay
    as they are.
    """
    check_target(workflow, run, to_version)
    registry = need_workflows(workflows)
    if workflow is not None and to_version is not None:
        registry.get(workflow, to_version)
    with _opened(ledger, writing=apply) as opened:
        survey = UpgradeSurvey(opened, registry, name=str(ledger), version=to_version)
        found = _Found(Report(str(ledger)))
        if run is not None:
            row = need_run(opened, run, ledger)
            need_open(row)
            if not survey.targets.is_there(row):
                finding = survey.check(row)
                found.take(row, upgrade_of(row, survey.targets, finding), finding)
        else:
            if workflow is not None:
                need_workflow(opened, workflow)
            _check(survey, RunFilter(workflow=workflow, statuses=OPEN, limit=None), found)
        if apply:
            _move(opened, survey, found.passed)
    if as_json:
        print_json(_document(found, applied=apply))
    else:
        _show(found, applied=apply)
    raise typer.Exit(found.report.exit_code)


@contextmanager
def _opened(path: Path, *, writing: bool) -> Iterator[Ledger]:
    if not writing:
        with reading(path) as ledger:
            yield ledger
        return
    need_ledger(path)
    owned = DuckDBLedger(path)
    try:
        yield owned
    finally:
        owned.close()


def _check(survey: UpgradeSurvey, wanted: RunFilter, found: _Found) -> None:
    shown = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        # The runs that are on today's code already are among these, and are passed over.
        task = progress.add_task("replaying", total=survey.count(wanted))
        for row, finding in survey.upgrades(Selection(wanted)):
            found.take(row, upgrade_of(row, survey.targets, finding), finding)
            progress.advance(task)
        if found.report.divergences:
            progress.update(task, description="looking for causes")
            found.report.explain(survey.explained)


def _move(ledger: Ledger, survey: UpgradeSurvey, rows: Sequence[RunRow]) -> None:
    """Note in each run on which code it goes on. Nobody else has the ledger open, so it is as it was replayed."""
    now = SystemClock().now_us()
    for start in range(0, len(rows), _RUNS_PER_BATCH):
        page = [(row, survey.targets.of(row)) for row in rows[start : start + _RUNS_PER_BATCH]]
        new = {target.digest: target for _, target in page if ledger.definition(target.digest) is None}
        ledger.append(
            [entry_of(row, target, now) for row, target in page],
            [definition_row(target, now) for target in new.values()],
        )


def _show(found: _Found, *, applied: bool) -> None:
    moved = "moved" if applied else "would move"
    if found.runs:
        shown = table(
            "workflow", "from", "to", moved, "diverge", "not checked", right=(moved, "diverge", "not checked")
        )
        for name, before, after, (passed, diverged, unchecked) in found.groups():
            numbers = [
                f"{passed:,}",
                Text(f"{diverged:,}", style="bold red" if diverged else ""),
                Text(f"{unchecked:,}", style="bold yellow" if unchecked else ""),
            ]
            shown.add_row(*cells([name, str(before), "" if after is None else str(after), *numbers]))
        print_table(shown)
        show_findings(found.report, console())
        console().print()
    console().print(_conclusion(found.report, applied=applied), soft_wrap=True)


def _conclusion(report: Report, *, applied: bool) -> Text:
    if not report.runs:
        return Text("Every open run is on today's code; there is nothing to move.", style="bold green")
    passed = counted(report.replayed, "run")
    said = f"{passed} moved to today's code." if applied else f"{passed} would move to today's code"
    if not applied:
        said += "; add --apply to move " + ("it." if report.replayed == 1 else "them.") if report.replayed else "."
    if report.diverged:
        said += f" {counted(report.diverged, 'run')} diverged from it and stay{'s' if report.diverged == 1 else ''} as "
        said += "it is." if report.diverged == 1 else "they are."
    if report.not_checked:
        said += f" {counted(report.not_checked, 'run')} could not be checked."
    style = "bold red" if report.diverged else "bold yellow" if report.not_checked else "bold green"
    return Text(said, style=style)


def _document(found: _Found, *, applied: bool) -> dict[str, Any]:
    report = found.report
    return {
        "ledger": report.ledger,
        "applied": applied,
        "ok": report.exit_code == 0,
        "runs": report.runs,
        "replayed": report.replayed,
        "diverged": report.diverged,
        "not_checked": report.not_checked,
        "moved": report.replayed if applied else 0,
        "workflows": [
            {
                "workflow": name,
                "from": before._asdict(),
                "to": None if after is None else after._asdict(),
                "replayed": passed,
                "diverged": diverged,
                "not_checked": unchecked,
            }
            for name, before, after, (passed, diverged, unchecked) in found.groups()
        ],
        "run_ids": [row.run_id for row in found.passed],
        **findings_json(report),
    }
