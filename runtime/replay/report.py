"""What a survey found, shown: tables and reports for people, JSON and JUnit for programs.

Knows verdicts. Must not know how they came about.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table
from rich.text import Text

from perdure.replay.check import Verdict
from perdure.replay.survey import Finding, Unchecked

_UNCHECKED_SHOWN_MAX = 20


@dataclass(slots=True)
class Tally:
    """What became of the runs of one workflow and version."""

    workflow: str
    version: str
    replayed: int = 0
    diverged: int = 0
    unchecked: int = 0

    @property
    def runs(self) -> int:
        """All of them."""
        return self.replayed + self.diverged + self.unchecked


@dataclass
class Report:
    """The findings of one survey, as they come in."""

    ledger: str
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    diverged: list[Verdict] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)
    replayed: list[Verdict] = field(default_factory=list)

    def take(self, finding: Finding) -> None:
        """Count one finding."""
        key = (finding.workflow, finding.version)
        tally = self.tallies.setdefault(key, Tally(*key))
        if isinstance(finding, Unchecked):
            tally.unchecked += 1
            self.unchecked.append(finding)
        elif finding.ok:
            tally.replayed += 1
            self.replayed.append(finding)
        else:
            tally.diverged += 1
            self.diverged.append(finding)

    @property
    def exit_code(self) -> int:
        """0: all replay. 1: a run diverged. 2: none did, but some could not be checked."""
        if self.diverged:
            return 1
        return 2 if self.unchecked else 0

    # ── for people ───────────────────────────────────────────────────────────────────────────────

    def show(self, console: Console) -> None:
        """Print the summary, each divergence, what could not be checked, and the conclusion."""
        if self.tallies:
            console.print(self._summary())
        for verdict in self.diverged:
            console.print()
            console.print(_colored(str(verdict.divergence)), soft_wrap=True)
        for message, runs in self._unchecked_by_message().items():
            console.print()
            console.print(Text(f"not checked: {_counted(len(runs), 'run')}", style="bold yellow"))
            console.print(Text(f"  runs      {_some(runs)}"), soft_wrap=True)
            console.print(Text(message), soft_wrap=True)
        console.print()
        console.print(self._conclusion())

    def _summary(self) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("workflow")
        table.add_column("version")
        for name in ("runs", "replayed", "diverged", "not checked"):
            table.add_column(name, justify="right")
        for tally in sorted(self.tallies.values(), key=lambda each: (each.workflow, each.version)):
            table.add_row(
                Text(tally.workflow),
                Text(tally.version),
                f"{tally.runs:,}",
                f"{tally.replayed:,}",
                Text(f"{tally.diverged:,}", style="bold red" if tally.diverged else ""),
                Text(f"{tally.unchecked:,}", style="bold yellow" if tally.unchecked else ""),
            )
        return table

    def _conclusion(self) -> Text:
        checked = len(self.replayed) + len(self.diverged)
        if not self.tallies:
            return Text("No run was selected, so nothing was checked.", style="yellow")
        if self.diverged:
            text = f"{len(self.diverged):,} of {_counted(checked, 'run')} diverged."
            return Text(text + self._also_unchecked(), style="bold red")
        if self.unchecked:
            return Text(f"{_counted(checked, 'run')} replayed.{self._also_unchecked()}", style="bold yellow")
        every = "All " if checked > 1 else ""
        return Text(f"{every}{_counted(checked, 'run')} replayed: code and ledger agree.", style="bold green")

    def _also_unchecked(self) -> str:
        return f" {_counted(len(self.unchecked), 'run')} could not be checked." if self.unchecked else ""

    def _unchecked_by_message(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for each in self.unchecked:
            found.setdefault(str(each.error), []).append(each.run_id)
        return found

    # ── for programs ─────────────────────────────────────────────────────────────────────────────

    def as_json(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {
            "ledger": self.ledger,
            "ok": self.exit_code == 0,
            "runs": sum(tally.runs for tally in self.tallies.values()),
            "replayed": len(self.replayed),
            "diverged": len(self.diverged),
            "not_checked": len(self.unchecked),
            "workflows": [
                {
                    "workflow": tally.workflow,
                    "version": tally.version,
                    "runs": tally.runs,
                    "replayed": tally.replayed,
                    "diverged": tally.diverged,
                    "not_checked": tally.unchecked,
                }
                for tally in self.tallies.values()
            ],
            "divergences": [divergence_json(verdict) for verdict in self.diverged],
            "unchecked": [
                {
                    "run_id": each.run_id,
                    "workflow": each.workflow,
                    "version": each.version,
                    "code": each.error.code,
                    "message": each.error.message,
                    "fix": each.error.fix,
                }
                for each in self.unchecked
            ],
        }

    def as_junit(self) -> str:
        """A JUnit file: a suite per workflow and version, a case per run; what could not be checked is an error."""
        root = ElementTree.Element("testsuites", name=f"replay-check {self.ledger}")
        suites: dict[tuple[str, str], ElementTree.Element] = {}
        for key, tally in self.tallies.items():
            suites[key] = ElementTree.SubElement(
                root,
                "testsuite",
                name=f"{tally.workflow} v{tally.version}",
                tests=str(tally.runs),
                failures=str(tally.diverged),
                errors=str(tally.unchecked),
            )
        findings: Iterable[Finding] = [*self.replayed, *self.diverged, *self.unchecked]
        for each in findings:
            suite = suites[each.workflow, each.version]
            case = ElementTree.SubElement(suite, "testcase", classname=suite.get("name", ""), name=each.run_id)
            if isinstance(each, Unchecked):
                problem = ElementTree.SubElement(case, "error", type=each.error.code, message=each.error.message)
                problem.text = _xml_text(str(each.error))
            elif each.divergence is not None:
                shown = {"type": each.divergence.cause, "message": each.divergence.message}
                problem = ElementTree.SubElement(case, "failure", {name: _xml_text(it) for name, it in shown.items()})
                problem.text = _xml_text(str(each.divergence))
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def divergence_json(verdict: Verdict) -> dict[str, Any]:
    """One divergence as plain JSON values."""
    divergence = verdict.divergence
    assert divergence is not None  # the caller took it from `diverged`
    return {
        "run_id": verdict.run_id,
        "workflow": verdict.workflow,
        "version": verdict.version,
        "position": divergence.position,
        "entries": verdict.entries,
        "message": divergence.message,
        "recorded": divergence.recorded,
        "replayed": divergence.replayed,
        "recorded_site": divergence.recorded_site,
        "replayed_site": divergence.replayed_site,
        "cause": divergence.cause,
        "why": divergence.why,
        "evidence": divergence.evidence.splitlines(),
        "fix": divergence.fix,
        "inspect": divergence.inspect,
        "report": str(divergence),
    }


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


def _xml_text(text: str) -> str:
    """XML has no way to write most control characters."""
    return "".join(each if each in "\n\t" or each.isprintable() else "�" for each in text)


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def _some(runs: list[str]) -> str:
    more = len(runs) - _UNCHECKED_SHOWN_MAX
    return ", ".join(runs[:_UNCHECKED_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
