"""A backfill says how many ticks are meant before it starts any, and counts them without looking at each."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta

import pytest
from ticking import expected, micros

from perdure import MemoryLedger, Runtime, Schedule
from perdure.errors import DefinitionError
from perdure.strict import workflow

SECONDLY = Schedule("* * * * * *")
CRONS = ["* * * * *", "*/7 1-5 * * *", "30 2 * * *", "0 3 30 * 1", "*/20 15 2 * * *", "0 0 L * *", "15 1,2,3 * 3,10 *"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]


@workflow(id="secondly", trigger=SECONDLY)
async def secondly() -> None: ...


@pytest.mark.parametrize("cron", CRONS)
def test_what_is_counted_is_what_is_listed(cron: str) -> None:
    draw = random.Random(cron)
    counted = 0
    for _ in range(25):
        schedule = Schedule(cron, draw.choice(ZONES))
        # Where clocks change: within a few days of the last Sundays of March and October, and of a skipped day.
        middle = draw.choice([datetime(2011, 12, 30, tzinfo=UTC), datetime(2030, 3, 31, tzinfo=UTC),
                              datetime(2030, 10, 27, tzinfo=UTC), datetime(2030, 3, 10, tzinfo=UTC)])  # fmt: skip
        begin = middle + timedelta(seconds=draw.randint(-9 * 86_400, 86_400))
        end = begin + timedelta(seconds=draw.choice([0, 1, 3_600, 86_400, 40 * 86_400]) + draw.randint(0, 5_000))
        ticks = expected(schedule, begin, end)
        assert schedule.count_between(micros(begin), micros(end)) == len(ticks)
        counted += len(ticks)
    assert counted


def test_a_backfill_from_1970_is_counted_at_once() -> None:
    began = time.perf_counter()
    end = micros(datetime(2030, 1, 1, tzinfo=UTC))
    assert SECONDLY.count_between(-1, end) == end // 1_000_000 + 1
    assert time.perf_counter() - began < 5  # one by one it would be days


async def test_more_ticks_than_the_limit_are_refused_with_their_number_and_none_is_started() -> None:
    async with Runtime(MemoryLedger(), workflows=[secondly]) as runtime:
        await runtime.pause_schedule("secondly")
        with pytest.raises(DefinitionError) as refused:
            await runtime.backfill_schedule("secondly", "1970-01-01T00:00:00Z", "2020-01-01T00:00:00Z")
        assert "has 1,577,836,801 ticks from 1970-01-01T00:00:00Z" in refused.value.message
        assert "limit=1_577_836_801 or limit=None" in refused.value.fix
        assert await runtime.runs() == []
        span = "2020-01-01T00:00:00Z", "2020-01-01T00:00:10Z"
        with pytest.raises(DefinitionError, match=r"has 11 ticks .* more than limit=10"):
            await runtime.backfill_schedule("secondly", *span, limit=10)
        assert await runtime.backfill_schedule("secondly", *span, limit=11) == 11
        assert await runtime.backfill_schedule("secondly", *span, limit=None) == 0
        with pytest.raises(DefinitionError, match="limit=-1 can't be used"):
            await runtime.backfill_schedule("secondly", *span, limit=-1)


async def test_a_schedule_that_is_not_there_is_named_before_anything_is_counted() -> None:
    async with Runtime(MemoryLedger(), workflows=[secondly]) as runtime:
        with pytest.raises(DefinitionError, match=r"did you mean secondly/schedule\?"):
            await runtime.backfill_schedule("secondy/schedule", "1970-01-01T00:00:00Z", "2020-01-01T00:00:00Z")
