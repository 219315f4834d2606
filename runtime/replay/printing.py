"""A report as people see it on a terminal: a table, each divergence, what was not checked, and the conclusion.

Knows reports and rich. Must not know how runs are checked.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from perdure.replay.check import Verdict
from perdure.replay.report import Group, Report
from perdure.replay.survey import Unchecked

_RUNS_NAMED = 8


def show_report(report: Report, console: Console) -> None:
    """Print the summary, each distinct divergence, what could not be checked, and the conclusion."""
    if report.tallies:
        console.print(_summary(report))
    show_findings(report, console)
    console.print()
    console.print(_conclusion(report))


def show_findings(report: Report, console: Console) -> None:
    """Print each distinct divergence, and what could not be checked."""
    for group in report.groups():
        console.print()
        console.print(_colored(str(group.first.divergence)), soft_wrap=True)
        if group.runs > 1:
            console.print(Text(f"  shared by {_named(group)}", style="bold"), soft_wrap=True)
    for skipped in report.skipped():
        console.print()
        console.print(Text(f"not checked: {counted(skipped.runs, 'run')}", style="bold yellow"))
        console.print(Text(f"  runs      {_named(skipped)}"), soft_wrap=True)
        console.print(Text(str(skipped.first.error)), soft_wrap=True)


def _named(group: Group[Verdict] | Group[Unchecked]) -> str:
    """`10,000 runs: a, b, … and 9,998 more`."""
    shown = group.run_ids[:_RUNS_NAMED]
    more = group.runs - len(shown)
    return f"{counted(group.runs, 'run')}: {', '.join(shown)}" + (f", … and {more:,} more" if more else "")


def _summary(report: Report) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("workflow")
    table.add_column("version")
    for name in ("runs", "replayed", "diverged", "not checked"):
        table.add_column(name, justify="right")
    for tally in sorted(report.tallies.values(), key=lambda each: (each.workflow, each.version)):
        table.add_row(
            Text(tally.workflow),
            Text(tally.version),
            f"{tally.runs:,}",
            f"{tally.replayed:,}",
            Text(f"{tally.diverged:,}", style="bold red" if tally.diverged else ""),
            Text(f"{tally.unchecked:,}", style="bold yellow" if tally.unchecked else ""),
        )
    return table


def _conclusion(report: Report) -> Text:
    checked = report.replayed + report.diverged
    skipped = f" {counted(report.not_checked, 'run')} could not be checked." if report.not_checked else ""
    if not report.tallies:
        return Text("No run was selected, so nothing was checked.", style="yellow")
    if report.diverged:
        ways = f", in {len(report.divergences):,} different ways" if len(report.divergences) > 1 else ""
        text = f"{report.diverged:,} of {counted(checked, 'run')} diverged{ways}."
        return Text(text + skipped, style="bold red")
    if report.not_checked:
        return Text(f"{counted(checked, 'run')} replayed.{skipped}", style="bold yellow")
    every = "All " if checked > 1 else ""
    return Text(f"{every}{counted(checked, 'run')} replayed: code and ledger agree.", style="bold green")


def _colored(report: str) -> Text:
    text = Text()
    for index, line in enumerate(report.splitlines()):
        style = "bold red" if index == 0 else ""
        label, words = line[:12].strip(), line[12:]
        if label in ("recorded", "replayed"):
            style = "yellow" if label == "recorded" else "cyan"
        elif not label and words.startswith("-"):
            style = "red"
        elif not label and words.startswith("+"):
            style = "green"
        text.append(line + "\n", style=style)
    text.rstrip()
    return text


def counted(count: int, word: str) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{count:,} {word}" + ("" if count == 1 else "s")
