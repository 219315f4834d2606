"""Every night is compared once, whatever happens at three, and each difference is filed and told once."""

from datetime import UTC, datetime
from pathlib import Path

import bank
import pytest
import workflows
from workflows import DIFFERENCES, PAYMENTS, Difference, compare, day_before, reconcile, tell_accounting

from perdure.strict import BlockingRuntime
from perdure.testing import RuntimeClock, RuntimeFactory, Simulation, assert_replays, crash_everywhere

BOTH = (reconcile, tell_accounting)
NEW_YEAR = "2030-01-01T12:00:00Z"  # the first night that a test sees is the one after it


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bank, "STATEMENTS", str(tmp_path / "statements"))
    monkeypatch.setattr(workflows, "LOG", str(tmp_path / "accounting.txt"))
    return tmp_path / "accounting.txt"


def results(runtime: BlockingRuntime) -> list[str]:
    """What became of the nights, oldest first."""
    nights = reversed(runtime.runs(workflow="reconcile"))
    return [runtime.handle(night.run_id).result(timeout="10s") for night in nights]


def test_each_night_is_one_run_also_over_a_restart(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock
) -> None:
    for day in range(1, 6):
        bank.put_statement(f"2030-01-{day:02}", {})
    perdure_clock.set("2030-01-02T00:00:00Z")
    with perdure_runtime(*BOTH):
        perdure_clock.advance("1d")  # one night
    perdure_clock.set("2030-01-05T12:00:00Z")  # down for three
    with perdure_runtime(*BOTH) as runtime:
        perdure_clock.advance("1d")
        assert results(runtime) == [f"2030-01-{day:02}: 0 payments, 0 differences" for day in range(1, 6)]
        assert_replays(runtime.handle(runtime.runs(workflow="reconcile")[0].run_id))


def test_a_statement_that_is_late_is_waited_for(perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock) -> None:
    perdure_clock.set(NEW_YEAR)
    with perdure_runtime(*BOTH) as runtime:
        perdure_clock.set("2030-01-02T04:00:00Z")
        (night,) = runtime.runs(workflow="reconcile")
        assert night.status == "awaiting_retry"
        bank.put_statement("2030-01-01", {"o1": 1250})
        perdure_clock.advance("10m")
        assert results(runtime) == ["2030-01-01: 0 payments, 1 differences"]


def test_a_night_that_is_compared_again_files_and_tells_nothing_twice(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock, log: Path
) -> None:
    bank.put_statement("2030-01-01", {"o1": 1250, "o2": 4900})
    perdure_clock.set(NEW_YEAR)
    with perdure_runtime(*BOTH) as runtime:
        runtime.database[PAYMENTS].insert_one({"day": "2030-01-01", "order": "o1", "cents": 1250})
        perdure_clock.set("2030-01-02T12:00:00Z")
        runtime.trigger_schedule("reconcile")
        runtime.idle()
        assert results(runtime) == ["2030-01-01: 1 payments, 1 differences"] * 2
        assert runtime.database[DIFFERENCES].count() == 1
        assert log.read_text(encoding="utf-8") == "2030-01-01/o2: booked None, the bank has 4900\n"


def test_a_night_ends_alike_wherever_the_process_dies() -> None:
    tick = {"scheduled_at": datetime(2030, 1, 2, 2, tzinfo=UTC), "schedule": "schedule"}
    report = crash_everywhere(
        reconcile, tick, workflows=[tell_accounting], steps={"fetch_statement": {"o1": 1250}, "tell_accounting": None}
    )
    assert report.outcome == ("completed", "2030-01-01: 0 payments, 1 differences")


def test_a_year_has_a_run_for_every_night(tmp_path: Path) -> None:
    with Simulation(*BOTH, steps={"fetch_statement": {}, "fetch_payments": {}}) as simulation:
        simulation.run(until="365d")
        days = [run.result()[:10] for run in simulation.runs()]
        assert (len(days), len(set(days)), days[0], days[-1]) == (365, 365, "2029-12-31", "2030-12-30")


def test_the_day_is_the_one_that_clocks_in_berlin_have_left() -> None:
    assert str(day_before(datetime(2030, 7, 1, 1, tzinfo=UTC))) == "2030-06-30"
    assert str(day_before(datetime(2029, 12, 31, 23, 30, tzinfo=UTC))) == "2029-12-31"


def test_what_is_missing_on_either_side_is_a_difference() -> None:
    assert compare({"a": 1, "b": 2, "c": 3}, {"b": 2, "c": 4, "d": 5}) == [
        Difference(order="a", booked=1, at_bank=None),
        Difference(order="c", booked=3, at_bank=4),
        Difference(order="d", booked=None, at_bank=5),
    ]
