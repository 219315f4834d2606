"""A trip is booked whole or not at all, wherever its process dies."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import workflows
from workflows import Trip, book_trip

from perdure.testing import Simulation, crash_everywhere

LISBON = Trip(traveller="Ada", city="Lisbon", car="small car")


@pytest.fixture(autouse=True)
def agency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "agency.sqlite"
    monkeypatch.setattr(workflows, "AGENCY", str(file))
    return file


def bookings(agency: Path) -> list[str]:
    with closing(sqlite3.connect(agency)) as opened:
        return [what for (what,) in opened.execute("SELECT what FROM bookings ORDER BY number")]


def test_a_trip_is_booked_once_wherever_the_process_dies(agency: Path) -> None:
    def booked_once(simulation: Simulation) -> bool:
        return bookings(agency) == ["flight to Lisbon", "hotel in Lisbon", "small car"]

    report = crash_everywhere(
        book_trip, LISBON, invariants=[booked_once], before=lambda: agency.unlink(missing_ok=True)
    )
    assert report.outcome[0] == "completed"


def test_nothing_stays_booked_when_the_car_is_sold_out(agency: Path) -> None:
    report = crash_everywhere(
        book_trip,
        LISBON.model_copy(update={"car": "cabriolet"}),
        invariants=[lambda simulation: bookings(agency) == []],
        before=lambda: agency.unlink(missing_ok=True),
    )
    assert report.outcome[0] == "failed"


def test_what_was_booked_last_is_given_back_first() -> None:
    with Simulation(book_trip) as simulation:
        simulation.start(book_trip, LISBON.model_copy(update={"car": "cabriolet"}))
        simulation.run()
        given_back = [effect.args[0].what for effect in simulation.effects("give_back")]
        assert given_back == ["hotel in Lisbon", "flight to Lisbon"]
