"""Saga: book flight, hotel and car, and give back in reverse order what was booked when a part of the trip fails.

A trip is a `try` with steps in it; what has to be undone is a list of the body. It also gives everything back when the
run is cancelled, and when its process was killed in between.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from pydantic import BaseModel

from perdure.strict import FatalError, RetryPolicy, RunFailed, Runtime, StepContext, current_step, step, workflow

AGENCY = "agency.sqlite"  # plays three booking services
STUBBORN = RetryPolicy(max_attempts=10, base_delay="100ms", max_delay="1m")  # what is undone must get through


class Trip(BaseModel):
    traveller: str
    city: str
    car: str


class Booking(BaseModel):
    number: int
    what: str


class SoldOut(FatalError):
    """Nothing is left; asking again would not help."""


@step
def book(what: str, traveller: str) -> Booking:
    """Book one thing under the step's key, so that an attempt that was cut off and made again books nothing twice."""
    if "cabriolet" in what:
        raise SoldOut(f"no {what} left")
    with closing(sqlite3.connect(AGENCY)) as agency, agency:
        agency.execute("CREATE TABLE IF NOT EXISTS bookings (number INTEGER PRIMARY KEY, key UNIQUE, what, who)")
        booked = (current_step().idempotency_key, what, traveller)
        agency.execute("INSERT OR IGNORE INTO bookings (key, what, who) VALUES (?, ?, ?)", booked)
        (number,) = agency.execute("SELECT number FROM bookings WHERE key = ?", booked[:1]).fetchone()
    return Booking(number=number, what=what)


@step(retries=STUBBORN)
def give_back(booking: Booking) -> None:
    """Cancel a booking; cancelling it twice does no harm."""
    with closing(sqlite3.connect(AGENCY)) as agency, agency:
        agency.execute("DELETE FROM bookings WHERE number = ?", (booking.number,))
    print(f"gave back {booking.what}")


@workflow(id="book-trip")
async def book_trip(input: Trip, step: StepContext) -> list[Booking]:
    """Book all parts of a trip, or none."""
    booked: list[Booking] = []
    try:
        for what in (f"flight to {input.city}", f"hotel in {input.city}", input.car):
            booked.append(await book(what, input.traveller))
    except BaseException:  # also when the run is cancelled or out of time
        for booking in reversed(booked):
            await give_back(booking)
        raise
    return booked


def main() -> None:
    """Book two trips, one of which can't be."""
    with Runtime("saga.duckdb", workflows=[book_trip]) as runtime:
        for car in ("small car", "cabriolet"):
            trip = runtime.start(book_trip, Trip(traveller="Ada", city="Lisbon", car=car))
            try:
                print("booked", ", ".join(booking.what for booking in trip.result(timeout="30s")))
            except RunFailed as failed:
                print(failed.message)


if __name__ == "__main__":
    main()
