"""Schedules, events and dead letters, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forked import run_apart

from perdure import Runtime

JOBS = """
from perdure.strict import Event, Schedule, ScheduledInput, on_event, workflow

@workflow(id="nightly", trigger=[Schedule("0 3 * * *", "Europe/Berlin", name="night"), Event("now", resource="r1")])
async def nightly(input: dict) -> str:
    return "done"

@on_event("order.placed", retries=0)
def take(order: dict) -> str:
    return order["id"]
"""

QUEUED = """
from perdure.strict import Queue, workflow

@workflow(id="queued", queue=Queue("line", max_concurrent_runs=1))
async def queued(input: dict) -> str:
    return "done"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "workflows.py").write_text(JOBS, encoding="utf-8")
    with Runtime(tmp_path / "jobs.duckdb"):
        pass
    return tmp_path


def perdure(folder: Path, *arguments: str, exits: int = 0) -> str:
    code, output, errors = run_apart(folder, ["perdure", *arguments])
    assert code == exits, errors
    return output + errors


def test_schedules_are_listed_paused_resumed_triggered_and_backfilled(folder: Path) -> None:
    (listed,) = json.loads(perdure(folder, "schedules", "list", "jobs.duckdb", "--json"))
    assert (listed["id"], listed["cron"], listed["paused"]) == ("nightly/night", "0 3 * * *", False)
    ticks = json.loads(perdure(folder, "schedules", "next", "jobs.duckdb", "nightly", "--count", "3", "--json"))
    assert len(ticks) == 3
    assert all(each["at"][11:] in ("01:00:00+00:00", "02:00:00+00:00") for each in ticks)
    assert "is paused" in perdure(folder, "schedules", "pause", "jobs.duckdb", "nightly")
    assert "paused already" in perdure(folder, "schedules", "pause", "jobs.duckdb", "nightly/night")
    assert "paused" in perdure(folder, "schedules", "list", "jobs.duckdb")
    assert "goes on" in perdure(folder, "schedules", "resume", "jobs.duckdb", "nightly", "--skip-missed")
    assert "Started run" in perdure(folder, "schedules", "trigger", "jobs.duckdb", "nightly")
    span = ["--from", "2026-03-27T00:00:00Z", "--to", "2026-03-31T00:00:00Z"]
    assert "Started 4 runs." in perdure(folder, "schedules", "backfill", "jobs.duckdb", "nightly", *span)
    assert "Started 0 runs." in perdure(folder, "schedules", "backfill", "jobs.duckdb", "nightly", *span)
    assert "did you mean nightly/night?" in perdure(
        folder, "schedules", "pause", "jobs.duckdb", "nihtly/night", exits=2
    )


def test_a_backfill_of_many_ticks_wants_a_word_for_it_where_nobody_can_be_asked(folder: Path) -> None:
    years = ["schedules", "backfill", "jobs.duckdb", "nightly", "--from", "2020-01-01T00:00:00Z"]
    refused = perdure(folder, *years, "--to", "2023-01-01T00:00:00Z", exits=2)
    assert "'nightly/night' has 1,096 ticks from 2020-01-01T00:00:00Z" in refused
    assert "--yes" in refused
    assert "No such runs" in perdure(folder, "runs", "jobs.duckdb")
    assert "Started 1,096 runs." in perdure(folder, *years, "--to", "2023-01-01T00:00:00Z", "--yes")


def test_as_many_ticks_of_each_schedule_are_told_whoever_reads_them(folder: Path) -> None:
    often = """
from perdure.strict import Schedule, workflow

@workflow(id="often", trigger=Schedule("* * * * *"))
async def often(input: dict) -> str:
    return "done"
"""
    (folder / "workflows.py").write_text(JOBS + often, encoding="utf-8")
    ticks = json.loads(perdure(folder, "schedules", "next", "jobs.duckdb", "--count", "2", "--json"))
    assert [each["schedule"] for each in ticks] == ["often/schedule"] * 2 + ["nightly/night"] * 2
    assert perdure(folder, "schedules", "next", "jobs.duckdb", "--count", "2").count("nightly/night") == 2


def test_where_no_workflow_has_a_schedule_that_is_said(folder: Path) -> None:
    (folder / "workflows.py").write_text(QUEUED, encoding="utf-8")
    for command in ("list", "next"):
        assert "No workflow has a schedule" in perdure(folder, "schedules", command, "jobs.duckdb")


def test_what_is_held_back_on_a_queue_is_waited_for_until_idle(folder: Path) -> None:
    (folder / "workflows.py").write_text(QUEUED, encoding="utf-8")
    perdure(folder, "start", "jobs.duckdb", "queued", "--input", "{}", "--run-id", "r", "--delay", "2s")
    assert "1 completed" in perdure(folder, "run", "jobs.duckdb", "--until-idle")


def test_what_is_retried_on_a_queue_is_left_to_a_worker_and_says_so(folder: Path) -> None:
    (folder / "workflows.py").write_text(QUEUED, encoding="utf-8")
    perdure(folder, "start", "jobs.duckdb", "queued", "--input", "{}", "--run-id", "r")
    perdure(folder, "cancel", "jobs.duckdb", "r")
    told = perdure(folder, "retry", "jobs.duckdb", "r")
    assert "Run r is tried again; it is queued." in told
    assert "perdure run jobs.duckdb" in told
    assert "1 completed" in perdure(folder, "run", "jobs.duckdb", "--until-idle")


def test_a_backfill_asks_nobody_where_no_ledger_is_or_for_what_has_not_come(folder: Path) -> None:
    missing = perdure(folder, "schedules", "backfill", "no.duckdb", "nightly", "--from", "2020-01-01T00:00Z", exits=2)
    assert "there is no ledger 'no.duckdb'" in missing
    future = ["--from", "2020-01-01T00:00Z", "--to", "2900-01-01T00:00Z"]
    assert "ends in the future" in perdure(folder, "schedules", "backfill", "jobs.duckdb", "nightly", *future, exits=2)


def test_an_event_is_sent_once_and_what_failed_is_a_dead_letter(folder: Path) -> None:
    order = ["send", "jobs.duckdb", "order.placed", "--event-id", "e1", "--payload"]
    assert "woke 0 runs and started 1 run." in perdure(folder, *order, '{"number": 7}')
    assert "came before under the id e1" in perdure(folder, *order, '{"number": 7}')
    sent = json.loads(perdure(folder, "send", "jobs.duckdb", "now", "--resource", "r1", "-p", "{}", "--json"))
    assert (sent["woken"], len(sent["started"]), sent["is_duplicate"]) == (0, 1, False)
    perdure(folder, "run", "jobs.duckdb", "--until-idle")
    (dead,) = json.loads(perdure(folder, "runs", "jobs.duckdb", "--dead", "--json"))
    assert (dead["workflow"], dead["kind"], dead["source"]) == ("take", "event", "order.placed")
    assert dead["cause"]["id"] == "e1"
    assert "KeyError" in dead["error"]
    assert "event order.placed" in perdure(folder, "runs", "jobs.duckdb", "--dead")
    assert "is tried again" in perdure(folder, "retry", "jobs.duckdb", dead["run_id"])
    assert "--dead goes with no other filter" in perdure(
        folder, "runs", "jobs.duckdb", "--dead", "--tag", "a=b", exits=2
    )
