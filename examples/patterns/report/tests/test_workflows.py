"""A report is built from what was gathered once, and is the same however often it is asked for."""

from pathlib import Path

import pytest
import sales
import workflows
from workflows import Figures, Month, build_report

from perdure.strict import InvalidInput
from perdure.testing import RuntimeFactory, assert_replays, crash_everywhere

MARCH = Month(month="2030-03")


@pytest.fixture(autouse=True)
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(workflows, "WAREHOUSE", tmp_path / "sales.sqlite")
    monkeypatch.setattr(workflows, "ARCHIVE", tmp_path / "reports")
    sales.fill(tmp_path / "sales.sqlite", 400)
    return tmp_path / "reports"


def figures(of: tuple[str, str]) -> Figures:
    month, region = of
    return Figures(region=region, sales=2, cents=20_000 if month == "2030-03" else 10_000)


def test_the_report_is_filed_whole_wherever_the_process_dies(archive: Path) -> None:
    def filed(simulation: object) -> bool:
        text = (archive / "2030-03.md").read_text(encoding="utf-8")
        return text.count("+100.0%") == 4 and "Together 800.00 €" in text

    report = crash_everywhere(build_report, MARCH, steps={"now": figures, "before": figures}, invariants=[filed])
    assert report.outcome[1].cents == 80_000


def test_who_asks_again_gets_the_report_that_is_there(perdure_runtime: RuntimeFactory) -> None:
    with perdure_runtime(build_report) as runtime:
        filed = runtime.start(build_report, MARCH).result(timeout="10s")
        workflows.WAREHOUSE.unlink()  # whatever becomes of the warehouse
        assert runtime.start(build_report, MARCH).result(timeout="10s") == filed
        (run,) = runtime.runs()
        assert_replays(runtime.handle(run.run_id))


def test_the_month_before_january_is_in_the_year_before() -> None:
    assert (Month(month="2030-01").before(), Month(month="2030-12").before()) == ("2029-12", "2030-11")


def test_what_is_no_month_starts_nothing(perdure_runtime: RuntimeFactory) -> None:
    with perdure_runtime(build_report) as runtime:
        with pytest.raises(InvalidInput):
            runtime.start(build_report, {"month": "2030-13"})
        assert runtime.runs() == []
