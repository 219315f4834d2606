"""Rate-limited API: wait as long as its 429 says, durably, and give up on what will never work.

`RetryableError(delay=…)` sets the delay of the next attempt. The wait is recorded like a sleep: it holds no thread, and
a restart neither shortens it nor begins it anew.
"""

from __future__ import annotations

import os
from urllib.error import HTTPError
from urllib.request import urlopen

from api import open_api

from perdure.strict import FatalError, RetryableError, RetryPolicy, Runtime, StepContext, step, workflow

PATIENT = RetryPolicy(max_attempts=20, base_delay="200ms", max_delay="30s")  # for what says nothing of a delay


class UnknownCity(FatalError):
    """There is no such city, and there won't be one in a second."""


@step(retries=PATIENT, timeout="10s")
def fetch_weather(city: str) -> str:
    try:
        with urlopen(f"{os.environ['API_URL']}/weather/{city}", timeout=5) as answer:
            return str(answer.read().decode())
    except HTTPError as error:
        if error.code == 429:
            wait_s = float(error.headers.get("Retry-After", "1"))
            raise RetryableError(f"the API is busy, it says for {wait_s:g} s", delay=wait_s) from None
        if error.code == 404:
            raise UnknownCity(city) from None
        raise


@workflow(id="weather-report")
async def weather_report(input: list[str], step: StepContext) -> dict[str, str]:
    """Ask for the weather of all cities, a few at a time."""
    found = await step.map("weather", fetch_weather, input, concurrency=8)
    return dict(zip(input, found, strict=True))


def main() -> None:
    """Ask for more cities than the API answers in a second."""
    cities = ["rome", "oslo", "lima", "accra", "quito", "delhi", "kyoto", "lagos", "perth", "turin", "porto", "riga"]
    with open_api() as api, Runtime("rate_limited_api.duckdb", workflows=[weather_report]) as runtime:
        os.environ["API_URL"] = api.url
        weather = runtime.start(weather_report, cities).result(timeout="60s")
        print(", ".join(f"{city}: {degrees}" for city, degrees in weather.items()))
        print(f"{len(api.answered)} answers for {len(cities)} cities; sent away at least once: {api.refused > 0}")


if __name__ == "__main__":
    main()
