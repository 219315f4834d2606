"""A report as programs read it: JSON, and JUnit for CI servers.

Knows reports. Must not know how runs are checked.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from perdure.replay.check import Verdict
from perdure.replay.report import Group, Report


def report_json(report: Report) -> dict[str, Any]:
    """Everything as plain JSON values; runs that share a finding are one item, with at most 100 of their ids."""
    return {
        "ledger": report.ledger,
        "ok": report.exit_code == 0,
        "runs": report.runs,
        "replayed": report.replayed,
        "diverged": report.diverged,
        "not_checked": report.not_checked,
        "workflows": [
            {
                "workflow": tally.workflow,
                "version": tally.version,
                "runs": tally.runs,
                "replayed": tally.replayed,
                "diverged": tally.diverged,
                "not_checked": tally.unchecked,
            }
            for _, tally in sorted(report.tallies.items())
        ],
        **findings_json(report),
    }


def findings_json(report: Report) -> dict[str, Any]:
    """The distinct divergences and reasons of a report, as plain JSON values."""
    return {
        "divergences": [_divergence(group) for group in report.groups()],
        "unchecked": [
            {
                "workflow": group.first.workflow,
                "version": group.first.version,
                "runs": group.runs,
                "run_ids": group.run_ids,
                "code": group.first.error.code,
                "message": group.first.error.message,
                "fix": group.first.error.fix,
            }
            for group in report.skipped()
        ],
    }


def _divergence(group: Group[Verdict]) -> dict[str, Any]:
    verdict = group.first
    divergence = verdict.divergence
    assert divergence is not None  # that is what makes the group
    return {
        "workflow": verdict.workflow,
        "version": verdict.version,
        "runs": group.runs,
        "run_ids": group.run_ids,
        # From here on, of the newest of the runs.
        "run_id": verdict.run_id,
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


def report_junit(report: Report) -> str:
    """A JUnit file: a suite per workflow and version, a case per run; what could not be checked is an error.

    Runs that share a divergence have the report of the newest of them. The report must keep its cases.
    """
    root = ElementTree.Element("testsuites", name=_xml_text(f"replay-check {report.ledger}"))
    for key, tally in sorted(report.tallies.items()):
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_xml_text(f"{tally.workflow} v{tally.version}"),
            tests=str(tally.runs),
            failures=str(tally.diverged),
            errors=str(tally.unchecked),
        )
        for run_id, finding in report.cases[key]:
            case = ElementTree.SubElement(suite, "testcase", classname=suite.get("name", ""), name=_xml_text(run_id))
            if finding in report.divergences:
                divergence = report.divergences[finding].first.divergence
                assert divergence is not None  # that is what makes the group
                _problem(case, "failure", divergence.cause, divergence.message, str(divergence))
            elif finding in report.unchecked:
                error = report.unchecked[finding].first.error
                _problem(case, "error", error.code, error.message, str(error))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _problem(case: ElementTree.Element, tag: str, kind: str, message: str, text: str) -> None:
    problem = ElementTree.SubElement(case, tag, type=_xml_text(kind), message=_xml_text(message))
    problem.text = _xml_text(text)


def _xml_text(text: str) -> str:
    """XML has no way to write most control characters."""
    return "".join(each if each in "\n\t" or each.isprintable() else "�" for each in text)
