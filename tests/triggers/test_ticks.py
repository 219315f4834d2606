"""Ticks are right in every zone, in both directions, through the days on which clocks don't run evenly."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from wall_oracle import Oracle

from perdure.errors import DefinitionError
from perdure.triggers.cron import parsed
from perdure.triggers.schedule import Schedule
from perdure.triggers.ticks import first_tick, last_tick
from perdure.triggers.zones import stretch, zone

ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca", "UTC",
    "Africa/Cairo", "America/Havana", "America/Santiago", "Asia/Beirut", "Pacific/Apia", "Europe/Dublin",
)  # fmt: skip
#: Expressions that mean something special on some day: fixed and open hours, both ends of days and months.
EXPRESSIONS = (
    "*/10 * * * *", "30 2 * * *", "0,15,30,45 1-3 * * *", "0 0 * * *", "59 23 * * *", "*/20 0 * * *", "0 */2 * * *",
    "15 2 L * *", "0 12 29 2 *", "0 3 1,15 * 1", "30 1 * * sun", "0 9 * mar,oct fri#2", "0 9 * * L0", "45 23 31 * *",
    "0 0 15W * *", "5 2 */7 3-11/2 *", "0 22-3 * * 6", "*/7 * 29 3 *",
)  # fmt: skip


def seconds(schedule: Schedule, start: datetime, end: datetime, limit: int = 10_000_000) -> list[int]:
    after, until = (int(moment.timestamp()) * 1_000_000 for moment in (start, end))
    return [tick // 1_000_000 for tick in schedule.ticks_between(after - 1, until - 1, limit)]


def backwards(schedule: Schedule, start: int, end: int) -> list[int]:
    """The same from the end to the start, turned round."""
    found: list[int] = []
    tick = schedule.last_between(start * 1_000_000 - 1, end * 1_000_000 - 1)
    while tick is not None:
        found.append(tick // 1_000_000)
        tick = schedule.last_between(start * 1_000_000 - 1, tick - 1)
    return found[::-1]


def span_of(name: str, start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """A span of wall-clock time as instants."""
    clocks = ZoneInfo(name)
    return start.replace(tzinfo=clocks).astimezone(UTC), end.replace(tzinfo=clocks).astimezone(UTC)


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("expression", [each for each in EXPRESSIONS if not each.startswith("*/10")])
def test_a_year_ticks_as_one_finds_by_asking_every_wall_time(name: str, expression: str) -> None:
    start, end = datetime(2024, 1, 3), datetime(2025, 1, 3)
    expected = Oracle(expression).ticks(ZoneInfo(name), start, end)
    found = seconds(Schedule(expression, name), *span_of(name, start, end))
    assert found == expected
    assert all(one < other for one, other in pairwise(found))


@pytest.mark.parametrize("name", ZONES)
def test_every_ten_minutes_of_a_year_likewise(name: str) -> None:
    start, end = datetime(2025, 2, 1), datetime(2025, 11, 20)
    expected = Oracle("*/10 * * * *").ticks(ZoneInfo(name), start, end)
    assert seconds(Schedule("*/10 * * * *", name), *span_of(name, start, end)) == expected


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("expression", EXPRESSIONS[1:9])
def test_backwards_it_ticks_as_it_does_forwards(name: str, expression: str) -> None:
    start, end = span_of(name, datetime(2024, 2, 20), datetime(2024, 12, 1))
    schedule = Schedule(expression, name)
    assert backwards(schedule, int(start.timestamp()), int(end.timestamp())) == seconds(schedule, start, end)


FIELD = {
    "minute": st.sampled_from(["*", "0", "30", "*/15", "5-10", "59"]),
    "hour": st.sampled_from(["*", "0", "1", "2", "3", "23", "1-3", "*/6", "22-2"]),
    "day": st.sampled_from(["*", "*", "1", "31", "L", "26-31", "*/2"]),
    "month": st.sampled_from(["*", "*", "3,4", "oct,nov", "9"]),
    "weekday": st.sampled_from(["*", "*", "sun", "0-2", "7", "sat"]),
}


@given(
    expression=st.builds(lambda *fields: " ".join(fields), *FIELD.values()),
    name=st.sampled_from(ZONES),
    start=st.dates(datetime(2024, 1, 1).date(), datetime(2027, 12, 1).date()),
)
@settings(max_examples=150, deadline=None)
def test_any_expression_ticks_as_one_finds_by_asking(expression: str, name: str, start: date) -> None:
    try:
        schedule = Schedule(expression, name)
    except DefinitionError:
        assume(False)  # it never comes: the 31st of September
    noon = datetime(start.year, start.month, start.day, 12)  # clocks are put forward and back at night
    begin, end = noon, noon + timedelta(days=40)
    assert seconds(schedule, *span_of(name, begin, end)) == Oracle(expression).ticks(ZoneInfo(name), begin, end)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_without_a_zone_it_ticks_as_croniter_does(expression: str) -> None:
    iterator = croniter(expression, datetime(2023, 12, 31, 23, 59))
    expected = [int(iterator.get_next(datetime).replace(tzinfo=UTC).timestamp()) for _ in range(60)]
    after = int(datetime(2023, 12, 31, 23, 59, tzinfo=UTC).timestamp()) * 1_000_000
    found = Schedule(expression).ticks_between(after, 10**18, 60)
    assert [tick // 1_000_000 for tick in found] == expected


@given(at=st.integers(0, 3_000_000_000), expression=st.sampled_from(EXPRESSIONS), name=st.sampled_from(ZONES))
@settings(max_examples=200, deadline=None)
def test_the_last_tick_before_the_next_one_is_the_same_from_both_sides(at: int, expression: str, name: str) -> None:
    cron, clocks = parsed(expression), zone(name)
    tick = first_tick(cron, clocks, at)
    assert tick is not None
    assert tick >= at
    assert last_tick(cron, clocks, tick, at) == tick
    assert last_tick(cron, clocks, tick - 1, at) is None


def shown(schedule: Schedule, start: datetime, count: int) -> list[str]:
    """The next ticks, as the zone's clocks show them."""
    found, at = [], int(start.timestamp()) * 1_000_000
    for _ in range(count):
        tick = schedule.next_after(at)
        assert tick is not None
        at = tick
        found.append(datetime.fromtimestamp(tick // 1_000_000, ZoneInfo(schedule.timezone)).strftime("%d %H:%M %z"))
    return found


def test_a_time_that_clocks_skip_ticks_when_they_jump() -> None:
    night = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert shown(Schedule("30 2 * * *", "Europe/Berlin"), night, 2) == ["29 03:00 +0200", "30 02:30 +0200"]


def test_a_jump_ticks_once_for_all_that_it_skips_and_all_that_is_due_then() -> None:
    night = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert shown(Schedule("0,30 2,3 * * *", "Europe/Berlin"), night, 2) == ["29 03:00 +0200", "29 03:30 +0200"]


def test_a_time_that_comes_twice_ticks_the_first_time() -> None:
    night = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert shown(Schedule("30 2 * * *", "Europe/Berlin"), night, 2) == ["25 02:30 +0200", "26 02:30 +0100"]


def test_an_open_hour_goes_on_every_ten_minutes_through_the_hour_that_comes_twice() -> None:
    schedule = Schedule("*/10 * * * *", "Europe/Berlin")
    start = datetime(2026, 10, 24, 22, tzinfo=UTC)
    found = seconds(schedule, start, start + timedelta(hours=6))
    assert [later - earlier for earlier, later in pairwise(found)] == [600] * (len(found) - 1)
    assert len(found) == 36


def test_an_open_hour_does_not_tick_at_a_jump_that_names_none_of_its_minutes() -> None:
    schedule = Schedule("30 * * * *", "Europe/Berlin")
    start = datetime(2026, 3, 29, 0, 10, tzinfo=UTC)
    assert shown(schedule, start, 2) == ["29 01:30 +0100", "29 03:30 +0200"]


def test_half_an_hour_is_skipped_and_comes_twice_on_lord_howe() -> None:
    schedule = Schedule("15 2 * * *", "Australia/Lord_Howe")
    assert shown(schedule, datetime(2026, 10, 3, 0, tzinfo=UTC), 2) == ["04 02:30 +1100", "05 02:15 +1100"]
    repeated = Schedule("45 1 * * *", "Australia/Lord_Howe")
    assert shown(repeated, datetime(2026, 4, 4, 0, tzinfo=UTC), 2) == ["05 01:45 +1100", "06 01:45 +1030"]


def test_a_whole_day_that_a_zone_skipped_ticks_at_its_jump() -> None:
    schedule = Schedule("0 12 * * *", "Pacific/Apia")  # went over the date line: there was no 30th of December 2011
    found = shown(schedule, datetime(2011, 12, 29, 12, tzinfo=UTC), 3)
    assert found == ["29 12:00 -1000", "31 00:00 +1400", "31 12:00 +1400"]


def test_seconds_come_first_of_six_fields() -> None:
    schedule = Schedule("*/20 5 4 * * *")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert seconds(schedule, start, start + timedelta(days=1)) == [
        int((start + timedelta(hours=4, minutes=5, seconds=second)).timestamp()) for second in (0, 20, 40)
    ]


def test_six_fields_with_a_zero_first_are_the_five_without() -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    five = seconds(Schedule("0 3 * * 1-5", "Europe/Berlin"), start, end)
    assert len(five) == 261
    assert seconds(Schedule("0 0 3 * * 1-5", "Europe/Berlin"), start, end) == five


def test_leap_days_come_every_four_years_and_not_in_2100() -> None:
    schedule = Schedule("0 0 29 2 *")
    found = seconds(schedule, datetime(2090, 1, 1, tzinfo=UTC), datetime(2110, 1, 1, tzinfo=UTC))
    assert [datetime.fromtimestamp(tick, UTC).year for tick in found] == [2092, 2096, 2104, 2108]


@pytest.mark.parametrize(("alias", "count"), [("@hourly", 8760), ("@daily", 365), ("@weekly", 52), ("@Monthly", 12)])
def test_aliases_stand_for_what_they_say(alias: str, count: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=1)
    assert len(seconds(Schedule(alias), start, datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC))) == count


def test_a_page_of_ticks_is_as_long_as_was_asked_for_and_goes_on_where_it_ended() -> None:
    schedule = Schedule("* * * * *")
    page = schedule.ticks_between(0, 600_000_000, 4)
    assert page == [60_000_000, 120_000_000, 180_000_000, 240_000_000]
    assert schedule.ticks_between(page[-1], 600_000_000, 100) == [each * 60_000_000 for each in range(5, 11)]


def test_at_the_end_of_the_calendar_nothing_comes() -> None:
    schedule = Schedule("0 0 1 1 *")
    assert schedule.next_after(253_300_000_000_000_000) is None
    assert schedule.last_between(-(10**18), -(10**17)) is None


def test_stretches_of_a_year_meet_without_gaps() -> None:
    for name in ZONES:
        at = int(datetime(2023, 1, 1, tzinfo=UTC).timestamp())
        end = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
        while at < end:
            here = stretch(zone(name), at)
            assert here.start == at
            assert here.end > at
            assert stretch(zone(name), here.end - 1) == here
            at = here.end
