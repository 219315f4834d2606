"""Everybody is answered in the end, the API's own delay is kept, and what can't work is not tried again."""

from datetime import timedelta

import pytest
from api import open_api
from workflows import UnknownCity, weather_report

from perdure.strict import RetryableError, RunFailed
from perdure.testing import RuntimeClock, RuntimeFactory, Simulation, crash_everywhere, failing


def test_more_than_the_api_takes_is_answered_in_the_end(
    perdure_runtime: RuntimeFactory, perdure_clock: RuntimeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cities = [f"city{number}" for number in range(8)]
    with open_api(lambda: perdure_clock.now.timestamp()) as api, perdure_runtime(weather_report) as runtime:
        monkeypatch.setenv("API_URL", api.url)
        run = runtime.start(weather_report, cities)
        runtime.idle()
        assert (run.status(), len(api.answered), api.refused) == ("awaiting_retry", 5, 3)
        perdure_clock.advance("1s")
        assert sorted(run.result(timeout="10s")) == cities
        assert (len(api.answered), api.refused) == (8, 3)


def test_the_delay_that_the_api_names_is_waited_for() -> None:
    busy = failing(1, RetryableError("busy", delay="7s"), then="12 degrees")
    with Simulation(weather_report, steps={"weather": busy}) as simulation:
        run = simulation.start(weather_report, ["rome"])
        began = simulation.clock.now
        assert run.result() == {"rome": "12 degrees"}
        assert simulation.clock.now - began == timedelta(seconds=7)


def test_the_report_is_whole_wherever_the_process_dies() -> None:
    busy = failing(1, RetryableError("busy", delay="1s"), then="12 degrees")
    report = crash_everywhere(weather_report, ["rome", "oslo"], steps={"weather": busy})
    assert report.outcome == ("completed", {"rome": "12 degrees", "oslo": "12 degrees"})


def test_a_city_that_is_not_there_is_asked_for_once() -> None:
    with Simulation(weather_report, steps={"weather": UnknownCity("atlantis")}) as simulation:
        with pytest.raises(RunFailed, match="atlantis"):
            simulation.start(weather_report, ["atlantis"]).result()
        assert len(simulation.effects()) == 1
