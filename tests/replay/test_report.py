"""Runs that share a divergence share a report, whatever their values, and reports of parts add up to the whole one."""

from __future__ import annotations

import pickle
from typing import Any
from xml.etree import ElementTree

import pytest

from perdure import Runtime
from perdure.declare.discovery import find_workflows
from perdure.errors import DefinitionError
from perdure.replay.check import Verdict
from perdure.replay.documents import report_json, report_junit
from perdure.replay.report import RUN_IDS_MAX, Report
from perdure.replay.selection import Selection
from perdure.replay.survey import Survey
from perdure.storage.ledger import RunFilter

SHOP = """
@workflow(id="checkout", version="3")
async def checkout(input: str, step) -> str:
    charge = await step.run(f"charge-{input}", str, input)
    if input < "n":
        await reserve_stock(input)
    return charge
"""
NAMES = [f"sku-{first}{second}" for first in "am" for second in "bcdef"]


async def record(recorder: Any, source: str, inputs: list[Any]) -> None:
    """Record a run for each input; `run-0`, `run-1`, …"""
    module = recorder.module(source)
    async with Runtime(recorder.ledger, workflows=module) as runtime:
        for number, value in enumerate(inputs):
            await (await runtime.start(find_workflows(module)[0], value, run_id=f"run-{number}")).result()


def report_of(survey: Survey, selection: Selection | None = None, *, keep_cases: bool = False) -> Report:
    report = Report("orders.duckdb", keep_cases)
    for finding in survey.check_all(selection or Selection()):
        report.take(finding)
    report.explain(survey.explained)
    return report


async def test_runs_that_differ_in_values_and_names_alone_are_one_divergence(recorder: Any) -> None:
    await record(recorder, SHOP, NAMES)
    report = report_of(recorder.survey(recorder.module(SHOP.replace("str, input)", "str, input + '!')"))))
    (group,) = report.groups()
    assert group.runs == len(NAMES)
    assert group.run_ids == [f"run-{number}" for number in reversed(range(len(NAMES)))]
    assert group.first.run_id == f"run-{len(NAMES) - 1}"
    assert group.first.divergence is not None
    assert '"sku-mf" → "sku-mf!"' in group.first.divergence.evidence  # explained


async def test_runs_that_part_from_their_ledgers_at_other_lines_are_other_divergences(recorder: Any) -> None:
    await record(recorder, SHOP.replace('"n"', '"sku-c"'), NAMES)
    today = SHOP.replace('"n"', '"sku-c"').replace("reserve_stock(input)", "reserve_stock(input + '!')")
    today = today.replace("return charge", "return charge + '!'")
    report = report_of(recorder.survey(recorder.module(today)))
    assert {(group.first.divergence.cause, group.runs) for group in report.groups() if group.first.divergence} == {
        ("argument changed", 5),
        ("output changed", 5),
    }
    assert report.diverged == 10


async def test_rounds_of_a_loop_are_one_place(recorder: Any) -> None:
    body = """
    @workflow(id="checkout", version="3")
    async def checkout(input: int, step) -> int:
        for number in range(5):
            await reserve_stock(f"{input}-{number}")
        return 0
    """
    await record(recorder, body, [1, 2, 3])
    today = body.replace('f"{input}-{number}"', 'f"{input}-{number}" + ("!" if number == input else "")')
    report = report_of(recorder.survey(recorder.module(today)))
    assert [group.runs for group in report.groups()] == [3]


async def test_the_cause_is_looked_for_once_for_all_that_share_it(recorder: Any, monkeypatch: Any) -> None:
    await record(recorder, SHOP, NAMES)
    survey = recorder.survey(recorder.module(SHOP.replace("str, input)", "str, input + '!')")))
    explained: list[str] = []
    check = survey.check
    monkeypatch.setattr(survey, "check", lambda row: explained.append(row.run_id) or check(row))
    report_of(survey)
    assert explained == ["run-9"]


async def test_a_report_stays_small_however_many_runs_it_counts(recorder: Any) -> None:
    await record(recorder, SHOP, NAMES[:1])
    survey = recorder.survey(recorder.module(SHOP.replace("str, input)", "str, input + '!')")))
    (verdict,) = survey.check_all(Selection())
    assert isinstance(verdict, Verdict)
    report = Report("orders.duckdb")
    sizes = []
    for number in range(1, 3001):
        report.take(Verdict(f"ok-{number:06}", "checkout", "3", 9, run=number))
        report.take(Verdict(f"bad-{number:06}", "checkout", "3", 9, verdict.divergence, verdict.likeness, number))
        if number in (1000, 3000):
            sizes.append(len(pickle.dumps(report)))
    assert sizes[0] == pytest.approx(sizes[1], abs=50)
    (group,) = report.groups()
    assert (group.runs, len(group.run_ids), group.run_ids[0]) == (3000, RUN_IDS_MAX, "bad-003000")


@pytest.mark.parametrize("parts", [2, 3, 10])
async def test_reports_of_parts_add_up_to_the_report_of_the_whole(recorder: Any, parts: int) -> None:
    await record(recorder, SHOP, NAMES)
    today = SHOP.replace("reserve_stock(input)", "reserve_stock(input + '!')").replace('"n"', '"sku-m"')
    survey = recorder.survey(recorder.module(today))
    whole = report_of(survey, keep_cases=True)
    added = Report("orders.duckdb", keep_cases=True)
    for part in reversed(range(parts)):
        bounds = RunFilter(from_run=1 + part * 10 // parts, before_run=1 + (part + 1) * 10 // parts, limit=None)
        other = Report("orders.duckdb", keep_cases=True)
        for finding in survey.check_all(Selection(bounds)):
            other.take(finding)
        added.add(pickle.loads(pickle.dumps(other)))
    added.explain(survey.explained)
    assert report_json(added) == report_json(whole)
    cases = [ElementTree.fromstring(report_junit(each)).iter("testcase") for each in (added, whole)]
    first, second = ({case.get("name"): len(case) for case in each} for each in cases)
    assert first == second
    assert len(first) == 10


async def test_what_can_not_be_checked_is_grouped_by_its_reason(recorder: Any) -> None:
    await record(recorder, SHOP, NAMES)
    report = report_of(recorder.survey(recorder.module(SHOP.replace('version="3"', 'version="4"'))))
    (skipped,) = report.skipped()
    assert (skipped.runs, report.exit_code, report.not_checked) == (10, 2, 10)
    (item,) = report_json(report)["unchecked"]
    assert (item["runs"], item["run_ids"][0], item["code"]) == (10, "run-9", "RUN101")


async def test_a_body_that_diverges_only_now_and_then_does_not_get_away(recorder: Any, monkeypatch: Any) -> None:
    depot = recorder.library(monkeypatch, "calls = [0]\ndef draw():\n    calls[0] += 1\n    return calls[0] == 2\n")
    body = f"""
    import perdure
    perdure.allow("{depot.__name__}")
    import {depot.__name__} as depot

    @workflow(id="checkout", version="3")
    async def checkout(input: str, step) -> str:
        return await step.run("charge", str, depot.draw())
    """
    await recorder.record(body)  # the first call; the first walk of a check is the second, and the next ones are alike
    verdict = recorder.check(body)
    assert verdict.divergence is not None
    assert verdict.divergence.cause == "random or time outside the seams"
    assert "once it diverged, and once it did not" in verdict.divergence.evidence
    assert "perdure show orders.duckdb run-1" in verdict.divergence.inspect
    depot.calls[0] = 1
    report = report_of(recorder.survey(recorder.module(body)))
    assert report.diverged == 1


# ── samples ──────────────────────────────────────────────────────────────────────────────────────


def test_a_sample_is_the_same_each_time_and_of_about_the_size_that_was_asked_for() -> None:
    ids = [f"run-{number}" for number in range(20_000)]
    sample = [run_id for run_id in ids if Selection(sample=0.05).takes(run_id)]
    assert sample == [run_id for run_id in ids if Selection(sample=0.05).takes(run_id)]
    assert 900 < len(sample) < 1100
    assert set(sample) < {run_id for run_id in ids if Selection(sample=0.06).takes(run_id)}
    assert all(Selection(sample=1).takes(run_id) for run_id in ids)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan"), float("inf")])
def test_what_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(DefinitionError, match="is no share of the runs"):
        Selection(sample=share)


async def test_only_the_sampled_runs_are_checked(recorder: Any) -> None:
    await record(recorder, SHOP, NAMES)
    survey = recorder.survey(recorder.module(SHOP))
    found = {finding.run_id for finding in survey.check_all(Selection(sample=0.4))}
    assert found == {f"run-{number}" for number in range(10) if Selection(sample=0.4).takes(f"run-{number}")}
    assert 0 < len(found) < 10
